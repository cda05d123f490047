"""Floor 0 · Every sentence that a turn's explanation and its notices can say, in Chinese and English.

Values are filled in as they are: times by `moment`, places in a row by `ordinal` in English.
"""

from __future__ import annotations

from typing import Literal
from zoneinfo import ZoneInfo

from msgspec import Struct

from ingest.clock import from_ms

Language = Literal["zh", "en"]

SENTENCES: dict[str, tuple[str, str]] = {
    # --- why you -----------------------------------------------------------------------------------------------------
    "standing_less": (
        "28 天里您的充电时间比这里每户平均少 {minutes} 分钟，所以您在 {of} 人中排第 {rank}。",
        "In 28 days you charged {minutes} minutes less than the average household here, so you are {rank} of {of}.",
    ),
    "standing_more": (
        "28 天里您的充电时间比这里每户平均多 {minutes} 分钟，所以您在 {of} 人中排第 {rank}。",
        "In 28 days you charged {minutes} minutes more than the average household here, so you are {rank} of {of}.",
    ),
    "standing_equal": (
        "28 天里您的充电时间与这里每户平均相同，所以您在 {of} 人中排第 {rank}。",
        "In 28 days you charged as long as the average household here, so you are {rank} of {of}.",
    ),
    "overstay_counted": (
        "其中超时占位的 {minutes} 分钟按两倍计。",
        "In that, {minutes} minutes of staying after charging count twice.",
    ),
    "no_shows_counted": (
        "其中过号 {times} 次，每次按 60 分钟计。",
        "In that, {times} missed turns count 60 minutes each.",
    ),
    "made_good": (
        "上次我们没能为您保留位置，所以这次先排您。",
        "We could not keep your last place, so you go first.",
    ),
    "waited": ("您已经等了 {minutes} 分钟。", "You have waited for {minutes} minutes."),
    "accessibility": (
        "按本站规则，无障碍需要让您提前 {minutes} 分钟。",
        "By the rules of this site accessibility puts you {minutes} minutes ahead.",
    ),
    "essential": (
        "按本站规则，必需用车让您提前 {minutes} 分钟。",
        "By the rules of this site an essential vehicle puts you {minutes} minutes ahead.",
    ),
    "ahead": ("您前面还有 {n} 人。", "{n} are ahead of you."),
    "ahead_one": ("您前面还有 1 人。", "One is ahead of you."),
    "ahead_none": ("您前面没有人。", "Nobody is ahead of you."),
    # --- why then ----------------------------------------------------------------------------------------------------
    "starts": ("预计 {p50} 到 {p90} 之间开始。", "It is likely to start between {p50} and {p90}."),
    "starts_at": ("{start} 开始，{end} 结束。", "It starts at {start} and ends at {end}."),
    "taken": ("在此之前，合适的充电枪都有人用。", "Before that, every plug that fits is in use."),
    "power": ("在此之前，本站的用电额度已经用完。", "Before that, the power of this site is used up."),
    "quota": ("在此之前，您小区的名额已经用完。", "Before that, the places of your compound are used up."),
    "opening": ("在此之前，本站不开放充电。", "Before that, this site is not open for charging."),
    "no_connector": ("这里没有适合您车辆的充电枪。", "No plug here fits your vehicle."),
    "time": ("在您离开之前，时间不够充这么多电。", "There is not enough time for so much energy before you leave."),
    "power_shared": (
        "本站的电力轮流分给插着枪的车，您的车会在 {end} 前充好。",
        "The power of this site goes from car to car; yours is charged by {end}.",
    ),
    "part": (
        "这次能充 {part_kwh} 度（您申请的是 {whole_kwh} 度）。",
        "It is for {part_kwh} kWh of the {whole_kwh} kWh that you asked for.",
    ),
    # --- what would bring it forward ---------------------------------------------------------------------------------
    "leave_later": ("如果晚些离开，就更容易排上。", "It would be easier if you could leave later."),
    "less_energy": ("如果少充一些，就能早些排上。", "It would come sooner with less energy."),
    "be_flexible": ("如果同意分段或慢些充电，就能早些排上。", "It would come sooner if you agree to slower charging."),
    "near_by": (
        "如果同意去附近的站点，就能早些排上。",
        "It would come sooner at a site near by, if you agree to that.",
    ),
    # --- what a rule says no to --------------------------------------------------------------------------------------
    "refused_compounds": ("这里只供 {compounds} 的住户使用。", "Only households of {compounds} may ask here."),
    "refused_horizon": ("最多可以提前 {days} 天申请。", "You may ask for up to {days} days ahead."),
    "refused_time": (
        "充这么多电要 {minutes} 分钟，您只留了 {left_min} 分钟。",
        "So much energy takes {minutes} minutes, and you leave {left_min}.",
    ),
    "refused_longest_turn_min": (
        "充这么多电要 {minutes} 分钟，这里一次最多 {most} 分钟。",
        "So much energy takes {minutes} minutes, and a turn here is at most {most}.",
    ),
    "refused_opening": (
        "您要的时间里本站不开放充电。",
        "This site is not open for charging in the time that you ask for.",
    ),
    "refused_one_turn_a_vehicle": ("这辆车已经有一个轮次。", "This vehicle has a turn already."),
    "refused_one_turn_a_household": ("您家已经有两个轮次。", "Your household has two turns already."),
    # --- notices -----------------------------------------------------------------------------------------------------
    "mail_title": ("轮充：通知", "Charging in turn: a notice"),
    "mail_title_turn": ("轮充：您的轮次“{call}”", "Charging in turn: your turn “{call}”"),
    "notice_offer": (
        "有位置了：{place}，{start} 到 {end}。请在 {answer_by} 前答复。",
        "There is a place for you: {place}, from {start} to {end}. Please answer by {answer_by}.",
    ),
    "notice_offer_part": (
        (
            "有位置了：{place}，{start} 到 {end}，能充 {part_kwh} 度（您申请的是 {whole_kwh} 度）。"
            "请在 {answer_by} 前答复。"
        ),
        (
            "There is a place for you: {place}, from {start} to {end}, for {part_kwh} of the {whole_kwh} kWh "
            "that you asked for. Please answer by {answer_by}."
        ),
    ),
    "notice_reserved": (
        "已为您保留 {place}，{start} 到 {end}，轮次“{call}”。",
        "{place} is reserved for you from {start} to {end}, turn “{call}”.",
    ),
    "notice_soon": ("十分钟后轮到您：{place}，{start}。", "Your turn is in ten minutes: {place}, at {start}."),
    "notice_fire": (
        "{place} 的充电桩报告烟雾或过热，已全部断电。请远离，不要去取车，等工作人员确认安全。",
        "A pile at {place} reports smoke or heat, and all of it is cut off. Keep away until staff say that it is safe.",
    ),
    "notice_free": (
        "{place} 现在空着，谁先到谁用。",
        "{place} is free now, for whoever comes first.",
    ),
    "notice_answered": (
        "您的申诉有了答复：{answer}",
        "Your objection has an answer: {answer}",
    ),
    "notice_asked": (
        "有车插上了{place}。如果是您的车，请在 {until} 前确认；否则这个位置可能保不住。",
        "A car was plugged in at {place}. If it is yours, please say so by {until}, or you may lose the place.",
    ),
    "notice_charged": ("已充好，请在 {until} 前把车开走。", "It is charged. Please move your car by {until}."),
    "notice_stopped": (
        "{place} 出了故障，已停止充电。请把车开走并结束这个轮次，之后可以重新申请。",
        "{place} is out of order and gives no more. Please move your car and end this turn; you may ask again.",
    ),
    "notice_stopped_had": (
        "{place} 出了故障，您的车充了 {had_kwh} 度后停了。请把车开走并结束这个轮次，之后可以重新申请。",
        (
            "{place} is out of order, and your car gets no more there than the {had_kwh} kWh that it has. "
            "Please move it and end this turn; you may ask again."
        ),
    ),
    "notice_unheard": (
        "{place} 离线了，可能已停止充电。请去看一下；如果停了，请把车开走并结束这个轮次，之后可以重新申请。",
        (
            "{place} is not heard of and may have stopped. Please have a look: if it has, "
            "move your car and end this turn; you may ask again."
        ),
    ),
    "notice_unheard_had": (
        (
            "{place} 离线了，离线前您的车充了 {had_kwh} 度，现在可能已停止充电。"
            "请去看一下；如果停了，请把车开走并结束这个轮次，之后可以重新申请。"
        ),
        (
            "{place} is not heard of since your car had {had_kwh} kWh, and may have stopped. Please have a look: "
            "if it has, move your car and end this turn; you may ask again."
        ),
    ),
    "notice_moved": (
        "您的轮次换到 {place}，{start} 开始，因为{why}。",
        "Your turn is now at {place}, from {start}, because {why}.",
    ),
    "notice_delayed": (
        "您的轮次推迟到 {start}，因为{why}。您可以取消，不算过号。",
        "Your turn begins later, at {start}, because {why}. You may cancel, and it is no missed turn.",
    ),
    "notice_snoozed": (
        "您没有接受这个位置，已经顺延；还可以顺延 {left} 次。",
        "The place went to somebody else and you stay in the row; you may let {left} more pass.",
    ),
    "notice_withdrawn": (
        "刚才给您的位置不能用了，因为{why}。我们会再为您安排，不算顺延。",
        "The place that you were offered cannot be used, because {why}. We look for another; you let none pass.",
    ),
    "notice_given_up": (
        "您已经顺延三次，申请结束。可以重新申请。",
        "You let three places pass, so this request has ended. You may ask again.",
    ),
    "notice_missed": (
        "您没有在 {until} 前到，这次算过号。如有异议可以申诉。",
        "You did not come by {until}, so this turn was missed. If that is wrong, ask for a review.",
    ),
    "notice_expired": (
        "在您离开之前已经来不及充电，很抱歉。",
        "There is no longer enough time to charge before you leave. We are sorry.",
    ),
    "notice_failed": (
        "很抱歉，因为{why}，我们没能为您保留位置。下一个空位先给您。",
        "We are sorry: because {why} we could not keep your place. The next free one is offered to you.",
    ),
    # --- on a pile's display ------------------------------------------------------------------------------------------
    "display_until": ("可以充到 {until}。", "You may charge until {until}."),
    "display_no_place": ("现在没有空位，请把车开走。", "There is no place free now. Please move your car."),
    "display_asked": ("轮次“{call}”请在手机上确认。", "Turn “{call}”: please check in on your phone."),
    "display_charged": ("已充好，请在 {until} 前离开。", "It is charged. Please leave by {until}."),
    "display_cut": ("本站已断电，请远离。", "This site is cut off. Please keep away."),
    # --- why a promise was not kept as it was made, within the sentences before --------------------------------------
    "why_BLOCKED": ("车位被占用", "the bay is blocked"),
    "why_BROKEN_CHARGER": ("充电桩出了故障", "the pile is broken"),
    "why_POWER_OUTAGE": ("整个站点断电或离线", "the whole site is down"),
}


