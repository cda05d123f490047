"""Row 11: the line between ingest and its broker is slow, then cut, then silent."""

from __future__ import annotations

import time

from tools.faults.load import PATIENCE_S, end_of_load, loaded, place_for
from tools.faults.outcome import Asked, NotInTime, On, Outcome, until
from tools.faults.programs import Street
from tools.faults.stage import Stage
from tools.faults.tcp_proxy import TcpProxy

KEEPALIVE_S = 15
NOTICED_WITHIN_S = 2.0 * KEEPALIVE_S
RATES: dict[On, int] = {"production": 1_000, "embedded": 300}
"""NATS keeps each of the thousands of messages that a silent ingest does not take, in a consumer of its session; on two
cores that are busy otherwise it then answers no login for minutes, once in a few runs at 1 000 a second."""
DELAY_S = 0.25
AGAIN_WITHIN_S = 20.0
"""Who finds the broker away tries again after up to ten seconds."""


def line_cut(asked: Asked) -> Outcome:
    """Devices keep their own lines to the broker, which goes on taking what they say."""
    outcome = Outcome()
    with Stage(place_for(asked), asked.on) as stage:
        proxy = stage.before_broker()
        server = stage.serve()
        street = loaded(stage, server, asked, RATES[asked.on], 200)
        proxy.delay_s = DELAY_S
        before = street.acked_bytes()
        time.sleep(asked.pick(10.0, 1.0))
        street.wait_for_acks(PATIENCE_S, before)
        proxy.delay_s = 0.0
        for _ in range(asked.times):
            proxy.cut()
            until(lambda: proxy.lines == 0, 5.0, "the lines are cut")
            time.sleep(asked.pick(20.0, 2.0))
            _healed(outcome, proxy, street)
            _silent(outcome, proxy)
            _healed(outcome, proxy, street)
            time.sleep(asked.pick(10.0, 1.0))
        end_of_load(outcome, stage, server, street)
    return outcome


def _silent(outcome: Outcome, proxy: TcpProxy) -> None:
    """Both ends seem to be there, and nothing passes, not even that one hung up."""
    silent_s = time.monotonic()
    proxy.fall_silent()
    try:
        until(lambda: proxy.lines == 0, 2 * NOTICED_WITHIN_S, "the silence is noticed")
    except NotInTime as late:
        outcome.missed.append(str(late))
        return
    noticed_s = [round(at_s - silent_s, 1) for at_s in proxy.hung_up_s]
    outcome.figures["noticed_after_s"] = noticed_s
    outcome.must(bool(noticed_s), "there was no line")
    outcome.must(max(noticed_s, default=0.0) <= NOTICED_WITHIN_S, f"noticed after {noticed_s} s")


def _healed(outcome: Outcome, proxy: TcpProxy, street: Street) -> None:
    before = street.acked_bytes()
    proxy.heal()
    outcome.recovered(street.wait_for_acks(PATIENCE_S, before), AGAIN_WITHIN_S)
