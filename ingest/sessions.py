"""Floor 0 · From what a connector said, in the order it said it, to the charging sessions that it lived.

A session goes from plug-in to unplug; "faulted" and "unavailable" leave it as it was, and so does a new boot. Energy
is the counter's last minus its first; a counter that falls was replaced, and counting goes on from there. Charging
has ended when the pile says finishing, or suspended by the car, or when power stays under 0.1 kW for ten minutes while
no limit of ours is in force (then at the first such reading); it begins again when the pile or the power says so.
"""

from __future__ import annotations

from hashlib import sha256

from msgspec import Struct
from msgspec.structs import replace

from ingest.facts import Reading, Session

IDLE_KW = 0.1
IDLE_MS = 10 * 60_000
PLUGGED = frozenset({"preparing", "charging", "suspended", "finishing"})


class Life(Struct):
    """Where a connector stands between two readings. Advanced in place: it is touched by every message."""

    session: Session | None = None
    state: str | None = None
    limited: bool = False
    charged: bool = False
    meter_kwh: float | None = None
    """The counter's newest value; in a session `base_kwh` is its value at plug-in, moved when a meter is replaced."""
    base_kwh: float | None = None
    idle_since_ms: int | None = None
    after_gap: bool = False

    def gap(self) -> Session | None:
        """Messages are missing here. Returns the session that became incomplete by it."""
        self.after_gap = True
        if self.session is None:
            self.meter_kwh = None
            return None
        if self.session.incomplete:
            return None
        self.session = replace(self.session, incomplete=True)
        return measured(self)


def session_id(site: str, device: str, connector: int, boot: str, seq: int) -> str:
    """The name of the session that this message opens; the same whenever it is derived again."""
    return sha256(f"{site}/{device}/{connector}/{boot}/{seq}".encode()).hexdigest()[:20]


def advance(life: Life, site: str, device: str, said: Reading) -> Session | None:
    """Take one reading in. Returns the session if it opened, closed, or its end of charging moved; else None."""
    before, state_before = life.session, life.state
    if said.state is not None:
        life.state = said.state
        life.limited = said.state == "suspended" and said.suspended_by == "evse"
        if said.state == "available":
            life.after_gap = False
            return _unplug(life, said)
        if said.state in PLUGGED:
            if before is None:
                _plug_in(life, site, device, said)
            life.after_gap = False
    if said.energy_kwh is not None:
        _count(life, said.energy_kwh)
    if life.session is not None:
        _judge_charging(life, life.session, said, state_before)
    return measured(life) if life.session != before else None


def advance_by_meter(life: Life, power_kw: float, energy_kwh: float, at_ms: int) -> Session | None:
    """`advance` by a reading of the meter alone, which most are."""
    session = life.session
    _count(life, energy_kwh)
    if session is None:
        return None
    if life.state != "finishing":
        _judge_power(life, session, power_kw, at_ms)
    return measured(life) if life.session is not session else None


def measured(life: Life) -> Session | None:
    """The open session with the energy counted so far."""
    if life.session is None:
        return None
    return replace(life.session, energy_kwh=_energy(life))


def _plug_in(life: Life, site: str, device: str, said: Reading) -> None:
    life.session = Session(
        id=session_id(site, device, said.connector, said.boot, said.seq),
        site=site,
        device=device,
        connector=said.connector,
        started_ms=said.at_ms,
        open_boot=said.boot,
        open_seq=said.seq,
        incomplete=life.after_gap,
    )
    life.base_kwh = life.meter_kwh
    life.charged = False
    life.idle_since_ms = None


def _unplug(life: Life, said: Reading) -> Session | None:
    session = measured(life)
    life.session = life.base_kwh = life.idle_since_ms = None
    if session is None:
        return None
    ended_ms = session.charge_ended_ms
    if ended_ms is None and life.charged:
        ended_ms = said.at_ms
    return replace(session, charge_ended_ms=ended_ms, ended_ms=said.at_ms, close_boot=said.boot, close_seq=said.seq)


def _count(life: Life, meter_kwh: float) -> None:
    if life.session is not None:
        if life.base_kwh is None:
            life.base_kwh = meter_kwh
        elif life.meter_kwh is not None and meter_kwh < life.meter_kwh:
            life.base_kwh += meter_kwh - life.meter_kwh
    life.meter_kwh = meter_kwh


def _energy(life: Life) -> float:
    if life.base_kwh is None or life.meter_kwh is None:
        return 0.0
    return round(life.meter_kwh - life.base_kwh, 6)


def _judge_charging(life: Life, session: Session, said: Reading, state_before: str | None) -> None:
    if said.state == "finishing" or (said.state == "suspended" and said.suspended_by == "ev"):
        life.idle_since_ms = None
        if session.charge_ended_ms is None:
            life.session = replace(session, charge_ended_ms=said.at_ms)
    elif said.state == "charging" and state_before != "charging":
        life.charged = True
        life.idle_since_ms = None
        if session.charge_ended_ms is not None:
            life.session = replace(session, charge_ended_ms=None)
    elif said.power_kw is not None and life.state != "finishing":
        _judge_power(life, session, said.power_kw, said.at_ms)


def _judge_power(life: Life, session: Session, power_kw: float, at_ms: int) -> None:
    if abs(power_kw) >= IDLE_KW:
        life.charged = True
        life.idle_since_ms = None
        if session.charge_ended_ms is not None:
            life.session = replace(session, charge_ended_ms=None)
    elif life.charged and not life.limited and session.charge_ended_ms is None:
        if life.idle_since_ms is None:
            life.idle_since_ms = at_ms
        elif at_ms - life.idle_since_ms >= IDLE_MS:
            life.session = replace(session, charge_ended_ms=life.idle_since_ms)
    elif life.limited:
        life.idle_since_ms = None
