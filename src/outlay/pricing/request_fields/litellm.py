"""LiteLLM's own fields: what its proxy and its library read of a request themselves, and no provider should.

They are taken out where they ask for nothing special. One that asks for what is not done here is refused by
name, so that nobody believes in a retry or a guardrail that there is not. The names are `all_litellm_params`,
`StandardCallbackDynamicParams` and what the proxy adds to them:
https://github.com/BerriAI/litellm/blob/main/litellm/types/utils.py,
https://docs.litellm.ai/docs/proxy/user_keys and https://docs.litellm.ai/docs/proxy/caching.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from outlay.errors import InvalidValueError
from outlay.pricing.request_fields.rules import asks_for_nothing, fold


def _names(text: str) -> list[str]:
    """Names with blanks between them."""
    return text.split()


def _each(names: str, why: str) -> dict[str, str]:
    """Give names the same reason."""
    return dict.fromkeys(_names(names), why)


_RETRY: Final = "a call is sent once, so repeat it yourself when it fails"
_OTHER_MODEL: Final = "no other model is called, so call it yourself when this one fails"
_TIMEOUT: Final = "timeouts are set by the operator, or by your client"
_NO_CACHE: Final = "answers are not cached"
_GUARDRAIL: Final = "there are no guardrails, so check the text yourself"
_MOCK: Final = "answers are not made up; outlay.testing.provider is a real server with scripted answers"
_PROMPTS: Final = "prompts are sent as they are, so write the messages yourself"
_DROPPED: Final = "no parameter is dropped or changed, so leave out what the model does not take"
_CALLBACK: Final = "there are no callbacks; /metrics and /spend/logs tell what was called"
_OPERATOR: Final = "the operator configures it"
_STREAM: Final = "answers come as the provider writes them"
_TESTING: Final = "faults are not made up"

_REFUSED: Final[Mapping[str, str]] = {
    **_each("num_retries max_retries retry_policy retry_strategy", _RETRY),
    **_each(
        "fallbacks context_window_fallbacks content_policy_fallbacks default_fallbacks "
        "context_window_fallback_dict max_fallbacks fallback_depth fastest_response routing_strategy "
        "specific_deployment region_name allowed_model_region order enable_tag_filtering user_config "
        "router_settings_override search_tool_name",
        _OTHER_MODEL,
    ),
    **_each("timeout request_timeout stream_timeout force_timeout", _TIMEOUT),
    **_each("cache caching caching_groups cache_key preset_cache_key ttl", _NO_CACHE),
    **_each("guardrails guardrail_config policies", _GUARDRAIL),
    **_each("mock_response mock_tool_calls mock_timeout mock_delay", _MOCK),
    **_each(
        "prompt_id prompt_variables prompt_label prompt_version litellm_system_prompt roles "
        "initial_prompt_value final_prompt_value bos_token eos_token hf_model_name user_continue_message "
        "assistant_continue_message ensure_alternating_roles cache_control_injection_points "
        "knowledge_bases vector_store_ids supports_system_message disable_add_transform_inline_image_block",
        _PROMPTS,
    ),
    **_each(
        "drop_params additional_drop_params allowed_openai_params modify_params "
        "enable_json_schema_validation",
        _DROPPED,
    ),
    **_each(
        "callbacks success_callback failure_callback service_callback logger_fn langfuse_public_key "
        "langfuse_secret langfuse_secret_key langfuse_host langfuse_prompt_version gcs_bucket_name "
        "gcs_path_service_account langsmith_api_key langsmith_project langsmith_base_url "
        "langsmith_sampling_rate langsmith_tenant_id humanloop_api_key arize_api_key arize_space_key "
        "arize_space_id posthog_api_key posthog_api_url wandb_api_key weave_project_id dd_api_key dd_site "
        "dd_agent_host dd_agent_port",
        _CALLBACK,
    ),
    **_each(
        "rpm tpm itpm otpm max_parallel_requests max_budget budget_duration weight cooldown_time "
        "model_info model_config base_model use_litellm_proxy use_client use_chat_completions_api "
        "use_in_pass_through use_xai_oauth shared_session azure configurable_clientside_auth_params "
        "provider_specific_header model_file_id_mapping azure_ad_token_provider tenant_id client_id "
        "client_secret azure_username azure_password azure_scope auto_router_config "
        "auto_router_config_path auto_router_default_model auto_router_embedding_model "
        "complexity_router_config complexity_router_default_model adaptive_router_config "
        "adaptive_router_default_model quality_router_config quality_router_default_model "
        "max_agentic_loops enforced_params api_type deployment_id organization_id project_id",
        _OPERATOR,
    ),
    **_each("merge_reasoning_content_in_choices text_completion", _STREAM),
    **_each(
        "mock_testing_fallbacks mock_testing_context_fallbacks mock_testing_rate_limit_error "
        "mock_testing_content_policy_fallbacks",
        _TESTING,
    ),
}
"""Fields that ask for what is not done here, unless their value is neutral, and what to do instead."""

_OPERATORS_PREFIXES: Final = (
    *("aws_", "vertex_", "s3_", "input_cost_per_", "output_cost_per_", "cache_creation_input_"),
    *("cache_read_input_", "ocr_cost_per_"),
)
_DROPPED_ALWAYS: Final = frozenset(
    _names(
        "litellm_trace_id litellm_session_id litellm_call_id litellm_logging_obj litellm_request_debug "
        "litellm_parent_otel_span litellm_proxy_rate_limit_response litellm_metadata "
        "litellm_disabled_callbacks proxy_server_request secret_fields no-log turn_off_message_logging "
        "disable_fallbacks acompletion aembedding atext_completion aimg_generation complete_response "
        "stream_response requester_metadata tags spend_logs_metadata complete_input_dict litellm_params id "
        "self client disable_global_guardrails"
    )
)
"""Notes for LiteLLM's logs and its own machinery, and what asks for what is done here anyway."""
_PRIVATE_PREFIXES: Final = ("_litellm_", "_agentic_loop_", "_code_interpreter_interception_")

