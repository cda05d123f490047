"""Floor 0 · What a device that loses nothing keeps: boots, messages, and what of them is on its way."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

import msgspec

from ingest.ranges import Ranges


class Acked(msgspec.Struct, frozen=True):
    """Seqs of one boot that an ack covered for the first time."""

    boot: str
    lo: int
    hi: int


class Counters(msgspec.Struct):
    """Messages, each counted once, but `resent`: how often one was sent beyond its first time."""

    said: int = 0
    sent: int = 0
    acked: int = 0
    dropped: int = 0
    resent: int = 0


@dataclass(eq=False, slots=True)
class Boot:
    """One life of the device: the seqs it used, and what became of them."""

    name: str
    number: int
    last_seq: int = 0
    sent: Ranges = field(default_factory=Ranges)
    acked: Ranges = field(default_factory=Ranges)
    dropped: Ranges = field(default_factory=Ranges)
    kept: OrderedDict[int, Kept] = field(default_factory=OrderedDict)


@dataclass(eq=False, slots=True)
class Kept:
    """A message that no ack covered. `flight` is None while it waits to be sent (again)."""

    boot: Boot
    seq: int
    payload: bytes
    urgent: bool
    failed_tries: int = 0
    first_sent_s: float | None = None
    flight: Flight | None = None


@dataclass(eq=False, slots=True)
class Flight:
    """What was published at once and is not wholly acknowledged."""

    messages: list[Kept]
    alone: bool
    sent_s: float
    retry_s: float
    uncovered: int
