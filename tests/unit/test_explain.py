"""Every sentence that an explanation or a notice can say, in both languages, and when each is said."""

from __future__ import annotations

import string

import pytest
from msgspec.structs import replace

from scheduler import turns
from scheduler.buckets import Place
from scheduler.explain import FORWARD, Decision, Said, explain, refused, told
from scheduler.meanwhile import asked
from scheduler.rules import Refusal
from scheduler.sentences import SENTENCES, Sentence, ordinal
from scheduler.turns import Turn
from tests.ledgers import NO_QUIET, PLUG, a_place, a_turn
from tests.stores import NINE_MS

SHANGHAI = "Asia/Shanghai"
AVERAGE = Decision(rank=1, of=1, standing_min=0)
SECOND = Decision(rank=2, of=9, standing_min=-312)
DUSK_MS = NINE_MS + 30 * 60_000


def offer() -> Turn:
    return turns.offered(turns.planned(a_turn(call="blue heron 4"), a_place()), a_place(), NINE_MS, NO_QUIET)


def reserved() -> Turn:
    return turns.accepted(offer(), NINE_MS, NO_QUIET)


def says(turn: Turn, decision: Decision) -> list[tuple[str, str]]:
    return [(one.text("zh", SHANGHAI), one.text("en", SHANGHAI)) for one in explain(turn, decision)]


