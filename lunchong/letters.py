"""Dead letters as a terminal shows them."""

from __future__ import annotations

from ingest.clock import rfc3339
from ingest.facts import DeadLetter
from lunchong.errors import UserError
from lunchong.office import Office

PAGE = 500
SHOWN = 80


def as_dict(letter: DeadLetter) -> dict[str, object]:
    """Every field; a payload that is no UTF-8 is shown with its odd bytes escaped."""
    return {
        "id": letter.id,
        "received_at": rfc3339(letter.received_ms),
        "topic": letter.topic,
        "reason": letter.reason,
        "boot": letter.boot,
        "seq": letter.seq,
        "count": letter.count,
        "payload": letter.payload.decode("utf-8", "backslashreplace"),
    }


def plain(text: str) -> str:
    """What others wrote, with whatever a terminal would obey shown as its escape."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def as_line(letter: DeadLetter) -> str:
    payload = letter.payload[: SHOWN * 4].decode("utf-8", "backslashreplace")
    text = plain(payload)[:SHOWN]
    times = f" ×{letter.count}" if letter.count > 1 else ""
    return f"{letter.id}  {rfc3339(letter.received_ms)}  {plain(letter.topic)}  {plain(letter.reason)}{times}  {text}"


def found(office: Office, wanted: str) -> DeadLetter:
    after: str | None = None
    while letters := office.dead_letters(PAGE, after):
        for letter in letters:
            if letter.id == wanted:
                return letter
        after = letters[-1].id
    raise UserError(f"there is no dead letter {wanted}")
