"""Floor 0 · A device that loses nothing: what it keeps, sends, sends again and gives up, with no I/O of its own.

The owner of the connection tells it what happened (`on_connect`, `on_ack`, `on_service_notice` …) and publishes, with
QoS 1, what `due` returns. Seconds (`mono_s`) are the monotonic ones of the wall; `ts_ms` is service time. The rules are
those of docs/contracts/mqtt.md, "No loss".
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Mapping
from functools import lru_cache
from random import Random

import msgspec

from ingest.clock import rfc3339
from ingest.messages import Ack, KeptBoot, ServiceNotice
from simulators.kept import Acked, Boot, Counters, Flight, Kept

IN_FLIGHT_MESSAGES = 1_000
IN_FLIGHT_ARRAYS = 4
ARRAY_MESSAGES = 500
ARRAY_BYTES = 256 * 1024
FIRST_RETRY_S = 10.0
LONGEST_RETRY_S = 300.0
OVERTAKEN_S = 1.0
TRIES_IN_ARRAYS = 3
TRIES = 6
NOTICE_WAIT_S = 1.0
"""After a connect, how long the retained word of ingest is awaited before it counts as "no such message"."""
OLD_BOOTS = 32

_encode = msgspec.json.encode
_ack_decoder = msgspec.json.Decoder(Ack)
_notice_decoder = msgspec.json.Decoder(ServiceNotice)


@lru_cache(maxsize=8)
def _read_notice(payload: bytes) -> ServiceNotice | None:
    """Thousands of devices in one process are told the same."""
    try:
        return _notice_decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


class NoLossDevice:
    """Keeps every message until an ack covers it; what it must drop it says in its status.

    `capacity` is how many messages its buffer holds, over all boots. With `arrays` it packs what waits into arrays.
    """

    def __init__(self, name: str, boot: str, *, interval_s: int, rng: Random, capacity: int = 10_000,
                 arrays: bool = False, model: str | None = None, firmware: str | None = None) -> None:  # fmt: skip
        self.name = name
        self.interval_s = interval_s
        self.capacity = capacity
        self.arrays = arrays
        self.counters = Counters()
        self.status_due = True
        self.connected = False
        self.boots = [Boot(boot, 0)]
        """Those that have something to say, oldest first; the last is the one lived now."""
        self.lived = list(self.boots)
        """Every boot there was, for whoever counts at the end."""
        self._rng = rng
        self._model = model
        self._firmware = firmware
        self._waiting: list[tuple[bool, int, int, Kept]] = []
        self._flights: OrderedDict[Flight, None] = OrderedDict()
        self._arrays_out = 0
        self._singles_out = 0
        self._kept = 0
        self._next_retry_s = float("inf")
        self._accepting = True
        self._service_since: object = None
        self._notice_awaited_until_s = 0.0

    @property
    def boot(self) -> str:
        return self.boots[-1].name

    @property
    def kept(self) -> int:
        """Messages that no ack covered yet, in flight or waiting."""
        return self._kept

    @property
    def in_flight(self) -> int:
        """Messages sent and neither acknowledged nor waiting to be sent again."""
        return sum(flight.uncovered for flight in self._flights)

    def say(self, fields: Mapping[str, object], ts_ms: int) -> int:
        """Number and keep one message; `fields` begin with `kind`. Returns its seq."""
        urgent = fields["kind"] == "smoke" or (fields["kind"] == "fault" and fields["severity"] == "critical")
        return self.say_encoded(_encode(fields)[1:], rfc3339(ts_ms), urgent=urgent)

    def say_encoded(self, body: bytes, ts: str, *, urgent: bool = False) -> int:
        """`say` for those who have millions of messages to say: `body` is JSON from `"kind"` to the closing brace."""
        boot = self.boots[-1]
        boot.last_seq += 1
        head = f'{{"v":1,"boot":"{boot.name}","seq":{boot.last_seq},"ts":"{ts}",'
        kept = Kept(boot, boot.last_seq, head.encode() + body, urgent)
        boot.kept[kept.seq] = kept
        self._kept += 1
        self.counters.said += 1
        self._wait(kept)
        while self._kept > self.capacity:
            self._drop(self._oldest())
        return kept.seq

    def due(self, mono_s: float) -> list[bytes]:
        """The telemetry payloads to publish now, in order."""
        if not self._may_send(mono_s):
            return []
        if mono_s >= self._next_retry_s:
            self._retry_expired(mono_s)
        payloads = []
        while parcel := self._next_parcel():
            payloads.append(self._send(*parcel, mono_s))
        return payloads

    def on_connect(self, mono_s: float) -> None:
        self.connected = True
        self.status_due = True
        self._notice_awaited_until_s = mono_s + NOTICE_WAIT_S
        self._accepting = True

    def on_disconnect(self) -> None:
        self.connected = False
        self._recall_all()

    def on_service_notice(self, payload: bytes) -> None:
        """`service/ingest` was said. One that is empty or cannot be read is no such message: a device then sends."""
        self._notice_awaited_until_s = 0.0
        notice = _read_notice(payload)
        if notice is None:
            self._accepting = True
            return
        accepting = notice.online and notice.accepting is not False
        restarted = accepting and notice.since != self._service_since
        if accepting:
            self._service_since = notice.since
        if accepting != self._accepting or restarted:
            self._recall_all()
        self._accepting = accepting

    def on_ack(self, payload: bytes) -> list[Acked]:
        """Let go of what the ack covers; returns what was covered for the first time."""
        try:
            ack = _ack_decoder.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return []
        boot = next((boot for boot in self.boots if boot.name == ack.boot), None)
        if boot is None:
            return []
        fresh: list[Acked] = []
        evidence_s = float("-inf")
        for lo, hi in ack.ranges:
            seqs = range(lo, hi + 1) if hi - lo < len(boot.kept) else sorted(s for s in boot.kept if lo <= s <= hi)
            first = last = 0
            for seq in seqs:
                kept = boot.kept.get(seq)
                if kept is None or kept.first_sent_s is None:
                    continue
                evidence_s = max(evidence_s, kept.first_sent_s)
                self._let_go(kept)
                if first and seq != last + 1:
                    fresh.append(Acked(boot.name, first, last))
                    first = 0
                first, last = first or seq, seq
            if first:
                fresh.append(Acked(boot.name, first, last))
        for covered in fresh:
            boot.acked.add_range(covered.lo, covered.hi)
            self.counters.acked += covered.hi - covered.lo + 1
        self._recall_overtaken(evidence_s)
        self._forget_empty_boots()
        return fresh

    def reboot(self, boot: str) -> None:
        """Start again under a new boot. What was kept stays kept, under the boot that it had."""
        self._recall_all()
        self.boots.append(Boot(boot, self.boots[-1].number + 1))
        self.lived.append(self.boots[-1])
        self._forget_empty_boots()
        self.status_due = True

    def status(self, ts_ms: int) -> bytes:
        """The retained status to publish now."""
        self.status_due = False
        listed = [boot for boot in reversed(self.boots) if boot.kept or boot.dropped]
        said: dict[str, object] = {
            "v": 1,
            "boot": self.boot,
            "ts": rfc3339(ts_ms),
            "online": True,
            "interval_s": self.interval_s,
            "last_seq": self.boots[-1].last_seq,
            "model": self._model,
            "firmware": self._firmware,
            "boots": [KeptBoot(boot.name, boot.last_seq, list(boot.dropped)) for boot in listed],
        }
        return _encode({key: value for key, value in said.items() if value is not None})

    def will(self) -> bytes:
        return _encode({"v": 1, "boot": self.boot, "online": False})

    def _may_send(self, mono_s: float) -> bool:
        return self.connected and self._accepting and mono_s >= self._notice_awaited_until_s

    def _wait(self, kept: Kept) -> None:
        kept.flight = None
        heapq.heappush(self._waiting, (not kept.urgent, kept.boot.number, kept.seq, kept))

    def _next_waiting(self) -> Kept | None:
        while self._waiting:
            kept = self._waiting[0][3]
            if kept.seq in kept.boot.kept and kept.flight is None:
                return kept
            heapq.heappop(self._waiting)
        return None

    def _next_parcel(self) -> tuple[list[Kept], bool] | None:
        """What to publish next at once, and whether it goes alone; None when nothing waits or too much is in flight."""
        parcel: list[Kept] = []
        size = 2
        while kept := self._next_waiting():
            alone = not self.arrays or kept.failed_tries >= TRIES_IN_ARRAYS
            size += len(kept.payload) + 1
            if parcel and (alone or len(parcel) == ARRAY_MESSAGES or size > ARRAY_BYTES):
                break
            if not parcel and not self._fits(1 / IN_FLIGHT_MESSAGES if alone else 1 / IN_FLIGHT_ARRAYS):
                return None
            heapq.heappop(self._waiting)
            parcel.append(kept)
            if alone:
                return parcel, True
        return (parcel, False) if parcel else None

    def _fits(self, share: float) -> bool:
        """Arrays and single messages share what may be in flight: 4 arrays, or 1 000 messages, or part of each."""
        used = self._arrays_out / IN_FLIGHT_ARRAYS + self._singles_out / IN_FLIGHT_MESSAGES
        return used + share <= 1.0 + 1e-9

    def _send(self, parcel: list[Kept], alone: bool, mono_s: float) -> bytes:
        patience_s = self._patience_s(max(kept.failed_tries for kept in parcel))
        flight = Flight(parcel, alone, mono_s, mono_s + patience_s, len(parcel))
        self._flights[flight] = None
        self._next_retry_s = min(self._next_retry_s, flight.retry_s)
        self._count_out(flight, 1)
        for kept in parcel:
            kept.flight = flight
            if kept.first_sent_s is None:
                kept.first_sent_s = mono_s
                kept.boot.sent.add(kept.seq)
                self.counters.sent += 1
            else:
                self.counters.resent += 1
        return b"[" + b",".join([kept.payload for kept in parcel]) + b"]" if len(parcel) > 1 else parcel[0].payload

    def _count_out(self, flight: Flight, by: int) -> None:
        if flight.alone:
            self._singles_out += by
        else:
            self._arrays_out += by

    def _patience_s(self, failed_tries: int) -> float:
        if failed_tries == 0:
            return FIRST_RETRY_S
        return min(FIRST_RETRY_S * 2.0**failed_tries, LONGEST_RETRY_S) * self._rng.uniform(0.75, 1.0)

    def _retry_expired(self, mono_s: float) -> None:
        for flight in [flight for flight in self._flights if flight.retry_s <= mono_s]:
            self._recall(flight, failed=True)
        self._next_retry_s = min((flight.retry_s for flight in self._flights), default=float("inf"))

    def _recall_overtaken(self, evidence_s: float) -> None:
        """What was sent more than a second before something that arrived did not arrive itself: it waits no longer."""
        while self._flights:
            flight = next(iter(self._flights))
            if flight.sent_s >= evidence_s - OVERTAKEN_S:
                break
            self._recall(flight, failed=True)

    def _recall_all(self) -> None:
        """The link or the service went away: what is in flight will be sent again, which is no failed try."""
        while self._flights:
            self._recall(next(iter(self._flights)), failed=False)

    def _recall(self, flight: Flight, failed: bool) -> None:
        self._land(flight)
        for kept in flight.messages:
            if kept.flight is not flight:
                continue
            kept.failed_tries += failed
            if kept.failed_tries >= TRIES:
                self._drop(kept)
            else:
                self._wait(kept)

    def _land(self, flight: Flight) -> None:
        del self._flights[flight]
        self._count_out(flight, -1)

    def _let_go(self, kept: Kept) -> None:
        del kept.boot.kept[kept.seq]
        self._kept -= 1
        flight, kept.flight = kept.flight, None
        if flight is not None:
            flight.uncovered -= 1
            if flight.uncovered == 0 and flight in self._flights:
                self._land(flight)

    def _drop(self, kept: Kept) -> None:
        self._let_go(kept)
        kept.boot.dropped.add(kept.seq)
        self.counters.dropped += 1
        self.status_due = True

    def _oldest(self) -> Kept:
        boot = next(boot for boot in self.boots if boot.kept)
        return next(iter(boot.kept.values()))

    def _forget_empty_boots(self) -> None:
        """A boot of which nothing is kept and nothing was dropped has no more to say; the newest others are named."""
        *old, now = self.boots
        remaining = [boot for boot in old if boot.kept or boot.dropped]
        excess = len(remaining) - OLD_BOOTS
        remaining = [boot for n, boot in enumerate(remaining) if n >= excess or boot.kept]
        if len(remaining) < len(old):
            self.status_due = True
        self.boots = [*remaining, now]
