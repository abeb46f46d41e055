"""What may reach a provider through the gateway: by a field's class, a budget's mode, and settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai
import pytest
from gateways import CREDENTIAL, DEMO_RATE, HELLO, Gateway, a_budget, rows, run_gateway, usd_budget
from request_bodies import BODIES, CLAUDE, error_of, post

from outlay.domain.budgets import MODES
from outlay.routing.configured import Row
from outlay.testing.provider import FakeProvider

pytestmark = pytest.mark.once("rules that are the same on every Python")

pytest_plugins = ["front_doors"]

UNBOUNDED: list[tuple[str, dict[str, Any]]] = [
    ("chat", {"chat_template": "{{ 'x' * 100000 }}"}),
    ("chat", {"chat_template_kwargs": {"chat_template": "{% raw %}"}}),
    ("chat", {"n_predict": 9_000}),
    ("chat", {"options": {"num_predict": 9_000}}),
    ("chat", {"max_new_tokens": 9_000}),
    ("chat", {"max_output_tokens": 9_000}),
    ("chat", {"num_return_sequences": 9}),
    ("chat", {"candidate_count": 9}),
    ("chat", {"n_cmpl": 9}),
    ("chat", {"generation_config": {"max_new_tokens": 9_000}}),
    ("chat", {"preset": "expensive"}),
    ("chat", {"provider": {"order": ["dear"]}}),
    ("chat", {"provider": {"sort": "throughput"}}),
    ("chat", {"models": ["dear"]}),
    ("chat", {"plugins": [{"id": "web"}]}),
    ("chat", {"search_parameters": {"mode": "on"}}),
    ("chat", {"extra_body": {"max_tokens": 9_000}}),
    ("chat", {"deferred": True}),
    ("chat", {"echo": True}),
    ("chat", {"enable_search": True}),
    ("chat", {"reasoning": {"mode": "pro"}}),
    ("chat", {"tools": [{"google_search": {"x": 1}}]}),
    ("chat", {"messages": [{"role": "user", "content": "x", "images": ["aGk="]}]}),
    ("completions", {"prompt_embeds": "AAAA"}),
    ("completions", {"n_predict": 9_000}),
    ("embeddings", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}),
    ("embeddings", {"images": ["aGk="]}),
    ("embeddings", {"inputs": ["x"] * 100}),
    ("responses", {"prompt": {"id": "pmpt_1"}}),
    ("responses", {"background": True}),
    ("responses", {"max_tokens": 9_000}),
    ("responses", {"context_management": [{"type": "compaction"}]}),
    ("responses", {"input": [{"type": "additional_tools", "tools": [{"type": "web_search"}]}]}),
    ("messages", {"mcp_servers": [{"url": "https://example.com"}]}),
    ("messages", {"compaction": {"type": "summary"}}),
    ("messages", {"thread": {"type": "create"}}),
    ("messages", {"fallbacks": [{"model": "claude-opus-4-5"}]}),
    ("messages", {"context_management": {"edits": [{"type": "compact_20260112"}]}}),
    ("messages", {"container": "container_1"}),
]
UNKNOWN: list[tuple[str, dict[str, Any], str]] = [
    *((endpoint, {"frobnicate": 3}, "frobnicate") for endpoint in BODIES),
    ("chat", {"reasoning": {"turbo": True}}, "reasoning.turbo"),
    ("chat", {"chat_template_kwargs": {"frob": 1}}, "chat_template_kwargs.frob"),
    ("chat", {"stream_options": {"frob": 1}, "stream": True}, "stream_options.frob"),
    ("chat", {"response_format": {"type": "text", "frob": 1}}, "response_format.frob"),
    ("chat", {"messages": [{"role": "user", "content": "x", "frob": 1}]}, "messages[0].frob"),
    (
        "chat",
        {"tools": [{"type": "function", "function": {"name": "f", "frob": 1}}]},
        "tools[0].function.frob",
    ),
    ("messages", {"thinking": {"type": "disabled", "frob": 1}}, "thinking.frob"),
]
NOTHING: list[Any] = [None, False, "", [], {}]
FOLDED: list[tuple[str, dict[str, Any]]] = [
    ("chat", {"Max_Tokens": 9_000}),
    ("chat", {"MODEL": "demo"}),
    ("chat", {"max_to\u212aens": 9_000}),
    ("chat", {"\uff4d\uff41\uff58_tokens": 9_000}),
    ("chat", {"me\u017f\u017fages": []}),
    ("chat", {"N": 5}),
    ("chat", {"reasoning": {"Max_Tokens": 5}}),
    ("chat", {"stream": True, "stream_options": {"Include_Usage": True}}),
    ("chat", {"messages": [{"role": "user", "content": "x", "Content": "y"}]}),
    ("chat", {"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "Text": "y"}]}]}),
    ("chat", {"tools": [{"type": "function", "Type": "web_search", "function": {"name": "f"}}]}),
    ("chat", {"messages": [{"role": "assistant", "tool_calls": [{"id": "c", "Function": {"name": "f"}}]}]}),
    ("chat", {"tool_choice": {"type": "function", "Function": {"name": "f"}}}),
    ("chat", {"Api_Base": "https://example.com"}),
    ("chat", {"Num_Retries": 3}),
    ("chat", {"Frequency_Penalty": None}),
    ("completions", {"Best_Of": 9}),
    ("embeddings", {"Input": "x"}),
    ("responses", {"Max_Output_Tokens": 9_000}),
    ("responses", {"input": [{"role": "user", "content": "x", "Content": "y"}]}),
    ("messages", {"Thinking": {"type": "enabled", "budget_tokens": 9_000}}),
    ("messages", {"system": [{"type": "text", "text": "x", "TEXT": "y"}]}),
]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One with a budget for each unit and mode, which a request names by a tag; `kept` and `free` beside."""
    budgets = [
        a_budget(f"tag:{unit}-{mode}", unit, 10**12 if unit == "usd" else 10**9, mode=mode)
        for unit in ("usd", "tokens")
        for mode in MODES
    ]
    budgets.append(a_budget("tag:rpm", "requests", 1000))
    rates = {"demo": DEMO_RATE, CLAUDE: (3_000, 15_000)}
    with FakeProvider(rates=rates, default_rate=DEMO_RATE) as provider:
        base = provider.base_url
        demo = rows(provider)[0]
        more = [
            replace(demo, group="kept", id="kept-1", allowed_request_fields=frozenset({"frobnicate"})),
            Row("free", "openai/free", "free-1", api_key=CREDENTIAL, api_base=base, own_price={"free": True}),
        ]
        folder = tmp_path_factory.mktemp("fields")
        with run_gateway(provider, folder, budgets=budgets, rows_of=[*rows(provider), *more]) as running:
            yield running


