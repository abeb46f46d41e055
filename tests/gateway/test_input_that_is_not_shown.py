"""Input that a request only refers to, and caps that cap nothing: held for what they can cost, or refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gateways import CREDENTIAL, HELLO, Gateway, run_gateway, usd_budget

from outlay.routing.configured import Row
from outlay.testing.provider import FakeProvider

pytestmark = pytest.mark.once("rules that are the same on every Python")

PRICE = {"input_cost_per_token": 3e-6, "output_cost_per_token": 1.5e-5}
WINDOW_NANOS = 400_000 * 1_250


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with FakeProvider() as provider:
        base, root = provider.base_url, provider.root_url
        more: dict[str, Any] = {"api_key": CREDENTIAL, "api_base": base}
        rows = [
            Row("gpt-5", "openai/gpt-5", "gpt-5", **more),
            Row("own", "openai_compatible/m", "own", own_price=PRICE, **more),
            Row("llama", "ollama/llama3", "llama", own_price=PRICE, **more),
            Row("claude", "anthropic/claude-sonnet-4-6", "claude", api_key=CREDENTIAL, api_base=root),
            Row("search", "openrouter/openai/gpt-4o:online:nitro", "search", own_price=PRICE, **more),
            Row("shouted", "openrouter/openai/gpt-4o:ONLINE", "shouted", own_price=PRICE, **more),
        ]
        folder = Path(tmp_path_factory.mktemp("stored"))
        budgets = [usd_budget("global", 1_000.0)]
        with run_gateway(provider, folder, rows_of=rows, budgets=budgets) as running:
            yield running


def held(gateway: Gateway, path: str, body: dict[str, Any]) -> int:
    """What a call that passes is held, in nanos."""
    before = len(gateway.journal.entries())
    assert gateway.post(path, body).status_code == 200
    entry = gateway.journal.wait_for(before + 1)[-1]
    return sum(post.held for post in entry.posts if post.unit == "usd")


REASONING = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Rivers."}]}


@pytest.mark.parametrize(
    ("item", "is_stored"),
    [
        ({"type": "item_reference", "id": "msg_1"}, True),
        ({"id": "msg_1"}, True),
        ({"id": "msg_1", "type": None}, True),
        ({"id": "msg_1", "type": "message"}, True),
        (REASONING, True),
        ({**REASONING, "encrypted_content": None}, True),
        ({**REASONING, "encrypted_content": "gAAAAAB" * 40}, False),
        ({**REASONING, "content": [{"type": "reasoning_text", "text": "Rivers."}]}, False),
        ({**REASONING, "id": None}, False),
        ({"id": "msg_1", "role": "assistant", "content": "Rhine"}, False),
        ({"type": "local_shell_call", "call_id": "c", "action": {"type": "exec", "command": ["ls"]}}, False),
        ({"type": "local_shell_call_output", "call_id": "c", "output": "Rhine"}, False),
        ({"type": "shell_call", "call_id": "c", "action": {"commands": ["ls"]}}, False),
        ({"type": "shell_call_output", "call_id": "c", "output": [{"stdout": "Rhine", "stderr": ""}]}, False),
        ({"type": "apply_patch_call", "call_id": "c", "operation": {"type": "update_file"}}, False),
        ({"type": "apply_patch_call_output", "call_id": "c", "output": "done", "status": "completed"}, False),
        ({"type": "web_search_call", "id": "ws_1", "status": "completed"}, True),
    ],
)
def test_an_item_that_stands_for_a_stored_one_is_held_as_the_window(
    gateway: Gateway, item: dict[str, Any], is_stored: bool
) -> None:
    body = {"model": "gpt-5", "input": [item, *HELLO], "max_output_tokens": 100}
    assert (held(gateway, "/v1/responses", body) >= WINDOW_NANOS) is is_stored


@pytest.mark.parametrize("model", ["own", "llama"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_a_cap_of_0_is_refused_where_it_may_be_none(gateway: Gateway, model: str, path: str) -> None:
    body = {"model": model, "messages": HELLO} if "chat" in path else {"model": model, "prompt": "Rivers"}
    answer = gateway.post(path, {**body, "max_tokens": 0})
    assert answer.status_code == 403
    assert answer.json()["error"]["param"] == "max_tokens"


def test_a_cap_of_0_passes_where_it_is_obeyed(gateway: Gateway) -> None:
    obeyed = {"model": "claude", "messages": HELLO, "max_tokens": 0}
    assert gateway.post("/v1/messages", obeyed).status_code == 400  # by the provider itself
    body = {"model": "own", "messages": HELLO, "max_tokens": 0, "max_completion_tokens": 9}
    assert held(gateway, "/v1/chat/completions", body) >= 9 * 15_000


@pytest.mark.parametrize("model", ["search", "shouted"])
def test_a_router_that_searches_by_its_models_name_is_refused(gateway: Gateway, model: str) -> None:
    answer = gateway.post("/v1/chat/completions", {"model": model, "messages": HELLO, "max_tokens": 9})
    assert answer.status_code == 403
    assert "searches have no cap" in answer.json()["error"]["message"]