_NEUTRAL_AT_ZERO: Final = frozenset(
    {
        *("num_retries", "max_retries", "max_fallbacks", "fallback_depth", "mock_delay", "ttl"),
        *("cooldown_time", "max_agentic_loops"),
    }
)
_NEUTRAL_CACHE: Final = frozenset({"no-cache", "no-store"})
_METADATA: Final = frozenset({"tags", "spend_logs_metadata", "requester_metadata", "applied_guardrails"})
"""What LiteLLM's proxy reads of `metadata`; all else is the provider's."""
_METADATA_PREFIXES: Final = ("user_api_key", "litellm_", "_litellm_", "_guardrail")
_ASKED_OF_METADATA: Final = frozenset({"guardrails", "guardrail_config", "policies"})
"""Of these a text is the caller's own: OpenAI's metadata has no other values."""

FORBIDDEN: Final = (
    *("api_base", "base_url", "api_key", "api_version", "custom_llm_provider", "extra_headers"),
    *("headers", "model_list", "litellm_credential_name", "azure_ad_token", "organization"),
)
"""What LiteLLM's library takes from its caller, who is trusted there: where to send, and as whom."""

LITELLM_NAMES: Final = frozenset({*_REFUSED, *_DROPPED_ALWAYS})
_FOLDED: Final = {fold(name): name for name in (*LITELLM_NAMES, *FORBIDDEN)}
_PREFIXED: Final = re.compile(rf"(?m)^(?:{'|'.join((*_OPERATORS_PREFIXES, *_PRIVATE_PREFIXES))})")


class LiteLLMFieldError(InvalidValueError):
    """A field of LiteLLM's asks for what is not done here; `field` is its path."""


def without_litellm_fields(body: dict[str, Any], endpoint: str) -> dict[str, Any]:
    """Give the body without LiteLLM's own fields: itself where it has none.

    Raises:
        LiteLLMFieldError: one asks for what is not done here; the message names it, and says what to do.
    """
    metadata = body.get("metadata")
    if isinstance(metadata, dict) and any(map(_is_of_proxy, metadata, metadata.values())):
        _check_metadata("metadata", metadata)
        kept = {name: value for name, value in metadata.items() if not _is_of_proxy(name, value)}
        body = {name: value for name, value in body.items() if name != "metadata"}
        if kept:
            body["metadata"] = kept
    if LITELLM_NAMES.isdisjoint(body) and not _PREFIXED.search("\n".join(body)):
        return body
    kept = {}
    for name, value in body.items():
        is_litellms = name in LITELLM_NAMES or _PREFIXED.match(name) is not None
        if is_litellms and not _is_providers(name, value, endpoint):
            _check(name, name, value)
        else:
            kept[name] = value
    _check_metadata("litellm_metadata", body.get("litellm_metadata"))
    _check_params(body.get("litellm_params"))
    return kept


def litellm_name(name: str) -> str | None:
    """LiteLLM's name that this one differs from only in the case of its letters, if there is one."""
    known = _FOLDED.get(fold(name))
    return None if known == name else known


def _is_of_proxy(name: str, value: object) -> bool:
    if name in _ASKED_OF_METADATA:
        return not isinstance(value, str)
    return name in _METADATA or name.startswith(_METADATA_PREFIXES)


def _is_providers(name: str, value: object, endpoint: str) -> bool:
    """Whether a field is the provider's own there: Anthropic has `fallbacks` too, a list of objects."""
    if name != "fallbacks" or endpoint != "messages":
        return False
    return value == "default" or (
        isinstance(value, list) and any(isinstance(each, Mapping) and "model" in each for each in value)
    )


def _check_metadata(where: str, metadata: object) -> None:
    if isinstance(metadata, Mapping):
        for name in sorted(_ASKED_OF_METADATA):
            if not isinstance(metadata.get(name), str):
                _check(f"{where}.{name}", name, metadata.get(name))


def _check_params(params: object) -> None:
    """LiteLLM's library keeps the same names there once more."""
    if isinstance(params, Mapping):
        for name, value in params.items():
            _check(f"litellm_params.{name}", name, value)
        for name in ("metadata", "litellm_metadata"):
            _check_metadata(f"litellm_params.{name}", params.get(name))


def _check(path: str, name: str, value: object) -> None:
    why = _REFUSED.get(name) or (_OPERATOR if name.startswith(_OPERATORS_PREFIXES) else None)
    if why is not None and not asks_for_nothing(value) and not _is_neutral(name, value):
        raise LiteLLMFieldError(f"{path} is not served: {why}. Leave it out.", field=path)


def _is_neutral(name: str, value: object) -> bool:
    """Whether a value asks for what is done anyway."""
    if name in _NEUTRAL_AT_ZERO:
        return value == 0
    if name == "cache":
        return isinstance(value, Mapping) and _NEUTRAL_CACHE.issuperset(
            key for key, part in value.items() if not asks_for_nothing(part)
        )
    return name == "supports_system_message" and value is True
