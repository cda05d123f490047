"""Taking many messages at once is taking them one by one, only faster: whatever comes, in whatever parts."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from ingest import skew
from ingest.assets import ConnectorSpec, Device, Inventory, Name, Site
from ingest.clock import Now, rfc3339
from ingest.pipeline import Pipeline
from ingest.spooling import Kept, decode_record
from ingest.states import device_state

NOW_MS = 1_795_338_000_000
PILE = Device(site="jn-01", id="pile-1", kind="pile", connectors=(ConnectorSpec(1), ConnectorSpec(2)))
STATION = Device(site="jn-01", id="station-1", kind="station")
INVENTORY = Inventory(
    sites={"jn-01": Site(id="jn-01", name=Name("静安", "Jing'an"), lat=31.2, lon=121.4)},
    devices={PILE.name: PILE, STATION.name: STATION},
)
STATES = ["available", "preparing", "charging", "suspended", "finishing", "faulted"]


def telemetry(name: str, *messages: dict[str, object]) -> tuple[str, bytes, bool]:
    body = messages[0] if len(messages) == 1 else list(messages)
    return f"lunchong/v1/{name}/telemetry", json.dumps(body).encode(), False


def meter(
    seq: int, at_ms: int = NOW_MS, *, boot: str = "boot-a", connector: int = 1, **said: object
) -> dict[str, object]:
    usual = {"power_kw": 7.0, "energy_kwh": 100.0 + seq, "current_a": 30, "voltage_v": 230}
    return _message(seq, at_ms, boot, kind="meter", connector=connector, **usual | said)


def _message(seq: int, at_ms: int, boot: str, **said: object) -> dict[str, object]:
    return {"v": 1, "boot": boot, "seq": seq, "ts": rfc3339(at_ms), **said}


@dataclass
class Outcome:
    """Everything that a stream of messages leaves behind."""

    rows: list[tuple[object, ...]] = field(default_factory=list)
    sessions: dict[str, object] = field(default_factory=dict)
    dead: dict[str, tuple[str, int, int | None]] = field(default_factory=dict)
    acks: dict[tuple[str, str], list[tuple[int, int]]] = field(default_factory=dict)
    records: dict[str, object] = field(default_factory=dict)
    skewed: list[object] = field(default_factory=list)


def outcome(parts: list[list[tuple[str, bytes, bool]]], *, careful: bool, judge_skew: bool = True) -> Outcome:
    pipe, found = Pipeline(INVENTORY, Kept([], [], []), judge_skew=judge_skew, careful=careful), Outcome()
    for number, part in enumerate(parts):
        now = Now(NOW_MS + number * 60_000, number * 60.0)
        for publishes in [[one] for one in part] if careful else [part]:
            pipe.take(publishes, now)
        pipe.settle(now)
        drawn = pipe.draw()
        batch = drawn.commit.batch
        found.rows += sorted([*batch.pile, *batch.station, *batch.event], key=repr)
        found.sessions |= {session.id: session for session in batch.sessions}
        found.dead |= {letter.id: (letter.reason, letter.count, letter.seq) for letter in batch.dead}
        found.acks |= {key: list(ranges) for key, ranges in drawn.acks.items()}
        found.records |= {name: decode_record(kept) for name, kept in drawn.commit.records.items()}
        found.skewed += batch.skewed
    return found


@st.composite
def streams(draw) -> list[list[tuple[str, bytes, bool]]]:
    """A few devices' words, mostly in order, with all that goes wrong: what is late, twice, missing, odd, ill-timed."""
    seqs = {(name, boot): 0 for name in (PILE.name, STATION.name) for boot in ("boot-a", "boot-b")}
    parts = []
    for _ in range(draw(st.integers(1, 4))):
        part = []
        for _ in range(draw(st.integers(1, 25))):
            name = draw(st.sampled_from([PILE.name, PILE.name, PILE.name, STATION.name]))
            boot = draw(st.sampled_from(["boot-a"] * 5 + ["boot-b"]))
            step = draw(st.sampled_from([1] * 12 + [0, 2, 3, -1, -4]))
            seqs[name, boot] = seq = max(1, seqs[name, boot] + step)
            what = draw(st.sampled_from(["usual"] * 14 + ["array", "array", "status", "garbage"]))
            part.append(_published(draw, what, name, boot, seq))
        parts.append(part)
    return parts


