"""Depth: how deep a body's JSON nests and how many values it has, seen before anything reads it."""

from __future__ import annotations

from array import array
from itertools import accumulate
from typing import Final

from outlay.gateway.failures import GatewayError

_AS_SQUARE: Final = bytes.maketrans(b"{}", b"[]")
_AS_STEPS: Final = bytes.maketrans(b"[]", b"\x01\xff")
_MOST_PARTS: Final = 200_000
"""Lists and objects: millions of them would take seconds to read, and everybody would wait."""
_MOST_VALUES: Final = 500_000
"""Members of lists and objects: so many are read in a fraction of a second, and take some dozen megabytes."""
_PIECE_BYTES: Final = 4096


def check_depth(data: bytes, max_depth: int) -> None:
    """Check that JSON does not nest too deep, nor has too many parts, before anything reads it.

    Raises:
        GatewayError: 400; it does.
    """
    brackets = data.count(b"[") + data.count(b"{")
    if brackets > _MOST_PARTS and len(_outside_of_texts(data, b"[]{}")) > 2 * _MOST_PARTS:
        raise _too_complex(f"{_MOST_PARTS:,} lists and objects")
    if data.count(b",") >= _MOST_VALUES and len(_outside_of_texts(data, b",")) >= _MOST_VALUES:
        raise _too_complex(f"{_MOST_VALUES:,} values")
    if brackets > max_depth and _depth(data, max_depth) > max_depth:
        raise GatewayError(
            400,
            "invalid_request_error",
            f"The request's body nests more than {max_depth} deep.",
            error_code="request_too_deep",
            facts={"max_depth": max_depth},
        )


def _depth(data: bytes, max_depth: int) -> int:
    """How deep JSON nests; of what nests deeper than `max_depth`, only that it does."""
    brackets = _outside_of_texts(data, b"[]{}").translate(_AS_SQUARE)
    levels = 0
    while len(brackets) > _PIECE_BYTES and levels <= max_depth:
        without_leaves = brackets.replace(b"[]", b"")  # takes off one level, at the speed of C
        if len(without_leaves) > len(brackets) // 4 * 3:
            break
        brackets = without_leaves
        levels += 1
    steps, deepest, level = brackets.translate(_AS_STEPS), 0, 0
    for start in range(0, len(steps), _PIECE_BYTES):
        path = list(accumulate(array("b", steps[start : start + _PIECE_BYTES]), initial=level))
        deepest, level = max(deepest, *path), path[-1]
        if levels + deepest > max_depth:
            break
    return levels + deepest


def _outside_of_texts(data: bytes, signs: bytes) -> bytes:
    """What JSON has of some signs outside of its texts; in pieces, for there may be millions of texts."""
    unescaped = data.replace(rb"\\", b"").replace(rb"\"", b"") if b"\\" in data else data
    squeezed = unescaped.translate(None, bytes({*range(256)} - {*signs, *b'"'})).replace(b'""', b"")
    outside, is_in_text = [], False
    for start in range(0, len(squeezed), _PIECE_BYTES):
        pieces = squeezed[start : start + _PIECE_BYTES].split(b'"')
        outside.append(b"".join(pieces[is_in_text::2]))
        is_in_text ^= len(pieces) % 2 == 0
    return b"".join(outside)


def _too_complex(what: str) -> GatewayError:
    return GatewayError(
        400,
        "invalid_request_error",
        f"The request's body has more than {what}: send less at once.",
        error_code="request_too_complex",
    )
