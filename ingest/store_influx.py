"""Floor 3 · The telemetry store in InfluxDB 2.7, for installations of several processes.

A batch is several requests. Each is harmless to repeat, since equal points overwrite; the batch's number is written
last, so that a batch of which anything is missing is given again, whole.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from threading import Lock
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from ingest import influx_facts as facts
from ingest import influx_letters as letters
from ingest import influx_reads as reads
from ingest import influx_skew as skew
from ingest import influx_stored as raw_rows
from ingest.facts import Batch, Cell, DeadLetter, Level, Reading, Row, Session
from ingest.influx_http import LINES_AT_ONCE, Influx
from ingest.influx_late import Progress, hour_of
from ingest.influx_lines import Lines
from ingest.influx_parts import HOUR_MS
from ingest.influx_rollup import Rollups
from ingest.influx_writing import Refusal, UnderWay, dead_letter, put
from ingest.paging import place
from ingest.rows import NANOS, Measurement
from ingest.store import HistoryPoint, RollupRow, SessionPage

log = logging.getLogger(__name__)

DEFAULT_TIMEZONE = "Asia/Shanghai"
REQUESTS_AT_ONCE = 2


class InfluxStore:
    """`TelemetryStore` over the buckets PREFIX, PREFIX_facts and PREFIX_rollups of one organisation.

    The server is not asked for anything before the first call. One process at a time may write the batches of a spool.
    """

    def __init__(
        self, url: str, token: str, *, org: str = "lunchong", prefix: str = "lunchong", timezone: str = DEFAULT_TIMEZONE
    ) -> None:
        self._influx = Influx(url, token, org)
        self._buckets = reads.Buckets(prefix)
        self._lines = Lines()
        self._writing = Lock()
        self._drained: dict[str, int] = {}
        self._progress = Progress(self._influx, self._buckets.rollups, timezone)
        self._rollups = Rollups(self._influx, self._buckets, ZoneInfo(timezone), self._progress)

    def write(self, batch: Batch) -> list[DeadLetter]:
        with self._writing:
            if batch.no <= self._known_drained(batch.spool):
                return []
            rows: dict[Measurement, list[Row]] = {"pile": batch.pile, "station": batch.station, "event": batch.event}
            self._mark_late([*batch.pile, *batch.station])
            refused = self._write_rows(rows, batch.spool)
            self._write_facts(batch, self._known_before(refused))
            self._flag(batch)
            self._mark(batch.spool, batch.no)
            return refused

    def _write_rows(self, rows: dict[Measurement, list[Row]], spool: str) -> list[DeadLetter]:
        """Request by request, the lines of one made while the ones before are under way."""
        newest_ms, refused = _newest_ms(rows), list[DeadLetter]()
        under_way = deque[tuple[Measurement, list[Row], UnderWay]]()

        def end_one() -> None:
            kind, some, request = under_way.popleft()
            refused.extend(dead_letter(kind, some[bad.index], bad, newest_ms) for bad in request.ended())

        try:
            for kind, of_kind in rows.items():
                for start in range(0, len(of_kind), LINES_AT_ONCE):
                    some = of_kind[start : start + LINES_AT_ONCE]
                    put_lines = partial(self._put, self._bucket(kind), self._lines.of(kind, some), spool)
                    if len(under_way) == REQUESTS_AT_ONCE:
                        end_one()
                    under_way.append((kind, some, UnderWay(put_lines)))
            while under_way:
                end_one()
        finally:
            for _, _, request in under_way:
                with suppress(Exception):
                    request.ended()
        return refused

    def _mark_late(self, rows: list[Row]) -> None:
        self._progress.load()
        claimed_ns = self._progress.claimed_ms * NANOS
        late = {(str(row[1]), str(row[2]), hour_of(row[0])) for row in rows if row[0] < claimed_ns}  # type: ignore[operator,arg-type]
        if late:
            self._progress.mark(late)

    def _flag(self, batch: Batch) -> None:
        if not batch.skewed:
            return
        flags = list(skew.flags(self._influx, self._buckets, batch.skewed))
        raw = [flag for flag in flags if flag.measurement != "event"]
        self._progress.mark((*flag.device, hour_of(flag.at_ns)) for flag in raw if flag.misdated)
        self._put(self._buckets.raw, [flag.line() for flag in raw], batch.spool)
        self._put(self._buckets.facts, [flag.line() for flag in flags if flag not in raw], batch.spool)

    def _write_facts(self, batch: Batch, refused: list[DeadLetter]) -> None:
        bucket = self._buckets.facts
        facts.withdraw(self._influx, bucket, batch.withdrawn)
        if batch.revived:
            letters.purge_dead(self._influx, bucket, batch.revived, None)
        dead = letters.letter_lines(self._influx, bucket, [*batch.dead, *refused])
        newest = {session.id: session for session in batch.sessions}
        for refusal in self._put(bucket, [*map(facts.session_line, newest.values()), *dead], batch.spool):
            log.error("InfluxDB refuses a session or a dead letter for good: %s", refusal.why)

    def _known_before(self, refused: list[DeadLetter]) -> list[DeadLetter]:
        """A letter that was kept before, by a batch given again, stays at its time."""
        if not refused:
            return []
        known = letters.received_before(self._influx, self._buckets.facts, [letter.id for letter in refused])
        return [replace(letter, received_ms=known.get(letter.id, letter.received_ms)) for letter in refused]

    def drained(self, spool: str) -> int:
        with self._writing:
            return self._known_drained(spool)

    def latest(self) -> list[dict[str, Cell]]:
        return reads.latest(self._influx, self._buckets)

    def history(
        self, site: str, device: str, connector: int | None, start_ms: int, end_ms: int, every_ms: int
    ) -> list[HistoryPoint]:
        if every_ms <= 0:
            raise ValueError("a step lasts at least a millisecond")
        return reads.history(self._influx, self._buckets, site, device, connector, start_ms, end_ms, every_ms)

    def sessions(self, *, site: str | None = None, device: str | None = None, connector: int | None = None,
                 start_ms: int | None = None, end_ms: int | None = None, cursor: str | None = None, limit: int = 100) -> SessionPage:  # fmt: skip  # noqa: E501
        wanted = {"site": site, "device": device, "connector": connector}
        return facts.sessions(self._influx, self._buckets.facts, wanted, start_ms, end_ms, place(cursor), limit)

    def open_sessions(self) -> list[Session]:
        return facts.open_sessions(self._influx, self._buckets.facts)

    def sessions_after(self, site: str, device: str, since_ms: int) -> list[Session]:
        return facts.sessions_after(self._influx, self._buckets.facts, site, device, since_ms)

    def readings(self, site: str, device: str, connector: int, since_ms: int) -> list[Reading]:
        return reads.readings(self._influx, self._buckets, site, device, connector, since_ms)

    def roll_up(self, before_ms: int, limit_hours: int = 2_000) -> int:
        return self._rollups.roll_up(before_ms, limit_hours, lambda: self._writing)

    def rollups(
        self, level: Level, start_ms: int, end_ms: int, *, site: str | None = None, device: str | None = None
    ) -> list[RollupRow]:
        return self._rollups.rows(level, start_ms, end_ms, site, device)

    def stored(self, since_batch: tuple[str, int] | None = None) -> list[tuple[str, str, str, int, int, int]]:  # noqa: ARG002
        """Of all rows: which batch brought a row is not kept here."""
        return raw_rows.stored(self._influx, self._buckets)

    def dead_letters(self, *, limit: int = 100, after: str | None = None) -> list[DeadLetter]:
        return letters.dead_letters(self._influx, self._buckets.facts, limit, after)

    def count_dead(self) -> int:
        return letters.count_dead(self._influx, self._buckets.facts)

    def purge_dead(self, ids: list[str] | None = None, before_ms: int | None = None) -> int:
        return letters.purge_dead(self._influx, self._buckets.facts, ids, before_ms)

    def expire(self, before_ms: int) -> int:
        """Beside the bucket's own retention, by which the server lets whole days of raw rows go."""
        cut_ms = before_ms // HOUR_MS * HOUR_MS
        while self.roll_up(cut_ms):
            pass
        with self._writing:
            self._progress.load()
            self._progress.save(expired_ms=cut_ms)
        return raw_rows.expire(self._influx, self._buckets, cut_ms)

    def close(self) -> None:
        self._influx.close()

    def _bucket(self, measurement: str) -> str:
        return self._buckets.facts if measurement == "event" else self._buckets.raw

    def _put(self, bucket: str, lines: list[str], spool: str) -> list[Refusal]:
        """`put`, with the mark of the last batch as what was taken before."""
        taken = facts.drained_line(spool, self._drained[spool])
        return put(self._influx, bucket, lines, lambda: self._influx.write(self._buckets.facts, [taken]))

    def _known_drained(self, spool: str) -> int:
        if spool not in self._drained:
            self._drained[spool] = facts.drained(self._influx, self._buckets.facts, spool)
        self._influx.check_open()
        return self._drained[spool]

    def _mark(self, spool: str, no: int) -> None:
        self._influx.note(self._buckets.facts, [facts.drained_line(spool, no)])
        self._drained[spool] = no


def _newest_ms(rows: Mapping[Measurement, list[Row]]) -> int:
    return max((int(row[0] or 0) // NANOS for of_kind in rows.values() for row in of_kind), default=0)
