"""Row 15: the scheduler killed at every step of a promise, before and after each statement to the ledger."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from ingest.tied import tied
from scheduler.ledger import Ledger
from scheduler.ledger_engine import engine_of
from scheduler.ledger_migrations import migrate
from scheduler.ledger_sql import SqlLedger
from scheduler.turns import HOLDING, LIVE
from tests.postgres import Postgres
from tools.faults.outcome import Asked, NotInTime, On, Outcome
from tools.faults.promising import Life

EVERY_SHORT = 61
"""The short form strikes at each so many points."""
STORY = {"first": "done", "waits": "no_show", "goes": "cancelled"}


@contextmanager
def database(on: On, folder: Path) -> Iterator[str]:
    """SQLite, or a PostgreSQL of one's own."""
    if on == "embedded":
        yield f"sqlite:///{folder / 'ledger.sqlite'}"
        return
    server = Postgres()
    try:
        with server.database() as url:
            yield url
    finally:
        server.stop()


class Lives:
    """The process that forks for each life, and what those said to others."""

    def __init__(self, url: str, folder: Path) -> None:
        self._folder = folder
        command = tied([sys.executable, "-m", "tools.faults.promising", url])
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def live(self, site: str, kill_at: int) -> int | None:
        """How many points it passed; None where it was killed. Raises NotInTime where it ended otherwise."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        life = Life(site, kill_at, str(self._folder / f"{site}.acked"), str(self._folder / f"{site}.delivered"))
        self._process.stdin.write(json.dumps({name: getattr(life, name) for name in Life.__struct_fields__}) + "\n")
        self._process.stdin.flush()
        said = json.loads(self._process.stdout.readline() or '{"killed": false, "points": null}')
        if said["points"] is None and not said["killed"]:
            raise NotInTime(f"the life of {site}, to be killed at {kill_at}, did not come to its end")
        points: int | None = said["points"]
        return points

    def said(self, site: str, what: str) -> list[list[str]]:
        path = self._folder / f"{site}.{what}"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def end(self) -> None:
        self._process.communicate(timeout=10)


def killed_at_every_step(asked: Asked) -> Outcome:
    """A story of promises for each point at which its process can be killed; then it is lived to its end."""
    outcome, found = Outcome(), Counter[str]()
    with TemporaryDirectory(prefix="lunchong-faults-") as name, database(asked.on, Path(name)) as url:
        engine = engine_of(url)
        migrate(engine)
        ledger, lives = SqlLedger(engine), Lives(url, Path(name))
        try:
            points = lives.live("whole", 0) or 0
            first = asked.rng.randint(1, EVERY_SHORT) if asked.short else 1
            kills = range(first, points + 1, EVERY_SHORT if asked.short else 1)
            for number in kills:
                site = f"k{number:04d}"
                struck = lives.live(site, number) is None
                found["killed"] += struck
                _look(ledger, lives, site, found)
                lives.live(site, 0)
                _look(ledger, lives, site, found)
                _ended(ledger, site, outcome)
            whole = ledger.imbalance()
        finally:
            lives.end()
            ledger.close()
    orphans = len(whole.orphans) + len(whole.unclaimed)
    outcome.figures |= {
        "points": points, "killed": found["killed"], "said_and_kept": found["kept"],
        "double_promises": found["doubles"], "orphan_claims": orphans, "forgotten_turns": found["forgotten"],
        "notices_twice": found["twice"],
    }  # fmt: skip
    outcome.must(found["killed"] > 0, "nothing was killed")
    for name, count in (("double promises", found["doubles"]), ("orphan claims", orphans)):
        outcome.must(count == 0, f"{count} {name}")
    outcome.must(not whole, f"the ledger's books do not follow from its turns: {whole}")
    outcome.must(found["forgotten"] == 0, f"{found['forgotten']} turns are not as somebody was told")
    outcome.must(found["twice"] == 0, f"{found['twice']} notices left twice")
    return outcome


def _look(ledger: Ledger, lives: Lives, site: str, found: Counter[str]) -> None:
    """What is kept, beside what was said."""
    holders = Counter(
        (turn.place.connector, bucket)
        for turn in ledger.turns(site=site, states=HOLDING)
        if turn.place is not None
        for bucket in turn.place.buckets
    )
    found["doubles"] += sum(times > 1 for times in holders.values())
    for turn_id, rev, state in lives.said(site, "acked"):
        now = ledger.turn(turn_id)
        kept = now is not None and (now.rev > int(rev) or (now.rev, now.state) == (int(rev), state))
        found["kept" if kept else "forgotten"] += 1
    found["forgotten"] += sum(turn.due_ms is None for turn in ledger.turns(site=site, states=LIVE))
    found["twice"] += sum(times > 1 for times in Counter(one for (one,) in lives.said(site, "delivered")).values())


def _ended(ledger: Ledger, site: str, outcome: Outcome) -> None:
    """The story ended as it does when nobody is killed, with one turn for each wish."""
    ends = {turn.household: turn.state for turn in ledger.turns(site=site) if turn.household is not None}
    wanted = {f"{site}-{name}": state for name, state in STORY.items()}
    outcome.must(ends == wanted, f"{site}: the story ended as {ends}")
    asked = [turn for turn in ledger.turns(site=site) if turn.household is not None]
    outcome.must(len(asked) == len(STORY), f"{site}: {len(asked)} turns were made of {len(STORY)} wishes")
