"""Notices leave once each, by who leads, and not in quiet hours; and one leads at a time."""

from __future__ import annotations

import pytest
from msgspec import json

from ingest.clock import rfc3339
from scheduler import turns
from scheduler.buckets import Place, bucket_at
from scheduler.leading import LEASE_S, RENEW_EVERY_S, Leader
from scheduler.ledger import LedgerUnavailable, Outgoing
from scheduler.post import NotDelivered, Post, Unsure
from scheduler.postings import notice
from scheduler.quiet import QuietHours
from scheduler.rules import RuleSet
from tests.desks import PLUGS, SITE, World

NIGHT = RuleSet(site=SITE, compounds=("k-01", "k-02"), quiet=QuietHours(22 * 60, 7 * 60))


class Carrier:
    """Takes notices, or does not."""

    def __init__(self) -> None:
        self.came: list[str] = []
        self.up = True

    def __call__(self, item, said, turn):
        if not self.up:
            raise NotDelivered
        self.came.append(f"{said.what} of {said.turn}")


@pytest.fixture
def world(ledger):
    return World(ledger)


@pytest.fixture
def carrier():
    return Carrier()


def offered(world, in_buckets=8, household="h1"):
    place = Place(PLUGS[0], bucket_at(world.now_ms) + in_buckets, (7_000,) * 4)
    asked = world.desk.ask(world.wish(household, hours=16), world.now_ms)
    world.desk.plan(asked.id, place, world.now_ms)
    return world.desk.offer(asked.id, place, world.now_ms)


def epoch_of(ledger, holder="one", for_s=60.0):
    return ledger.lead(holder, for_s).epoch


# --- notices ---------------------------------------------------------------------------------------------------------


def test_a_notice_leaves_once_and_the_time_to_answer_runs_from_then(world, carrier):
    turn, post = offered(world), Post(world.desk, carrier)
    world.now_ms += 30 * 60_000
    assert post.turn(epoch_of(world.ledger), world.now_ms) == 1
    assert post.turn(epoch_of(world.ledger), world.now_ms) == 0
    assert carrier.came == [f"offer of {turn.id}"]
    assert world.desk.turn(turn.id).due_ms == world.now_ms + 10 * 60_000


def test_what_was_not_delivered_for_certain_is_tried_again_and_stands_on_the_page_all_the_time(world, carrier):
    turn, post = offered(world), Post(world.desk, carrier)
    carrier.up = False
    assert post.turn(epoch_of(world.ledger), world.now_ms) == 0
    assert world.desk.turn(turn.id) == turn
    world.now_ms += 60_000
    carrier.up = True
    assert post.turn(epoch_of(world.ledger), world.now_ms) == 1
    assert carrier.came == [f"offer of {turn.id}"]
    assert world.desk.turn(turn.id).due_ms == world.now_ms + 10 * 60_000


def test_an_offer_that_could_not_leave_is_no_snooze(world, carrier):
    turn, post = offered(world), Post(world.desk, carrier)
    carrier.up = False
    for _ in range(9):
        post.turn(epoch_of(world.ledger), world.now_ms)
        world.now_ms += 15 * 60_000
        world.watch.tick(world.now_ms)
    waits = world.desk.turn(turn.id)
    assert (waits.state, waits.snoozes, waits.told_ms) == ("queued", 0, None)


def test_what_is_delivered_says_by_when_to_answer(world):
    turn, came = offered(world), []
    Post(world.desk, lambda _item, _said, turn: came.append(turn.due_ms)).turn(epoch_of(world.ledger), world.now_ms)
    assert came == [world.now_ms + 10 * 60_000] == [world.desk.turn(turn.id).due_ms]


def test_while_the_carrier_is_away_the_others_wait_and_nothing_is_tried_in_vain(world, carrier):
    for no in range(3):
        offered(world, in_buckets=8 + 4 * no, household=f"h{no + 1}")
    tries = []

    def away(item, _said, _turn):
        tries.append(item.id)
        raise NotDelivered

    assert Post(world.desk, away).turn(epoch_of(world.ledger), world.now_ms) == 0
    assert len(tries) == 1
    assert Post(world.desk, carrier).turn(epoch_of(world.ledger), world.now_ms) == 3


def test_that_nothing_leaves_is_a_condition_from_the_first_until_something_does(world, carrier):
    offered(world)
    carrier.up = False
    post, since = Post(world.desk, carrier), rfc3339(world.now_ms)
    assert post.conditions == []
    for _ in range(2):
        post.turn(epoch_of(world.ledger), world.now_ms)
        [held] = post.conditions
        assert (held.code, held.since, held.severity) == ("notices_wait", since, "warning")
        world.now_ms += 60_000
    carrier.up = True
    post.turn(epoch_of(world.ledger), world.now_ms)
    assert post.conditions == []


