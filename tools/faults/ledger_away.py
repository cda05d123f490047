"""Row 18: the ledger's database away, while turns are asked for and given up over HTTP."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from lunchong.turns_side import open_ledger
from scheduler.ledger import Ledger
from tests.postgres import Postgres
from tests.processes import Server
from tests.talking import a_place
from tools.faults.outcome import Asked, NotInTime, Outcome, until

AWAY_S, AWAY_SHORT_S = 60.0, 4.0
BEFORE_S, AFTER_S = 3.0, 3.0
"""So long turns are asked for with the ledger there, for something to forget; then, after it is back."""
ASKERS = 4
ANSWERED_WITHIN_S = 30.0
RECOVERED_WITHIN_S = 10.0
RULES = 'initial_rules = { guests = 50, quiet = "none", opening = ["00:00-24:00"] }'


class Asker:
    """One household that asks, gives up, and asks again; a request without a clear answer is sent again as it was."""

    def __init__(self, server: Server, token: str, name: str, told: Counter[str]) -> None:
        self._url, self._token, self._name, self._told = f"{server.http}/api/v1", token, name, told
        self._numbers = count(1)
        self.kept: dict[str, str] = {}
        """The turn that each key made, as it was answered."""
        self.answered_s = 0.0

    def register(self, ending: threading.Event) -> None:
        """Again where the ledger went away before that was kept: who is not registered is never answered."""
        home = {"compound": "elsewhere", "dwelling": self._name}
        self._until_kept(lambda: self._send("PUT", f"/households/{self._name}", home), ending)

    def turn(self, ending: threading.Event) -> None:
        """Ask once, and give up what was kept."""
        key = f"{self._name}-{next(self._numbers)}"
        depart = (datetime.now(UTC) + timedelta(hours=8)).isoformat().replace("+00:00", "Z")
        wish = {"site": "gate-01", "on_behalf_of": self._name, "vehicle": "car", "energy_kwh": 3, "depart_by": depart}
        turn = self._until_kept(lambda: self._send("POST", "/turns", wish, key), ending)
        if turn is not None:
            self.kept[key] = turn["id"]
            self._until_kept(lambda: self._send("POST", f"/turns/{turn['id']}/cancel"), ending)

    def _until_kept(self, send: Callable[[], dict[str, str] | None], ending: threading.Event) -> dict[str, str] | None:
        while (said := send()) is None and not ending.wait(0.2):
            pass
        return said

    def _send(self, method: str, path: str, body: object = None, key: str = "") -> dict[str, str] | None:
        """The answer; None for a 503 that says when to come again, which is all that may be said instead."""
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        headers |= {"Idempotency-Key": key} if key else {}
        asked = Request(self._url + path, json.dumps(body).encode() if body else b"", headers, method=method)
        began_s = time.monotonic()
        try:
            with urlopen(asked, timeout=ANSWERED_WITHIN_S) as answer:
                self._told["answered"] += 1
                said: dict[str, str] = json.load(answer)
                return said
        except HTTPError as refused:
            if refused.code == HTTPStatus.CONFLICT and path.endswith("/cancel"):
                return {}  # it was given up by the request before, whose answer was lost
            clear = refused.code == HTTPStatus.SERVICE_UNAVAILABLE and refused.headers.get("Retry-After")
            self._told["clear_503" if clear else f"unclear_{refused.code}"] += 1
        except OSError as error:
            self._told[f"unclear_{type(error).__name__}"] += 1
        finally:
            self.answered_s = max(self.answered_s, time.monotonic() - began_s)
        return None


def ledger_away(asked: Asked) -> Outcome:
    """Kill PostgreSQL while turns are asked for, bring it back, and compare what was said with what is kept."""
    outcome, told = Outcome(), Counter[str]()
    postgres = Postgres()
    try:
        with TemporaryDirectory(prefix="lunchong-faults-") as name, postgres.database() as url:
            data = a_place(Path(name) / "data")
            inventory = data / "inventory.toml"
            inventory.write_text(inventory.read_text().replace("limit_kw = 20.0", f"limit_kw = 20.0\n{RULES}", 1))
            with Server(data, env={"LUNCHONG_LEDGER_URL": url}) as server:
                token = (data / "admin-token").read_text().strip()
                askers = [Asker(server, token, f"h-{number}", told) for number in range(ASKERS)]
                _ask_while_away(asked, outcome, askers, told, postgres)
            with closing(open_ledger(url)) as ledger:
                half_done = _half_done(ledger, askers)
    finally:
        postgres.stop()
    unclear = {what: times for what, times in told.items() if what.startswith("unclear")}
    outcome.figures |= {
        "answered": told["answered"], "clear_503": told["clear_503"], "unclear": sum(unclear.values()),
        "longest_answer_s": round(max(one.answered_s for one in askers), 2),
        "turns_kept": sum(len(one.kept) for one in askers), "half_done": half_done,
    }  # fmt: skip
    outcome.must(told["clear_503"] > 0, "nobody was told that the ledger is away")
    outcome.must(not unclear, f"answers that were neither kept nor a 503 with Retry-After: {unclear}")
    outcome.must(half_done == 0, f"{half_done} requests are half done")
    return outcome


def _ask_while_away(
    asked: Asked, outcome: Outcome, askers: list[Asker], told: Counter[str], postgres: Postgres
) -> None:
    ending = threading.Event()

    def live(asker: Asker) -> None:
        asker.register(ending)
        while not ending.is_set():
            asker.turn(ending)

    threads = [threading.Thread(target=live, args=(asker,), daemon=True) for asker in askers]
    for thread in threads:
        thread.start()
    time.sleep(BEFORE_S)
    postgres.kill()
    time.sleep(asked.pick(AWAY_S, AWAY_SHORT_S))
    postgres.start()
    back_s, before = time.monotonic(), told["answered"]
    try:
        until(lambda: told["answered"] > before, 60.0, "a request is answered again")
        outcome.recovered(time.monotonic() - back_s, RECOVERED_WITHIN_S)
        time.sleep(AFTER_S)
    except NotInTime as late:
        outcome.must(False, f"{late}, but {dict(told)}")
    ending.set()
    for thread in threads:
        thread.join(ANSWERED_WITHIN_S)


def _half_done(ledger: Ledger, askers: list[Asker]) -> int:
    """Requests of which a part is kept: books that are not the turns', keys with another turn than was said."""
    books = ledger.imbalance()
    wrong = len(books.orphans) + len(books.unclaimed) + len(books.counts) + len(books.live)
    for asker in askers:
        wrong += sum(ledger.turn(turn) is None for turn in asker.kept.values())
        wrong += len(asker.kept) - len(set(asker.kept.values()))
    return wrong
