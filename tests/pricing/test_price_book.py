"""Which price applies: own, configured, filed, bundled; dated; or unknown."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from genai_prices.data_snapshot import DataSnapshot, get_snapshot, set_custom_snapshot

from outlay.errors import InvalidValueError, PriceUnknownError
from outlay.pricing.book import PriceBook, price_from_fields
from outlay.pricing.dimensions import possible
from outlay.pricing.names import PRICE_PROVIDERS, is_reasoning_model, price_provider
from outlay.pricing.overrides import is_price_field
from outlay.pricing.usage import Usage
from outlay.providers.target import split_model

pytestmark = pytest.mark.once("rules that are the same on every Python")

NOW = int(datetime(2026, 11, 1, 12, tzinfo=UTC).timestamp() * 1_000_000)
OWN = {"input_cost_per_token": 0.000001, "output_cost_per_token": "2e-6"}
MILLION = Usage.of(1_000_000, 1_000_000)


def micros(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


def filed(tmp_path: Path, models: dict[str, Any], **others: object) -> Path:
    path = tmp_path / "prices.json"
    path.write_text(json.dumps({"models": models, **others}))
    return path


def test_a_deployments_own_price_comes_first(tmp_path: Path) -> None:
    book = PriceBook({"openai/gpt-4o": {"input_mtok": 7, "output_mtok": 7}})
    own = book.price("openai", "gpt-4o", at=NOW, own=OWN)
    assert (own.cost(MILLION), own.origin) == (3_000_000_000, "deployment")
    assert book.price("openai", "gpt-4o", at=NOW).cost(MILLION) == 14_000_000_000


def test_the_users_file_comes_before_the_bundled_data(tmp_path: Path) -> None:
    path = filed(tmp_path, {"OpenAI/gpt-4o": {"input_mtok": 1, "output_mtok": 1}}, version="7")
    price = PriceBook(user_file=path).price("openai", "GPT-4o", at=NOW)
    assert (price.cost(MILLION), price.origin, price.version) == (2_000_000_000, "user", "prices.json 7")


def test_dated_prices_apply_from_their_date_and_never_before(tmp_path: Path) -> None:
    dated = [
        {"from": "2026-06-01", "input_mtok": 3, "output_mtok": 3},
        {"from": "2026-01-01T00:00:00+00:00", "input_mtok": 1, "output_mtok": 1},
    ]
    book = PriceBook(user_file=filed(tmp_path, {"openai/gpt-4o": dated}))
    expected = {"2025-12-31T23:59:59": 12.5, "2026-01-01": 2, "2026-05-31T23:59:59": 2, "2026-06-01": 6}
    for _ in range(2):  # the second time from the cache
        for at, usd in expected.items():
            assert book.price("openai", "gpt-4o", at=micros(at)).cost(MILLION) == usd * 10**9, at


def test_a_model_without_a_price_is_unknown_and_the_error_says_how_to_add_one() -> None:
    with pytest.raises(PriceUnknownError, match="input_cost_per_token") as caught:
        PriceBook().price("ollama", "llama3", at=NOW)
    assert "ollama/llama3" in str(caught.value)
    assert '"free": true' in str(caught.value)


@pytest.mark.parametrize(("provider", "model"), [("openai", "no-such-model"), ("github-copilot", "gpt-4o")])
def test_a_model_with_no_rates_is_unknown_and_not_free(provider: str, model: str) -> None:
    with pytest.raises(PriceUnknownError):
        PriceBook().price(provider, model, at=NOW)


def test_a_model_named_free_is_free() -> None:
    price = PriceBook().price("openrouter", "qwen/qwen3-coder:free", at=NOW)
    assert price.is_free
    assert price.cost(MILLION) == 0


def test_a_wildcard_declares_a_providers_models_free() -> None:
    book = PriceBook({"ollama/*": {"free": True, "context_window": 8192, "max_output_tokens": 512}})
    assert book.price("ollama", "anything", at=NOW).is_free
    assert book.context_window("ollama", "anything") == 8192
    assert book.max_output_tokens("ollama", "anything") == 512


def test_an_own_price_that_is_a_list_is_refused_by_name() -> None:
    with pytest.raises(InvalidValueError, match="input_cost_per_token"):
        PriceBook().price("openai", "gpt-4o", at=NOW, own={"input_cost_per_token": [1]})


def test_a_refreshed_snapshot_replaces_the_cached_prices() -> None:
    book = PriceBook()
    bundled = get_snapshot()
    assert book.price("openai", "gpt-4o", at=NOW).version.startswith("genai-prices")
    set_custom_snapshot(DataSnapshot(providers=[], from_auto_update=True))
    try:
        with pytest.raises(PriceUnknownError):
            book.price("openai", "gpt-4o", at=NOW)
    finally:
        set_custom_snapshot(None)
    assert get_snapshot() is bundled
    assert book.price("openai", "gpt-4o", at=NOW).cost(MILLION) == 12_500_000_000


def test_importing_pricing_loads_no_third_party_library() -> None:
    heavy = "('genai_prices', 'pydantic', 'splintr', 'msgspec')"
    code = f"import sys, outlay.pricing; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_price_of_zero_is_a_price() -> None:
    own = price_from_fields({"input_cost_per_token": 0, "output_cost_per_token": 0.0})
    assert own.is_free


def test_litellms_long_context_and_cache_fields_are_understood() -> None:
    own = price_from_fields(
        {
            "input_cost_per_token": 1e-6,
            "input_cost_per_token_above_200k_tokens": 2e-6,
            "output_cost_per_token": 4e-6,
            "output_cost_per_token_above_200k_tokens": 8e-6,
            "cache_read_input_token_cost": 1e-7,
            "cache_creation_input_token_cost": 1.25e-6,
            "input_cost_per_request": 0.01,
        }
    )
    assert own.cost(Usage.of(200_000, 10)) == 200_000_000 + 40_000 + 10_000_000
    assert own.cost(Usage.of(200_001, 10)) == 400_002_000 + 80_000 + 10_000_000
    assert own.cost(Usage.of(100, 0, cache_read_tokens=40)) == 60_000 + 4_000 + 10_000_000
    assert own.bound_rates(input_tokens=5).input == 1250


def test_a_service_tier_of_an_own_price_is_used_where_asked() -> None:
    fields = {**OWN, "input_cost_per_token_priority": 5e-6, "input_cost_per_token_batches": 1e-7}
    price = price_from_fields(fields)
    assert price.cost(Usage.of(1000, 0)) == 1_000_000
    for tier, nanos in (("priority", 5_000_000), ("batch", 100_000)):
        served = price_from_fields(fields, choices={"service_tier": tier})
        assert served.cost(Usage.of(1000, 0)) == nanos
    assert price.bound_rates(choices=possible({"service_tier": "auto"}, price, "local")).input == 5_000


@pytest.mark.parametrize("value", [-1, -0.1, float("nan"), float("inf"), "NaN", "x", True, [], 1e9, "1e-99"])
def test_a_rate_that_is_no_price_is_refused_by_name(value: object) -> None:
    with pytest.raises(InvalidValueError, match="input_cost_per_token"):
        price_from_fields({"input_cost_per_token": value, "output_cost_per_token": 1})


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"input_cost_per_tokne": 1}, "input_cost_per_tokne"),
        ({"input_cost_per_token_above_200k_tokens": 1, "output_cost_per_token": 1}, "long-context"),
        ({"free": True, **OWN}, "both"),
        ({"free": "yes"}, "free"),
        ({}, "neither"),
        ({**OWN, "from": "soon"}, "from"),
        ({**OWN, "context_window": -1}, "context_window"),
        ({5: 1, "input_cost_per_token": 1}, "5"),
    ],
)
def test_a_configured_price_that_cannot_be_read_names_its_field(fields: dict[str, Any], name: str) -> None:
    with pytest.raises(InvalidValueError, match=name):
        PriceBook({"a/b": fields})


@pytest.mark.parametrize(
    "text", ["", "[]", '{"models": []}', '{"model": {}}', '{"models": {"a/b": []}}', "\xff"]
)
def test_a_price_file_that_cannot_be_read_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "prices.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InvalidValueError):
        PriceBook(user_file=path)


def test_a_price_must_name_its_provider() -> None:
    with pytest.raises(InvalidValueError, match="provider/model"):
        PriceBook({"gpt-4o": OWN})


def test_a_price_may_be_filed_under_either_name_of_its_provider() -> None:
    assert PriceBook({"x-ai/grok-3": OWN}).price("xai", "grok-3", at=NOW).origin == "deployment"


def test_a_price_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match="cannot be read"):
        PriceBook(user_file=tmp_path / "none.json")


def test_every_alias_leads_to_a_provider_that_has_prices() -> None:
    known = {provider.id for provider in get_snapshot().providers}
    assert set(PRICE_PROVIDERS.values()) <= known
    assert price_provider("XAI") == "x-ai"
    assert PriceBook().price("xai", "grok-3", at=NOW).cost(MILLION) > 0


def test_azure_has_the_prices_of_openai() -> None:
    assert PriceBook().price("azure", "gpt-4o", at=NOW).cost(MILLION) == 12_500_000_000


def test_limits_come_from_the_data_and_where_it_is_rounded_from_the_source() -> None:
    book = PriceBook()
    assert book.context_window("openai", "gpt-4o") == 128_000
    assert book.context_window("openai", "gpt-4.1-mini") == 1_047_576
    assert book.max_output_tokens("openai", "gpt-4o-mini") == 16_384
    assert book.max_output_tokens("openai", "no-such-model") is None
    assert book.context_window("nobody", "x") is None


@pytest.mark.parametrize(
    "model", ["o1", "o3-mini", "openai/gpt-5", "deepseek-reasoner", "deepseek-r1", "grok-4-fast-reasoning"]
)
def test_reasoning_models_are_known(model: str) -> None:
    assert is_reasoning_model(model)


@pytest.mark.parametrize(
    "model", ["gpt-4o", "gpt-5-chat-latest", "grok-4-fast-non-reasoning", "claude-sonnet-4-5"]
)
def test_other_models_do_not_reason_unasked(model: str) -> None:
    assert not is_reasoning_model(model)


def test_price_fields_are_told_from_other_parameters() -> None:
    assert is_price_field("input_cost_per_token_above_272k_tokens")
    assert is_price_field("web_searches_kcount")
    assert not is_price_field("api_base")


def test_the_cache_stays_bounded() -> None:
    book = PriceBook({"local/*": {"free": True}})
    for index in range(5000):
        book.price("local", f"model-{index}", at=NOW)
    assert len(book._cache) <= 4096


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("azure/gpt-4o", "azure"),
        ("gemini/gemini-2.5-pro", "gemini"),
        ("vertex_ai/gemini-2.5-flash", "vertex_ai"),
        ("gemini-2.5-pro", "google"),
        ("command-r-plus", "cohere"),
    ],
)
def test_models_of_providers_without_a_wire_have_their_price_all_the_same(model: str, provider: str) -> None:
    found, name = split_model(model)
    assert found == provider
    assert PriceBook().price(found, name, at=NOW).cost(Usage.of(1000, 1000)) > 0