STANDINGS = [
    (
        SECOND,
        "28 天里您的充电时间比这里每户平均少 312 分钟，所以您在 9 人中排第 2。",
        "In 28 days you charged 312 minutes less than the average household here, so you are 2nd of 9.",
    ),
    (
        Decision(rank=3, of=3, standing_min=45.4),
        "28 天里您的充电时间比这里每户平均多 45 分钟，所以您在 3 人中排第 3。",
        "In 28 days you charged 45 minutes more than the average household here, so you are 3rd of 3.",
    ),
    (
        AVERAGE,
        "28 天里您的充电时间与这里每户平均相同，所以您在 1 人中排第 1。",
        "In 28 days you charged as long as the average household here, so you are 1st of 1.",
    ),
]
WHY_YOU = [
    (
        {"overstay_min": 20},
        "其中超时占位的 20 分钟按两倍计。",
        "In that, 20 minutes of staying after charging count twice.",
    ),
    ({"no_shows": 2}, "其中过号 2 次，每次按 60 分钟计。", "In that, 2 missed turns count 60 minutes each."),
    (
        {"made_good": True},
        "上次我们没能为您保留位置，所以这次先排您。",
        "We could not keep your last place, so you go first.",
    ),
    ({"waited_min": 70}, "您已经等了 70 分钟。", "You have waited for 70 minutes."),
    (
        {"accessibility_min": 120},
        "按本站规则，无障碍需要让您提前 120 分钟。",
        "By the rules of this site accessibility puts you 120 minutes ahead.",
    ),
    (
        {"essential_min": 60},
        "按本站规则，必需用车让您提前 60 分钟。",
        "By the rules of this site an essential vehicle puts you 60 minutes ahead.",
    ),
    ({"rank": 4, "of": 9}, "您前面还有 3 人。", "3 are ahead of you."),
    ({"rank": 2, "of": 9}, "您前面还有 1 人。", "One is ahead of you."),
    ({}, "您前面没有人。", "Nobody is ahead of you."),
]
WHY_THEN = [
    ("taken", "在此之前，合适的充电枪都有人用。", "Before that, every plug that fits is in use."),
    ("power", "在此之前，本站的用电额度已经用完。", "Before that, the power of this site is used up."),
    ("quota", "在此之前，您小区的名额已经用完。", "Before that, the places of your compound are used up."),
    ("opening", "在此之前，本站不开放充电。", "Before that, this site is not open for charging."),
    ("no_connector", "这里没有适合您车辆的充电枪。", "No plug here fits your vehicle."),
    ("time", "在您离开之前，时间不够充这么多电。", "There is not enough time for so much energy before you leave."),
]
FORWARDS = {
    "leave_later": ("如果晚些离开，就更容易排上。", "It would be easier if you could leave later."),
    "less_energy": ("如果少充一些，就能早些排上。", "It would come sooner with less energy."),
    "be_flexible": ("如果同意分段或慢些充电，就能早些排上。", "It would come sooner if you agree to slower charging."),
    "near_by": (
        "如果同意去附近的站点，就能早些排上。",
        "It would come sooner at a site near by, if you agree to that.",
    ),
}
REFUSALS = [
    (
        Refusal("compounds", {"compounds": "k-01, k-02"}),
        "这里只供 k-01, k-02 的住户使用。",
        "Only households of k-01, k-02 may ask here.",
    ),
    (Refusal("horizon", {"days": 7}), "最多可以提前 7 天申请。", "You may ask for up to 7 days ahead."),
    (
        Refusal("time", {"minutes": 120, "left_min": 90}),
        "充这么多电要 120 分钟，您只留了 90 分钟。",
        "So much energy takes 120 minutes, and you leave 90.",
    ),
    (
        Refusal("longest_turn_min", {"minutes": 800, "most": 720}),
        "充这么多电要 800 分钟，这里一次最多 720 分钟。",
        "So much energy takes 800 minutes, and a turn here is at most 720.",
    ),
    (
        Refusal("opening"),
        "您要的时间里本站不开放充电。",
        "This site is not open for charging in the time that you ask for.",
    ),
    (Refusal("one_turn_a_vehicle"), "这辆车已经有一个轮次。", "This vehicle has a turn already."),
    (Refusal("one_turn_a_household"), "您家已经有两个轮次。", "Your household has two turns already."),
]
NOTICES = [
    (
        told(offer(), "offer", place="江宁路 1 号枪"),
        "有位置了：江宁路 1 号枪，11月22日 17:00 到 11月22日 18:00。请在 11月22日 17:10 前答复。",
        "There is a place for you: 江宁路 1 号枪, from 22 Nov 17:00 to 22 Nov 18:00. Please answer by 22 Nov 17:10.",
    ),
    (
        told(replace(offer(), energy_kwh=12.0), "offer", place="plug 1"),
        (
            "有位置了：plug 1，11月22日 17:00 到 11月22日 18:00，能充 7.0 度（您申请的是 12.0 度）。"
            "请在 11月22日 17:10 前答复。"
        ),
        (
            "There is a place for you: plug 1, from 22 Nov 17:00 to 22 Nov 18:00, for 7.0 of the 12.0 kWh "
            "that you asked for. Please answer by 22 Nov 17:10."
        ),
    ),
    (
        told(reserved(), "reserved", place="plug 1"),
        "已为您保留 plug 1，11月22日 17:00 到 11月22日 18:00，轮次“blue heron 4”。",
        "plug 1 is reserved for you from 22 Nov 17:00 to 22 Nov 18:00, turn “blue heron 4”.",
    ),
    (
        told(reserved(), "soon", place="plug 1"),
        "十分钟后轮到您：plug 1，11月22日 17:00。",
        "Your turn is in ten minutes: plug 1, at 22 Nov 17:00.",
    ),
    (
        told(replace(turns.plugged_in(reserved(), NINE_MS), leave_by_ms=DUSK_MS), "charged"),
        "已充好，请在 11月22日 17:30 前把车开走。",
        "It is charged. Please move your car by 22 Nov 17:30.",
    ),
    (
        Said("fire", said={"place": "jn-01"}).sentence(None),
        "jn-01 的充电桩报告烟雾或过热，已全部断电。请远离，不要去取车，等工作人员确认安全。",
        "A pile at jn-01 reports smoke or heat, and all of it is cut off. Keep away until staff say that it is safe.",
    ),
    (
        Said("free", said={"place": "plug 1"}).sentence(None),
        "plug 1 现在空着，谁先到谁用。",
        "plug 1 is free now, for whoever comes first.",
    ),
    (
        Said("answered", turn="t1", said={"answer": "You are right: 我们已更正。"}).sentence(None),
        "您的申诉有了答复：You are right: 我们已更正。",
        "Your objection has an answer: You are right: 我们已更正。",
    ),
    (
        told(asked(reserved(), NINE_MS, NINE_MS), "asked", place="plug 1"),
        "有车插上了plug 1。如果是您的车，请在 11月22日 17:10 前确认；否则这个位置可能保不住。",
        "A car was plugged in at plug 1. If it is yours, please say so by 22 Nov 17:10, or you may lose the place.",
    ),
    (
        told(turns.plugged_in(reserved(), NINE_MS), "stopped", place="plug 1"),
        "plug 1 出了故障，已停止充电。请把车开走并结束这个轮次，之后可以重新申请。",
        "plug 1 is out of order and gives no more. Please move your car and end this turn; you may ask again.",
    ),
    (
        told(turns.plugged_in(reserved(), NINE_MS), "stopped", place="plug 1", had_kwh="4.5"),
        "plug 1 出了故障，您的车充了 4.5 度后停了。请把车开走并结束这个轮次，之后可以重新申请。",
        (
            "plug 1 is out of order, and your car gets no more there than the 4.5 kWh that it has. "
            "Please move it and end this turn; you may ask again."
        ),
    ),
    (
        told(turns.plugged_in(reserved(), NINE_MS), "unheard", place="plug 1"),
        "plug 1 离线了，可能已停止充电。请去看一下；如果停了，请把车开走并结束这个轮次，之后可以重新申请。",
        (
            "plug 1 is not heard of and may have stopped. Please have a look: if it has, "
            "move your car and end this turn; you may ask again."
        ),
    ),
    (
        Said("unheard", said={"place": "plug 1", "had_kwh": "4.5"}).sentence(None),
        (
            "plug 1 离线了，离线前您的车充了 4.5 度，现在可能已停止充电。"
            "请去看一下；如果停了，请把车开走并结束这个轮次，之后可以重新申请。"
        ),
        (
            "plug 1 is not heard of since your car had 4.5 kWh, and may have stopped. Please have a look: "
            "if it has, move your car and end this turn; you may ask again."
        ),
    ),
    (
        told(reserved(), "moved", place="plug 2", why="BROKEN_CHARGER"),
        "您的轮次换到 plug 2，11月22日 17:00 开始，因为充电桩出了故障。",
        "Your turn is now at plug 2, from 22 Nov 17:00, because the pile is broken.",
    ),
    (
        told(turns.delayed(reserved(), NINE_MS), "delayed", why="BLOCKED"),
        "您的轮次推迟到 11月22日 17:00，因为车位被占用。您可以取消，不算过号。",
        "Your turn begins later, at 22 Nov 17:00, because {why}. You may cancel, and it is no missed turn.".format(
            why="the bay is blocked"
        ),
    ),
    (
        told(turns.snoozed(offer(), NINE_MS), "snoozed"),
        "您没有接受这个位置，已经顺延；还可以顺延 1 次。",
        "The place went to somebody else and you stay in the row; you may let 1 more pass.",
    ),
    (
        told(turns.withdrawn(offer()), "withdrawn", why="BROKEN_CHARGER"),
        "刚才给您的位置不能用了，因为充电桩出了故障。我们会再为您安排，不算顺延。",
        "The place that you were offered cannot be used, because {why}. We look for another; you let none pass.".format(
            why="the pile is broken"
        ),
    ),
    (
        told(turns.snoozed(replace(offer(), snoozes=2), NINE_MS), "given_up"),
        "您已经顺延三次，申请结束。可以重新申请。",
        "You let three places pass, so this request has ended. You may ask again.",
    ),
    (
        told(turns.missed(reserved(), DUSK_MS), "missed"),
        "您没有在 11月22日 17:30 前到，这次算过号。如有异议可以申诉。",
        "You did not come by 22 Nov 17:30, so this turn was missed. If that is wrong, ask for a review.",
    ),
    (
        told(turns.expired(a_turn(), NINE_MS), "expired"),
        "在您离开之前已经来不及充电，很抱歉。",
        "There is no longer enough time to charge before you leave. We are sorry.",
    ),
    (
        told(turns.failed(reserved(), "POWER_OUTAGE", NINE_MS), "failed"),
        "很抱歉，因为整个站点断电或离线，我们没能为您保留位置。下一个空位先给您。",
        (
            "We are sorry: because the whole site is down we could not keep your place. "
            "The next free one is offered to you."
        ),
    ),
]


