"""Floor 0 · Types that msgspec knows before any thread meets them.

It finds out what a type is made of when it first meets it, and two threads that meet one at the same moment crash the
process (msgspec 0.22). So decoders are made where a module is imported, and what is only converted is prepared there.
"""

from __future__ import annotations

from typing import TypeVar

from msgspec.json import Decoder

T = TypeVar("T")


def prepared(kind: type[T]) -> type[T]:
    Decoder(kind)
    return kind
