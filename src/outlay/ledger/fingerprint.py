"""Fingerprints: sixteen bytes that tell whether a repeated command has the same content."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING

from outlay.domain.commands import Command

if TYPE_CHECKING:
    import msgspec


def fingerprint(command: Command) -> bytes:
    """Digest a command's kind and content."""
    return blake2b(
        _encoder().encode(command), digest_size=16, person=type(command).__name__.encode()
    ).digest()


@lru_cache(maxsize=1)
def _encoder() -> msgspec.msgpack.Encoder:
    import msgspec

    return msgspec.msgpack.Encoder(order="deterministic")
