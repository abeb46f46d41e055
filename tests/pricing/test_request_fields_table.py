"""The table of request fields: it is whole, and says of each field what the bound may rely on."""

from __future__ import annotations

from typing import Any, get_args, get_type_hints

import anthropic.types.anthropic_beta_param as beta_param
import pytest
from anthropic.types import message_create_params
from anthropic.types.beta import BetaOutputConfigParam
from anthropic.types.beta import message_create_params as beta_message_create_params
from openai.types import completion_create_params, embedding_create_params
from openai.types.chat import ChatCompletionAudioParam, ChatCompletionStreamOptionsParam
from openai.types.chat import completion_create_params as chat_create_params
from openai.types.responses import response_create_params
from openai.types.shared_params import Reasoning

from outlay.errors import InvalidValueError
from outlay.pricing.request_fields import (
    FORMATS,
    FieldNameError,
    check_allowed,
    check_fields,
    table_of,
    uncounted_fields,
    unproven_reason,
)
from outlay.pricing.request_fields.betas import BETAS
from outlay.pricing.request_fields.rules import Fields, Refused, asks_for_nothing

pytestmark = pytest.mark.once("rules that are the same on every Python")

HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
PARAMETERS: dict[str, list[Any]] = {
    "chat": [
        chat_create_params.CompletionCreateParamsNonStreaming,
        chat_create_params.CompletionCreateParamsStreaming,
    ],
    "completions": [
        completion_create_params.CompletionCreateParamsNonStreaming,
        completion_create_params.CompletionCreateParamsStreaming,
    ],
    "embeddings": [embedding_create_params.EmbeddingCreateParams],
    "responses": [
        response_create_params.ResponseCreateParamsNonStreaming,
        response_create_params.ResponseCreateParamsStreaming,
    ],
    "messages": [
        message_create_params.MessageCreateParamsNonStreaming,
        message_create_params.MessageCreateParamsStreaming,
        beta_message_create_params.MessageCreateParamsNonStreaming,
        beta_message_create_params.MessageCreateParamsStreaming,
    ],
}
NESTED: list[tuple[str, str, Any]] = [
    ("chat", "stream_options", ChatCompletionStreamOptionsParam),
    ("chat", "audio", ChatCompletionAudioParam),
    ("chat", "prompt_cache_options", chat_create_params.PromptCacheOptions),
    ("responses", "reasoning", Reasoning),
    ("responses", "stream_options", response_create_params.StreamOptions),
    ("responses", "prompt_cache_options", response_create_params.PromptCacheOptions),
    ("responses", "image", response_create_params.Image),
    ("messages", "output_config", BetaOutputConfigParam),
]
DOCUMENTED: dict[str, str] = {
    "vLLM": "top_k min_p repetition_penalty stop_token_ids guided_json structured_outputs chat_template"
    " chat_template_kwargs mm_processor_kwargs cache_salt kv_transfer_params vllm_xargs documents priority",
    "SGLang": "regex ebnf lora_path session_params custom_logit_processor separate_reasoning input_ids rid",
    "llama.cpp": "n_predict n_cmpl mirostat cache_prompt id_slot dry_multiplier grammar timings_per_token",
    "Ollama": "options keep_alive think format template context",
    "OpenRouter": "provider models route plugins preset transforms usage reasoning include_reasoning trace",
    "Groq": "citation_options documents search_settings compound_custom reasoning_format include_domains",
    "Mistral": "safe_prompt random_seed prompt_mode document_image_limit prediction",
    "xAI": "deferred search_parameters reasoning_effort",
    "Together": "safety_model repetition_penalty context_length_exceeded_behavior compliance",
    "Perplexity": "search_mode search_domain_filter return_images web_search_options disable_search",
}


@pytest.mark.parametrize(
    ("endpoint", "kind"), [(endpoint, kind) for endpoint, kinds in PARAMETERS.items() for kind in kinds]
)
def test_every_parameter_of_the_sdks_request_types_stands_in_the_table(endpoint: str, kind: Any) -> None:
    names = kind.__required_keys__ | kind.__optional_keys__
    assert {"model"} <= names
    assert names - FORMATS[endpoint].rules.keys() == set()


