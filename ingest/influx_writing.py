"""Floor 3 · Lines into a bucket: in bodies that the server takes, and around the points that it refuses for good."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from hashlib import sha256
from threading import Thread

from msgspec import Struct

from ingest.clock import rfc3339
from ingest.facts import EVENT_COLUMNS, PILE_COLUMNS, STATION_COLUMNS, Cell, DeadLetter, Row
from ingest.influx_http import LINES_AT_ONCE, Influx, PointRefused, Times, TooLarge
from ingest.rows import NANOS, Measurement
from ingest.store import StoreUnavailable
from ingest.topics import device_topic

REFUSED = "store_refused"
REFUSED_RETRY_S = 10.0

_TOO_OLD = re.compile(r"violates a Retention Policy Lower Bound at ([0-9T:.-]+)Z")
_COLUMNS = {"pile": PILE_COLUMNS, "station": STATION_COLUMNS, "event": EVENT_COLUMNS}
_AGAIN = re.compile(r"~\d+$")


class Refusal(Struct, frozen=True):
    """Line `index` is refused for good; `at_ms` is the server's time when it said so, where known."""

    index: int
    why: str
    at_ms: int | None


class UnderWay:
    """A `put` in a thread of its own, so that the lines of the next are made meanwhile.

    It keeps no process from ending."""

    def __init__(self, work: Callable[[], list[Refusal]]) -> None:
        self._work = work
        self._refused: list[Refusal] = []
        self._error: Exception | None = None
        self._thread = Thread(target=self._run, name="influx-write", daemon=True)
        self._thread.start()

    def ended(self) -> list[Refusal]:
        """Waits for it. Raises what it raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._refused

    def _run(self) -> None:
        try:
            self._refused = self._work()
        except Exception as error:  # noqa: BLE001 - it is raised where its end is awaited
            self._error = error


def put(influx: Influx, bucket: str, lines: Sequence[str], sane: Callable[[], None]) -> list[Refusal]:
    """Write all lines but those that the server refuses by themselves. Raises StoreUnavailable.

    `sane` writes something that was taken before; it is asked before lines are halved of which none was accepted, since
    a server that refuses everything has another trouble than our lines.
    """
    refused: list[Refusal] = []
    accepted = known_sane = False

    def doubt() -> None:
        """Before anything is halved or given up: does the server still take what it took?"""
        nonlocal known_sane
        if accepted or known_sane:
            return
        try:
            sane()
        except (PointRefused, TooLarge) as everything:
            why = f"InfluxDB at {influx.url} refuses whatever is written: {everything}"
            raise StoreUnavailable(why, retry_s=REFUSED_RETRY_S) from None
        known_sane = True

    starts = reversed(range(0, len(lines), LINES_AT_ONCE))
    parts: list[Sequence[int]] = [range(start, min(start + LINES_AT_ONCE, len(lines))) for start in starts]
    while parts:
        part = parts.pop()
        try:
            influx.write(bucket, [lines[index] for index in part] if len(part) < len(lines) else lines)
            accepted = True
        except TooLarge as large:
            if len(part) == 1:
                doubt()
                refused.append(Refusal(part[0], str(large), None))
            else:
                parts += [part[len(part) // 2 :], part[: len(part) // 2]]
        except PointRefused as bad:
            doubt()
            old = _too_old(str(bad), lines, part)
            if old or len(part) == 1:
                refused += [Refusal(index, str(bad), bad.at_ms) for index in old or part]
                rest = [index for index in part if index not in old] if old else []
                accepted = accepted or bool(old)
                parts += [rest] if rest else []
            else:
                parts += [part[len(part) // 2 :], part[: len(part) // 2]]
    return refused


def _too_old(why: str, lines: Sequence[str], part: Sequence[int]) -> set[int]:
    """Those beyond the bucket's retention. The server stores the others, and names only the oldest and the newest."""
    found = _TOO_OLD.search(why)
    if found is None:
        return set()
    bound_ns = Times().ns(f"{found[1]}Z")
    return {index for index in part if int(lines[index].rpartition(" ")[2]) < bound_ns}


def dead_letter(measurement: Measurement, row: Row, refusal: Refusal, newest_ms: int) -> DeadLetter:
    """The message of a refused row as the device would send it, so that it can be tried again.

    A second refusal of the same message gives the same id. `newest_ms` stands for the time where the server told none.
    """
    said: dict[str, Cell] = dict(zip(_COLUMNS[measurement], row, strict=True))
    site, device, boot, seq = str(said["site"]), str(said["device"]), str(said["boot"]), int(said["seq"] or 0)
    named = sha256(f"{site}/{device}\0{boot}\0{seq}".encode()).hexdigest()[:12]
    own = {name: value for name, value in said.items() if value is not None and name not in _ENVELOPE}
    if isinstance(groups := own.get("groups"), str):
        own["groups"] = json.loads(groups)
    message = {
        "v": 1, "kind": said["kind"], "boot": _AGAIN.sub("", boot), "seq": seq,
        "ts": rfc3339(int(said["ts_ms"] or 0)), **own,
    }  # fmt: skip
    return DeadLetter(
        id=f"{int(said['at_ns'] or 0) // NANOS:013d}-{named}",
        received_ms=newest_ms if refusal.at_ms is None else refusal.at_ms,
        topic=device_topic(f"{site}/{device}", "telemetry"),
        payload=json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode(),
        reason=REFUSED,
        boot=boot,
        seq=seq,
    )


_ENVELOPE = {"at_ns", "site", "device", "kind", "boot", "seq", "ts_ms", "skewed"}