def test_what_may_have_left_is_not_sent_again_and_is_counted(world, carrier):
    turn = offered(world)

    def unsure(_item, _said, _turn):
        raise Unsure

    assert Post(world.desk, unsure).turn(epoch_of(world.ledger), world.now_ms) == 0
    assert world.desk.turn(turn.id).due_ms == world.now_ms + 10 * 60_000, "its household may have been told"
    post = Post(world.desk, carrier)
    assert post.turn(epoch_of(world.ledger), world.now_ms) == 0
    assert (carrier.came, post.unknown) == ([], 1)


def test_who_does_not_lead_sends_nothing(world, carrier):
    offered(world)
    epoch = epoch_of(world.ledger)
    assert Post(world.desk, carrier).turn(epoch + 1, world.now_ms) == 0
    assert carrier.came == []


def test_what_a_leader_was_sending_when_it_was_killed_is_not_sent_again(world, carrier):
    turn = offered(world)

    class Killed(Exception):
        pass

    def killed(_item, _said, _turn):
        raise Killed

    first = epoch_of(world.ledger, "one", for_s=0.0)
    world.ledger.lead("one", 60.0)
    with pytest.raises(Killed):
        Post(world.desk, killed).turn(first, world.now_ms)
    world.ledger.lead("one", 0.0)
    post = Post(world.desk, carrier)
    assert world.desk.turn(turn.id).told_ms is None
    for _ in range(2):
        assert post.turn(epoch_of(world.ledger, "two"), world.now_ms) == 0
        world.now_ms += 60_000
    assert world.desk.turn(turn.id).due_ms == world.now_ms + 8 * 60_000, "its household may have been told"
    assert (carrier.came, post.unknown) == ([], 1)
    assert [item.kind for item in world.ledger.outgoing(["unknown"])] == ["notice"]


def test_a_leader_that_slept_past_its_lease_sends_nothing_that_another_sent(world, carrier):
    offered(world)
    slept = epoch_of(world.ledger, "one", for_s=0.0)
    awake = Post(world.desk, carrier)
    awake.turn(epoch_of(world.ledger, "two"), world.now_ms)
    offered(world, in_buckets=20, household="h2")
    assert Post(world.desk, carrier).turn(slept, world.now_ms) == 0
    awake.turn(epoch_of(world.ledger, "two"), world.now_ms)
    assert len(carrier.came) == len(set(carrier.came)) == 2


def test_an_offer_that_was_answered_before_it_was_told_stays_answered(world, carrier):
    turn = offered(world)
    world.desk.accept(turn.id, world.now_ms)
    Post(world.desk, carrier).turn(epoch_of(world.ledger), world.now_ms)
    assert world.desk.turn(turn.id).state == "reserved"
    assert carrier.came == [f"offer of {turn.id}", f"reserved of {turn.id}"]


@pytest.mark.parametrize(("hour", "starts_in", "leaves"), [(13, 40, True), (14, 40, False), (14, 4, True)])
def test_in_quiet_hours_only_what_concerns_them_is_said(ledger, carrier, hour, starts_in, leaves):
    """At 21:00 and 22:00 in Shanghai; a place at 08:00 the next morning, and one at 23:00."""
    world = World(ledger, rules=NIGHT)
    world.now_ms += (hour - 9) * 3_600_000
    offered(world, in_buckets=starts_in)
    assert Post(world.desk, carrier).turn(epoch_of(ledger), world.now_ms) == int(leaves)
    world.now_ms += 9 * 3_600_000
    Post(world.desk, carrier).turn(epoch_of(ledger), world.now_ms)
    assert len(carrier.came) == 1


def test_that_a_place_of_tonight_is_taken_away_is_said_tonight(ledger, carrier):
    """At 23:00 in Shanghai the place of 23:30 is moved to eight in the morning."""
    world = World(ledger, rules=NIGHT)
    world.now_ms += 5 * 3_600_000
    turn = world.desk.accept(offered(world, in_buckets=6).id, world.now_ms)
    post = Post(world.desk, carrier)
    post.turn(epoch_of(ledger), world.now_ms)
    world.now_ms += 3_600_000
    later = Place(PLUGS[1], turn.place.first + 34, turn.place.watts)
    moved = turns.moved(turn, later, world.now_ms, NIGHT.quiet)
    ledger.commit([world.desk.change(turn, moved, outgoing=(notice(moved, "moved", was=turn.place),))], world.now_ms)
    assert post.turn(epoch_of(ledger), world.now_ms) == 1
    assert carrier.came[-1] == f"moved of {turn.id}"


def test_what_waits_for_the_morning_hides_nothing_that_is_to_be_said_tonight(carrier, monkeypatch):
    monkeypatch.setattr("scheduler.post.AT_A_TIME", 2)
    world = World(rules=NIGHT)
    world.now_ms += 5 * 3_600_000
    for no in range(4):
        offered(world, in_buckets=36 + 4 * no, household=f"h{no + 1}")
    tonight = offered(world, in_buckets=2, household="h5")
    post = Post(world.desk, carrier)
    epoch = epoch_of(world.ledger)
    assert sum(post.turn(epoch, world.now_ms) for _ in range(3)) == 1
    assert carrier.came == [f"offer of {tonight.id}"]


