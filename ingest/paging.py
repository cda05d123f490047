"""Floor 0 · Cursors of the list of sessions: opaque to whoever asks, the same over every store."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode

from ingest.facts import Session


def place(cursor: str | None) -> tuple[int, str] | None:
    """The (started_ms, id) after which a page begins. Raises ValueError for a cursor that was not ours."""
    if cursor is None:
        return None
    try:
        started_ms, _, session = urlsafe_b64decode(cursor.encode()).decode().partition(" ")
        if not session:
            raise ValueError(cursor)
        return int(started_ms), session
    except ValueError:
        raise ValueError(f"{cursor!r} is not a cursor of this list: begin again without one") from None


def cursor_after(session: Session) -> str:
    return urlsafe_b64encode(f"{session.started_ms} {session.id}".encode()).decode()
