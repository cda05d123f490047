"""Floor 0 · A charging pile: connectors with their cars, a meter each, faults, and the orders that it obeys."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, inf, isfinite
from random import Random

from ingest.assets import Device
from ingest.clock import parse_rfc3339
from ingest.messages import AnyCommand, CommandResult, Refusal, Release, Reserve, SetLimit, Severity, Show, Start, Stop
from simulators.car import Car
from simulators.connector import HOUR_MS, NEVER_MS, Connector, Reservation
from simulators.orders import Orders
from simulators.report import Report

WARMING_C_PER_KW = 2.5
WARMING_H = 0.3
LONGEST_TTL_S = 1e9
NOT_PLUGGED = ("available", "faulted", "unavailable")


class Pile:
    """Everything happens at a time that is given; times never go back. `advance` returns what the pile has to say.

    `silence_ms` is after how long without a word from the service it falls back to its `fallback_kw`.
    """

    def __init__(self, device: Device, *, start_ms: int, interval_s: int, rng: Random,
                 outdoor_c: Callable[[int], float] = lambda _ms: 20.0) -> None:  # fmt: skip
        self.name = device.name
        self.interval_ms = interval_s * 1_000
        self.orders = Orders()
        self.shown: str | None = None
        self.silence_ms = inf
        self._rng = rng
        self._outdoor_c = outdoor_c
        self._temp_c = outdoor_c(start_ms)
        self._temp_ms = start_ms
        self._heard_ms = start_ms
        self._silent = False
        self._next_report_ms = start_ms + rng.randrange(self.interval_ms)
        self._said: list[Report] = []
        self._connectors = {
            spec.id: Connector(spec, at_ms=start_ms, energy_kwh=round(rng.uniform(50, 9_000), 3), rng=rng)
            for spec in device.connectors
        }
        for connector in self._connectors.values():
            if device.fallback_kw is not None:  # the inventory's is the pile's, an order's is the connector's
                connector.fallback_kw = device.fallback_kw / len(self._connectors)
        self._spoken = {number: _visible(connector) for number, connector in self._connectors.items()}

    @property
    def connectors(self) -> list[int]:
        return list(self._connectors)

    def connector(self, number: int) -> Connector:
        """What a connector does as of the last advance. Raises KeyError for one that the pile has not."""
        return self._connectors[number]

    def is_free(self, number: int, for_turn: str | None = None) -> bool:
        """Whether a car may come there: who comes without a turn leaves alone what is kept for somebody."""
        it = self._connectors[number]
        is_kept = it.reservation is not None and it.reservation.turn != for_turn
        return it.state == "available" and not it.bay_occupied and not is_kept

    @property
    def has_news(self) -> bool:
        """Whether `advance` would return something without time going on."""
        return bool(self._said)

    @property
    def wake_ms(self) -> int:
        """When it next has something to do by itself."""
        soonest = min((c.wake_ms for c in self._connectors.values()), default=NEVER_MS)
        return min(soonest, self._next_report_ms, self._silent_from_ms)

    @property
    def _silent_from_ms(self) -> int:
        return NEVER_MS if self._silent or self.silence_ms == inf else self._heard_ms + int(self.silence_ms)

    def advance(self, until_ms: int) -> list[Report]:
        """Live until then; returns what it had to say since it was last asked, in order."""
        while (now_ms := self.wake_ms) <= until_ms:
            if now_ms >= self._silent_from_ms:
                self._silent = True
            for connector in self._connectors.values():
                if self._silent or connector.wake_ms <= now_ms:
                    self._settle(connector, now_ms)
            if now_ms >= self._next_report_ms:
                self.report_all(now_ms)
                self._next_report_ms += self.interval_ms
        said, self._said = self._said, []
        return said

    def report_all(self, now_ms: int) -> None:
        """Say each connector's state and meter, changed or not."""
        for connector in self._connectors.values():
            self._settle(connector, now_ms, always=True)

    def skip_reports_until(self, ms: int) -> None:
        """Be quiet at the intervals until then (changes are said all the same)."""
        self._next_report_ms = max(self._next_report_ms, ms + self._rng.randrange(self.interval_ms))

    def bay(self, number: int, occupied: bool, now_ms: int) -> None:
        """A car comes into the bay or leaves it; whether it plugs in is another matter."""
        connector = self._at(number, now_ms)
        connector.bay_occupied = occupied
        self._settle(connector, now_ms)

    def plug_in(
        self, number: int, car: Car, now_ms: int, *, token: str | None = None, keeps_charging: bool = False
    ) -> None:
        """A car is plugged in. Raises ValueError where one already is."""
        connector = self._at(number, now_ms)
        if connector.car:
            raise ValueError(f"{self.name}/{number} already holds a car")
        connector.keeps_charging = keeps_charging
        connector.plug_in(car, now_ms, token)
        self._settle(connector, now_ms)

    def finish(self, number: int, now_ms: int) -> None:
        """The driver ends the charging; the plug stays in until `unplug`."""
        connector = self._at(number, now_ms)
        connector.stopped = connector.car is not None
        self._settle(connector, now_ms)

    def unplug(self, number: int, now_ms: int) -> None:
        connector = self._at(number, now_ms)
        connector.unplug()
        self._settle(connector, now_ms)

    def break_down(self, number: int, code: str, severity: Severity, now_ms: int) -> None:
        connector = self._at(number, now_ms)
        connector.error = code
        self._say(now_ms, {"kind": "fault", "code": code, "severity": severity, "cleared": False})
        self._settle(connector, now_ms)

    def repair(self, number: int, now_ms: int) -> None:
        connector = self._at(number, now_ms)
        if connector.error:
            self._say(now_ms, {"kind": "fault", "code": connector.error, "severity": "info", "cleared": True})
        connector.error = None
        connector.out_of_service = False
        self._settle(connector, now_ms)

    def close_down(self, number: int, now_ms: int) -> None:
        """Out of service, without a fault."""
        connector = self._at(number, now_ms)
        connector.out_of_service = True
        self._settle(connector, now_ms)

    def restart(self, now_ms: int) -> None:
        """Power was away for a moment: limits and holds are forgotten, orders' epoch and ids are not."""
        self.advance_quietly(now_ms)
        for connector in self._connectors.values():
            connector.reservation = None
            connector.limit_until_ms = 0
            connector.ready_ms = now_ms + 10_000
        self.report_all(now_ms)

    def advance_quietly(self, until_ms: int) -> None:
        """Live until then; what there is to say is kept for the next `advance`."""
        self._said = self.advance(until_ms)

    def heard(self, now_ms: int) -> None:
        """The service said something (`ack`, `cmd` or `turns`)."""
        self._heard_ms = max(self._heard_ms, now_ms)
        if self._silent:
            self.advance_quietly(now_ms)
            self._silent = False
            for connector in self._connectors.values():
                self._settle(connector, now_ms)

    def obey(self, payload: bytes, now_ms: int) -> CommandResult | None:
        """Carry out a command; None for what not even has an id."""
        self.heard(now_ms)
        self.advance_quietly(now_ms)
        answer = self.orders.take(payload, lambda command: self._do(command, now_ms))
        for connector in self._connectors.values():
            self._settle(connector, now_ms)
        return answer

    def _do(self, command: AnyCommand, now_ms: int) -> Refusal | None:
        if not 0 <= command.ttl_s <= LONGEST_TTL_S:
            return "unsupported"
        if isinstance(command, Show):
            self.shown = command.text
            return None
        if isinstance(command, Release | Start) and command.connector is None:
            connector = next((c for c in self._connectors.values() if _holds(c, command.turn)), None)
            if connector is None:
                return "unknown_turn"
        else:
            only = next(iter(self._connectors)) if len(self._connectors) == 1 else 0
            connector = self._connectors.get(command.connector if command.connector is not None else only)
            if connector is None:
                return "unknown_connector"
        return self._do_at(connector, command, now_ms)

    def _do_at(self, connector: Connector, command: AnyCommand, now_ms: int) -> Refusal | None:
        until_ms = now_ms + int(command.ttl_s * 1_000)
        match command:
            case SetLimit(limit_kw=limit_kw, fallback_kw=fallback_kw):
                if not (isfinite(limit_kw) and isfinite(fallback_kw) and limit_kw >= 0 and fallback_kw >= 0):
                    return "unsupported"
                connector.limit_kw, connector.fallback_kw, connector.limit_until_ms = limit_kw, fallback_kw, until_ms
            case Reserve():
                return _reserve(connector, command, until_ms)
            case Release(turn=turn):
                if not _holds(connector, turn):
                    return "unknown_turn"
                connector.reservation = None
            case Start(turn=turn):
                if connector.error:
                    return "faulted"
                if connector.reservation is None or not _holds(connector, turn):
                    return "unknown_turn"
                connector.reservation.opened = True
            case Stop():
                connector.stopped = connector.car is not None
        return None

    def _at(self, number: int, now_ms: int) -> Connector:
        self.advance_quietly(now_ms)
        return self._connectors[number]

    def _settle(self, connector: Connector, now_ms: int, always: bool = False) -> None:
        """Bring a connector up to now, and say it when it changed."""
        was_plugged = self._spoken[connector.spec.id][0] not in NOT_PLUGGED
        connector.settle(now_ms, self._silent)
        visible = _visible(connector)
        if visible == self._spoken[connector.spec.id] and not always:
            return
        self._spoken[connector.spec.id] = visible
        said = [connector.meter(self._temperature_c(now_ms)), connector.word()]
        if not was_plugged and connector.car:
            said.reverse()  # the counter that a session begins with is said within it, the one it ends with too
        for fields in said:
            self._say(now_ms, fields)

    def _say(self, now_ms: int, fields: dict[str, object]) -> None:
        self._said.append(Report(now_ms, fields))

    def _temperature_c(self, now_ms: int) -> float:
        """The cabinet follows the air outside and what it loses as heat."""
        load_kw = sum(c.power_kw / (8 if c.is_dc else 1) for c in self._connectors.values())
        target_c = self._outdoor_c(now_ms) + WARMING_C_PER_KW * load_kw
        share = 1 - exp(-(now_ms - self._temp_ms) / HOUR_MS / WARMING_H)
        self._temp_c += (target_c - self._temp_c) * share
        self._temp_ms = now_ms
        return self._temp_c


def _visible(connector: Connector) -> tuple[object, ...]:
    """What is worth saying at once when it changes."""
    offered_kw = connector.offered_kw if connector.car else 0.0
    return (connector.state, connector.suspended_by, connector.bay_occupied, connector.error, offered_kw)


def _holds(connector: Connector, turn: str) -> bool:
    return connector.reservation is not None and connector.reservation.turn == turn


def _reserve(connector: Connector, command: Reserve, until_ms: int) -> Refusal | None:
    if connector.error or connector.out_of_service:
        return "faulted"
    held = connector.reservation
    if (held and held.turn != command.turn) or (held is None and connector.car):
        return "busy"
    try:
        until_ms = min(until_ms, parse_rfc3339(command.until))
    except ValueError:
        return "unsupported"
    opened = held is not None and held.opened and held.code_hash == command.code_hash
    connector.reservation = Reservation(command.turn, command.code_hash, until_ms, opened)
    return None
