"""Floor 1 · Bytes of the bus to typed values and back; what cannot be read is refused with its reason.

One pass by msgspec reads a good payload. Only a payload that this pass refuses is read again, slowly and field by
field, to say which message of it is bad and why (docs/contracts/dead-letters.md lists the reasons).
"""

from __future__ import annotations

import json
from typing import NoReturn, TypeVar, cast, get_args

import msgspec
from msgspec import Struct
from msgspec.structs import FieldInfo, fields

from ingest.clock import EPOCH, LATEST, all_to_ms
from ingest.messages import (
    Ack,
    CommandResult,
    DeviceState,
    Message,
    ServiceNotice,
    Status,
    Telemetry,
    Tokens,
    Turns,
)
from ingest.skew import LATEST_MS

MAX_MESSAGES = 500
MAX_BYTES = 256 * 1024

_payload = msgspec.json.Decoder(Telemetry | list[Telemetry])
_kinds: dict[str, type[Message]] = {str(kind.__struct_config__.tag): kind for kind in get_args(Telemetry)}
_envelope = fields(Message)
_own_fields = {name: fields(kind)[len(_envelope) :] for name, kind in _kinds.items()}

_status = msgspec.json.Decoder(Status)
_ack = msgspec.json.Decoder(Ack)
_result = msgspec.json.Decoder(CommandResult)
_tokens = msgspec.json.Decoder(Tokens)
_state = msgspec.json.Decoder(DeviceState)
_notice = msgspec.json.Decoder(ServiceNotice)
_turns = msgspec.json.Decoder(Turns)

encode = msgspec.json.encode
"""Any value of ingest.messages as the bytes that go on the bus."""


class BadPayload(ValueError):
    """A payload that is not what its topic promises; the text says where."""


class Refused(Struct, frozen=True):
    """One message that cannot be taken. `boot` and `seq` are None where either cannot be read."""

    reason: str
    payload: bytes
    boot: str | None = None
    seq: int | None = None


class _NotJson(ValueError):
    pass


def decode_telemetry(payload: bytes) -> tuple[list[Telemetry], list[Refused]]:
    """The good messages of a telemetry payload in their order, and the refused ones."""
    if len(payload) > MAX_BYTES:
        return [], [Refused("too_large", payload[:MAX_BYTES])]
    try:
        read = _payload.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _decode_slowly(payload)
    messages = read if isinstance(read, list) else [read]
    if len(messages) > MAX_MESSAGES:
        return [], [Refused("too_large", payload)]
    for message in messages:
        if not EPOCH <= message.ts < LATEST:
            return _decode_slowly(payload)
    return messages, []


def decode_together(payloads: list[bytes]) -> tuple[list[Telemetry], list[int], list[Refused]]:
    """The same of several payloads in their order, for less: what is good is read in one go, a payload a line.

    Returns the messages, what each one's `ts` is in milliseconds since 1970, and the refused ones.
    """
    lines = b"\n".join(payloads)
    if lines.count(b"\n") == len(payloads) - 1 and len(max(payloads, key=len)) <= MAX_BYTES and _each_whole(payloads):
        try:
            read = _payload.decode_lines(lines)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            read = []
        if len(read) == len(payloads):
            messages = _flat(read)
            times_ms = all_to_ms([message.ts for message in messages or ()])
            if messages is not None and min(times_ms, default=0) >= 0 and max(times_ms, default=0) < LATEST_MS:
                return messages, times_ms, []
    each = list(map(decode_telemetry, payloads))
    messages = [message for good, _ in each for message in good]
    refused = [bad for _, some in each for bad in some]
    return messages, all_to_ms([message.ts for message in messages]), refused


def _each_whole(payloads: list[bytes]) -> bool:
    """Whether no payload can go on in the next: what begins with a bracket goes on nothing that ended with one. Then as
    many values as lines are one value a line."""
    begin, end = {payload[:1] for payload in payloads}, {payload[-1:] for payload in payloads}
    return begin <= {b"{", b"["} and end <= {b"}", b"]"}


