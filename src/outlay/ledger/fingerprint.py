"""Fingerprints: sixteen bytes that tell whether a repeated command has the same content."""

from __future__ import annotations

from dataclasses import fields
from functools import lru_cache
from hashlib import blake2b
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from outlay.domain.commands import Command, Record, Reserve, Settle

if TYPE_CHECKING:
    import msgspec

_NO_CONTENT: Final = frozenset(
    {"catalogue_version", "holder", "disclosed_accounts", "model_aliases", "priced_nanos"}
)
"""What says who asks and when, or what we think of it, not what is asked: a repeat may say otherwise."""

_content_of_reserve: Final = attrgetter(*(f.name for f in fields(Reserve) if f.name not in _NO_CONTENT))

_NAMES_OF_CHARGES: Final = {
    kind: tuple(f.name for f in fields(kind) if f.name not in _NO_CONTENT) for kind in (Settle, Record)
}
_content_of_charge: Final = {kind: attrgetter(*names) for kind, names in _NAMES_OF_CHARGES.items()}


def fingerprint(command: Command) -> bytes:
    """Digest a command's kind and content."""
    content: object = command
    if isinstance(command, Reserve):
        content = _content_of_reserve(command)
    elif isinstance(command, Settle | Record):
        kind = type(command)
        content = dict(zip(_NAMES_OF_CHARGES[kind], _content_of_charge[kind](command), strict=True))
    return blake2b(
        _encoder().encode(content), digest_size=16, person=type(command).__name__.encode()
    ).digest()


@lru_cache(maxsize=1)
def _encoder() -> msgspec.msgpack.Encoder:
    import msgspec

    return msgspec.msgpack.Encoder(order="deterministic")
