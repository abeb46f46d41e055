"""Byte bound: how many bytes a text has, or has once a tokenizer normalised it.

A byte-level tokenizer makes no more tokens than bytes. Some normalise first (NFC, NFKC), and one character
may become many: U+FDFA is 3 bytes, and 33 in NFKC. Composing never makes more bytes, so the sum of what each
character becomes by itself bounds the text's form. Only a combining mark can keep a letter from being
composed again (it comes between the two, once sorted): with one in the text, letters count as they are
decomposed. Hangul is composed in any case. https://www.unicode.org/reports/tr15/
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cache
from typing import Final, Literal
from unicodedata import combining, decomposition, normalize

_END: Final = 0x30000
"""No character from here on grows, or combines but the tags of U+E0000, which compose with nothing."""
_FEW: Final = 64
_LONG: Final = 2_000_000
_HANGUL: Final = range(0xAC00, 0xD7A4)


Form = Literal["NFC", "NFD", "NFKC", "NFKD"]


def byte_bound(text: str) -> int:
    """Give the most bytes that a text has in UTF-8, as it is or normalised.

    Raises:
        UnicodeEncodeError: it holds a lone surrogate.
    """
    if text.isascii():
        return len(text)
    plain, present = len(text.encode()), set(text)
    marks, composed, decomposed = _tables()
    growth = composed if marks.isdisjoint(present) else decomposed
    growing = growth.keys() & present
    if not growing:
        return plain
    if len(growing) <= _FEW:
        return plain + sum(text.count(char) * growth[char] for char in growing)
    if len(text) > _LONG:  # to count thousands of kinds in it takes too long
        return plain + len(text) * max(growth[char] for char in growing)
    counts = Counter(text)
    return plain + sum(counts[char] * growth[char] for char in growing)


@cache
def _tables() -> tuple[frozenset[str], dict[str, int], dict[str, int]]:
    """The combining marks; by how many bytes a character grows where all is composed again, and where not."""
    marks = frozenset(chr(code) for code in range(0x80, _END) if combining(chr(code)))
    return marks, _growth(("NFC", "NFKC")), _growth(("NFC", "NFKC", "NFD", "NFKD"))


def _growth(forms: Iterable[Form]) -> dict[str, int]:
    growth = {}
    for code in range(0x80, _END):
        char = chr(code)
        if code not in _HANGUL and decomposition(char):
            more = max(len(normalize(form, char).encode()) for form in forms) - len(char.encode())
            if more > 0:
                growth[char] = more
    return growth
