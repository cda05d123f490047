"""Floor 2 · What the bus told the board: the newest state of each device, and each process's word on itself."""

from __future__ import annotations

from msgspec import UNSET, MsgspecError

from api.stations import StationNow, read_station
from ingest.clock import parse_rfc3339
from ingest.codec import BadPayload, decode_notice, decode_state, decode_turns
from ingest.comfort import Refuge, judge
from ingest.messages import DeviceState, ServiceNotice, Turns
from ingest.topics import service_topic, split_topic


class Heard:
    """Not thread-safe. `take` keeps what is new and readable, and nothing else."""

    def __init__(self) -> None:
        self.states: dict[str, DeviceState] = {}
        self.turns: dict[str, Turns] = {}
        self.stations: dict[str, StationNow] = {}
        self.refuges: dict[str, Refuge] = {}
        self.refused = 0
        """Messages that could not be read."""
        self._notices: dict[str, ServiceNotice] = {}

    def take(self, topic: str, payload: bytes) -> str | None:
        """The name of the device that is another now, if it is. An empty payload means gone."""
        device = split_topic(topic)
        try:
            if device is None:
                self._take_notice(topic, payload)
            elif device[1] == "state":
                return device[0] if self._take_state(device[0], payload) else None
            elif device[1] == "turns":
                return device[0] if self._take_turns(device[0], payload) else None
        except (BadPayload, MsgspecError, ValueError):
            self.refused += 1
        return None

    def notice(self, process: str) -> ServiceNotice | None:
        return self._notices.get(service_topic(process))

    @property
    def ingest_online(self) -> bool:
        ingest = self.notice("ingest")
        return ingest is not None and ingest.online

    def _take_notice(self, topic: str, payload: bytes) -> None:
        if payload:
            self._notices[topic] = decode_notice(payload)
        else:
            self._notices.pop(topic, None)

    def _take_turns(self, name: str, payload: bytes) -> bool:
        if not payload:
            return self.turns.pop(name, None) is not None
        said = decode_turns(payload)
        for at in said.connectors:
            for text in [one.from_ for one in at.next] + ([at.now.until] if at.now else []):
                parse_rfc3339(text)
        if name in self.turns and said.epoch < self.turns[name].epoch:
            return False
        self.turns[name] = said
        return True

    def _take_state(self, name: str, payload: bytes) -> bool:
        if not payload:
            self.stations.pop(name, None)
            self.refuges.pop(name, None)
            return self.states.pop(name, None) is not None
        state = decode_state(payload)
        _check_times(state)
        before = self.states.get(name)
        if before is not None and state.rev <= before.rev:
            return False
        if state.station is not UNSET:
            self._take_station(name, read_station(state.station))
        self.states[name] = state
        return True

    def _take_station(self, name: str, said: StationNow) -> None:
        before, climate = self.stations.get(name), said.climate
        if climate.observed_at is not None and (before is None or before.climate != climate):
            was, at_ms = self.refuges.get(name, Refuge()), parse_rfc3339(climate.observed_at)
            self.refuges[name] = judge(was, climate.indoor_c, climate.outdoor_c, at_ms)
        self.stations[name] = said


def _check_times(state: DeviceState) -> None:
    """Raises ValueError for a time that is none: found when it is said, not when it is looked at."""
    connectors = [] if state.connectors is UNSET else state.connectors
    for at in (state.observed_at, *(connector.observed_at for connector in connectors)):
        if at is not None:
            parse_rfc3339(at)
