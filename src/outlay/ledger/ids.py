"""Ids: UUID version 7, so that they sort by time and a repeat of a command is the same command.

https://www.rfc-editor.org/rfc/rfc9562#name-uuid-version-7
"""

from __future__ import annotations

import os
import time
from typing import Final

_DRAWN: Final = 256
_random: list[bytes] = []
os.register_at_fork(after_in_child=_random.clear)  # a child must not make its parent's ids


def new_id() -> str:
    """Make an id: 48 bits of milliseconds since the epoch, then 74 random bits."""
    millis = time.time_ns() // 1_000_000
    random = int.from_bytes(_ten_bytes())
    value = (
        (millis & (1 << 48) - 1) << 80
        | 7 << 76
        | (random >> 68 & 0xFFF) << 64
        | 2 << 62
        | random & (1 << 62) - 1
    )
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _ten_bytes() -> bytes:
    """Ten bytes that nobody else gets, drawn from the system many at a time."""
    while True:
        try:
            return _random.pop()
        except IndexError:
            drawn = os.urandom(10 * _DRAWN)
            _random.extend(drawn[start : start + 10] for start in range(0, len(drawn), 10))