def last_detail(gateway: Gateway) -> Mapping[str, Any]:
    gateway.settled()
    return gateway.journal.entries()[-1].detail


@pytest.mark.parametrize(("endpoint", "more"), UNBOUNDED)
def test_a_field_that_nothing_bounds_is_refused_by_name_where_a_budget_needs_a_bound(
    gateway: Gateway, endpoint: str, more: dict[str, Any]
) -> None:
    sent = len(gateway.provider.requests)
    for budget in ("usd-hard", "usd-crossing", "tokens-hard", "tokens-crossing"):
        answer = post(gateway, endpoint, more, budget)
        assert answer.status_code == 403, answer.text
        error = error_of(answer)
        assert error.get("reason", error["type"]) == "cost_unbounded"
        name = next(iter(more))
        assert error["message"].startswith(f"The cost of {name}")
    assert len(gateway.provider.requests) == sent


@pytest.mark.parametrize(("endpoint", "more"), [("chat", {"preset": "x"}), ("chat", {"n_predict": 9})])
@pytest.mark.parametrize("budget", ["", "usd-soft", "tokens-soft", "rpm"])
def test_a_field_that_nothing_bounds_passes_where_no_budget_needs_a_bound(
    gateway: Gateway, endpoint: str, more: dict[str, Any], budget: str
) -> None:
    assert post(gateway, endpoint, more, budget).status_code == 200
    assert more.items() <= gateway.provider.requests[-1].json().items()


