"""Counting text: which vocabulary a model has, and what a chat adds."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from outlay.errors import InvalidValueError, PriceUnknownError
from outlay.pricing.book import PriceBook
from outlay.pricing.text import cost_of_prompt, cost_of_text
from outlay.pricing.tokens import Count, Vocabulary, count_messages, count_text, vocabulary

pytestmark = pytest.mark.once("rules that are the same on every Python")

NOW = int(datetime(2026, 11, 1, 12, tzinfo=UTC).timestamp() * 1_000_000)


@pytest.mark.parametrize(
    ("model", "name", "is_exact"),
    [
        ("gpt-4o-2024-08-06", "o200k_base", True),
        ("ft:gpt-4o-mini-2024-07-18:org::id", "o200k_base", True),
        ("openai/gpt-5-mini", "o200k_base", True),
        ("gpt-5.5", "o200k_base", False),
        ("o3-mini", "o200k_base", True),
        ("gpt-4-turbo", "cl100k_base", True),
        ("gpt-3.5-turbo-0125", "cl100k_base", True),
        ("text-embedding-3-large", "cl100k_base", True),
        ("text-davinci-003", "o200k_base", False),
        ("openai/gpt-oss-20b", "o200k_base", True),
        ("llama-3.3-70b-versatile", "llama3", True),
        ("accounts/fireworks/models/llama-v3p1-8b-instruct", "llama3", True),
        ("meta-llama/llama-4-scout-17b-16e-instruct", "llama3", False),
        ("deepseek-r1-distill-llama-70b", "llama3", True),
        ("deepseek-ai/DeepSeek-V3.1", "deepseek_v3", True),
        ("deepseek-chat", "deepseek_v3", False),
        ("mistral-large-latest", "mistral_v3", False),
        ("open-mistral-nemo", "mistral_v3", True),
        ("qwen/qwen3-32b", "qwen3", True),
        ("qwen3-max", "qwen3", False),
        ("glm-4-32b-0414", "glm4", True),
        ("glm-5", "glm4", False),
        ("claude-sonnet-4-5", "o200k_base", False),
        ("gemini-2.5-pro", "gemma3", False),
    ],
)
def test_a_model_has_its_own_vocabulary_or_the_nearest(model: str, name: str, is_exact: bool) -> None:
    assert vocabulary("any", model) == Vocabulary(name, is_exact)


def test_special_tokens_in_text_are_the_characters_they_are() -> None:
    assert count_text("<|endoftext|>", "openai", "gpt-4o").tokens > 1


def test_a_chat_has_the_documented_overheads() -> None:
    # From OpenAI's cookbook, "How to count tokens with tiktoken": these messages are 129 tokens for gpt-3.5
    # and gpt-4, and 124 for gpt-4o, as the API itself reports.
    messages = [
        {
            "role": "system",
            "content": "You are a helpful, pattern-following assistant that translates corporate jargon into "
            "plain English.",
        },
        {
            "role": "system",
            "name": "example_user",
            "content": "New synergies will help drive top-line growth.",
        },
        {
            "role": "system",
            "name": "example_assistant",
            "content": "Things working well together will increase revenue.",
        },
        {
            "role": "system",
            "name": "example_user",
            "content": "Let's circle back when we have more bandwidth to touch base on opportunities for "
            "increased leverage.",
        },
        {
            "role": "system",
            "name": "example_assistant",
            "content": "Let's talk later when we're less busy about how to do better.",
        },
        {
            "role": "user",
            "content": "This late pivot means we don't have time to boil the ocean for the client "
            "deliverable.",
        },
    ]
    assert count_messages(messages, "openai", "gpt-4").tokens == 129
    assert count_messages(messages, "openai", "gpt-4o").tokens == 124


def test_content_may_be_parts_or_nothing() -> None:
    parts = [{"role": "user", "content": [{"type": "text", "text": "Hello"}, {"type": "image_url"}, "you"]}]
    assert count_messages(parts, "openai", "gpt-4o").tokens == 3 + 3 + 1 + 2
    assert count_messages([{"role": "assistant", "content": None}], "openai", "gpt-4o").tokens == 7


@pytest.mark.parametrize("messages", [[5], [{"role": "user", "content": 5}], [{"content": "\ud800"}]])
def test_messages_that_cannot_be_counted_are_refused(messages: list[dict[str, object]]) -> None:
    with pytest.raises(InvalidValueError):
        count_messages(messages, "openai", "gpt-4o")


def test_many_threads_may_count_at_once() -> None:
    with ThreadPoolExecutor(8) as pool:
        counts = list(
            pool.map(lambda _: count_text("the quick brown fox", "openai", "gpt-4o").tokens, range(200))
        )
    assert set(counts) == {4}


def test_text_in_and_text_out_are_priced_as_one_message_each() -> None:
    cost = cost_of_text(PriceBook(), "openai", "gpt-4o", "Hello", "Hello", at=NOW)
    assert (cost.usage.input_tokens, cost.usage.output_tokens, cost.quality) == (8, 8, "exact")
    assert cost.nanos == 8 * 2_500 + 8 * 10_000


def test_an_empty_output_text_costs_nothing() -> None:
    assert cost_of_text(PriceBook(), "openai", "gpt-4o", "Hello", "", at=NOW).usage.output_tokens == 0


def test_a_model_without_an_output_price_cannot_price_an_output() -> None:
    book = PriceBook()
    assert cost_of_text(book, "openai", "text-embedding-3-small", "Hello", "", at=NOW).nanos == 160
    with pytest.raises(PriceUnknownError, match="output"):
        cost_of_text(book, "openai", "text-embedding-3-small", "Hello", "Hello", at=NOW)


def test_a_prompt_is_priced_by_its_input_alone() -> None:
    messages = [{"role": "user", "content": "Hello"}]
    assert cost_of_prompt(PriceBook(), "openai", "gpt-4o", messages, at=NOW).nanos == 8 * 2_500


def test_a_very_long_text_is_not_counted_but_taken_by_its_bytes() -> None:
    text = "ab" * 1_000_000
    assert count_text(text, "openai", "gpt-4o") == Count(500_000, "nearest")
    assert count_messages([{"role": "user", "content": text}], "openai", "gpt-4o").quality == "nearest"
    with pytest.raises(InvalidValueError):
        count_text(text + "\ud800", "openai", "gpt-4o")
