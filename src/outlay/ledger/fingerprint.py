"""Fingerprints: sixteen bytes that tell whether a repeated command has the same content."""

from __future__ import annotations

from dataclasses import fields
from functools import lru_cache
from hashlib import blake2b
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from outlay.domain.commands import Command, Reserve

if TYPE_CHECKING:
    import msgspec

_NO_CONTENT: Final = frozenset({"catalogue_version", "holder", "disclosed_accounts"})
"""What says who asks and when, not what is asked: another instance may repeat a reserve, and later."""

_content_of_reserve: Final = attrgetter(*(f.name for f in fields(Reserve) if f.name not in _NO_CONTENT))


def fingerprint(command: Command) -> bytes:
    """Digest a command's kind and content."""
    content = _content_of_reserve(command) if isinstance(command, Reserve) else command
    return blake2b(
        _encoder().encode(content), digest_size=16, person=type(command).__name__.encode()
    ).digest()


@lru_cache(maxsize=1)
def _encoder() -> msgspec.msgpack.Encoder:
    import msgspec

    return msgspec.msgpack.Encoder(order="deterministic")