@pytest.mark.parametrize(("endpoint", "more", "path"), UNKNOWN)
def test_a_field_that_nobody_knows_is_refused_under_a_hard_budget_with_the_remedy(
    gateway: Gateway, endpoint: str, more: dict[str, Any], path: str
) -> None:
    for unit in ("usd", "tokens"):
        sent = len(gateway.provider.requests)
        answer = post(gateway, endpoint, more, f"{unit}-hard")
        assert answer.status_code == 403, answer.text
        error = error_of(answer)
        assert error.get("reason", error["type"]) == "cost_unbounded"
        assert repr(path) in error["message"]
        assert "outlay.allowed_request_fields" in error["message"]
        assert endpoint == "messages" or error["param"] == path
        assert len(gateway.provider.requests) == sent


@pytest.mark.parametrize(("endpoint", "more", "path"), UNKNOWN)
def test_a_field_that_nobody_knows_passes_under_a_crossing_budget_and_the_entry_says_unproven(
    gateway: Gateway, endpoint: str, more: dict[str, Any], path: str
) -> None:
    assert post(gateway, endpoint, more, "usd-crossing").status_code == 200
    assert next(iter(more)) in gateway.provider.requests[-1].json()
    assert last_detail(gateway)["unproven"] is True


@pytest.mark.parametrize("budget", ["", "usd-soft", "tokens-soft", "rpm"])
def test_a_field_that_nobody_knows_passes_without_a_word_where_no_budget_needs_a_bound(
    gateway: Gateway, budget: str
) -> None:
    assert post(gateway, "chat", {"frobnicate": 3}, budget).status_code == 200
    assert "unproven" not in last_detail(gateway)


def test_a_metric_counts_what_is_sent_unproven(gateway: Gateway) -> None:
    def counted() -> float:
        text = gateway.get("/metrics").text
        return float(
            next(line for line in text.splitlines() if line.startswith("outlay_unproven")).split()[-1]
        )

    before = counted()
    post(gateway, "chat", {"frobnicate": 3}, "usd-crossing")
    post(gateway, "chat", {}, "usd-crossing")
    post(gateway, "chat", {"frobnicate": 3}, "usd-hard")
    assert counted() == before + 1


@pytest.mark.parametrize("value", NOTHING)
@pytest.mark.parametrize("name", ["frobnicate", "preset", "n_predict", "chat_template", "background"])
def test_a_field_that_asks_for_nothing_passes(gateway: Gateway, name: str, value: object) -> None:
    assert post(gateway, "chat", {name: value}, "usd-hard").status_code == 200
    assert "unproven" not in last_detail(gateway)


@pytest.mark.parametrize(("endpoint", "more"), FOLDED)
@pytest.mark.parametrize("budget", ["", "usd-soft", "usd-hard"])
def test_a_name_that_differs_in_case_only_is_refused_everywhere(
    gateway: Gateway, endpoint: str, more: dict[str, Any], budget: str
) -> None:
    sent = len(gateway.provider.requests)
    answer = post(gateway, endpoint, more, budget)
    assert answer.status_code == 400, answer.text
    assert "only in the case of its letters" in error_of(answer)["message"]
    assert len(gateway.provider.requests) == sent


def test_names_are_looked_at_where_tokens_are_counted_too(gateway: Gateway) -> None:
    answer = gateway.post("/v1/messages/count_tokens", {"model": CLAUDE, "messages": HELLO, "SYSTEM": "x"})
    assert answer.status_code == 400


def test_a_deployments_own_fields_pass_there_and_nowhere_else(gateway: Gateway) -> None:
    assert post(gateway, "chat", {"model": "kept", "frobnicate": 3}, "usd-hard").status_code == 200
    assert "unproven" not in last_detail(gateway)
    assert post(gateway, "chat", {"model": "kept", "other": 3}, "usd-hard").status_code == 403
    assert post(gateway, "chat", {"frobnicate": 3}, "usd-hard").status_code == 403


@pytest.mark.parametrize("more", [{"frobnicate": 3}, {"preset": "x"}])
def test_a_free_model_needs_a_bound_only_of_its_tokens(gateway: Gateway, more: dict[str, Any]) -> None:
    free = {"model": "free", **more}
    for budget in ("usd-hard", "usd-crossing"):
        assert post(gateway, "chat", free, budget).status_code == 200
    assert post(gateway, "chat", free, "tokens-hard").status_code == 403


