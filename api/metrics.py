"""Floor 3 · What Prometheus may scrape: requests, readers, the board, ingest's accounts. No person, no position."""

from __future__ import annotations

from collections import Counter as Counted
from collections.abc import Iterator, Sequence
from itertools import chain

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from api.context import ApiContext
from api.live import Live
from ingest.accounts import OUTCOMES
from ingest.messages import Condition

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
COUNTED = tuple(outcome for outcome in OUTCOMES if outcome != "hole")
"""Those that never become fewer; holes do."""
SECONDS = (0.005, 0.02, 0.1, 0.5, 2.0, 10.0)


class Metrics:
    """A registry of its own, so that two applications in one process do not share a count."""

    def __init__(self, ctx: ApiContext, live: Live) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "lunchong_http_requests", "Requests answered", ["method", "route", "status"], registry=self._registry
        )
        self.seconds = Histogram(
            "lunchong_http_request_seconds", "Time to an answer, streams left out", buckets=SECONDS,
            registry=self._registry,
        )  # fmt: skip
        self._registry.register(_Facts(ctx, live))

    def text(self) -> bytes:
        return generate_latest(self._registry)


class _Facts(Collector):
    """Read from their owners when scraped; nothing is counted twice."""

    def __init__(self, ctx: ApiContext, live: Live) -> None:
        self._ctx, self._live = ctx, live

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("lunchong_stream_readers", "Open event streams", self._live.readers)
        yield CounterMetricFamily(
            "lunchong_stream_sent_away", "Readers sent away because they took nothing", value=self._live.sent_away
        )
        board = self._ctx.board
        yield GaugeMetricFamily("lunchong_board_believed", "1 while the bus and ingest are there", int(board.believed))
        yield CounterMetricFamily("lunchong_board_refused", "Messages the board could not read", value=board.refused)
        yield GaugeMetricFamily("lunchong_troubles", "Troubles reported and kept", self._ctx.trouble.count())
        yield self._connectors()
        yield from self._ingest()

    def _connectors(self) -> Metric:
        family = GaugeMetricFamily("lunchong_connectors", "Connectors by condition", labels=["condition"])
        summaries = [site.summary for site in self._ctx.picture().sites.values()]
        for condition in (
            "available", "reserved", "in_use", "finishing", "blocked", "out_of_order", "closed", "unknown",
        ):  # fmt: skip
            family.add_metric([condition], sum(getattr(summary, condition) for summary in summaries))
        return family

    def _conditions(self, of_the_service: Sequence[Condition]) -> Metric:
        states = filter(None, map(self._ctx.board.state, self._ctx.inventory().devices))
        held = Counted(
            (condition.code.partition(":")[0], condition.severity)  # a fault's own code is the device's to make up
            for condition in chain(of_the_service, *(state.conditions for state in states))
        )
        family = GaugeMetricFamily("lunchong_condition", "How many hold", labels=["code", "severity"])
        for (code, severity), count in sorted(held.items()):
            family.add_metric([code, severity], count)
        return family

    def _ingest(self) -> Iterator[Metric]:
        status = self._ctx.ingest.status() if self._ctx.ingest else None
        accepting = status is not None and status.accepting
        yield GaugeMetricFamily("lunchong_ingest_accepting", "1 while telemetry is taken", int(accepting))
        yield self._conditions(status.conditions if status else ())
        if status is None:
            return
        yield GaugeMetricFamily("lunchong_spool_rows", "Messages that wait for the store", status.spool_rows)
        yield GaugeMetricFamily("lunchong_spool_bytes", "Their size", status.spool_bytes)
        yield GaugeMetricFamily("lunchong_spool_age_seconds", "Age of the oldest, service time", status.spool_age_s)
        yield from self._messages()

    def _messages(self) -> Iterator[Metric]:
        messages = CounterMetricFamily(
            "lunchong_device_messages", "What became of each device's messages", labels=["site", "device", "outcome"]
        )
        holes = GaugeMetricFamily(
            "lunchong_device_holes",
            "Messages neither received nor explained yet",
            labels=["site", "device"],
        )
        for account in (self._ctx.ingest.accounts() if self._ctx.ingest else None) or ():
            holes.add_metric([account.site, account.device], account.hole)
            for outcome in COUNTED:
                messages.add_metric([account.site, account.device, outcome], getattr(account, outcome))
        yield messages
        yield holes