@pytest.mark.parametrize(("endpoint", "field", "kind"), NESTED)
def test_every_parameter_of_an_sdks_nested_type_stands_in_the_table(
    endpoint: str, field: str, kind: Any
) -> None:
    rule = FORMATS[endpoint].rules[field]
    assert isinstance(rule, Fields)
    assert (kind.__required_keys__ | kind.__optional_keys__) - rule.rules.keys() == set()


def test_every_beta_of_anthropics_sdk_stands_in_the_table() -> None:
    named = {beta for part in get_args(beta_param.AnthropicBetaParam) for beta in get_args(part)}
    assert len(named) > 20
    assert named - BETAS.keys() == set()


@pytest.mark.parametrize("server", DOCUMENTED)
def test_the_documented_fields_of_servers_stand_in_the_table(server: str) -> None:
    assert set(DOCUMENTED[server].split()) - FORMATS["chat"].rules.keys() == set()


@pytest.mark.parametrize("endpoint", FORMATS)
def test_a_body_of_all_fields_that_ask_for_nothing_has_nothing_to_say(endpoint: str) -> None:
    rules = FORMATS[endpoint].rules
    nothings: list[Any] = [None, False, "", [], {}]
    for nothing in nothings:
        found = check_fields(dict.fromkeys(rules, nothing), endpoint=endpoint, provider="openai")
        assert (found.refused, found.unknown) == (None, ())


@pytest.mark.parametrize("endpoint", FORMATS)
def test_every_refused_field_is_refused_by_name_and_with_a_reason(endpoint: str) -> None:
    refused = {name: rule for name, rule in FORMATS[endpoint].rules.items() if isinstance(rule, Refused)}
    assert len(refused) > 20
    for name, rule in refused.items():
        assert rule.why
        found = check_fields({name: "x"}, endpoint=endpoint, provider="openai")
        assert found.refused == (name, rule.why)


@pytest.mark.parametrize("endpoint", FORMATS)
def test_a_name_in_capitals_is_refused_for_every_field_of_the_table(endpoint: str) -> None:
    rules = FORMATS[endpoint].rules
    for name in rules:
        capitals = name.upper()
        if capitals not in rules:
            with pytest.raises(FieldNameError, match=r"only in the case"):
                check_fields({capitals: "x"}, endpoint=endpoint, provider="openai")


def test_what_puts_no_text_into_the_prompt_is_not_counted_and_all_else_is() -> None:
    uncounted = uncounted_fields("chat", "openai")
    assert {"model", "user", "stop", "metadata", "logit_bias", "messages", "max_tokens"} <= uncounted
    assert not uncounted & {"tools", "response_format", "documents", "chat_template_kwargs", "tool_choice"}


@pytest.mark.parametrize(
    ("value", "is_nothing"),
    [(0, False), (0.0, False), (True, False), ("x", False), ([0], False), (None, True), (False, True)],
)
def test_nothing_is_null_false_or_empty(value: object, is_nothing: bool) -> None:
    assert asks_for_nothing(value) is is_nothing


def test_a_providers_own_meaning_goes_before() -> None:
    body = {"messages": HELLO, "extra_body": {"google": {"cached_content": "cachedContents/1"}}}
    assert check_fields(body, endpoint="chat", provider="gemini").refused is None
    found = check_fields(body, endpoint="chat", provider="openai_compatible")
    assert found.refused is not None
    assert found.refused[0] == "extra_body.google.cached_content"
    thinking = {"google": {"thinking_config": {"thinking_budget": 100}}}
    found = check_fields({"extra_body": thinking}, endpoint="chat", provider="openai_compatible")
    assert (found.refused, found.unknown) == (None, ())


def test_parts_within_results_and_documents_are_looked_at() -> None:
    part = {"type": "text", "text": "x", "Text": "y"}
    for content in (
        [{"type": "tool_result", "tool_use_id": "t", "content": [part]}],
        [{"type": "document", "source": {"type": "content", "content": [part]}}],
    ):
        with pytest.raises(FieldNameError):
            check_fields(
                {"messages": [{"role": "user", "content": content}]},
                endpoint="messages",
                provider="anthropic",
            )