def test_settings_let_fields_pass(provider: FakeProvider, tmp_path: Path) -> None:
    budget = usd_budget("global", 1)
    settings: dict[str, Any] = {
        "allowed_request_fields": frozenset(
            {"frobnicate", "reasoning.turbo", "anthropic-beta: new-2027-01-01"}
        ),
        "unknown_request_fields": "pass",
    }
    with run_gateway(provider, tmp_path, budgets=[budget], **settings) as gateway:
        for more in ({"frobnicate": 3}, {"reasoning": {"turbo": True}}):
            assert post(gateway, "chat", more).status_code == 200
            assert "unproven" not in last_detail(gateway)
        beta = {"anthropic-beta": "new-2027-01-01"}
        assert post(gateway, "messages", {}, **beta).status_code == 200
        assert "unproven" not in last_detail(gateway)
        assert post(gateway, "chat", {"other": 3}).status_code == 200
        assert last_detail(gateway)["unproven"] is True
        assert post(gateway, "chat", {"preset": "x"}).status_code == 403


@pytest.mark.parametrize(
    "beta",
    [
        "claude-code-20250219,interleaved-thinking-2025-05-14, fine-grained-tool-streaming-2025-05-14",
        "fast-mode-2026-02-01",
        "compact-2026-01-12",
        "files-api-2025-04-14",
        "mcp-client-2025-11-20",
    ],
)
def test_a_beta_that_only_lets_a_field_pass_passes_itself(gateway: Gateway, beta: str) -> None:
    assert post(gateway, "messages", {}, "usd-hard", **{"anthropic-beta": beta}).status_code == 200
    assert "unproven" not in last_detail(gateway)


def test_a_beta_that_nobody_knows_is_as_a_field_that_nobody_knows(gateway: Gateway) -> None:
    beta = {"anthropic-beta": "claude-code-20250219,new-2027-01-01"}
    answer = post(gateway, "messages", {}, "usd-hard", **beta)
    assert answer.status_code == 403
    assert "'anthropic-beta: new-2027-01-01'" in error_of(answer)["message"]
    assert post(gateway, "messages", {}, "usd-crossing", **beta).status_code == 200
    assert last_detail(gateway)["unproven"] is True


def test_a_beta_that_runs_something_unseen_is_refused(gateway: Gateway) -> None:
    answer = post(gateway, "messages", {}, "usd-crossing", **{"anthropic-beta": "agent-memory-2026-07-22"})
    assert answer.status_code == 403
    assert "anthropic-beta: agent-memory-2026-07-22" in error_of(answer)["message"]


def test_a_wider_window_is_held_for_what_lies_outside_of_the_request(
    gateway: Gateway, tmp_path: Path
) -> None:
    document = {"type": "document", "source": {"type": "file", "file_id": "file_1"}}
    more = {"model": "old", "messages": [{"role": "user", "content": [document]}]}
    old = replace(rows(gateway.provider)[1], group="old", model="anthropic/claude-sonnet-4-5", id="old-1")
    budget = a_budget("tag:window", "tokens", 500_000)
    with run_gateway(gateway.provider, tmp_path, budgets=[budget], rows_of=[old]) as small:
        assert post(small, "messages", more, "window").status_code == 200
        wide = post(small, "messages", more, "window", **{"anthropic-beta": "context-1m-2025-08-07"})
        assert wide.status_code == 400
        assert error_of(wide)["needed"] >= 1_000_000


def test_openais_own_client_learns_the_field(gateway: Gateway) -> None:
    client = gateway.openai(default_headers={"x-outlay-tags": "usd-hard"})
    with pytest.raises(openai.PermissionDeniedError) as caught:
        client.chat.completions.create(
            model="demo", messages=HELLO, max_tokens=5, extra_body={"chat_template": "{{ messages }}"}
        )
    assert caught.value.type == "cost_unbounded"
    assert caught.value.param == "chat_template"