def _flat(read: list[Telemetry | list[Telemetry]]) -> list[Telemetry] | None:
    """None where an array holds more than it may."""
    if not any(type(one) is list for one in read):
        return cast(list[Telemetry], read)
    arrays = [one if isinstance(one, list) else [one] for one in read]
    return None if len(max(arrays, key=len)) > MAX_MESSAGES else [message for array in arrays for message in array]


def _decode_slowly(payload: bytes) -> tuple[list[Telemetry], list[Refused]]:
    try:
        read = json.loads(payload.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return [], [Refused("not_json", payload)]
    if isinstance(read, dict):
        message = _message(read, payload)
        return ([], [message]) if isinstance(message, Refused) else ([message], [])
    if not isinstance(read, list):
        return [], [Refused("bad_envelope", payload)]
    if len(read) > MAX_MESSAGES:
        return [], [Refused("too_large", payload)]
    good: list[Telemetry] = []
    refused: list[Refused] = []
    for element in read:
        found = _message(element, json.dumps(element, separators=(",", ":")).encode())
        if isinstance(found, Refused):
            refused.append(found)
        else:
            good.append(found)
    return good, refused


def _no_constant(name: str) -> NoReturn:
    raise _NotJson(name)


def _message(element: object, raw: bytes) -> Telemetry | Refused:
    if not isinstance(element, dict):
        return Refused("bad_envelope", raw)
    fits = {field.name: _fits(element, field) for field in _envelope}
    boot, seq = (element["boot"], element["seq"]) if fits["boot"] and fits["seq"] else (None, None)
    for name, fit in fits.items():
        if not fit:
            return Refused(f"bad_field:{name}", raw, boot, seq)
    kind = element.get("kind")
    if not isinstance(kind, str) or not kind:
        return Refused("bad_field:kind", raw, boot, seq)
    if kind not in _kinds:
        return Refused(f"unknown_kind:{kind[:64].encode(errors='replace').decode()}", raw, boot, seq)
    for field in _own_fields[kind]:
        if not _fits(element, field):
            return Refused(f"bad_field:{field.name}", raw, boot, seq)
    try:
        message: Telemetry = msgspec.convert(element, Telemetry)
    except ValueError:  # what no field of ours holds, and still is no text
        return Refused("bad_envelope", raw, boot, seq)
    return message


def _fits(element: dict[str, object], field: FieldInfo) -> bool:
    if field.name not in element:
        return not field.required
    try:
        json.dumps(element[field.name], ensure_ascii=False).encode()  # half a surrogate pair is no text
        value = msgspec.convert(element[field.name], field.type)
    except (msgspec.ValidationError, ValueError, RecursionError):
        return False
    return field.name != "ts" or EPOCH <= value < LATEST


Value = TypeVar("Value")


def _read(decoder: msgspec.json.Decoder[Value], payload: bytes) -> Value:
    try:
        return decoder.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as bad:
        raise BadPayload(str(bad)) from None


def decode_status(payload: bytes) -> Status:
    """Raises BadPayload, as every `decode_…` below."""
    status = _read(_status, payload)
    if status.ts is not None and not EPOCH <= status.ts < LATEST:
        raise BadPayload(f"ts {status.ts} is no time between 1970 and 2199")
    return status


def decode_ack(payload: bytes) -> Ack:
    return _read(_ack, payload)


def decode_result(payload: bytes) -> CommandResult:
    return _read(_result, payload)


def decode_tokens(payload: bytes) -> Tokens:
    return _read(_tokens, payload)


def decode_state(payload: bytes) -> DeviceState:
    return _read(_state, payload)


def decode_turns(payload: bytes) -> Turns:
    return _read(_turns, payload)


def decode_notice(payload: bytes) -> ServiceNotice:
    return _read(_notice, payload)