def test_who_has_a_place_is_told_why_and_no_longer_who_was_ahead():
    decision = Decision(rank=2, of=9, standing_min=-312, bound_by="taken")
    codes = {one.code for one in explain(reserved(), decision)}
    assert codes == {"standing_less", "taken", "starts_at"}
    assert {"ahead_one", "near_by"} <= {one.code for one in explain(a_turn(), decision)}


@pytest.mark.parametrize(("decision", "zh", "en"), STANDINGS)
def test_why_you_is_said_in_one_sentence(decision, zh, en):
    assert says(a_turn(), decision)[0] == (zh, en)


@pytest.mark.parametrize(("said", "zh", "en"), WHY_YOU)
def test_what_counts_for_and_against_a_household_is_said_and_how_many_are_ahead(said, zh, en):
    decision = Decision(**{"rank": 1, "of": 1, "standing_min": 5, **said})
    assert (zh, en) in says(a_turn(), decision)
    assert len(says(a_turn(), decision)) == (2 if "rank" in said or not said else 3)


@pytest.mark.parametrize(("bound_by", "zh", "en"), WHY_THEN)
def test_what_bound_it_is_said_and_what_would_bring_it_forward(bound_by, zh, en):
    said = says(a_turn(), replace(AVERAGE, bound_by=bound_by))
    assert said[2:] == [(zh, en), *(FORWARDS[code] for code in FORWARD[bound_by])]