CODING_AGENTS: list[tuple[str, dict[str, Any], str]] = [
    (
        "messages",
        {
            "system": [
                {"type": "text", "text": "You code.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
            ],
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "ls"}]},
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "Well.", "signature": "abc"},
                        {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"Command": "ls"}},
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "t1", "content": "a.py", "is_error": False}
                    ],
                },
            ],
            "tools": [{"name": "Bash", "description": "Runs.", "input_schema": {"type": "object"}}],
            "metadata": {"user_id": "user_1"},
            "max_tokens": 2048,
            "thinking": {"type": "enabled", "budget_tokens": 1024},
            "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
            "output_config": {"effort": "medium"},
            "temperature": 1,
            "stream": True,
        },
        "claude-code-20250219,oauth-2025-04-20,interleaved-thinking-2025-05-14,context-management-2025-06-27,"
        "prompt-caching-scope-2026-01-05,advanced-tool-use-2025-11-20,effort-2025-11-24",
    ),
    (
        "responses",
        {
            "instructions": "You code.",
            "input": [
                {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "ls"}]},
                {"type": "reasoning", "id": "r", "summary": [], "encrypted_content": "abc", "content": None},
                {
                    "type": "function_call",
                    "call_id": "c",
                    "name": "shell",
                    "arguments": "{}",
                    "status": "completed",
                },
                {"type": "function_call_output", "call_id": "c", "output": "a.py"},
                {"type": "custom_tool_call", "call_id": "d", "name": "apply_patch", "input": "x"},
                {"type": "custom_tool_call_output", "call_id": "d", "output": "ok"},
            ],
            "tools": [
                {"type": "function", "name": "shell", "parameters": {"type": "object"}, "strict": False},
                {"type": "custom", "name": "apply_patch", "format": {"type": "grammar", "definition": "x"}},
            ],
            "tool_choice": "auto",
            "parallel_tool_calls": False,
            "reasoning": {"effort": "medium", "summary": "auto"},
            "store": False,
            "stream": True,
            "include": ["reasoning.encrypted_content"],
            "prompt_cache_key": "k",
            "text": {"verbosity": "low", "format": {"type": "json_schema", "name": "x", "schema": {"A": 1}}},
        },
        "",
    ),
    (
        "chat",
        {
            "messages": [
                {"role": "developer", "content": "Be brief."},
                {"role": "user", "content": "ls", "name": "ann"},
                {
                    "role": "assistant",
                    "content": None,
                    "refusal": None,
                    "annotations": [],
                    "reasoning_content": "Well.",
                    "tool_calls": [
                        {
                            "id": "c",
                            "type": "function",
                            "index": 0,
                            "function": {"name": "f", "arguments": "{}"},
                        }
                    ],
                },
                {"role": "tool", "tool_call_id": "c", "content": "a.py"},
            ],
            "tools": [{"type": "function", "function": {"name": "f", "parameters": {}, "strict": True}}],
            "tool_choice": {"type": "function", "function": {"name": "f"}},
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "x", "schema": {}, "strict": True},
            },
            "stream": True,
            "stream_options": {"include_usage": True, "include_obfuscation": False},
            "reasoning_effort": "low",
        },
        "",
    ),
]


@pytest.mark.parametrize(("endpoint", "more", "beta"), CODING_AGENTS)
def test_what_agents_send_is_known_whole(
    gateway: Gateway, endpoint: str, more: dict[str, Any], beta: str
) -> None:
    headers = {"anthropic-beta": beta} if beta else {}
    answer = post(gateway, endpoint, more, "usd-hard", **headers)
    assert answer.status_code == 200, answer.text
    assert "unproven" not in last_detail(gateway)


def test_the_fields_of_the_sdks_reach_the_provider_under_a_hard_budget(gateway: Gateway) -> None:
    more: dict[str, Any] = {
        "temperature": 0.5,
        "stop": ["x"],
        "user": "ann",
        "store": False,
        "metadata": {"order": "7"},
        "logit_bias": {"50256": -100},
        "parallel_tool_calls": False,
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "response_format": {"type": "json_object"},
        "logprobs": True,
    }
    assert post(gateway, "chat", more, "usd-hard").status_code == 200
    assert more.items() <= gateway.provider.requests[-1].json().items()
