"""From a model's name to where it lives."""

from __future__ import annotations

import pytest

from outlay.errors import InvalidValueError, ProviderAuthError
from outlay.providers.catalogue import ALIASES, FAMILIES, PROVIDERS, Endpoint
from outlay.providers.target import resolve

KEYS = {name: f"key-of-{provider.id}" for provider in PROVIDERS.values() for name in provider.key_env}


@pytest.mark.parametrize(
    ("model", "provider", "name"),
    [
        ("gpt-4o", "openai", "gpt-4o"),
        ("o3-mini", "openai", "o3-mini"),
        ("demo", "openai", "demo"),
        ("ft:gpt-4o:acme::1", "openai", "ft:gpt-4o:acme::1"),
        ("openai/gpt-4o", "openai", "gpt-4o"),
        ("claude-3-5-sonnet-latest", "anthropic", "claude-3-5-sonnet-latest"),
        ("anthropic/claude-3-5-haiku", "anthropic", "claude-3-5-haiku"),
        ("openrouter/anthropic/claude-3.5-sonnet", "openrouter", "anthropic/claude-3.5-sonnet"),
        ("ollama/llama3", "ollama", "llama3"),
        ("ollama_chat/llama3:8b", "ollama", "llama3:8b"),
        ("together_ai/meta-llama/Llama-3-70b", "together", "meta-llama/Llama-3-70b"),
        ("mistral-large-latest", "mistral", "mistral-large-latest"),
        ("deepseek-chat", "deepseek", "deepseek-chat"),
        ("xai/grok-4", "xai", "grok-4"),
        ("GROQ/llama-3.3-70b", "groq", "llama-3.3-70b"),
    ],
)
def test_a_model_name_says_where_it_lives(model: str, provider: str, name: str) -> None:
    target = resolve(model, environ=KEYS)
    assert (target.provider.id, target.model) == (provider, name)
    assert target.base_url == target.provider.base_url
    assert target.credential == f"key-of-{provider}"


@pytest.mark.parametrize("provider", [it for it in PROVIDERS.values() if it.requires_key])
def test_a_missing_key_is_asked_for_by_name(provider: object) -> None:
    from outlay.providers.catalogue import Provider

    assert isinstance(provider, Provider)
    with pytest.raises(ProviderAuthError, match=provider.key_env[0]) as caught:
        resolve(f"{provider.id}/some-model", environ={provider.key_env[0]: "  "})
    assert not caught.value.is_unknown_outcome


def test_an_unknown_provider_with_a_base_is_taken_as_compatible_and_gets_no_other_key() -> None:
    target = resolve("acme/model-1", api_base="https://llm.acme.example/v1/", environ=KEYS | {"X": "y"})
    assert (target.provider.id, target.model) == ("openai_compatible", "acme/model-1")
    assert target.base_url == "https://llm.acme.example/v1"
    assert target.credential == "key-of-openai_compatible"
    assert resolve("acme/model-1", api_base="http://localhost:8000", environ={}).credential == ""


def test_an_unknown_provider_without_a_base_is_an_error_that_lists_those_there_are() -> None:
    with pytest.raises(InvalidValueError, match="openrouter"):
        resolve("acme/model-1", environ=KEYS)


