"""How soon, and how often, things are told after a commit."""

from __future__ import annotations

import json

from ingest.assets import ConnectorSpec, Device
from ingest.draft import Drawn
from ingest.facts import Batch
from ingest.memory import DeviceMemory, DeviceRecord, Latest
from ingest.messages import Connector, ConnectorCondition
from ingest.ranges import Ranges
from ingest.spooling import Commit
from ingest.telling import Teller

PILE = Device(site="jn-01", id="pile-01", kind="pile", connectors=(ConnectorSpec(1),))


class Told:
    """A teller with one device, whose publishes are kept."""

    def __init__(self, *, speed: float = 1.0, interval_s: int = 60) -> None:
        self.published: list[tuple[str, bytes]] = []
        self._memory = DeviceMemory(DeviceRecord("jn-01", "pile-01", interval_s=interval_s))
        self._teller = Teller(self._keep, speed=speed, first_rev=7)

    def _keep(self, topic: str, payload: bytes, _qos: int, _retain: bool) -> None:
        self.published.append((topic.rpartition("/")[2], payload))

    def commit(self, *, urgent: bool = False, acks: list[tuple[int, int]] | None = None) -> None:
        nothing = Commit(Batch(spool="", no=0), [], {}, [])
        acked = {(PILE.name, "b"): Ranges(acks)} if acks else {}
        self._teller.after(Drawn(nothing, acked, {PILE.name: urgent}, []))

    def connector(self, state: ConnectorCondition, token: str | None = None) -> None:
        """What its connector said last."""
        said = Connector(v=1, boot="b", seq=1, ts="2026-11-22T04:05:06.250Z", connector=1, state=state, token=token)
        self._memory.record.latest["connector/1"] = Latest("b", 1, 0, 0, said)

    def at(self, mono_s: float) -> int:
        """How many states were told by this turn."""
        before = len(self.states)
        self._teller.turn({PILE.name: self._memory}, {PILE.name: PILE}.get, mono_s, 0)
        return len(self.states) - before

    @property
    def states(self) -> list[dict[str, object]]:
        return [json.loads(payload) for leaf, payload in self.published if leaf == "state"]

    @property
    def acks(self) -> list[object]:
        return [json.loads(payload)["ranges"] for leaf, payload in self.published if leaf == "ack"]


def test_the_first_change_is_told_at_once_and_the_rest_once_a_second() -> None:
    told = Told()
    told.commit()
    assert told.at(10.0) == 1
    told.commit()
    assert told.at(10.5) == 0
    assert told.at(11.0) == 1
    assert told.at(12.5) == 0, "nothing changed"


def test_a_connectors_change_is_told_within_a_tenth_of_a_second() -> None:
    told = Told()
    told.commit()
    told.at(10.0)
    told.commit(urgent=True)
    assert told.at(10.05) == 1


def test_a_device_that_reports_often_is_told_of_twice_an_interval() -> None:
    told = Told(interval_s=1)
    told.commit()
    told.at(10.0)
    told.commit()
    assert told.at(10.5) == 1


def test_on_a_very_fast_clock_states_go_out_at_most_twice_a_second() -> None:
    told = Told(speed=600)
    told.commit()
    told.at(10.0)
    told.commit(urgent=True)
    assert told.at(10.4) == 0
    assert told.at(10.5) == 1


def test_revisions_grow_with_each_state() -> None:
    told = Told()
    for turn in range(3):
        told.commit(urgent=True)
        told.at(float(turn))
    assert [state["rev"] for state in told.states] == [8, 9, 10]


def test_acks_are_merged_within_a_tenth_of_a_second() -> None:
    told = Told()
    told.commit(acks=[(1, 3)])
    told.at(10.0)
    told.commit(acks=[(4, 4)])
    told.commit(acks=[(5, 6), (9, 9)])
    told.at(10.015)
    assert told.acks == [[[1, 3]]]
    told.at(10.025)
    assert told.acks == [[[1, 3]], [[4, 6], [9, 9]]]


def test_a_code_that_was_typed_is_told_before_the_state_and_taken_back_as_the_car_leaves() -> None:
    told = Told()
    told.connector("charging", token="482913")
    told.commit()
    told.at(10.0)
    assert [leaf for leaf, _ in told.published] == ["token", "state"]
    assert json.loads(told.published[0][1]) == {"v": 1, "tokens": {"1": "482913"}}
    assert "482913" not in str(told.states)
    told.commit()
    told.at(12.0)
    assert len(told.published) == 3, "the same code is not told again"
    told.connector("available")
    told.commit()
    told.at(14.0)
    assert told.published[3] == ("token", b"")
