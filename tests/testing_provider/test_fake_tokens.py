"""The fake provider's counting agrees with the vocabulary it claims to use."""

from __future__ import annotations

import pytest

from outlay.testing.provider import tokens


@pytest.mark.parametrize("length", [0, 1, 2, 24, 500])
def test_made_text_has_as_many_tokens_as_asked(length: int) -> None:
    for seed in range(20):
        assert tokens.count("".join(tokens.words(seed, length))) == length


@pytest.mark.parametrize("word", tokens.WORDS)
def test_every_word_is_one_token(word: str) -> None:
    assert tokens.count(word) == tokens.count(f" {word}") == 1


def test_special_tokens_are_plain_text() -> None:
    assert tokens.count("<|endoftext|>") > 1


def test_a_chat_costs_its_values_and_its_frame() -> None:
    named = [{"role": "user", "name": "ann", "content": "hello"}]
    assert tokens.count_chat([]) == 3
    assert tokens.count_chat([{"role": "user", "content": "hello"}]) == 8
    assert tokens.count_chat(named) == 8 + tokens.count("ann") + 1


def test_parts_count_by_their_text() -> None:
    parts = [{"type": "text", "text": "hello"}, {"type": "image_url", "image_url": {"url": "data:"}}]
    assert tokens.count_chat([{"role": "user", "content": parts}]) == 8 + 85
