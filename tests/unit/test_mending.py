"""Sessions derived again from what is stored: right where the readings are, untouched where they are gone."""

from __future__ import annotations

from ingest.facts import Reading, Session
from ingest.memory import DeviceMemory, DeviceRecord
from ingest.mending import mend
from ingest.sessions import Life, advance

MINUTE_MS = 60_000
STORY = ["charging", "available"] * 5


def readings() -> list[Reading]:
    return [Reading("a", seq, seq * MINUTE_MS, 1, state, None, None, None) for seq, state in enumerate(STORY, start=1)]


def sessions(said: list[Reading]) -> list[Session]:
    life, found = Life(), {}
    for reading in said:
        changed = advance(life, "jn-01", "pile-01", reading)
        if changed is not None:
            found[changed.id] = changed
    return list(found.values())


def a_memory(mend_from: int) -> DeviceMemory:
    record = DeviceRecord("jn-01", "pile-01", at_boot="a", next_seq=len(STORY) + 1, mend_from=("a", mend_from))
    memory = DeviceMemory(record)
    memory.boot("a")
    memory.seen["a"].add_range(1, len(STORY))
    return memory


def test_what_was_right_is_left_alone() -> None:
    mended = mend(a_memory(0), 1, readings(), sessions(readings()))
    assert (mended.changed, mended.withdrawn) == ([], [])


def test_a_filled_hole_tells_the_sessions_apart() -> None:
    without = [reading for reading in readings() if reading.seq not in (4, 5)]
    mended = mend(a_memory(4), 1, readings(), sessions(without))
    assert [(session.open_seq, session.close_seq) for session in mended.changed] == [(3, 4), (5, 6)]
    assert mended.withdrawn == []


def test_a_session_that_did_not_happen_so_is_withdrawn() -> None:
    twice = [Reading("a", seq, seq * MINUTE_MS, 1, "charging", None, None, None) for seq in (3, 4)]
    said = sorted([*twice, *(r for r in readings() if r.seq not in (3, 4))], key=lambda reading: reading.seq)
    began_late = sessions([reading for reading in said if reading.seq != 3])
    mended = mend(a_memory(3), 1, said, began_late)
    assert [session.open_seq for session in mended.withdrawn] == [4]
    assert [session.open_seq for session in mended.changed] == [3]


def test_sessions_whose_readings_are_gone_stay_as_they_were() -> None:
    kept = [reading for reading in readings() if reading.seq > 5]
    mended = mend(a_memory(0), 1, kept, sessions(readings()))
    assert mended.withdrawn == []
    assert mended.changed == []
