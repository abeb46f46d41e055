"""A price that a configuration states in part: each field acts, or the model's price is unknown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gateways import CREDENTIAL, HELLO, Gateway, run_gateway, usd_budget
from raw_provider import RawProvider, raw_provider

from outlay.errors import InvalidValueError, PriceUnknownError
from outlay.pricing.book import PriceBook
from outlay.pricing.usage import Usage
from outlay.routing.configured import Row
from outlay.testing.provider import FakeProvider

pytestmark = pytest.mark.once("rules that are the same on every Python")

NOW = 1_793_500_000_000_000
BOOK = PriceBook()
OWN = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}

UNCOUNTED: list[tuple[str, Any]] = [
    *((name, 0.001) for name in (
        "input_cost_per_second", "output_cost_per_second", "cost_per_second", "output_cost_per_second_1080p",
        "input_cost_per_character", "output_cost_per_character", "input_cost_per_character_above_128k_tokens",
        "input_cost_per_image", "output_cost_per_image", "output_cost_per_image_1K", "input_cost_per_pixel",
        "output_cost_per_pixel", "input_cost_per_query", "input_cost_per_audio_per_second",
        "output_cost_per_audio_per_second", "input_cost_per_video_per_second",
        "input_cost_per_video_per_second_above_8s_interval", "output_cost_per_video_per_second",
        "input_cost_per_text_message", "ocr_cost_per_page", "ocr_cost_per_credit", "annotation_cost_per_page",
        "ocr_cost_per_page_batches", "google_maps_grounding_cost_per_query", "guardrail_cost_per_unit",
        "code_interpreter_cost_per_session", "file_search_cost_per_gb_per_day",
        "vector_store_cost_per_gb_per_day", "computer_use_input_cost_per_1k_tokens",
        "input_dbu_cost_per_token", "explicit_cache_read_input_token_cost", "some_new_cost_per_thing",
        "audio_hours", "input_mchars", "rerank_searches_kcount",
    )),
    ("regional_endpoint_uplift_multiplier", 1.1),
    ("off_peak_pricing", {"input_cost_per_token": 1e-7}),
    ("tiered_pricing", [{"max_results_range": [0, 25], "input_cost_per_query": 0.005}]),
    ("guardrail_cost_per_unit", {"a": 1}),
]  # fmt: skip
"""LiteLLM's fields, and genai-prices', that say what nothing here counts."""


class Door:
    """A gateway whose one model has the price that a test states."""

    def __init__(self, gateway: Gateway, upstream: RawProvider) -> None:
        self.gateway, self.upstream = gateway, upstream


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    folder = tmp_path_factory.mktemp("stated")
    budgets = [usd_budget("global", 1_000.0)]
    with raw_provider() as upstream, FakeProvider() as provider:
        rows = [
            Row(
                f"m{index}",
                "openai/gpt-4o",
                f"m{index}",
                api_key=CREDENTIAL,
                api_base=upstream.base_url,
                own_price={"input_cost_per_token": 0, "output_cost_per_token": 0, name: value},
            )
            for index, (name, value) in enumerate(UNCOUNTED)
        ]
        with run_gateway(provider, folder, budgets=budgets, rows_of=rows) as gateway:
            yield Door(gateway, upstream)


@pytest.mark.parametrize("index", range(len(UNCOUNTED)), ids=lambda index: UNCOUNTED[index][0])
def test_a_field_that_is_not_counted_makes_the_price_unknown_and_is_named(door: Door, index: int) -> None:
    body = {"model": f"m{index}", "messages": HELLO, "max_tokens": 5}
    answer = door.gateway.post("/v1/chat/completions", body)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (403, "price_unknown")
    assert UNCOUNTED[index][0] in error["message"]
    assert "input_cost_per_token" in error["message"]
    assert not door.upstream.requests


def own_price(fields: dict[str, Any], model: str = "made-up", provider: str = "openai_compatible") -> Any:
    return BOOK.price(provider, model, at=NOW, own=fields)


def cost(fields: dict[str, Any], usage: Usage, **choices: str) -> int:
    return BOOK.price("openai_compatible", "made-up", at=NOW, own=fields, choices=choices).cost(usage)


BY_SIZE = {"search_context_size_low": 0.01, "search_context_size_high": 0.03}
COUNTED: list[tuple[dict[str, Any], dict[str, int], dict[str, str], int]] = [
    # fields beside OWN, parts of a usage of 1,000 in and 1,000 out, what was served, nanos beside 3,000,000
    ({"cache_read_input_token_cost": 1e-7}, {"cache_read_tokens": 1_000}, {}, -900_000),
    ({"input_cost_per_token_cache_hit": 1e-7}, {"cache_read_tokens": 1_000}, {}, -900_000),
    ({"cache_creation_input_token_cost": 2e-6}, {"cache_write_tokens": 1_000}, {}, 1_000_000),
    (
        {"cache_creation_input_token_cost": 2e-6, "cache_creation_input_token_cost_above_1hr": 3e-6},
        {"cache_write_tokens": 1_000, "cache_write_1h_tokens": 1_000},
        {},
        2_000_000,
    ),
    ({"input_cost_per_audio_token": 5e-6}, {"input_audio_tokens": 1_000}, {}, 4_000_000),
    ({"output_cost_per_audio_token": 5e-6}, {"output_audio_tokens": 1_000}, {}, 3_000_000),
    ({"input_cost_per_image_token": 5e-6}, {"input_image_tokens": 1_000}, {}, 4_000_000),
    ({"output_cost_per_image_token": 5e-6}, {"output_image_tokens": 1_000}, {}, 3_000_000),
    ({"input_cost_per_video_token": 5e-6}, {"input_video_tokens": 1_000}, {}, 4_000_000),
    ({"output_cost_per_video_token": 5e-6}, {"output_video_tokens": 1_000}, {}, 3_000_000),
    ({"output_cost_per_reasoning_token": 5e-6}, {"output_reasoning_tokens": 1_000}, {}, 3_000_000),
    ({"citation_cost_per_token": 5e-6}, {"output_citation_tokens": 1_000}, {}, 3_000_000),
    ({"input_cost_per_request": 0.01}, {}, {}, 10_000_000),
    ({"file_search_cost_per_1k_calls": 2.5}, {"storage_searches": 2}, {}, 5_000_000),
    ({"search_context_cost_per_query": 0.01}, {"web_searches": 2}, {}, 20_000_000),
    (
        {
            "search_context_cost_per_query": {
                "search_context_size_low": 0.01,
                "search_context_size_high": 0.03,
            }
        },
        *({"web_searches": 1}, {"search_context_size": "low"}, 10_000_000),
    ),
    (
        {
            "search_context_cost_per_query": {
                "search_context_size_low": 0.01,
                "search_context_size_high": 0.03,
            }
        },
        *({"web_searches": 1}, {}, 30_000_000),
    ),
    ({"input_cost_per_token_priority": 2e-6}, {}, {"service_tier": "priority"}, 1_000_000),
    ({"output_cost_per_token_flex": 1e-6}, {}, {"service_tier": "flex"}, -1_000_000),
    ({"input_cost_per_token_batches": 5e-7}, {}, {"service_tier": "batch"}, -500_000),
    ({"input_cost_per_token_ultrafast": 6e-6}, {}, {"service_tier": "ultrafast"}, 5_000_000),
    ({"provider_specific_entry": {"us": 1.1}}, {}, {"inference_geo": "us"}, 300_000),
    ({"provider_specific_entry": {"fast": 2.0}}, {}, {"speed": "fast"}, 3_000_000),
    ({"input_cost_per_token_above_128k_tokens": 2e-6}, {}, {}, 0),
    ({"input_cost_per_second": 0, "ocr_cost_per_page": 0.0}, {}, {}, 0),
    ({"regional_endpoint_uplift_multiplier": 1}, {}, {}, 0),
    ({"regional_processing_uplift_multiplier_eu": 1.1}, {}, {"processing_region": "regional"}, 300_000),
]


@pytest.mark.parametrize("case", COUNTED, ids=lambda case: f"{next(iter(case[0]))}-{case[2]}")
def test_a_field_that_is_counted_acts(
    case: tuple[dict[str, Any], dict[str, int], dict[str, str], int],
) -> None:
    fields, parts, choices, more = case
    assert cost({**OWN, **fields}, Usage.of(1_000, 1_000, **parts), **choices) == 3_000_000 + more


def test_tiered_prices_hold_for_the_whole_call_from_where_a_range_begins() -> None:
    bands = [
        {"range": [0, 256_000.0], "input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6},
        {"range": [256_000.0, 1e6], "input_cost_per_token": 3e-6, "output_cost_per_token": 6e-6},
    ]
    fields = {"input_cost_per_token": 0, "tiered_pricing": bands}
    assert cost(fields, Usage.of(255_999, 0)) == 255_999_000
    assert cost(fields, Usage.of(256_000, 10)) == 3 * 256_000_000 + 60_000
    assert not own_price(fields).is_free


def test_a_single_rate_changes_that_rate_of_a_known_model() -> None:
    known = BOOK.price("openai", "gpt-4o", at=NOW)
    price = BOOK.price("openai", "gpt-4o", at=NOW, own={"cache_read_input_token_cost": 1e-7})
    usage = Usage.of(1_000, 100)
    assert price.cost(usage) == known.cost(usage)
    assert price.cost(Usage.of(1_000, 0, cache_read_tokens=1_000)) == 100_000
    assert price.values == known.values
    dearer = BOOK.price("openai", "gpt-4o", at=NOW, own={"output_cost_per_token": 1e-3})
    served = BOOK.price(
        *("openai", "gpt-4o"),
        at=NOW,
        own={"output_cost_per_token": 1e-3},
        choices={"service_tier": "priority"},
    )
    assert served.cost(Usage.of(0, 10)) == dearer.cost(Usage.of(0, 10)) == 10_000_000


def test_a_single_rate_of_an_unknown_model_leaves_it_unknown() -> None:
    with pytest.raises(PriceUnknownError):
        own_price({"cache_read_input_token_cost": 1e-7})


@pytest.mark.parametrize(("provider", "five", "hour"), [("anthropic", 1_250, 2_000), ("groq", 1_000, 1_000)])
def test_cache_writes_that_an_own_price_leaves_out(provider: str, five: int, hour: int) -> None:
    price = BOOK.price(provider, "made-up", at=NOW, own=OWN)
    assert price.cost(Usage.of(1_000, 0, cache_write_tokens=1_000)) == 1_000 * five
    usage = Usage.of(1_000, 0, cache_write_tokens=1_000, cache_write_1h_tokens=1_000)
    assert price.cost(usage) == 1_000 * hour
    assert price.bound_rates().input == max(five, hour)


@pytest.mark.parametrize("second", ["openai/gpt-4o", "openai/GPT-4o", "OpenAI/gpt-4o"])
def test_a_price_file_that_states_a_model_twice_is_refused(tmp_path: Path, second: str) -> None:
    path = tmp_path / "prices.json"
    price = json.dumps({"input_mtok": 1, "output_mtok": 2})
    path.write_text(f'{{"models": {{"openai/gpt-4o": {price}, "{second}": {price}}}}}', encoding="utf-8")
    with pytest.raises(InvalidValueError, match="twice"):
        PriceBook(user_file=path)


def test_a_field_that_stands_twice_in_a_price_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    price = '{"input_mtok": 1, "input_mtok": 9, "output_mtok": 2}'
    path.write_text(f'{{"models": {{"a/b": {price}}}}}', encoding="utf-8")
    with pytest.raises(InvalidValueError, match="input_mtok"):
        PriceBook(user_file=path)
