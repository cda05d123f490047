"""The tally of a run: what devices sent and were told is safe, against what the store holds."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct
from msgspec.structs import asdict

from ingest.ranges import Ranges
from ingest.store import TelemetryStore
from lunchong.turns_tally import NO_TURNS, TurnsTally

LONGEST_SESSION_MS = 7 * 86_400_000

Boot = tuple[str, str, str]
"""Site, device and boot, as the device names it."""


class Tally(Struct, frozen=True, kw_only=True):
    """`sent` counts distinct (device, boot, seq); garbage injected on purpose counts in `dead` alone.

    `lost` = acknowledged, or sent and not reported dropped, and neither stored nor in the dead letters; `duplicates` =
    rows beyond one for each; `alerts` are conditions that hold. For the figures of turns see `TurnsTally`.
    """

    sent: int
    acked: int
    stored: int
    lost: int
    duplicates: int
    resent: int
    dead: int
    dropped: int
    sessions_done: int
    turns_done: int = 0
    turns_done_by_mode: dict[str, int] = {}
    no_shows: int = 0
    alerts: int = 0
    snoozed: int = 0
    late: int = 0
    overstays: int = 0
    reviews: int = 0
    reviews_answered: int = 0


def tally(
    store: TelemetryStore,
    turns: TurnsTally = NO_TURNS,
    *,
    sent: dict[Boot, Ranges],
    acked: dict[Boot, Ranges],
    dropped: dict[Boot, Ranges],
    resent: int,
    since_ms: int,
    alerts: int,
) -> Tally:
    """Compare ranges of seqs with the store. `since_ms` is the service time at which the run began."""
    stored, duplicates = _stored(store, sent.keys() | acked.keys())
    buried, dead = _dead(store, since_ms)
    lost = kept = 0
    for boot in sent.keys() | acked.keys():
        here = stored.get(boot, set())
        must = _seqs(acked.get(boot)) | (_seqs(sent.get(boot)) - _seqs(dropped.get(boot)))
        lost += len(must - here - buried.get(boot, set()))
        kept += len(here & (_seqs(sent.get(boot)) | must))
    return Tally(
        sent=_count(sent),
        acked=_count(acked),
        stored=kept,
        lost=lost,
        duplicates=duplicates,
        resent=resent,
        dead=dead,
        dropped=_count(dropped),
        sessions_done=_sessions_done(store, since_ms),
        alerts=alerts,
        **asdict(turns),
    )


def read_ranges(path: Path) -> dict[Boot, Ranges]:
    """Ranges from lines `site,device,boot,lo,hi`; a last line that was cut off is passed over."""
    found: dict[Boot, Ranges] = {}
    if not path.exists():
        return found
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        cells = line.rstrip("\n").split(",")
        if line.endswith("\n") and len(cells) == 5:
            site, device, boot, lo, hi = cells
            found.setdefault((site, device, boot), Ranges()).add_range(int(lo), int(hi))
    return found


def _seqs(ranges: Ranges | None) -> set[int]:
    return {seq for lo, hi in ranges for seq in range(lo, hi + 1)} if ranges else set()


def _count(found: dict[Boot, Ranges]) -> int:
    return sum(hi - lo + 1 for ranges in found.values() for lo, hi in ranges)


def _stored(store: TelemetryStore, boots: Iterable[Boot]) -> tuple[dict[Boot, set[int]], int]:
    """The stored seqs of these boots, and rows beyond one for each. A boot used again is stored under BOOT~2."""
    wanted, found, duplicates = set(boots), dict[Boot, set[int]](), 0
    for site, device, inside, lo, hi, rows in store.stored():
        boot = (site, device, inside.partition("~")[0])
        if boot in wanted:
            found.setdefault(boot, set()).update(range(lo, hi + 1))
            duplicates += rows - (hi - lo + 1)
    return found, duplicates


def _dead(store: TelemetryStore, since_ms: int) -> tuple[dict[Boot, set[int]], int]:
    """Seqs in the dead letters by boot, and how many letters came since the run began."""
    found: dict[Boot, set[int]] = {}
    count, after = 0, None
    while letters := store.dead_letters(limit=1_000, after=after):
        for letter in letters:
            count += letter.count if letter.received_ms >= since_ms else 0
            parts = letter.topic.split("/")
            if letter.boot is not None and letter.seq is not None and len(parts) > 3:
                found.setdefault((parts[2], parts[3], letter.boot), set()).add(letter.seq)
        after = letters[-1].id
    return found, count


def _sessions_done(store: TelemetryStore, since_ms: int) -> int:
    """Sessions that ended in the run, whenever they began."""
    done, cursor = 0, None
    while True:
        page = store.sessions(start_ms=since_ms - LONGEST_SESSION_MS, cursor=cursor, limit=1_000)
        done += sum(session.ended_ms is not None and session.ended_ms >= since_ms for session in page.items)
        cursor = page.next
        if cursor is None:
            return done