def test_a_server_set_in_the_environment_takes_names_with_slashes() -> None:
    environ = {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://localhost:8000/v1"}
    target = resolve("meta-llama/Llama-3-8B", environ=environ)
    assert (target.provider.id, target.model, target.credential) == ("openai", "meta-llama/Llama-3-8B", "k")
    assert target.base_url == "http://localhost:8000/v1"


def test_the_provider_can_be_given() -> None:
    assert resolve("llama-3", provider="groq", environ=KEYS).provider.id == "groq"
    assert resolve("groq/llama-3", provider="groq", environ=KEYS).model == "llama-3"
    assert resolve("openai/gpt-oss-20b", provider="groq", environ=KEYS).model == "openai/gpt-oss-20b"
    with pytest.raises(InvalidValueError, match="no provider called 'acme'"):
        resolve("llama-3", provider="acme", environ=KEYS)


@pytest.mark.parametrize(
    ("host", "base_url"),
    [
        ("127.0.0.1:11434", "http://127.0.0.1:11434/v1"),
        ("http://box:1234/", "http://box:1234/v1"),
        ("https://box/ollama/v1", "https://box/ollama/v1"),
    ],
)
def test_ollama_needs_no_key_and_takes_its_own_variable(host: str, base_url: str) -> None:
    target = resolve("ollama/llama3", environ={"OLLAMA_HOST": host})
    assert (target.base_url, target.credential) == (base_url, "")


@pytest.mark.parametrize(
    "base",
    [
        "ftp://example.com",
        "example.com/v1",
        "https://",
        "https://user:secret@example.com/v1",
        "https://example.com/v1\r\nx-evil: 1",
        "https://exam ple.com",
        "https://example.com/v1?key=1",
        "https://example.com/v1#x",
        "https://example.com:99999/v1",
        "https://[::1/v1",
        "file:///etc/passwd",
    ],
)
def test_a_base_that_cannot_be_used_is_refused(base: str) -> None:
    with pytest.raises(InvalidValueError, match="api_base") as caught:
        resolve("gpt-4o", api_base=base, environ=KEYS)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("model", ["", "openai/", "a b", "gpt\n4"])
def test_a_model_name_that_cannot_be_used_is_refused(model: str) -> None:
    with pytest.raises(InvalidValueError):
        resolve(model, environ=KEYS)


def test_a_key_that_would_break_a_header_is_refused_without_being_shown() -> None:
    with pytest.raises(InvalidValueError) as caught:
        resolve("gpt-4o", api_key="sk-secret\r\nx: y", environ={})
    assert "secret" not in str(caught.value)


def test_a_target_never_shows_its_credential() -> None:
    assert "sk-secret" not in repr(resolve("gpt-4o", api_key="sk-secret", environ={}))


@pytest.mark.parametrize(
    ("model", "base", "endpoint", "field"),
    [
        ("gpt-4o", None, "chat", "max_completion_tokens"),
        ("gpt-4o", "http://localhost:8000/v1", "chat", "max_tokens"),
        ("o3", "http://localhost:8000/v1", "chat", "max_completion_tokens"),
        ("gpt-4o", None, "responses", "max_output_tokens"),
        ("gpt-3.5-turbo-instruct", None, "completions", "max_tokens"),
        ("mistral-large", None, "chat", "max_tokens"),
        ("deepseek-chat", None, "chat", "max_tokens"),
        ("claude-3-5-haiku", None, "messages", "max_tokens"),
        ("groq/llama-3", None, "chat", "max_completion_tokens"),
    ],
)
def test_the_cap_has_the_name_the_provider_knows(
    model: str, base: str | None, endpoint: Endpoint, field: str
) -> None:
    assert resolve(model, api_base=base, environ=KEYS).cap_field(endpoint) == field


def test_the_catalogue_holds_together() -> None:
    assert all(provider.id == key for key, provider in PROVIDERS.items())
    assert set(ALIASES.values()) <= PROVIDERS.keys()
    assert {owner for _, owner in FAMILIES} <= PROVIDERS.keys()
    assert not ALIASES.keys() & PROVIDERS.keys()
    for provider in PROVIDERS.values():
        assert not provider.base_url.endswith("/")
        assert provider.base_url.startswith("https://") or not provider.requires_key
        assert not provider.requires_key or provider.key_env


def test_the_catalogue_names_providers_as_the_price_data_does() -> None:
    from genai_prices import data_snapshot

    priced = {provider.id for provider in data_snapshot.get_snapshot().providers}
    free = {"ollama", "openai_compatible"}
    assert {provider.pricing_id for provider in PROVIDERS.values()} - free <= priced


REGIONAL = {"processing_region": "regional"}


@pytest.mark.parametrize(
    ("base", "asked", "is_own"),
    [
        ("https://api.openai.com/v1", {}, True),
        ("https://eu.api.openai.com/v1", REGIONAL, True),
        ("https://us.api.openai.com/v1", REGIONAL, True),
        ("https://eu.api.example.com/v1", {}, False),
        ("https://notapi.openai.com/v1", {}, False),
    ],
)
def test_a_regional_host_of_openai_asks_for_its_region(
    base: str, asked: dict[str, str], is_own: bool
) -> None:
    target = resolve("openai/gpt-5.5", api_key="k", api_base=base, environ={})
    assert target.asked == asked
    assert target.takes_standard_tier("chat") is is_own
