"""The rows that this machine can run, by their numbers in the fault matrix."""

from __future__ import annotations

from collections.abc import Callable

from tools.faults import clocks, intruders, kills, payloads, spool_cuts
from tools.faults.outcome import Asked, Outcome

ROWS: dict[int, tuple[str, Callable[[Asked], Outcome]]] = {
    1: ("kill -9 of ingest", kills.ingest_killed),
    2: ("kill -9 of the broker, its memory gone", kills.broker_killed),
    3: ("kill -9 of the all-in-one, then of the demo", kills.all_in_one_killed),
    7: ("malformed payloads, and all of the golden file's", payloads.malformed),
    10: ("the spool's log cut off after its last commit, then before it", spool_cuts.spool_cut),
    12: ("ingest stopped, then continued", kills.ingest_stopped),
    14: ("messages out of order, from yesterday, from a backlog, from wrong clocks", clocks.wrong_times),
    19: ("other people's credentials, topics and messages, on both brokers", intruders.intruders),
}
