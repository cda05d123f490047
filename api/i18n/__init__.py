"""Floor 0 · The words of the pages in Chinese and English, and which of the two somebody reads."""

from __future__ import annotations

from typing import Literal

from api.i18n import en, zh

Language = Literal["zh", "en"]
CATALOGUES: dict[Language, dict[str, str]] = {"zh": zh.WORDS, "en": en.WORDS}
TAGS: dict[Language, str] = {"zh": "zh-CN", "en": "en"}


def language_of(asked: str | None, accepted: str) -> Language:
    """The language asked for by name, else the first of ours in an Accept-Language header, else Chinese."""
    for language in CATALOGUES:
        if asked == language:
            return language
    for _, tag in sorted(_weighted(accepted), key=lambda pair: -pair[0]):
        for language in CATALOGUES:
            if tag == language or tag.startswith(f"{language}-"):
                return language
    return "zh"


def words(language: Language, key: str, **values: object) -> str:
    """The text of a key with its values. Raises KeyError for a key that the catalogue lacks."""
    return CATALOGUES[language][key].format(**values)


def _weighted(accepted: str) -> list[tuple[float, str]]:
    pairs = []
    for part in accepted.split(","):
        tag, _, weight = part.strip().partition(";q=")
        try:
            pairs.append((float(weight or 1), tag.strip().lower()))
        except ValueError:
            continue
    return pairs
