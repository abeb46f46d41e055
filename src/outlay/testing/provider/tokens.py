"""Tokens: counting and making text with OpenAI's o200k vocabulary, apart from Outlay's own counting.

A chat costs 3 tokens a message, 1 more for a name, the tokens of every value, and 3 to prime the reply
(OpenAI cookbook, "How to count tokens with tiktoken"). Special tokens in a text are plain text here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any
from zlib import crc32

import msgspec

# Each is one token of o200k, at the start of a text and after a space.
_PROSE = (
    "the of budget ledger tokens river stone light paper window garden music green letter silver quiet "
    "simple number answer north point story winter table water bridge field market engine"
)
WORDS = tuple(_PROSE.split())
_TOKENS_PER_MESSAGE = 3
_TOKENS_PER_NAME = 1
_TOKENS_OF_PRIMER = 3
_TOKENS_PER_IMAGE = 85  # OpenAI's price of one image at low detail


@lru_cache(maxsize=1)
def _tokenizer() -> Any:
    import splintr

    return splintr.Tokenizer.from_pretrained("o200k_base")


@lru_cache(maxsize=8192)
def count(text: str) -> int:
    """Count the o200k tokens of a text."""
    return len(_tokenizer().encode_ordinary(text)) if text else 0


def split(text: str) -> tuple[str, ...]:
    """Split an ASCII text into the pieces its tokens stand for."""
    tokenizer = _tokenizer()
    return tuple(tokenizer.decode_lossy([token]) for token in tokenizer.encode_ordinary(text))


@lru_cache(maxsize=1024)
def words(seed: int, tokens: int) -> tuple[str, ...]:
    """Make a text of exactly so many tokens, the same for the same seed, in one piece a token."""
    pieces = []
    for index in range(tokens):
        seed = (seed * 1_103_515_245 + 12_345) & 0x7FFF_FFFF
        word = WORDS[(seed >> 16) % len(WORDS)]
        pieces.append(f" {word}" if index else word)
    return tuple(pieces)


def seed_of(model: str, text: bytes, choice: int = 0) -> int:
    """A seed from the request, so that equal requests get equal answers."""
    return crc32(text, crc32(model.encode())) + choice


def count_chat(messages: Iterable[Any], tools: Any = None) -> int:
    """Count the input of a chat request: its messages, and its tools as compact JSON."""
    total = _TOKENS_OF_PRIMER
    for message in messages:
        total += _TOKENS_PER_MESSAGE
        for key, value in message.items() if isinstance(message, Mapping) else ():
            total += _count_value(value)
            if key == "name":
                total += _TOKENS_PER_NAME
    return total + (_count_value(tools) if tools else 0)


def count_input(value: Any) -> int:
    """Count a `prompt` or an `input`: a text, a list of token ids, or a list of either."""
    if isinstance(value, str):
        return count(value)
    if isinstance(value, list):
        if value and isinstance(value[0], int):
            return len(value)
        return sum(count_input(item) for item in value)
    return 0


def _count_value(value: Any) -> int:
    if isinstance(value, str):
        return count(value)
    if value is None:
        return 0
    if (
        isinstance(value, list)
        and value
        and all(isinstance(part, Mapping) and "type" in part for part in value)
    ):
        return sum(_count_part(part) for part in value)
    return count(msgspec.json.encode(value).decode())


def _count_part(part: Mapping[str, Any]) -> int:
    if isinstance(part.get("text"), str):
        return count(part["text"])
    if part["type"] in {"image_url", "input_image", "image"}:
        return _TOKENS_PER_IMAGE
    return count(msgspec.json.encode(part).decode())
