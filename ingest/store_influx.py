"""Floor 3 · The telemetry store in InfluxDB 2.7, for installations of several processes.

A batch is several requests. Each is harmless to repeat, since equal points overwrite; the batch's number is written
last, so that a batch of which anything is missing is given again, whole.
"""

from __future__ import annotations

from threading import Lock
from typing import get_args
from zoneinfo import ZoneInfo

from ingest import influx_facts as facts
from ingest import influx_reads as reads
from ingest.facts import Batch, Cell, DeadLetter, Reading, Session
from ingest.influx_http import Influx
from ingest.influx_lines import Lines
from ingest.influx_writing import dead_letter, put
from ingest.rows import NANOS, Measurement
from ingest.store import HistoryPoint, RollupRow, SessionPage

DEFAULT_TIMEZONE = "Asia/Shanghai"


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
        self._zone = ZoneInfo(timezone)

    def write(self, batch: Batch) -> list[DeadLetter]:
        with self._writing:
            if batch.no <= self._known_drained(batch.spool):
                return []
            kinds: tuple[Measurement, ...] = get_args(Measurement)
            rows = {"pile": batch.pile, "station": batch.station, "event": batch.event}
            lines = {kind: self._lines.of(kind, rows[kind]) for kind in kinds}
            refused: list[DeadLetter] = []
            newest_ms = max((int(row[0] or 0) // NANOS for kind in kinds for row in rows[kind]), default=0)
            for kind in kinds:
                bucket = self._buckets.facts if kind == "event" else self._buckets.raw
                refusals = put(self._influx, bucket, lines[kind], lambda: self._mark(batch.spool))
                refused += [dead_letter(kind, rows[kind][refusal.index], refusal, newest_ms) for refusal in refusals]
            self._mark(batch.spool, batch.no)
            return refused

    def drained(self, spool: str) -> int:
        with self._writing:
            return self._known_drained(spool)

    def latest(self) -> list[dict[str, Cell]]:
        return reads.latest(self._influx, self._buckets)

    def stored(self, since_batch: tuple[str, int] | None = None) -> list[tuple[str, str, str, int, int, int]]:  # noqa: ARG002
        """Of all rows: batches cannot be told apart here."""
        return reads.stored(self._influx, self._buckets)

    def history(self, *_args: object) -> list[HistoryPoint]:
        return []

    def sessions(self, **_wanted: object) -> SessionPage:
        return SessionPage([], None)

    def open_sessions(self) -> list[Session]:
        return []

    def sessions_after(self, *_args: object) -> list[Session]:
        return []

    def readings(self, *_args: object) -> list[Reading]:
        return []

    def roll_up(self, *_args: object) -> int:
        return 0

    def rollups(self, *_args: object, **_wanted: object) -> list[RollupRow]:
        return []

    def dead_letters(self, **_wanted: object) -> list[DeadLetter]:
        return []

    def count_dead(self) -> int:
        return 0

    def purge_dead(self, *_args: object, **_wanted: object) -> int:
        return 0

    def expire(self, *_args: object) -> int:
        return 0

    def close(self) -> None:
        self._influx.close()

    def _known_drained(self, spool: str) -> int:
        if spool not in self._drained:
            self._drained[spool] = facts.drained(self._influx, self._buckets.facts, spool)
        self._influx.check_open()
        return self._drained[spool]

    def _mark(self, spool: str, no: int | None = None) -> None:
        drained = self._drained[spool] if no is None else no
        self._influx.write(self._buckets.facts, [facts.drained_line(spool, drained)])
        self._drained[spool] = drained