@pytest.mark.parametrize(
    ("tools", "is_refused"),
    [
        ([{"type": "function", "name": "f"}, {"name": "g"}], False),
        ([{"type": "namespace", "name": "n", "tools": [{"type": "custom", "name": "f"}]}], False),
        ([{"type": "web_search"}], True),
        ([{"type": "namespace", "name": "n", "tools": [{"type": "mcp"}]}], True),
    ],
)
@pytest.mark.parametrize("kind", ["additional_tools", "tool_search_output"])
def test_a_conversation_may_bring_the_callers_own_tools_only(
    kind: str, tools: list[dict[str, Any]], is_refused: bool
) -> None:
    found = check_fields({"input": [{"type": kind, "tools": tools}]}, endpoint="responses", provider="openai")
    assert (found.refused is not None) is is_refused
    assert found.unknown == ()


@pytest.mark.parametrize(
    ("tool", "is_refused"),
    [
        ({"type": "tool_reference", "tool_name": "f"}, False),
        ({"type": "tool_definition", "definition": {"name": "f", "input_schema": {}}}, False),
        ({"type": "tool_definition", "definition": {"type": "web_search_20250305", "name": "s"}}, True),
        ({"type": "mcp_toolset_reference", "mcp_server_name": "x"}, True),
    ],
)
def test_a_tool_that_is_added_in_the_middle_may_be_the_callers_own_only(
    tool: dict[str, Any], is_refused: bool
) -> None:
    content = [{"type": "tool_addition", "tool": tool}]
    body = {"messages": [{"role": "user", "content": content}]}
    found = check_fields(body, endpoint="messages", provider="anthropic")
    assert (found.refused is not None) is is_refused


def test_what_callers_name_themselves_is_not_looked_at() -> None:
    schema = {"type": "object", "properties": {"Max_Tokens": {"type": "integer"}, "MODEL": {}}}
    body = {
        "messages": [
            {"role": "user", "content": "x"},
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {"N": 1}}],
            },
        ],
        "tools": [{"name": "f", "input_schema": schema}],
        "metadata": {"user_id": "x", "Model": "y"},
    }
    found = check_fields(body, endpoint="messages", provider="anthropic")
    assert (found.refused, found.unknown) == (None, ())


def test_a_field_is_allowed_where_it_stands_and_nowhere_else() -> None:
    body = {"frob": 1, "reasoning": {"frob": 1}, "messages": [{"role": "user", "frob": 1}, {"frob": 1}]}
    for allowed, unknown in (
        ("frob", ("reasoning.frob", "messages[0].frob", "messages[1].frob")),
        ("messages.frob", ("frob", "reasoning.frob")),
    ):
        found = check_fields(body, endpoint="chat", provider="openai", allowed=frozenset({allowed}))
        assert found.unknown == unknown


def test_a_message_names_some_of_many_unknown_fields() -> None:
    body = {f"{'x' * 1_000}{n}": 1 for n in range(1_000)}
    found = check_fields(body, endpoint="chat", provider="openai")
    assert 0 < len(unproven_reason(found.unknown)) < 2_000


def test_a_field_without_a_bound_cannot_be_vouched_for() -> None:
    assert check_allowed("frobnicate", "x") == "frobnicate"
    assert check_allowed("reasoning.turbo", "x") == "reasoning.turbo"
    for name in ("preset", "chat_template_kwargs.chat_template", "anthropic-beta: agent-memory-2026-07-22"):
        with pytest.raises(InvalidValueError, match=r"known to have no bound"):
            check_allowed(name, "outlay.allowed_request_fields")


def test_a_table_is_made_once_for_a_provider() -> None:
    assert table_of("chat", "openai") is FORMATS["chat"] is table_of("chat", "groq")
    assert table_of("chat", "google") is table_of("chat", "google") is not FORMATS["chat"]
    assert get_type_hints(Reasoning).keys() <= table_of("chat", "openai").rules["reasoning"].rules.keys()  # type: ignore[union-attr]
