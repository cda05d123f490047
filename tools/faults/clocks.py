"""Row 14: messages out of order, from yesterday, from a long backlog, and from clocks that are wrong."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from random import Random

import msgspec

from benchmarks.line import Line
from ingest.clock import parse_rfc3339, rfc3339
from ingest.codec import decode_ack, decode_state
from ingest.messages import DeviceState
from ingest.topics import device_topic, split_topic
from ingest.worker import QUEUE_S
from tools.faults.count import counted
from tools.faults.load import without
from tools.faults.outcome import Asked, NotInTime, Outcome, until
from tools.faults.rows import rows_of
from tools.faults.stage import Stage, place

SITE = "site-0"
SECOND_MS, MINUTE_MS, DAY_MS = 1_000, 60_000, 86_400_000
NEAR_MS = 2 * MINUTE_MS
"""A corrected time is as good as the moment of its receipt."""
STREET_FAULTS = "duplicate=0.05,reorder=0.05,skew=0.1"
ANSWER_S = 30.0


class Teller:
    """A device of the site, by hand: says what it is told to, and knows what its counter last said."""

    def __init__(self, bench: Bench, number: int) -> None:
        self.name = f"{SITE}/pile-{number:03d}"
        self.boot = secrets.token_hex(8)
        self.expected: dict[tuple[str, int], tuple[int, bool]] = {}
        """By boot and seq: the time at which it must be stored, and whether it must be flagged."""
        self.last_kwh = 0.0
        self._bench = bench

    def status(self, ts_ms: int, last_seq: int, *boots: str) -> None:
        """Said, and taken: a broker may deliver what is said after it on another topic before it."""
        kept = [{"boot": boot, "last_seq": last_seq, "dropped_ranges": []} for boot in (self.boot, *boots)]
        said = {"v": 1, "boot": self.boot, "ts": rfc3339(ts_ms), "online": True, "interval_s": 60, "last_seq": last_seq}
        self._bench.line.publish((device_topic(self.name, "status"), json.dumps(said | {"boots": kept}).encode()))
        self._bench.wait_online(self.name)

    def say(
        self, messages: Iterable[tuple[int, int]], *, at: Callable[[int], int] | None = None, boot: str = ""
    ) -> None:
        """(seq, ts) in this order, and wait until they are safe. The counter shows 100 + seq / 100, and with a later
        boot 1 000 more. `at` gives the right time of those whose clock is wrong."""
        boot = boot or self.boot
        said = list(messages)
        for seq, ts_ms in said:
            self.expected.setdefault((boot, seq), (at(ts_ms) if at else ts_ms, at is not None))
        for begin in range(0, len(said), 500):
            body = [self._meter(boot, seq, ts_ms) for seq, ts_ms in said[begin : begin + 500]]
            self._bench.line.publish((device_topic(self.name, "telemetry"), json.dumps(body).encode()))
        self._bench.wait_acked(self.name, boot, {seq for seq, _ in said})

    def newest(self, seq: int) -> None:
        """Wait until the state shows what this message of the newest boot said."""
        self.last_kwh = self._kwh(self.boot, seq)
        self._bench.wait_state(self.name, self.last_kwh)

    def _kwh(self, boot: str, seq: int) -> float:
        return 100 + seq / 100 + (1_000 if boot == self.boot else 0)

    def _meter(self, boot: str, seq: int, ts_ms: int) -> dict[str, object]:
        return {
            "v": 1, "boot": boot, "seq": seq, "ts": rfc3339(ts_ms), "kind": "meter", "connector": 1,
            "power_kw": 6.6, "energy_kwh": self._kwh(boot, seq), "current_a": 30, "voltage_v": 220,
        }  # fmt: skip


class Bench:
    """The gateway that speaks for the tellers, and a reader that watches their states."""

    def __init__(self, stage: Stage, mqtt: str, board: tuple[str, str]) -> None:
        self.line = Line(mqtt, f"{SITE}/+", stage.gateways[f"{SITE}/+"], f"faults-gateway-{secrets.token_hex(4)}")
        self.line.subscribe(device_topic(f"{SITE}/+", "ack"))
        self._reader = Line(mqtt, *board, f"faults-board-{secrets.token_hex(4)}")
        self._reader.subscribe("lunchong/v1/+/+/state")
        self._acked: dict[tuple[str, str], set[int]] = {}
        self.states: dict[str, list[DeviceState]] = {}

    def wait_acked(self, name: str, boot: str, seqs: set[int]) -> None:
        until(
            lambda: self._listen() and seqs <= self._acked.get((name, boot), set()), ANSWER_S, f"{name} is acknowledged"
        )

    def wait_online(self, name: str) -> None:
        until(
            lambda: self._listen() and any(s.online for s in self.states.get(name, [])), ANSWER_S, f"{name} is online"
        )

    def wait_state(self, name: str, kwh: float) -> None:
        until(lambda: self._listen() and self._shows(name) == kwh, ANSWER_S, f"the state of {name} shows {kwh} kWh")

    def close(self) -> None:
        self.line.close()
        self._reader.close()

    def _shows(self, name: str) -> float | None:
        said = self.states.get(name)
        return energy_of(said[-1]) if said else None

    def _listen(self) -> bool:
        for topic, payload in self.line.listen(0.01):
            split, ack = split_topic(topic), decode_ack(payload)
            for lo, hi in ack.ranges if split else ():
                self._acked.setdefault((split[0] if split else "", ack.boot), set()).update(range(lo, hi + 1))
        for topic, payload in self._reader.listen(0):
            if (split := split_topic(topic)) and payload:
                self.states.setdefault(split[0], []).append(decode_state(payload))
        return True


def energy_of(state: DeviceState) -> float | None:
    connectors = [] if state.connectors is msgspec.UNSET else state.connectors
    return next((c.energy_kwh for c in connectors if c.connector == 1 and c.energy_kwh is not msgspec.UNSET), None)


def wrong_times(asked: Asked) -> Outcome:
    """Devices tell a story each, all at once, beside a street that duplicates, reorders and runs fast."""
    outcome, rng = Outcome(), asked.rng
    whole = place(2, 10)
    with Stage(whole, asked.on) as stage:
        stage.play_only(without(whole, SITE))
        board = stage.enrolments.enroll_reader("board")
        server = stage.serve()
        street = stage.street(
            server, "--rate", f"{asked.pick(500, 100):g}", "--faults", STREET_FAULTS, "--seed", str(asked.seed)
        )
        street.wait_for_acks(60.0, 0)
        time.sleep(QUEUE_S)  # a status that comes sooner may have waited in the broker, and tells nothing of a clock
        benches = [Bench(stage, server.said.mqtt, board) for _ in STORIES]
        tellers = [Teller(bench, number) for number, bench in enumerate(benches)]
        rngs = [Random(rng.random()) for _ in STORIES]
        with ThreadPoolExecutor(len(STORIES)) as pool:
            outcome.missed += filter(None, pool.map(_told, STORIES, tellers, rngs))
        for bench in benches:
            bench.close()
        figures = street.finish()
        server.finish()
        counted(outcome, stage, street, figures.resent)
        for story, teller, bench in zip(STORIES, tellers, benches, strict=True):
            _judge(outcome, stage, story.__name__, teller, bench.states.get(teller.name, []))
    outcome.figures |= {"stories": len(STORIES), "told": sum(len(teller.expected) for teller in tellers)}
    return outcome


def _told(story: Callable[[Teller, Random], None], teller: Teller, rng: Random) -> str | None:
    """What did not come in time."""
    try:
        story(teller, rng)
    except NotInTime as late:
        return f"{story.__name__}: {late}"
    return None


def reordered(teller: Teller, rng: Random) -> None:
    now_ms = wall_ms()
    teller.status(now_ms, 200)
    messages = [(seq, now_ms - (200 - seq) * SECOND_MS) for seq in range(1, 201)]
    rng.shuffle(messages)
    teller.say(messages)
    teller.newest(200)


def replayed_from_yesterday(teller: Teller, rng: Random) -> None:
    now_ms, before = wall_ms(), secrets.token_hex(8)
    yesterday = [(seq, now_ms - DAY_MS + seq * MINUTE_MS) for seq in range(1, 121)]
    late = set(rng.sample(range(1, 121), 20))
    teller.status(now_ms, 5, before)
    teller.say([message for message in yesterday if message[0] not in late], boot=before)
    teller.say([(seq, now_ms + seq) for seq in range(1, 6)])
    teller.newest(5)
    teller.say(yesterday, boot=before)
    teller.say([(6, wall_ms())])
    teller.newest(6)


def two_days_of_backlog(teller: Teller, _rng: Random) -> None:
    now_ms = wall_ms()
    teller.status(now_ms, 2_880)
    teller.say([(seq, now_ms - (2_880 - seq) * MINUTE_MS) for seq in range(1, 2_881)])
    teller.newest(2_880)
    teller.say([(2_881, wall_ms())])
    teller.newest(2_881)


def three_days_ahead(teller: Teller, _rng: Random) -> None:
    _wrong_all_along(teller, 3 * DAY_MS)


def three_days_behind(teller: Teller, _rng: Random) -> None:
    _wrong_all_along(teller, -3 * DAY_MS)


def set_right_in_mid_boot(teller: Teller, _rng: Random) -> None:
    off_ms = 3 * DAY_MS
    teller.status(wall_ms() + off_ms, 0)
    teller.say([(seq, wall_ms() + off_ms) for seq in range(1, 21)], at=lambda ts_ms: ts_ms - off_ms)
    teller.newest(20)
    teller.say([(seq, wall_ms()) for seq in range(21, 41)])
    teller.newest(40)


def gone_wrong_in_mid_boot(teller: Teller, _rng: Random) -> None:
    off_ms = 3 * DAY_MS
    teller.status(wall_ms(), 0)
    teller.say([(seq, wall_ms()) for seq in range(1, 21)])
    teller.newest(20)
    teller.say([(seq, wall_ms() + off_ms) for seq in range(21, 41)], at=lambda ts_ms: ts_ms - off_ms)
    teller.newest(40)


STORIES: tuple[Callable[[Teller, Random], None], ...] = (
    reordered,
    replayed_from_yesterday,
    two_days_of_backlog,
    three_days_ahead,
    three_days_behind,
    set_right_in_mid_boot,
    gone_wrong_in_mid_boot,
)


def _wrong_all_along(teller: Teller, off_ms: int) -> None:
    teller.status(wall_ms() + off_ms, 0)
    for first in (1, 11):
        teller.say([(seq, wall_ms() + off_ms) for seq in range(first, first + 10)], at=lambda ts_ms: ts_ms - off_ms)
        teller.newest(first + 9)


def _judge(outcome: Outcome, stage: Stage, story: str, teller: Teller, states: list[DeviceState]) -> None:
    rows = rows_of(stage, teller.name)
    stored = {(row.boot, row.seq): (row.at_ms, row.skewed) for row in rows}
    missing = teller.expected.keys() - stored.keys()
    outcome.count(len(missing), len(rows) - len(stored))
    for key, (at_ms, flagged) in teller.expected.items():
        found_ms, found_flagged = stored.get(key, (at_ms, flagged))
        right = abs(found_ms - at_ms) <= (NEAR_MS if flagged else 0)
        if not right or found_flagged != flagged:
            outcome.missed.append(
                f"{story}: seq {key[1]} is stored at {rfc3339(found_ms)}, {'' if found_flagged else 'not '}flagged,"
                f" instead of {rfc3339(at_ms)}, {'' if flagged else 'not '}flagged"
            )
            break
    shown = [kwh for state in states if (kwh := energy_of(state)) is not None]
    observed = [parse_rfc3339(state.observed_at) for state in states if state.observed_at]
    outcome.must(shown == sorted(shown), f"{story}: the state went back: {shown}")
    outcome.must(observed == sorted(observed), f"{story}: the time of the state went back")
    outcome.must([s.rev for s in states] == sorted({s.rev for s in states}), f"{story}: rev does not grow")


def wall_ms() -> int:
    return time.time_ns() // 1_000_000