def _published(draw, what: str, name: str, boot: str, seq: int) -> tuple[str, bytes, bool]:
    if what == "status":
        said = {"v": 1, "boot": boot, "online": True, "ts": rfc3339(_at_ms(seq)), "interval_s": 60, "last_seq": seq}
        return f"lunchong/v1/{name}/status", json.dumps(said).encode(), False
    if what == "garbage":
        return f"lunchong/v1/{name}/telemetry", draw(st.sampled_from([b"{", b"", b"[]", b"1", b'{"v":\n1}'])), False
    many = draw(st.integers(1, 5)) if what == "array" else 1
    return telemetry(name, *(_said(name, boot, seq + n) for n in range(many)))


def _at_ms(seq: int) -> int:
    """Clocks jump now and then: by minutes, by days, there and back."""
    off_ms = {7: -400_000, 11: 400_000, 13: 3 * 86_400_000}.get(seq % 17, 0)
    return NOW_MS - 3_600_000 + seq * 1_000 + off_ms


def _said(name: str, boot: str, seq: int) -> dict[str, object]:
    """The message of this seq: the same whenever it is said."""
    at_ms = _at_ms(seq)
    if name == STATION.name:
        return _message(seq, at_ms, boot, kind="climate", indoor_c=20 + seq % 5, indoor_rh_pct=50)
    if seq % 3 == 0:
        return _message(seq, at_ms, boot, kind="connector", connector=1 + seq % 2, state=STATES[seq // 3 % len(STATES)])
    connector = 9 if seq % 19 == 18 else 1 + seq % 2
    return meter(seq, at_ms, boot=boot, connector=connector, power_kw=7.0 if seq % 5 else 0.0)


@settings(max_examples=200)
@given(streams(), st.booleans())
def test_many_at_once_leave_what_one_by_one_would(parts, judge_skew):
    assert outcome(parts, careful=False, judge_skew=judge_skew) == outcome(parts, careful=True, judge_skew=judge_skew)


def test_what_goes_on_as_usual_is_taken_by_the_run(monkeypatch):
    """Else the test above would compare slow with slow."""
    singly, judge = [], skew.judge_message
    monkeypatch.setattr("ingest.singly.judge_message", lambda *told: (singly.append(told), judge(*told))[1])
    usual = [telemetry(PILE.name, meter(seq, NOW_MS - 3_600_000 + seq * 1_000)) for seq in range(1, 101)]
    outcome([usual[:50], usual[50:]], careful=False)
    assert len(singly) == 1


def test_two_starts_of_a_clock_that_begins_anew_are_points_of_their_own():
    """A device without a battery says 1970 at each start: the same seq at the same millisecond, twice."""
    morning, evening = (
        [telemetry(PILE.name, meter(seq, 5_000 + seq, boot=boot)) for seq in range(1, 40)]
        for boot in ("boot-a", "boot-b")
    )
    for parts in (
        [morning, evening],
        [[*morning, *evening]],
        [[*morning[:20], *evening[:20]], [*morning[20:], *evening[20:]]],
    ):
        points = [row[0] for row in outcome(parts, careful=False).rows]
        assert len(set(points)) == len(points) == 78


@pytest.mark.parametrize("seqs", [[1, 2, 3], [1, 2, 3, 3, 2], [3, 1, 2]])
def test_a_message_counts_as_received_once(seqs):
    pipe = Pipeline(INVENTORY, Kept([], [], []))
    pipe.take([telemetry(PILE.name, meter(seq)) for seq in seqs], Now(NOW_MS, 0.0))
    record = pipe.devices[PILE.name].record
    assert (record.received, record.duplicates) == (3, len(seqs) - 3)


def status(at_ms: int, boot: str = "boot-a") -> tuple[str, bytes, bool]:
    said = {"v": 1, "boot": boot, "ts": rfc3339(at_ms), "online": True, "interval_s": 60, "last_seq": 0}
    return f"lunchong/v1/{PILE.name}/status", json.dumps(said).encode(), False


@pytest.mark.parametrize("boot", ["boot-a", "boot-b"])
@pytest.mark.parametrize("ago_s", [[700, 600, 601], [700, 640, 2, 30]])
def test_how_far_a_clock_is_behind_is_told_until_a_message_comes_sooner_than_that(boot, ago_s):
    meters = [meter(seq, NOW_MS - 1_000 * ago, boot=boot) for seq, ago in enumerate(ago_s, 1)]
    parts = [[status(NOW_MS - 600_000), *(telemetry(PILE.name, one) for one in meters)]]
    assert outcome(parts, careful=False) == outcome(parts, careful=True)
    pipe = Pipeline(INVENTORY, Kept([], [], []))
    pipe.take(parts[0], Now(NOW_MS, 0.0))
    said = device_state(pipe.devices[PILE.name], PILE, 1, NOW_MS)
    is_known = boot == "boot-a" and min(ago_s) >= 600
    assert said.clock_behind_s == (600.0 if is_known else UNSET), "of the boot that spoke, and of no other"


def test_connectors_that_are_numbered_anew_are_known_to_the_run():
    pipe = Pipeline(INVENTORY, Kept([], [], []))
    pipe.take([telemetry(PILE.name, meter(seq)) for seq in (1, 2, 3)], Now(NOW_MS, 0.0))
    anew = Device(site="jn-01", id="pile-1", kind="pile", connectors=(ConnectorSpec(1), ConnectorSpec(9)))
    pipe.use(Inventory(sites=INVENTORY.sites, devices={anew.name: anew}))
    pipe.take([telemetry(PILE.name, meter(seq, connector=9)) for seq in (4, 5, 6)], Now(NOW_MS, 0.0))
    record = pipe.devices[PILE.name].record
    assert (record.received, record.lives[9].meter_kwh) == (6, 106.0)


@pytest.mark.parametrize(
    "payloads",
    [
        [b"", b"{M1} {M2}"],
        [b"[{M1}", b",{M2}]"],
        [b"[{M1}", b",{M2}]", b"{M3} {M4}"],
        [b"{M1}\n{M2}", b""],
        [b"[[{M1}]", b"]"],
    ],
)
def test_payloads_that_are_whole_only_together_are_dead_letters(payloads):
    made = {f"{{M{seq}}}".encode(): json.dumps(meter(seq)).encode() for seq in range(1, 5)}
    said = [b"%b" % payload for payload in payloads]
    for name, message in made.items():
        said = [payload.replace(name, message) for payload in said]
    topic = f"lunchong/v1/{PILE.name}/telemetry"
    together = outcome([[(topic, payload, False) for payload in said]], careful=False)
    singly = outcome([[(topic, payload, False) for payload in said]], careful=True)
    assert together == singly
    assert together.rows == []


def test_a_refused_message_said_again_counts_as_a_duplicate():
    pipe = Pipeline(INVENTORY, Kept([], [], []))
    for _ in range(3):
        pipe.take([telemetry(PILE.name, meter(1, connector=9))], Now(NOW_MS, 0.0))
    record = pipe.devices[PILE.name].record
    assert (record.dead, record.duplicates, record.received) == (1, 2, 0)


def test_points_learned_again_after_damage_are_kept_apart_from_those_of_a_new_start():
    before_it = [telemetry(PILE.name, meter(seq, 5_000 + seq)) for seq in (1, 2, 3)]
    before = [row[0] for row in outcome([before_it], careful=False).rows]
    pipe = Pipeline(INVENTORY, Kept([], [], []))
    pipe.relearn(PILE.name, "boot-a", 1, 3)
    pipe.take([telemetry(PILE.name, meter(seq, 5_000 + seq, boot="boot-b")) for seq in (1, 2, 3)], Now(NOW_MS, 0.0))
    assert not set(before) & {row[0] for row in pipe.draw().commit.batch.pile}


def test_what_was_seen_of_many_old_starts_is_let_go():
    pipe = Pipeline(INVENTORY, Kept([], [], []))
    for number in range(200):
        pipe.take([telemetry(PILE.name, meter(1, boot=f"boot-{number}"))], Now(NOW_MS, 0.0))
    memory = pipe.devices[PILE.name]
    assert len(memory.seen) == 200
    pipe.forget_old(NOW_MS + 1)
    assert len(memory.seen) <= 64


def test_no_more_groups_are_taken_than_a_station_has():
    said = {"people": 3, "seats_used": 1, "groups": {"rider": 3}}
    many = {f"group-{n}": 1 for n in range(65)}
    messages = [
        _message(1, NOW_MS, "boot-a", kind="presence", **said),
        _message(2, NOW_MS, "boot-a", kind="presence", **said | {"groups": many}),
        _message(3, NOW_MS, "boot-a", kind="presence", **said | {"groups": {"x" * 201: 1}}),
    ]
    found = outcome([[telemetry(STATION.name, message) for message in messages]], careful=False)
    assert [row[5] for row in found.rows] == [1]
    assert [reason for reason, _count, _seq in found.dead.values()] == ["bad_field:groups"] * 2
