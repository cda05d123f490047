"""Notices by mail: to whom, in which words, and once, whatever the mail server answers."""

from __future__ import annotations

from email import message_from_string, policy

import pytest
from msgspec.structs import replace

from scheduler.accounts import Account, is_address
from scheduler.ledger import Outgoing
from scheduler.mail import Mailer, mail_server, no_mail
from scheduler.post import NotYet, Post
from scheduler.quiet import QuietHours
from tests.brokers import free_port
from tests.desks import PLUGS, World
from tests.ledgers import a_place, opened
from tests.smtp import mail_box

SHANGHAI = "Asia/Shanghai"
WRONG = ["mailto://x", "smtp://u:secret@/", "smtp://u:secret@h:port/?from=a@b", "smtp://u:secret@h/"]


@pytest.fixture
def box():
    with mail_box() as box:
        yield box


@pytest.fixture(params=["sqlite", "postgresql"])
def world(request, tmp_path):
    url = request.getfixturevalue("postgres_url") if request.param == "postgresql" else f"sqlite:///{tmp_path / 'l.db'}"
    ledger = opened(url)
    ledger.lead("one", 1e6)
    world = World(ledger)
    for name, household, mail, language in (
        ("wang", "h1", "wang@example.org", "zh"), ("wu", "h1", "wu@example.org", "en"), ("ma", "h1", None, "zh"),
        ("zhang", "h2", "zhang@example.org", "zh"),
    ):  # fmt: skip
        account = Account(name=name, role="resident", household=household, password="x", mail=mail, language=language)
        ledger.accounts.add(account)
    yield world
    ledger.close()


