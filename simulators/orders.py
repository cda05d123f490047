"""Floor 0 · How a device takes orders: the highest epoch rules, and a repeated id gets its first answer."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import msgspec

from ingest.messages import AnyCommand, CommandResult, Refusal, Turns

REMEMBERED_IDS = 1_000

_decoder = msgspec.json.Decoder(AnyCommand)
_turns_decoder = msgspec.json.Decoder(Turns)


class _Envelope(msgspec.Struct):
    id: str
    epoch: int = 0


_envelope_decoder = msgspec.json.Decoder(_Envelope)


class Orders:
    """What a device remembers of its orders, over restarts too: the highest epoch, and its answers by id."""

    def __init__(self) -> None:
        self.epoch = 0
        self._answers: OrderedDict[str, CommandResult] = OrderedDict()

    def on_turns(self, payload: bytes) -> None:
        """`turns` was said: its epoch counts as seen. What cannot be read is ignored."""
        try:
            self.epoch = max(self.epoch, _turns_decoder.decode(payload).epoch)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return

    def take(self, payload: bytes, do: Callable[[AnyCommand], Refusal | None]) -> CommandResult | None:
        """The answer to a command; `do` carries it out, or says why not. None when not even an id can be read."""
        try:
            order = _envelope_decoder.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        if order.id in self._answers:
            return self._answers[order.id]
        refusal = self._refusal(order, payload, do)
        answer = CommandResult(v=1, id=order.id, result="rejected" if refusal else "accepted", reason=refusal)
        self._answers[order.id] = answer
        if len(self._answers) > REMEMBERED_IDS:
            self._answers.popitem(last=False)
        return answer

    def _refusal(self, order: _Envelope, payload: bytes, do: Callable[[AnyCommand], Refusal | None]) -> Refusal | None:
        if order.epoch < self.epoch:
            return "stale_epoch"
        self.epoch = order.epoch
        try:
            command = _decoder.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return "unsupported"
        return do(command)
