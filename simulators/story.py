"""Floor 0 · What the pile at a station says while it lives the sessions of a file: at each event, and each interval.

Bodies are JSON made here by hand, because most of a replay's millions of messages are one text over and over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import attrgetter

from msgspec import Struct

from simulators.plugs import FileSession

INTERVAL_S = 900
INTERVAL_MS = INTERVAL_S * 1000
HOUR_MS = 3_600_000

Said = tuple[int, bytes]
"""When, and a message from its `"kind"` on."""


class Moment(Struct, frozen=True):
    """Something happens at a plug; from then on its counter grows from `energy_kwh` at `power_kw`."""

    at_ms: int
    bodies: tuple[bytes, ...]
    energy_kwh: float
    power_kw: float


class Plug(Struct, frozen=True):
    connector: int
    voltage_v: float

    def state(self, state: str, by: str = "") -> bytes:
        more = f',"suspended_by":"{by}"' if by else ""
        return f'"kind":"connector","connector":{self.connector},"state":"{state}"{more}}}'.encode()

    def meter(self, power_kw: float, energy_kwh: float) -> bytes:
        return (
            f'"kind":"meter","connector":{self.connector},"power_kw":{power_kw:.3f},"energy_kwh":{energy_kwh:.3f},'
            f'"current_a":{power_kw * 1000 / self.voltage_v:.2f},"voltage_v":{self.voltage_v:.1f}}}'
        ).encode()


def live(plug: Plug, sessions: Iterable[FileSession], begin_ms: int) -> Iterator[Moment]:
    """The moments of one plug whose meter is new at `begin_ms`. Sessions come by start and do not overlap.

    A session's energy flows evenly over its charging time, so that power and counter tell the same story. Two sessions
    that touch still have an `available` between them: without it they would be one.
    """
    energy_kwh = 0.0
    yield Moment(begin_ms, (plug.state("available"), plug.meter(0, 0)), 0, 0)
    for session in sessions:
        idle = plug.meter(0, energy_kwh)
        if session.charging_ms > 0:
            power_kw = session.energy_kwh * HOUR_MS / session.charging_ms
            begins = (plug.state("preparing"), idle, plug.state("charging"), plug.meter(power_kw, energy_kwh))
            yield Moment(session.start_ms, begins, energy_kwh, power_kw)
            charged_ms = session.start_ms + session.charging_ms
            energy_kwh += session.energy_kwh
            idle = plug.meter(0, energy_kwh)
            ends = plug.state("suspended", by="ev") if charged_ms < session.end_ms else plug.state("finishing")
            yield Moment(charged_ms, (idle, ends), energy_kwh, 0)
        else:
            yield Moment(session.start_ms, (plug.state("preparing"), idle), energy_kwh, 0)
        yield Moment(session.end_ms, (idle, plug.state("available")), energy_kwh, 0)


class Story:
    """One pile: the moments of its plugs, and each plug's meter at every interval that ends without one."""

    def __init__(self, sessions: list[FileSession], plugs: list[Plug]) -> None:
        """`sessions` are those of the station, by start; there is at least one."""
        self.begin_ms = sessions[0].start_ms
        self._next_tick_ms = self.begin_ms - self.begin_ms % INTERVAL_MS + INTERVAL_MS
        self._voices = [
            _Voice(plug, live(plug, [one for one in sessions if one.plug == plug.connector], self.begin_ms))
            for plug in plugs
        ]

    def tell(self, until_ms: int) -> Iterator[Said]:
        """What is said from where the last telling ended up to `until_ms`, in order, whole intervals only."""
        while self._next_tick_ms <= until_ms:
            tick_ms = self._next_tick_ms
            self._next_tick_ms += INTERVAL_MS
            moments = [moment for voice in self._voices for moment in voice.until(tick_ms)]
            if len(moments) > 1:
                moments.sort(key=attrgetter("at_ms"))
            for moment in moments:
                for body in moment.bodies:
                    yield moment.at_ms, body
            for voice in self._voices:
                if voice.now.at_ms < tick_ms:
                    yield tick_ms, voice.meter(tick_ms)


class _Voice:
    """One plug between two moments."""

    def __init__(self, plug: Plug, moments: Iterator[Moment]) -> None:
        self._plug = plug
        self._moments = moments
        self.now = next(moments)
        self._next: Moment | None = self.now
        self._idle = b""

    def until(self, tick_ms: int) -> Iterator[Moment]:
        while self._next is not None and self._next.at_ms <= tick_ms:
            self.now = self._next
            self._idle = b""
            yield self.now
            self._next = next(self._moments, None)

    def meter(self, at_ms: int) -> bytes:
        if not self.now.power_kw:
            self._idle = self._idle or self._plug.meter(0, self.now.energy_kwh)
            return self._idle
        since_ms = at_ms - self.now.at_ms
        return self._plug.meter(self.now.power_kw, self.now.energy_kwh + self.now.power_kw * since_ms / HOUR_MS)
