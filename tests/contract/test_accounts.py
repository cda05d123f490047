"""Accounts in each database: who may log in, until when, and what is left when somebody goes."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from scheduler import turns
from scheduler.accounts import Account, AccountTaken, Login, Review, Vehicle, Watched, name_mistake, password_mistake
from scheduler.ledger import Household
from scheduler.looking_out import LookingOut
from scheduler.quiet import QuietHours
from tests.ledgers import NINE_MS, a_place, opened, promise, step
from tests.rounds import SITE, Neighbourhood

HOME = Household(id="h1", compound="k-01", dwelling="3-502")
WANG = Account(name="wang", role="resident", household="h1", password="hash")
CAR = Vehicle(household="h1", id="car", connector_types=("GBT_AC", "GBT_DC"), max_ac_kw=7, max_dc_kw=60, battery_kwh=60)


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request, tmp_path):
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    kept = opened(request.getfixturevalue("postgres_url") if request.param == "postgresql" else url)
    for home in (HOME, replace(HOME, id="h2", dwelling="3-501")):
        kept.register(home)
    yield kept
    kept.close()


def test_a_name_is_one_account_s(ledger):
    ledger.accounts.add(WANG)
    with pytest.raises(AccountTaken, match="there is an account wang"):
        ledger.accounts.add(replace(WANG, role="admin"))
    assert ledger.accounts.account("wang") == WANG
    assert ledger.accounts.account("li") is None
    assert ledger.accounts.accounts() == [WANG]


def test_a_login_ends_with_its_time_or_by_hand(ledger):
    ledger.accounts.add(WANG)
    for token, until_ms in (("a", 1_000), ("b", 2_000)):
        assert ledger.accounts.log_in(Login(token_hash=token, account="wang", until_ms=until_ms), "hash", 0)
    assert ledger.accounts.logged_in("a", 999) == WANG
    assert ledger.accounts.logged_in("a", 1_000) is None
    assert ledger.accounts.logged_in("c", 0) is None
    ledger.accounts.log_out("b")
    assert ledger.accounts.logged_in("b", 0) is None


def test_another_password_ends_every_login_and_another_language_none(ledger):
    ledger.accounts.add(WANG)
    ledger.accounts.log_in(Login(token_hash="a", account="wang", until_ms=1_000), "hash", 0)
    ledger.accounts.change(replace(WANG, language="en"))
    assert ledger.accounts.logged_in("a", 0).language == "en"
    ledger.accounts.change(replace(WANG, password="other"))
    assert ledger.accounts.logged_in("a", 0) is None


def test_a_login_whose_time_is_over_is_not_kept(ledger):
    ledger.accounts.add(WANG)
    for token, at_ms in (("a", 0), ("b", 1_000)):
        ledger.accounts.log_in(Login(token_hash=token, account="wang", until_ms=at_ms + 1_000), "hash", at_ms)
    assert ledger.accounts.logged_in("a", 0) is None
    assert ledger.accounts.logged_in("b", 1_000) == WANG


def test_nobody_is_let_in_by_a_password_that_was_changed_meanwhile_nor_as_who_has_the_name_next(ledger):
    made = Login(token_hash="a", account="wang", until_ms=1_000)
    ledger.accounts.add(WANG)
    ledger.accounts.change(replace(WANG, password="other"))
    assert not ledger.accounts.log_in(made, "hash", 0)
    assert ledger.accounts.logged_in("a", 0) is None
    ledger.accounts.remove("wang")
    assert not ledger.accounts.log_in(made, "other", 0)
    ledger.accounts.add(WANG)
    assert ledger.accounts.logged_in("a", 0) is None


def test_who_answered_a_review_and_goes_is_not_named_any_more(ledger):
    ledger.accounts.add(replace(WANG, name="li", role="staff", household=None))
    said = {"id": "r1", "turn": "t1", "household": "h1", "note": "I was there", "at_ms": 1}
    ledger.accounts.review(Review(**said, answer="so you were", answered_by="li", answered_ms=2))
    ledger.accounts.remove("li")
    [left] = ledger.accounts.reviews()
    assert left.answered_by == "gone-account"


def test_another_language_does_not_bring_an_older_password_back(ledger):
    ledger.accounts.add(WANG)
    ledger.accounts.change(replace(WANG, password="other"), WANG)
    ledger.accounts.change(replace(WANG, language="en"), WANG)
    ledger.accounts.change(WANG, WANG)
    assert ledger.accounts.account("wang") == replace(WANG, password="other", language="en")


def test_a_vehicle_is_kept_changed_and_dropped(ledger):
    ledger.accounts.keep_vehicle(CAR)
    ledger.accounts.keep_vehicle(replace(CAR, household="h2"))
    ledger.accounts.keep_vehicle(replace(CAR, battery_kwh=77))
    assert ledger.accounts.vehicles("h1") == [replace(CAR, battery_kwh=77)]
    assert ledger.accounts.drop_vehicle("h1", "car")
    assert not ledger.accounts.drop_vehicle("h1", "car")
    assert len(ledger.accounts.vehicles("h2")) == 1


def test_a_review_waits_for_its_answer(ledger):
    asked = Review(id="r1", turn="t1", household="h1", note="I was there", at_ms=1)
    ledger.accounts.review(asked)
    assert ledger.accounts.reviews(unanswered=True) == ledger.accounts.reviews(household="h1") == [asked]
    answered = replace(asked, answer="so you were", answered_by="li", answered_ms=2)
    ledger.accounts.review(answered)
    assert ledger.accounts.reviews(unanswered=True) == []
    assert ledger.accounts.reviews() == [answered]
    assert ledger.accounts.reviews(household="h2") == []


def test_a_watch_ends_with_its_notice_and_tells_once(ledger):
    watched = Watched(id="w1", household="h1", site="jn-01", at_ms=1)
    ledger.accounts.watch(watched)
    for _ in range(2):
        ledger.accounts.tell_free(watched, "jn-01/pile-01/1", NINE_MS)
    assert ledger.accounts.watches() == []
    [told] = ledger.accounts.notices("h1")
    assert (told.id, told.state, told.at_ms) == ("w1:free", "pending", NINE_MS)


def test_who_watches_is_told_when_a_plug_is_free_and_nobody_has_it_soon(ledger):
    street = Neighbourhood(piles=1, ledger=ledger)
    looking = LookingOut(street.desk, street.ground, ledger.accounts)
    street.says(f"{SITE}/pile-01/1", "charging", kwh=0.0)
    street.later(1)
    ledger.accounts.watch(Watched(id="w1", household="h1", site=SITE, at_ms=street.now_ms))
    looking.look(street.now_ms)
    assert len(ledger.accounts.watches()) == 1
    street.says(f"{SITE}/pile-01/1", "available")
    street.later(1)
    street.believed = False
    street.ground.look(street.now_ms)
    looking.look(street.now_ms)
    assert len(ledger.accounts.watches()) == 1, "nothing is known"
    street.believed = True
    street.later(1)
    looking.look(street.now_ms)
    assert ledger.accounts.watches("h1") == []
    assert street.post.turn(1, street.now_ms) == 1


def test_nobody_is_woken_to_hear_that_a_plug_is_free(ledger):
    street = Neighbourhood(piles=1, ledger=ledger)
    looking = LookingOut(street.desk, street.ground, ledger.accounts)
    street.later(1)
    asleep = QuietHours(16 * 60, 18 * 60)
    adopted = ledger.rules(SITE)
    ledger.adopt(replace(adopted.rules, quiet=asleep), adopted.version, "p", street.now_ms)
    ledger.accounts.watch(Watched(id="w1", household="h1", site=SITE, at_ms=street.now_ms))
    looking.look(street.now_ms)
    assert ledger.accounts.notices("h1") == []
    street.later(60)
    looking.look(street.now_ms)
    assert [one.id for one in ledger.accounts.notices("h1")] == ["w1:free"]


def test_nobody_is_called_to_a_site_that_is_cut_off(ledger):
    street = Neighbourhood(piles=1, ledger=ledger)
    looking = LookingOut(street.desk, street.ground, ledger.accounts)
    street.later(1)
    ledger.accounts.watch(Watched(id="w1", household="h1", site=SITE, at_ms=street.now_ms))
    ledger.cut(SITE, "smoke", street.now_ms)
    looking.look(street.now_ms)
    assert ledger.accounts.notices("h1") == []
    ledger.reset(SITE)
    looking.look(street.now_ms)
    assert [one.id for one in ledger.accounts.notices("h1")] == ["w1:free"]


def test_who_goes_leaves_books_that_are_whole_and_nothing_that_says_who_it_was(ledger):
    ledger.accounts.add(WANG)
    ledger.accounts.add(replace(WANG, name="zhang"))
    ledger.accounts.keep_vehicle(CAR)
    ledger.accounts.watch(Watched(id="w1", household="h1", site="jn-01", at_ms=1))
    ledger.accounts.review(Review(id="r1", turn="t1", household="h1", note="I was there", at_ms=1))
    held = promise(ledger, a_place(), household="h1", vehicle="h1/car", key="k")
    ended = step(ledger, held, turns.cancelled(held, NINE_MS))
    ledger.accounts.remove("wang")
    assert ledger.turn(ended.id) == ended, "another of the household is still there"
    ledger.accounts.remove("zhang")
    left = ledger.turn(ended.id)
    assert left.household.startswith("gone-")
    assert (left.vehicle, left.code, left.rev) == (None, None, ended.rev + 1)
    assert ledger.household("h1") is None
    for kept in ("vehicles", "notices", "watches"):
        assert getattr(ledger.accounts, kept)("h1") == []
    assert ledger.accounts.reviews() == []
    assert ledger.accounts.accounts() == []
    assert not ledger.imbalance()
    ledger.register(Household(id="h9", compound="k-01", dwelling="3-502"))


@pytest.mark.parametrize("name", ["", "wang fang", "a" * 65, "王芳", "a/b"])
def test_a_name_that_nobody_could_type_is_said(name):
    assert name_mistake(name) is not None


@pytest.mark.parametrize(("password", "said"), [("short", "at least 10"), ("长" * 25, "at most 72")])
def test_a_password_that_is_none_is_said(password, said):
    assert said in password_mistake(password)
    assert password_mistake("long enough") is None
