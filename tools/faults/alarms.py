"""Whether an alarm is raised, and taken back, everywhere: on `service/ingest`, in the metrics, in `doctor`."""

from __future__ import annotations

import secrets

import msgspec

from benchmarks.line import Line
from ingest.messages import ServiceNotice
from ingest.topics import service_topic
from lunchong.errors import UserError
from tools.faults.outcome import NotInTime, until
from tools.faults.programs import Server

PLACES = ("service/ingest", "metrics", "doctor")


class Alarms:
    """A reader of the bus beside a running server. `accepting` and `evidence` are from the newest notice."""

    def __init__(self, server: Server, mqtt: str, board: tuple[str, str]) -> None:
        self._server, self._mqtt, self._board = server, mqtt, board
        self._line = self._connected()
        self._notice: ServiceNotice | None = None

    def close(self) -> None:
        self._line.close()

    @property
    def accepting(self) -> bool | None:
        self._listen()
        return self._notice.accepting is True if self._notice else None

    def evidence(self, code: str) -> str | None:
        """What the newest notice says of it; None where it does not hold."""
        self._listen()
        held = self._notice.conditions if self._notice else msgspec.UNSET
        found = [] if held is msgspec.UNSET else held
        return next((condition.evidence for condition in found if condition.code == code), None)

    def raised(self, code: str, within_s: float) -> str:
        """Wait until it is said in every place; the evidence."""
        self._in_all(code, within_s, holds=True)
        return self.evidence(code) or ""

    def cleared(self, code: str, within_s: float) -> None:
        """Wait until it is taken back in every place."""
        self._in_all(code, within_s, holds=False)

    def _in_all(self, code: str, within_s: float, *, holds: bool) -> None:
        wrong = list(PLACES)

        def in_all() -> bool:
            wrong[:] = [place for place in PLACES if self._says(place, code) != holds]
            return not wrong

        try:
            until(in_all, within_s, "")
        except NotInTime:
            said = "is not said" if holds else "is not taken back"
            raise NotInTime(f"{code} {said} in {', '.join(wrong)} within {within_s:g} s") from None

    def _says(self, place: str, code: str) -> bool | None:
        if place == "service/ingest":
            return self.evidence(code) is not None
        if place == "metrics":
            return self._server.metric("lunchong_condition", code=code) >= 1
        try:
            return code in self._server.conditions()
        except UserError:  # who does not answer says neither
            return None

    def _connected(self) -> Line:
        line = Line(self._mqtt, *self._board, f"alarms-{secrets.token_hex(4)}")
        line.subscribe(service_topic("ingest"))
        return line

    def _listen(self) -> None:
        try:
            heard = self._line.listen(0)
        except OSError:  # a broker hangs up on who was not asked for long; the newest notice is retained
            self._line.close()
            self._line = self._connected()
            heard = self._line.listen(1.0)
        for _, payload in heard:
            self._notice = msgspec.json.decode(payload, type=ServiceNotice) if payload else None
