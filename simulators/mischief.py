"""Floor 0 · What goes wrong in the field, injected on purpose and from a seed.

Garbage is counted apart. It never uses a real boot, so no real message is ever taken for one that was seen; the same
bytes are never sent twice, so each piece of garbage is one dead letter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random

import msgspec

from ingest.messages import ConnectorNo

SHARES = ("duplicate", "reorder", "garbage", "skew", "silence", "reboot")
AGAIN_MS = 600_000
"""Silence and reboots are drawn anew each ten minutes of service time."""
SILENT_INTERVALS = 3
SKEWS_MS = (3 * 86_400_000, -3 * 86_400_000, 20 * 60_000)
"""Clocks three days ahead or behind, or twenty minutes ahead: all beyond what counts as right."""
NO_SUCH_CONNECTOR: ConnectorNo = 63


class Shares(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often each fault happens: of publishes (duplicate, reorder, garbage) or of devices (the others)."""

    duplicate: float = 0.0
    reorder: float = 0.0
    garbage: float = 0.0
    skew: float = 0.0
    silence: float = 0.0
    reboot: float = 0.0


def parse(spec: str) -> Shares:
    """`duplicate=0.01,garbage=0.02`. Raises ValueError, naming what is wrong."""
    found: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in spec.split(","))):
        name, _, share = part.partition("=")
        if name not in SHARES:
            raise ValueError(f"{name!r} is no fault; there are {', '.join(SHARES)}")
        try:
            found[name] = float(share)
        except ValueError:
            found[name] = -1.0
        if not 0 <= found[name] <= 1:
            raise ValueError(f"{part!r} says no share: write {name}=0.01")
    return Shares(**found)


class Mischief:
    """Decides, per publish and per device, what goes wrong."""

    def __init__(self, shares: Shares, rng: Random) -> None:
        self.shares = shares
        self.garbage = 0
        """Malformed payloads and parts of arrays that were handed out, of which each makes one dead letter."""
        self.duplicates = 0
        self._quiet = False
        self._rng = rng
        self._run = f"{rng.getrandbits(64):016x}"
        self._pieces: dict[str, int] = {}
        self._held: dict[str, list[bytes]] = {}

    def chosen(self, names: Iterable[str], share: float) -> list[str]:
        """The devices that it hits this time."""
        return [name for name in names if self._rng.random() < share]

    def between(self, low: float, high: float) -> float:
        return self._rng.uniform(low, high)

    def skew_ms(self) -> int:
        return self._rng.choice(SKEWS_MS)

    def publish(self, name: str, payloads: list[bytes]) -> list[bytes]:
        """What really goes out in place of a device's payloads."""
        out: list[bytes] = []
        late = self._held.pop(name, [])
        if self._quiet:
            return payloads
        for payload in payloads:
            if self._rng.random() < self.shares.reorder:
                self._held.setdefault(name, []).append(payload)  # goes out after what comes next
                continue
            out.append(payload)
            if self._rng.random() < self.shares.duplicate:
                self.duplicates += 1
                out.append(payload)
            if self._rng.random() < self.shares.garbage:
                out.append(self._garbage(name))
        return out + late

    def end(self) -> list[tuple[str, bytes]]:
        """From now on nothing goes wrong. Returns what was held back: (device, payload)."""
        self._quiet = True
        held, self._held = self._held, {}
        return [(name, payload) for name, payloads in held.items() for payload in payloads]

    def _garbage(self, name: str) -> bytes:
        self.garbage += 1
        numbered = self._rng.random() < NUMBERED_SHARE
        number = self._pieces[name] = self._pieces.get(name, 0) + numbered
        device_no = list(self._pieces).index(name)
        good: dict[str, object] = {
            "v": 1, "boot": f"garbage-{self._run}-{device_no}", "seq": number, "ts": "2026-11-22T04:05:06.250Z",
            "kind": "meter", "connector": 1, "power_kw": 1.5, "energy_kwh": 2.5, "current_a": 6.8, "voltage_v": 220.0,
        }  # fmt: skip
        return self._rng.choice(NUMBERED if numbered else UNNUMBERED)(good, f"{self._run}-{self.garbage}")


Maker = Callable[[dict[str, object], str], bytes]


def _json(fields: dict[str, object]) -> bytes:
    return msgspec.json.encode(fields)


def _without(field: str) -> Maker:
    return lambda good, _mark: _json({key: value for key, value in good.items() if key != field})


def _with(**wrong: object) -> Maker:
    return lambda good, _mark: _json(good | wrong)


def _marked(**wrong: object) -> Maker:
    """Where boot or seq cannot be read, a field of no meaning keeps the bytes apart."""
    return lambda good, mark: _json(good | wrong | {"mark": mark})


UNNUMBERED: tuple[Maker, ...] = (
    lambda _good, mark: b"\x00\xff\xfe not text " + mark.encode(),
    lambda good, mark: _json({"mark": mark} | good)[:-7],
    lambda _good, mark: b"nonsense " + mark.encode(),
    lambda _good, mark: _json({"hello": mark}),
    lambda _good, mark: msgspec.json.encode(mark),
    lambda good, mark: _json(good | {"mark": mark}).replace(b"220.0", b"NaN"),
    lambda good, mark: b'{"mark":"' + mark.encode() + b'","list":' + b"[" * 60 + _json(good),
    lambda good, mark: _json({"mark": mark, "pad": "x" * 263_000} | good),
    lambda _good, mark: b"[" + b",".join([_json({"mark": mark})] * 501) + b"]",
    _marked(seq=0), _marked(seq="one"), _marked(seq=1.5), _marked(seq=2**63), _marked(boot=""), _marked(boot=7),
    _marked(boot=None, seq=None),
)  # fmt: skip
"""One way each to be wrong, in which no boot and seq can be read."""

NUMBERED: tuple[Maker, ...] = (
    _with(v=2), _with(ts="yesterday"), _with(ts=1763784306), _with(kind="weather"), _with(kind=None),
    _with(connector=NO_SUCH_CONNECTOR), _with(connector=0), _with(connector="1"), _with(power_kw="much"),
    _with(power_kw=1e6), _with(energy_kwh=-1), _with(current_a=None), _with(voltage_v=[220]), _with(temp_c=900),
    _with(kind="connector", state="dancing"), _with(kind="connector", state="suspended", suspended_by="rain"),
    _with(kind="fault", code="E7", severity="terrible", cleared=False), _with(kind="smoke", alarm="yes"),
    _without("ts"), _without("kind"), _without("connector"), _without("power_kw"), _without("energy_kwh"),
)  # fmt: skip
"""The same with a boot and a seq, which run without a hole: nobody shall miss what never was."""

NUMBERED_SHARE = len(NUMBERED) / (len(NUMBERED) + len(UNNUMBERED))