class Sentence(Struct, frozen=True):
    """A code of `SENTENCES` with its values: the same in every language until somebody reads it.

    A value that is a whole number called `…_ms` is a time, and `rank` a place in a row.
    """

    code: str
    said: dict[str, str | int] = {}

    def text(self, language: Language, timezone: str) -> str:
        """Raises KeyError where a value that the sentence needs is missing."""
        values: dict[str, str | int] = {}
        for name, value in self.said.items():
            if name.endswith("_ms") and isinstance(value, int):
                values[name.removesuffix("_ms")] = moment(value, language, timezone)
            elif name == "rank" and language == "en" and isinstance(value, int):
                values[name] = ordinal(value)
            elif name == "why":
                values[name] = SENTENCES[f"why_{value}"][language == "en"]
            else:
                values[name] = value
        return SENTENCES[self.code][language == "en"].format(**values)


def moment(at_ms: int, language: Language, timezone: str) -> str:
    """`11月22日 18:30`, `22 Nov 18:30`."""
    local = from_ms(at_ms).astimezone(ZoneInfo(timezone))
    if language == "zh":
        return f"{local.month}月{local.day}日 {local:%H:%M}"
    return f"{local.day} {MONTHS[local.month - 1]} {local:%H:%M}"


MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def ordinal(number: int) -> str:
    """`1st`, `2nd`, `3rd`, `4th`, `11th`, `21st`."""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
