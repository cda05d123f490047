"""What falls silent is noticed at its time, however often the time was moved before."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from api.deadlines import Deadlines


def test_a_name_comes_due_once_at_its_earliest_time():
    deadlines = Deadlines()
    deadlines.earliest("a", 20)
    deadlines.earliest("a", 10)
    deadlines.earliest("a", 30)
    assert [deadlines.take(now) for now in (9, 10, 30)] == [set(), {"a"}, set()]


def test_a_name_that_spoke_again_comes_due_later():
    deadlines = Deadlines()
    deadlines.earliest("a", 10)
    deadlines.forget("a")
    deadlines.earliest("a", 20)
    assert [deadlines.take(now) for now in (15, 20)] == [set(), {"a"}]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["set", "move", "take"]), st.integers(0, 50))))
def test_it_agrees_with_a_plain_table(steps):
    deadlines, table, now_ms = Deadlines(), {}, 0
    for name, what, value in steps:
        if what == "take":
            now_ms += value
            due = {key for key, due_ms in table.items() if due_ms <= now_ms}
            assert deadlines.take(now_ms) == due
            table = {key: due_ms for key, due_ms in table.items() if key not in due}
            continue
        if what == "move":
            deadlines.forget(name)
            table.pop(name, None)
        deadlines.earliest(name, now_ms + value)
        table[name] = min(now_ms + value, table.get(name, now_ms + value))


def test_it_keeps_one_entry_a_name_however_often_that_moves_on():
    deadlines = Deadlines()
    for due_ms in range(10_000):
        deadlines.forget("a")
        deadlines.earliest("a", due_ms)
    assert len(deadlines._heap) == 1
