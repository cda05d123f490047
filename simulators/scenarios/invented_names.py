"""Floor 0 · Names that sound like central Shanghai and belong to nobody."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from ingest.assets import Name

Word = tuple[str, str]
"""Chinese characters and their reading."""

_FIRST: tuple[Word, ...] = (
    ("砚", "Yan"), ("穗", "Sui"), ("棠", "Tang"), ("汀", "Ting"), ("霁", "Ji"), ("筠", "Yun"),
    ("岫", "Xiu"), ("葭", "Jia"), ("栎", "Li"), ("笺", "Jian"), ("桁", "Heng"), ("沁", "Qin"),
)  # fmt: skip
_SECOND: tuple[Word, ...] = (
    ("禾", "he"), ("笛", "di"), ("舟", "zhou"), ("灯", "deng"), ("麦", "mai"), ("陌", "mo"),
    ("檀", "tan"), ("雁", "yan"), ("萤", "ying"), ("砧", "zhen"), ("瓦", "wa"), ("屐", "ji"),
)  # fmt: skip
COMPOUND_KINDS: tuple[Word, ...] = (
    ("里", "Li"), ("坊", "Fang"), ("新村", "Xincun"), ("公寓", "Apartments"), ("花园", "Garden"), ("苑", "Court"),
)  # fmt: skip


def stems(rng: Random) -> Iterator[Word]:
    """Two-character stems, each once, in a drawn order: 144 in all."""
    pairs = [(a + b, latin_a + latin_b) for a, latin_a in _FIRST for b, latin_b in _SECOND]
    rng.shuffle(pairs)
    return iter(pairs)


def named(stem: Word, zh: str, en: str) -> Name:
    return Name(stem[0] + zh, f"{stem[1]} {en}")
