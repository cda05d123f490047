"""The demo's residents, as who watches the demo would miss them: some object, most do not, and no more than assumed."""

from __future__ import annotations

from collections import Counter
from typing import get_args

import pytest

from simulators.habits import MINUTE_MS
from simulators.residents import (
    ANSWERED,
    ANSWERED_AFTER_MIN,
    CHECKS_IN,
    NEVER_SAYS,
    NOTES,
    OBJECTS,
    OBJECTS_AFTER_MIN,
    Grievance,
    Resident,
    duty_answer,
    objection,
)

MANY = 2_000


@pytest.mark.parametrize("why", get_args(Grievance))
def test_of_those_to_whom_it_happens_as_many_object_as_assumed_each_in_words_of_its_own(why):
    said = [words for turn in range(MANY) if (words := objection(why, f"t{turn}", 1)) is not None]
    assert len(said) / MANY == pytest.approx(OBJECTS[why], abs=0.04)
    assert {words.text for words in said} == set(NOTES[why])
    least, _, most = OBJECTS_AFTER_MIN
    assert all(least <= words.after_ms / MINUTE_MS <= most for words in said)


def test_the_person_on_duty_leaves_some_objections_and_takes_time_for_the_others():
    answers = [words for review in range(MANY) if (words := duty_answer(f"demo-t{review}", 1)) is not None]
    assert len(answers) / MANY == pytest.approx(ANSWERED, abs=0.04)
    assert len({words.text for words in answers}) > 1
    least, _, most = ANSWERED_AFTER_MIN
    assert all(least <= words.after_ms / MINUTE_MS <= most for words in answers)


def test_of_one_seed_the_same_households_object_to_the_same_turns():
    first, again, other = ([objection("failed", f"t{turn}", seed) for turn in range(100)] for seed in (1, 1, 2))
    assert first == again != other


def test_some_check_in_unasked_a_few_never_answer_and_the_others_say_so_when_asked():
    says = Counter(Resident(f"1/h{no}", 0).says for no in range(MANY))
    assert says["unasked"] / MANY == pytest.approx(CHECKS_IN, abs=0.04)
    assert 0 < says["never"] / MANY < 2 * NEVER_SAYS
    assert says.total() == MANY
