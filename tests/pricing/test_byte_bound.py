"""The bound by bytes: no normalised form of a text has more."""

from __future__ import annotations

import json
import time
from typing import Any
from unicodedata import combining, decomposition, normalize

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from outlay.pricing.book import PriceBook
from outlay.pricing.bound.byte_bound import Form, byte_bound
from outlay.pricing.bound.caps import Endpoint
from outlay.pricing.bound.estimate import estimate

pytestmark = pytest.mark.once("rules that are the same on every Python")

LIGATURE = "\ufdfa"
"""3 bytes; 18 letters in NFKC, and 15 tokens in Anthropic's published tokenizer."""
BOOK = PriceBook({"local/*": {"input_mtok": 1, "output_mtok": 2}})


def tokens(body: dict[str, Any], provider: str, model: str, endpoint: Endpoint = "chat") -> int:
    price = BOOK.price(provider, model, at=1_790_000_000_000_000)
    given = {"provider": provider, "model": model, "price": price, "book": BOOK}
    return estimate(body, endpoint=endpoint, **given).input_tokens  # type: ignore[arg-type]


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
@example("é\u0323" * 5)
@example("e\u0301\u0323한\u0327")
@example(LIGATURE)
@settings(derandomize=True, deadline=None, max_examples=400)
def test_no_form_of_a_text_has_more_bytes(text: str) -> None:
    bound = byte_bound(text)
    assert bound >= len(text.encode())
    forms: tuple[Form, ...] = ("NFC", "NFKC")
    for form in forms:
        assert bound >= len(normalize(form, text).encode())


def test_every_character_is_bounded_alone_and_among_marks() -> None:
    changing = [code for code in range(0x80, 0x30000) if decomposition(chr(code)) or combining(chr(code))]
    for code in changing:
        for text in (chr(code), f"a{chr(code)}\u0323\u0301", f"é{chr(code)}"):
            normal = normalize("NFKC", text)
            if normal != text:
                assert byte_bound(text) >= max(len(normal.encode()), len(normalize("NFC", text).encode()))


def test_common_letters_count_as_they_are() -> None:
    for text in ("Grüße, naïve façade", "日本語の文章", "한국어 문장", "привет мир", "😀😃"):
        assert byte_bound(text) == len(text.encode())


def test_a_lone_surrogate_is_an_error() -> None:
    with pytest.raises(UnicodeEncodeError):
        byte_bound("\ud800")


@pytest.mark.parametrize("text", ["x" * 32_000_000, "語" * 10_600_000, LIGATURE * 10_600_000])
def test_32_megabytes_are_bounded_within_seconds_of_processor_time(text: str) -> None:
    began = time.process_time()
    assert byte_bound(text) >= len(text.encode())
    assert time.process_time() - began < 5


FIELDS: list[tuple[Endpoint, dict[str, Any]]] = [
    ("chat", {"messages": [{"role": "user", "content": LIGATURE * 100}]}),
    ("chat", {"messages": [{"role": "user", "content": [{"type": "text", "text": LIGATURE * 100}]}]}),
    ("chat", {"messages": [{"role": "user", "name": LIGATURE * 100, "content": ""}]}),
    ("chat", {"messages": [{"role": "user", "content": "x"}], "tools": [{"name": LIGATURE * 100}]}),
    (
        "chat",
        {
            "messages": [{"role": "user", "content": "x"}],
            "response_format": {"type": "json_schema", "json_schema": {"description": LIGATURE * 100}},
        },
    ),
    ("messages", {"messages": [{"role": "user", "content": LIGATURE * 100}], "max_tokens": 1}),
    ("messages", {"messages": [], "system": LIGATURE * 100, "max_tokens": 1}),
    ("responses", {"input": LIGATURE * 100}),
    ("responses", {"input": "x", "instructions": LIGATURE * 100}),
    ("completions", {"prompt": LIGATURE * 100}),
    ("embeddings", {"input": [LIGATURE * 100]}),
]


@pytest.mark.parametrize(("endpoint", "body"), FIELDS)
@pytest.mark.parametrize(("provider", "model"), [("anthropic", "claude-sonnet-4-6"), ("local", "gemma-x")])
def test_text_that_grows_is_bounded_in_every_field(
    endpoint: Endpoint, body: dict[str, Any], provider: str, model: str
) -> None:
    assert tokens(body, provider, model, endpoint) >= 100 * 33


PARAMETERS = {"type": "object", "properties": {f"p{n}": {"type": ["string"]} for n in range(50)}}
TOOLS = [{"type": "function", "function": {"name": "f", "description": "d", "parameters": PARAMETERS}}]


@pytest.mark.parametrize("model", ["llama-3.3-70b-versatile", "qwen3-32b", "gpt-oss-120b"])
def test_tools_are_bounded_as_a_public_template_prints_them(model: str) -> None:
    messages = [{"role": "user", "content": "Hello"}]
    more = tokens({"messages": messages, "tools": TOOLS}, "groq" if "llama" in model else "local", model)
    assert more >= len(json.dumps(TOOLS, indent=4))


def test_tools_of_a_maker_that_serves_alone_are_bounded_by_one_line() -> None:
    messages = [{"role": "user", "content": "Hello"}]
    more = tokens({"messages": messages, "tools": TOOLS}, "openai", "gpt-4o")
    assert len(json.dumps(TOOLS)) <= more < len(json.dumps(TOOLS, indent=4))