def test_who_is_flexible_already_is_not_asked_to_be():
    said = says(a_turn(flexible=True), replace(AVERAGE, bound_by="power"))
    assert FORWARDS["be_flexible"] not in said
    assert FORWARDS["less_energy"] in said


def test_a_wait_is_said_as_from_when_to_when():
    said = says(a_turn(), replace(AVERAGE, p50_ms=NINE_MS, p90_ms=DUSK_MS))
    assert said[-1] == (
        "预计 11月22日 17:00 到 11月22日 17:30 之间开始。",
        "It is likely to start between 22 Nov 17:00 and 22 Nov 17:30.",
    )


def test_a_promise_is_said_with_its_start_and_end_and_that_power_moves():
    said = says(replace(reserved(), energy_kwh=1.7, place=Place(PLUG, a_place().first, (7_000, 0))), AVERAGE)
    assert said[-2:] == [
        ("11月22日 17:00 开始，11月22日 17:30 结束。", "It starts at 22 Nov 17:00 and ends at 22 Nov 17:30."),
        (
            "本站的电力轮流分给插着枪的车，您的车会在 11月22日 17:30 前充好。",
            "The power of this site goes from car to car; yours is charged by 22 Nov 17:30.",
        ),
    ]


def test_what_has_ended_is_not_said_to_begin():
    ended = turns.cancelled(a_turn(), NINE_MS)
    decision = Decision(rank=2, of=9, standing_min=-312, bound_by="taken", p50_ms=NINE_MS, p90_ms=DUSK_MS)
    assert [one.code for one in explain(ended, decision)] == ["standing_less", "taken"]