def test_a_notice_on_which_the_carrier_fell_is_unknown_and_holds_nothing_up(world, carrier):
    offered(world)

    def falls(_item, _said, _turn):
        raise RuntimeError("no such thing was thought of")

    post = Post(world.desk, falls)
    with pytest.raises(RuntimeError):
        post.turn(epoch_of(world.ledger), world.now_ms)
    offered(world, in_buckets=20, household="h2")
    again = Post(world.desk, carrier)
    assert again.turn(epoch_of(world.ledger), world.now_ms) == 1
    assert again.unknown == 1


def without_a_turn(what, household, place=SITE):
    body = json.encode({"what": what, "said": {"place": place}}).decode()
    return Outgoing(id=f"{what}:{household}", kind="notice", to=household, body=body)


def burns(world, *households):
    world.ledger.cut(SITE, "smoke", world.now_ms, [without_a_turn("fire", one) for one in households])


def test_that_something_burns_is_said_before_all_else_whatever_became_of_the_others(world, monkeypatch):
    monkeypatch.setattr("scheduler.post.AT_A_TIME", 1)
    for no in range(2):
        offered(world, in_buckets=8 + 4 * no, household=f"h{no + 1}")
    burns(world, "h1", "h2", "h3")
    came = []

    def choosy(item, said, _turn):
        if said.what != "fire" or item.to == "h1":
            raise NotDelivered("it answered 500")
        came.append(item.to)

    post, epoch = Post(world.desk, choosy), epoch_of(world.ledger)
    for _ in range(6):
        post.turn(epoch, world.now_ms)
    assert came == ["h2", "h3"]
    assert [held.code for held in post.conditions] == ["notices_wait"]


def test_a_fire_does_not_wait_until_all_that_is_pending_left(world):
    many = [without_a_turn("free", f"h{no}") for no in range(100)]
    world.ledger.cut("jn-02", "smoke", world.now_ms, many)
    came = []

    def slow(_item, said, _turn):
        if not came:
            burns(world, "h1")
        came.append(said.what)

    post, epoch = Post(world.desk, slow), epoch_of(world.ledger)
    for _ in range(2):
        post.turn(epoch, world.now_ms)
    assert came.index("fire") <= 20
    for _ in range(4):
        post.turn(epoch, world.now_ms)
    assert len(came) == 101


@pytest.mark.parametrize("carried", [True, False])
def test_at_night_only_a_fire_is_said_of_what_has_no_turn(ledger, carrier, carried):
    """At 23:00 in Shanghai; that a plug was free is from before, and could not leave then."""
    world = World(ledger, rules=NIGHT)
    world.now_ms += 6 * 3_600_000
    ledger.cut(SITE, "smoke", world.now_ms, [without_a_turn("free", "h1", PLUGS[0]), without_a_turn("fire", "h1")])
    post = Post(world.desk, carrier if carried else None)
    assert post.turn(epoch_of(ledger), world.now_ms) == 1
    assert [item.id for item in ledger.outgoing(["pending"])] == ["free:h1"]
    world.now_ms += 8 * 3_600_000
    assert post.turn(epoch_of(ledger), world.now_ms) == 1


# --- who leads -------------------------------------------------------------------------------------------------------


class Line:
    """To a ledger that may not answer."""

    def __init__(self, ledger) -> None:
        self._ledger, self.up = ledger, True

    def lead(self, holder, for_s):
        if not self.up:
            raise LedgerUnavailable("away")
        return self._ledger.lead(holder, for_s)


def test_one_of_two_leads_until_it_is_gone(ledger):
    one, two = Leader(ledger, "one"), Leader(ledger, "two")
    assert one.turn(0.0)
    assert not two.turn(0.0)
    assert one.turn(RENEW_EVERY_S)
    assert (one.epoch, two.epoch) == (1, 0)


def test_a_leader_that_cannot_renew_stops_before_another_can_begin(ledger):
    line = Line(ledger)
    one = Leader(line, "one")
    assert one.turn(0.0)
    line.up = False
    assert one.turn(LEASE_S - 2.0)
    assert not one.turn(LEASE_S - 1.0)
    assert not one.leads(LEASE_S)


def test_who_was_away_when_it_began_leads_when_it_can(ledger):
    line = Line(ledger)
    one, line.up = Leader(line, "one"), False
    assert not one.turn(0.0)
    line.up = True
    assert not one.turn(RENEW_EVERY_S - 0.1)
    assert one.turn(RENEW_EVERY_S)


def test_the_lease_fits_the_ten_seconds_in_which_another_takes_over():
    assert LEASE_S + RENEW_EVERY_S < 10.0