def offered(world, household="h1", plug=0, in_buckets=2, **wish):
    turn = world.desk.ask(world.wish(household, **wish), world.now_ms)
    place = a_place(PLUGS[plug], first=world.now_ms // 900_000 + in_buckets)
    world.desk.plan(turn.id, place, world.now_ms)
    return world.desk.offer(turn.id, place, world.now_ms)


def mails(world, url):
    return Post(world.desk, Mailer(mail_server(url), SHANGHAI, world.ledger.accounts.account), "mail")


def sends(world, post):
    return post.turn(1, world.now_ms)


def states(world):
    kinds = ("pending", "sending", "sent", "unknown")
    return {state: len(found) for state in kinds if (found := world.ledger.outgoing([state], 100, "mail"))}


def test_each_of_a_household_who_gave_an_address_gets_a_notice_once_in_its_language(world, box):
    turn = offered(world)
    post = mails(world, box.url)
    assert (sends(world, post), sends(world, post)) == (2, 0)
    read = {to: message_from_string(text, policy=policy.default) for to, text in box.came}
    assert set(read) == {"wang@example.org", "wu@example.org"}
    zh, en = read["wang@example.org"], read["wu@example.org"]
    assert (zh["Subject"], en["Subject"]) == (
        f"轮充：您的轮次“{turn.call}”",
        f"Charging in turn: your turn “{turn.call}”",
    )
    assert en.get_content().startswith("There is a place for you: ")
    assert zh.get_content().startswith("有位置了：")
    assert (en["From"], en["To"], en["Auto-Submitted"]) == ("turns@example.org", "wu@example.org", "auto-generated")
    assert zh["Message-ID"] != en["Message-ID"]
    assert states(world) == {"sent": 2}


@pytest.mark.parametrize(
    ("answers", "came", "kept"),
    [
        ({"MAIL": "451 not now"}, 0, {"pending": 2}),
        ({"RCPT": "450 not that one now"}, 0, {"pending": 2}),
        ({"RCPT": "550 nobody of that name"}, 0, {"unknown": 2}),
        ({"DATA": "451 not now"}, 0, {"pending": 2}),
        ({"end": "452 full"}, 2, {"pending": 2}),
        ({"end": "554 no"}, 2, {"unknown": 2}),
        ({"end": None}, 2, {"unknown": 2}),
        ({"QUIT": "500 what"}, 2, {"sent": 2}),
    ],
)
def test_what_the_mail_server_answers_decides_whether_it_is_sent_again(world, box, answers, came, kept):
    offered(world)
    box.answers = answers
    sends(world, mails(world, box.url))
    assert len(box.came) == came
    world.ledger.give_up_sending(1)
    assert states(world) == kept
    box.answers = {}
    sends(world, mails(world, box.url))
    assert len(box.came) - came == kept.get("pending", 0)


def test_a_mail_that_is_put_off_is_tried_ever_less_and_holds_nobody_up(world, monkeypatch, caplog):
    monkeypatch.setattr("scheduler.post.AT_A_TIME", 1)
    began_ms, tried, came = world.now_ms, [], []
    burning = Outgoing(id="fire", kind="notice", to="h1", body='{"what": "fire", "said": {"place": "jn-01"}}')
    world.ledger.cut("jn-01", "smoke", world.now_ms, [burning])

    def full(item, _said, _turn):
        if item.to == "wang":
            tried.append((world.now_ms - began_ms) // 60_000)
            raise NotYet("the mail server answered 452")
        came.append(item.to)

    post = Post(world.desk, full, "mail")
    for _ in range(3):
        sends(world, post)
    assert (tried, came) == ([0], ["wu"])
    for minutes in [1] * 190 + [60] * 24:
        world.now_ms += minutes * 60_000
        sends(world, post)
    assert tried[:9] == [0, 1, 3, 7, 15, 31, 63, 123, 183]
    assert 24 * 60 <= tried[-1] <= 25 * 60
    assert states(world) == {"sent": 1, "unknown": 1}
    assert [item.id for item in world.ledger.outgoing(["pending"], 9, "notice")] == ["fire"], "its page is the same"
    assert [record.getMessage() for record in caplog.records] == [
        "a mail was put off for a day and is given up: the mail server answered 452"
    ]


def test_while_the_mail_server_is_away_nothing_is_lost_and_pages_are_told(world, box, caplog):
    turn = offered(world)
    away = mails(world, f"smtp://127.0.0.1:{free_port()}/?from=turns@example.org")
    assert [sends(world, away) for _ in range(3)] == [0, 0, 0]
    assert [record.getMessage()[:34] for record in caplog.records] == ["each mail waits: the mail server: "], (
        "said once"
    )
    assert sends(world, Post(world.desk)) == 1
    assert world.desk.turn(turn.id).told_ms == world.now_ms, "its time to answer runs"
    assert sends(world, mails(world, box.url)) == 2


def test_a_mail_on_its_way_is_not_given_up_by_who_carries_notices_beside_it(world):
    offered(world)
    [first, _] = world.ledger.outgoing(["pending"], 100, "mail")
    assert world.ledger.sending(first.id, 1)
    sends(world, Post(world.desk))
    assert states(world) == {"pending": 1, "sending": 1}


def test_at_night_mail_waits_as_the_page_does(world, box):
    world.ledger.adopt(replace(world.rules, quiet=QuietHours(0, 23 * 60 + 59)), 1, "p", world.now_ms)
    offered(world, in_buckets=80, hours=40)
    assert sends(world, mails(world, box.url)) == 0
    assert states(world) == {"pending": 2}


def test_what_is_over_and_an_address_that_is_gone_get_no_mail(world, box):
    turn = offered(world)
    world.desk.cancel(turn.id, world.now_ms)
    offered(world, "h2", plug=1)
    accounts = world.ledger.accounts
    zhang = accounts.account("zhang")
    accounts.change(replace(zhang, mail=None), zhang)
    sends(world, mails(world, box.url))
    assert box.came == []
    accounts.remove("wang")
    assert all(item.to != "wang" for item in world.ledger.outgoing(["pending", "sending", "unknown"], 100, "mail"))


def test_where_no_mail_server_is_set_any_more_nothing_is_kept_for_later(world):
    offered(world)
    post = Post(world.desk, no_mail, "mail")
    sends(world, post)
    sends(world, post)
    assert states(world) == {"unknown": 2}


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://mx.example.org/?from=a@example.org", ("mx.example.org", 587, "", "", "a@example.org", "after_hello")),
        ("smtps://u:p%40ss@mx.cn/?from=a@example.org", ("mx.cn", 465, "u", "p@ss", "a@example.org", "at_once")),
        ("smtp://localhost:25/?from=a@example.org", ("localhost", 25, "", "", "a@example.org", "none")),
    ],
)
def test_a_mail_server_is_named_by_its_address(url, server):
    assert mail_server(url) == server


@pytest.mark.parametrize("url", WRONG)
def test_a_wrong_address_of_a_server_is_said_without_its_password(url):
    with pytest.raises(ValueError, match="must") as wrong:
        mail_server(url)
    assert "secret" not in str(wrong.value)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("wang@example.org", True), ("a.b+c@x.cn", True), ("wang", False), ("@x.cn", False), ("a@", False),
        ("a@x.cn,b@x.cn", False), ("A <a@x.cn>", False), ("a@x.cn\nBcc: b@x.cn", False), ("a b@x.cn", False),
    ],
)  # fmt: skip
def test_an_address_is_one_address(text, is_one):
    assert is_address(text) is is_one
