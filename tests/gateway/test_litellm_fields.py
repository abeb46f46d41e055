"""LiteLLM's own fields never reach a provider: taken out where they ask for nothing, else refused by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from gateways import DEMO_RATE, HELLO, Gateway, a_budget, run_gateway
from request_bodies import BODIES, CLAUDE, error_of, post

from outlay.testing.provider import FakeProvider

pytestmark = pytest.mark.once("rules that are the same on every Python")

NEUTRAL: list[dict[str, Any]] = [
    {"num_retries": 0},
    {"max_retries": 0},
    {"num_retries": None},
    {"fallbacks": []},
    {"context_window_fallbacks": None},
    {"no-log": True},
    {"no-log": False},
    {"cache": {"no-cache": True}},
    {"cache": {"no-store": True, "no-cache": True}},
    {"cache": None},
    {"caching": False},
    {"guardrails": []},
    {"mock_response": None},
    {"drop_params": False},
    {"timeout": None},
    {"litellm_session_id": "s-1"},
    {"litellm_trace_id": "t-1"},
    {"litellm_call_id": "c-1"},
    {"litellm_metadata": {"spend_logs_metadata": {"a": 1}}},
    {"disable_fallbacks": True},
    {"turn_off_message_logging": True},
    {"mock_testing_fallbacks": False},
    {"tags": ["a", "b"]},
    {"id": "mine"},
    {"proxy_server_request": {"url": "x"}},
    {"_litellm_tpm_reserved_tokens": 3},
    {"litellm_params": {"num_retries": 0, "metadata": {"guardrails": []}}},
    {"extra_headers": {}, "api_base": None, "headers": {}, "api_key": ""},
]
ASKED: list[dict[str, Any]] = [
    {"litellm_params": {"num_retries": 3}},
    {"litellm_params": {"metadata": {"guardrails": ["pii"]}}},
    {"num_retries": 3},
    {"max_retries": 2},
    {"retry_policy": {"TimeoutErrorRetries": 3}},
    {"fallbacks": ["gpt-4o"]},
    {"fallbacks": [{"demo": ["other"]}]},
    {"context_window_fallback_dict": {"demo": "other"}},
    {"timeout": 30},
    {"request_timeout": 30},
    {"stream_timeout": 3},
    {"cache": {"ttl": 60}},
    {"cache": {"use-cache": True}},
    {"cache": True},
    {"caching": True},
    {"ttl": 60},
    {"s3_bucket_name": "b"},
    {"aws_access_key_id": "AKIA"},
    {"vertex_project": "p"},
    {"guardrails": ["pii"]},
    {"mock_response": "hi"},
    {"mock_tool_calls": [{"id": "x"}]},
    {"mock_testing_fallbacks": True},
    {"drop_params": True},
    {"additional_drop_params": ["user"]},
    {"allowed_openai_params": ["tools"]},
    {"input_cost_per_token": 0},
    {"max_budget": 0},
    {"rpm": 5},
    {"prompt_id": "p"},
    {"prompt_variables": {"a": "b"}},
    {"success_callback": ["langfuse"]},
    {"langfuse_public_key": "pk"},
    {"model_info": {"id": "x"}},
    {"user_config": {"model_list": []}},
    {"cache_control_injection_points": [{"location": "message"}]},
    {"litellm_metadata": {"guardrails": ["pii"]}},
    {"metadata": {"guardrails": ["pii"]}},
]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with FakeProvider(rates={"demo": DEMO_RATE, CLAUDE: (3_000, 15_000)}) as provider:
        budget = a_budget("global", "usd", 10**12)
        with run_gateway(provider, tmp_path_factory.mktemp("litellm"), budgets=[budget]) as running:
            yield running


@pytest.mark.parametrize("more", NEUTRAL)
def test_one_that_asks_for_nothing_special_is_taken_out(gateway: Gateway, more: dict[str, Any]) -> None:
    for endpoint in BODIES:
        answer = post(gateway, endpoint, more)
        assert answer.status_code == 200, answer.text
        sent = gateway.provider.requests[-1].json()
        assert not more.keys() & sent.keys(), endpoint
    assert post(gateway, "chat", {**more, "stream": True}).status_code == 200
    assert not more.keys() & gateway.provider.requests[-1].json().keys()


@pytest.mark.parametrize("more", ASKED)
def test_one_that_asks_for_what_is_not_done_is_refused_by_name(
    gateway: Gateway, more: dict[str, Any]
) -> None:
    sent = len(gateway.provider.requests)
    for endpoint in BODIES:
        answer = post(gateway, endpoint, more)
        assert answer.status_code == 400, (endpoint, answer.text)
        message = error_of(answer)["message"]
        assert message.startswith(next(iter(more)))
        assert "is not served: " in message
    assert len(gateway.provider.requests) == sent


def test_litellms_tags_are_tags_wherever_they_stand(gateway: Gateway) -> None:
    more = {"tags": ["a"], "metadata": {"tags": ["b"]}, "litellm_metadata": {"tags": ["c"]}}
    assert post(gateway, "chat", more).status_code == 200
    gateway.settled()
    assert gateway.journal.entries()[-1].tags == ("a", "b", "c")
    assert not {"tags", "metadata", "litellm_metadata"} & gateway.provider.requests[-1].json().keys()
    answer = post(gateway, "chat", {"tags": "a"})
    assert (answer.status_code, error_of(answer)["param"]) == (400, "tags")


def test_of_metadata_only_what_is_the_proxys_is_taken_out(gateway: Gateway) -> None:
    kept = {"order": "7", "model_group": "mine", "policies": "strict"}
    proxys = {"spend_logs_metadata": {"a": 1}, "user_api_key_alias": "x", "litellm_x": 1, "tags": ["a"]}
    assert post(gateway, "chat", {"metadata": {**kept, **proxys}}).status_code == 200
    assert gateway.provider.requests[-1].json()["metadata"] == kept


def test_openais_own_fields_of_the_same_kind_reach_the_provider(gateway: Gateway) -> None:
    own = {"metadata": {"a": "b"}, "user": "ann", "store": True, "safety_identifier": "s", "seed": 0}
    assert post(gateway, "chat", own).status_code == 200
    assert own.items() <= gateway.provider.requests[-1].json().items()


def test_openais_client_learns_what_to_do_instead(gateway: Gateway) -> None:
    with pytest.raises(openai.BadRequestError, match="there are no guardrails") as caught:
        gateway.openai().chat.completions.create(
            model="demo", messages=HELLO, extra_body={"guardrails": ["pii"]}
        )
    assert caught.value.param == "guardrails"


def test_anthropics_own_fallbacks_are_not_litellms(gateway: Gateway) -> None:
    answer = post(gateway, "messages", {"fallbacks": [{"model": "claude-opus-4-5"}]})
    assert answer.status_code == 403
    assert "fallbacks" in error_of(answer)["message"]
