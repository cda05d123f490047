"""What a pile is told, and what people read off it: whose turn it is, by call name, and who comes next."""

from __future__ import annotations

import hashlib
from functools import partial

import pytest
from msgspec.structs import replace

from ingest.clock import rfc3339
from ingest.codec import encode
from scheduler.boards import boards
from scheduler.buckets import BUCKET_MS, Place, bucket_at
from scheduler.site_facts import Connector, SiteFacts
from simulators.awaited import Awaited, Call
from tests.ledgers import a_turn
from tests.stores import NINE_MS

SITE = SiteFacts(id="s", mode="in_turn", connectors=(Connector("s/p/1", 7_000), Connector("s/p/2", 7_000)))
PILE = "s/p"
HOUR_MS = 3_600_000


def at(bucket, connector=1, buckets=4, **more):
    place = Place(f"s/p/{connector}", bucket_at(NINE_MS) + bucket, (7_000,) * buckets)
    usual = {"id": f"t{bucket}", "call": f"blue heron {bucket}", "code": "123456", "state": "reserved"}
    return a_turn(site="s", place=place, **(usual | more))


def board(*turns, epoch=3, now_ms=NINE_MS):
    return boards([SITE], turns, epoch, now_ms)[PILE]


def times(bucket):
    return rfc3339((bucket_at(NINE_MS) + bucket) * BUCKET_MS)


def test_who_is_awaited_now_and_who_comes_next():
    said = board(at(8), at(0), at(4, state="offered"), at(12), at(16))
    assert (said.epoch, [one.connector for one in said.connectors]) == (3, [1, 2])
    first, second = said.connectors
    code = hashlib.sha256(b"t0:123456").hexdigest()[:32]
    assert (first.now.turn, first.now.call, first.now.code_hash) == ("t0", "blue heron 0", code)
    assert first.now.until == times(4)
    assert [(one.call, one.from_) for one in first.next] == [
        (f"blue heron {bucket}", times(bucket)) for bucket in (4, 8, 12)
    ]
    assert (second.now, second.next) == (None, [])


def test_a_car_that_is_there_is_whose_turn_it_is_also_where_another_s_has_begun():
    there = at(-4, id="walk", call="red robin 1", kind="walk_in", state="active", code=None, household=None)
    [first, _] = board(there, at(0)).connectors
    assert (first.now.turn, first.now.code_hash) == ("walk", "-")
    assert [one.call for one in first.next] == ["blue heron 0"]


def test_an_offer_is_nobody_s_turn_before_it_is_accepted():
    [first, _] = board(at(0, state="offered")).connectors
    assert first.now is None
    assert [one.call for one in first.next] == ["blue heron 0"]


# --- people in the street --------------------------------------------------------------------------------------------


@pytest.fixture
def awaited():
    return Awaited()


def test_who_is_called_is_told_once_and_may_come_when_it_begins(awaited):
    tell = partial(awaited.told, PILE)
    call = Call("blue heron 4", (PILE, 1), (bucket_at(NINE_MS) + 4) * BUCKET_MS)
    assert tell(encode(board(at(4)))) == [call]
    assert tell(encode(board(at(4)))) == []
    assert (awaited.until_ms(call), awaited.begins_ms(call) is not None) == (None, True)
    tell(encode(board(at(4), now_ms=call.from_ms)))
    assert (awaited.until_ms(call), awaited.begins_ms(call)) == (call.from_ms + HOUR_MS, None)


def test_who_was_moved_comes_where_the_turn_is_now(awaited):
    [was] = awaited.told(PILE, encode(board(at(4))))
    [now] = awaited.told(PILE, encode(board(replace(at(4), place=at(4, connector=2).place))))
    assert (now.name, now.place) == (was.name, (PILE, 2))
    assert (awaited.begins_ms(was), awaited.begins_ms(now) is not None) == (None, True)


def test_who_was_moved_to_a_plug_whose_turn_has_begun_may_come_at_once(awaited):
    awaited.told(PILE, encode(board(at(0))))
    [now] = awaited.told(PILE, encode(board(replace(at(0), place=at(0, connector=2).place))))
    assert (now.place, awaited.until_ms(now)) == ((PILE, 2), NINE_MS + HOUR_MS)


@pytest.mark.parametrize(("from_now", "stay", "kept"), [(4, 3, False), (4, 5, True), (0, 1, True)])
def test_who_comes_without_a_turn_leaves_alone_what_is_another_s_before_it_leaves(awaited, from_now, stay, kept):
    awaited.told(PILE, encode(board(at(from_now))))
    assert awaited.is_kept((PILE, 1), NINE_MS, stay * BUCKET_MS) is kept
    assert not awaited.is_kept((PILE, 2), NINE_MS, stay * BUCKET_MS)


def test_a_pile_where_only_cars_without_a_turn_were_waits_for_nobody(awaited):
    there = at(-4, kind="walk_in", state="active", code=None, buckets=40)
    assert awaited.told(PILE, encode(board(there))) == []
    assert not awaited.is_kept((PILE, 1), NINE_MS, HOUR_MS)
    assert awaited.gives_turns((PILE, 1))


@pytest.mark.parametrize("payload", [b"", b"{", b'{"v":1,"ts":"x","epoch":1,"connectors":[{"connector":1}]}'])
def test_what_cannot_be_read_changes_nothing(awaited, payload):
    awaited.told(PILE, encode(board(at(0))))
    assert awaited.told(PILE, payload) == []
    assert awaited.is_kept((PILE, 1), NINE_MS, BUCKET_MS)
