"""Floor 0 · A turn as an iCalendar entry (RFC 5545)."""

from __future__ import annotations

from datetime import timedelta

from icalendar import Alarm, Calendar, Event

from ingest.assets import Site
from ingest.clock import from_ms
from scheduler.turns import OCPI, Turn

STATUS = {"RESERVED": "CONFIRMED", "FULFILLED": "CONFIRMED", "PENDING": "TENTATIVE"}
"""By what it is called outside; of what has ended, CANCELLED."""
SOON = timedelta(minutes=10)


def calendar(turn: Turn, site: Site | None, now_ms: int) -> bytes:
    """One event under the turn's own id, so that a later one takes the place of an earlier. It must have a place."""
    assert turn.place is not None
    entry = Event()
    entry.add("uid", f"{turn.id}@lunchong")
    entry.add("sequence", turn.rev)
    entry.add("dtstamp", from_ms(now_ms))
    entry.add("dtstart", from_ms(turn.place.start_ms))
    entry.add("dtend", from_ms(turn.place.end_ms))
    entry.add("summary", f"轮充 Charging in turn · {turn.call}")
    names = [site.name.zh, site.name.en] if site is not None else [turn.site]
    entry.add("location", " · ".join(dict.fromkeys([*names, turn.place.connector])))
    if site is not None:
        entry.add("geo", (site.lat, site.lon))
    entry.add("status", STATUS.get(OCPI[turn.state], "CANCELLED"))
    alarm = Alarm()
    alarm.add("action", "DISPLAY")
    alarm.add("description", f"轮充 Charging in turn · {turn.call}")
    alarm.add("trigger", -SOON)
    entry.add_component(alarm)
    whole = Calendar()
    whole.add("prodid", "-//Lunchong//turns//ZH")
    whole.add("version", "2.0")
    whole.add("method", "PUBLISH")
    whole.add_component(entry)
    return bytes(whole.to_ical())
