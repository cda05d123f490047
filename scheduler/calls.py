"""Floor 0 · Call names: what a turn is called on a pile's display, where no person's name may stand."""

from __future__ import annotations

COLOURS = {
    "blue": "蓝", "white": "白", "green": "绿", "red": "红", "golden": "金", "silver": "银", "violet": "紫",
    "black": "黑",
}  # fmt: skip
BIRDS = {
    "heron": "鹭", "swallow": "燕", "magpie": "鹊", "crane": "鹤", "oriole": "莺", "thrush": "鸫", "swan": "鹄",
    "kingfisher": "翠鸟", "pigeon": "鸽", "sparrow": "雀", "falcon": "隼", "robin": "鸲",
}  # fmt: skip
CALLS = len(COLOURS) * len(BIRDS) * 9
"""How many there are."""


def call_name(number: int) -> str:
    """The call name of any whole number, in English: `blue heron 4`. It repeats after `CALLS`."""
    rest, digit = divmod(number % CALLS, 9)
    bird, colour = divmod(rest, len(COLOURS))
    return f"{list(COLOURS)[colour]} {list(BIRDS)[bird]} {digit + 1}"


def in_chinese(call: str) -> str:
    """蓝鹭 4 for `blue heron 4`."""
    colour, bird, digit = call.split(" ")
    return f"{COLOURS[colour]}{BIRDS[bird]} {digit}"