def test_a_place_for_a_part_of_the_need_says_so():
    assert says(replace(reserved(), energy_kwh=12.0), AVERAGE)[-1] == (
        "这次能充 7.0 度（您申请的是 12.0 度）。",
        "It is for 7.0 kWh of the 12.0 kWh that you asked for.",
    )
    assert "part" not in {one.code for one in explain(reserved(), AVERAGE)}


def test_what_begins_from_now_on_shares_no_power():
    now_on = says(replace(reserved(), energy_kwh=1.7, place=Place(PLUG, a_place().first, (0, 7_000))), AVERAGE)
    assert now_on[-1][1] == "It starts at 22 Nov 17:00 and ends at 22 Nov 17:30."


@pytest.mark.parametrize(("refusal", "zh", "en"), REFUSALS)
def test_a_rule_that_says_no_says_why(refusal, zh, en):
    sentence = refused(refusal)
    assert (sentence.text("zh", SHANGHAI), sentence.text("en", SHANGHAI)) == (zh, en)


DISPLAYS = [
    (
        Sentence("display_until", {"until_ms": DUSK_MS}),
        "可以充到 11月22日 17:30。",
        "You may charge until 22 Nov 17:30.",
    ),
    (
        Sentence("display_no_place"),
        "现在没有空位，请把车开走。",
        "There is no place free now. Please move your car.",
    ),
    (
        Sentence("display_asked", {"call": "blue heron 4"}),
        "轮次“blue heron 4”请在手机上确认。",
        "Turn “blue heron 4”: please check in on your phone.",
    ),
    (
        Sentence("display_charged", {"until_ms": DUSK_MS}),
        "已充好，请在 11月22日 17:30 前离开。",
        "It is charged. Please leave by 22 Nov 17:30.",
    ),
    (Sentence("mail_title"), "轮充：通知", "Charging in turn: a notice"),
    (
        Sentence("mail_title_turn", {"call": "blue heron 4"}),
        "轮充：您的轮次“blue heron 4”",
        "Charging in turn: your turn “blue heron 4”",
    ),
    (Sentence("display_cut"), "本站已断电，请远离。", "This site is cut off. Please keep away."),
]


@pytest.mark.parametrize(("sentence", "zh", "en"), DISPLAYS)
def test_a_display_says_what_whoever_stands_there_must_know(sentence, zh, en):
    assert (sentence.text("zh", SHANGHAI), sentence.text("en", SHANGHAI)) == (zh, en)


@pytest.mark.parametrize(("sentence", "zh", "en"), NOTICES)
def test_a_notice_says_what_happened_and_what_to_do(sentence, zh, en):
    assert (sentence.text("zh", SHANGHAI), sentence.text("en", SHANGHAI)) == (zh, en)


def test_no_sentence_is_without_a_test_here():
    said = {
        *(zh for rows in (STANDINGS, WHY_YOU, WHY_THEN, REFUSALS, NOTICES, DISPLAYS) for _, zh, _ in rows),
        *(zh for zh, _ in FORWARDS.values()),
    }
    shown = {code for code, (zh, _) in SENTENCES.items() if any(_could_be(zh, text) for text in said)}
    assert set(SENTENCES) - shown == {"starts", "starts_at", "power_shared", "part"}, "these have tests of their own"


@pytest.mark.parametrize("code", SENTENCES)
def test_both_languages_say_the_same_values(code):
    zh, en = ({name for _, name, _, _ in string.Formatter().parse(text) if name} for text in SENTENCES[code])
    assert zh == en


@pytest.mark.parametrize(
    ("number", "said"),
    [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (12, "12th"), (21, "21st"), (113, "113th")],
)
def test_ordinals(number, said):
    assert ordinal(number) == said


def test_a_value_that_a_sentence_needs_is_not_made_up():
    with pytest.raises(KeyError, match="days"):
        Sentence("refused_horizon").text("en", SHANGHAI)


def _could_be(template: str, text: str) -> bool:
    """Whether the template's fixed parts are in the text, in their order."""
    at = 0
    for part, *_ in string.Formatter().parse(template):
        at = text.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return True
