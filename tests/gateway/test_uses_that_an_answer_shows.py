"""The uses of a provider's own tools are charged where its answer shows them, though its usage does not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from gateways import CREDENTIAL, Gateway, run_gateway, usd_budget
from raw_provider import SSE_HEAD, RawProvider, raw_provider

from outlay.routing.configured import Row
from outlay.testing.provider import FakeProvider

pytestmark = pytest.mark.once("rules that are the same on every Python")

LONG: list[Any] = [{"role": "user", "content": "river " * 1_200}]
CLAUDE = "claude-sonnet-4-6"
USAGE = {"input_tokens": 1_200, "output_tokens": 10}
GPT = 1_200 * 1_250 + 10 * 10_000
SONNET = 1_200 * 3_000 + 10 * 15_000
WEB, FILES = 10_000_000, 2_500_000
WEB_CALL = {"type": "web_search_call", "id": "w", "status": "completed", "action": {"type": "search"}}
FILE_CALL = {"type": "file_search_call", "id": "f", "status": "completed", "queries": ["rivers"]}
TEXT = {"type": "message", "content": [{"type": "output_text", "text": "Rhine"}]}
FOUND = {"type": "web_search_tool_result", "tool_use_id": "t", "content": []}
FAILED = {**FOUND, "content": {"type": "web_search_tool_result_error", "error_code": "unavailable"}}


class Door(NamedTuple):
    gateway: Gateway
    upstream: RawProvider

    def charged(self, path: str, request: dict[str, Any], answer: Any) -> int:
        """What one call is charged; a list is a stream's events."""
        if isinstance(answer, list):
            self.upstream.says(SSE_HEAD, "".join(f"data: {json.dumps(each)}\n\n" for each in answer).encode())
            request = {**request, "stream": True}
        else:
            self.upstream.says_whole(json.dumps(answer).encode())
        before = len(self.gateway.journal.entries())
        assert self.gateway.post(path, request).status_code == 200
        entry = self.gateway.journal.wait_for(before + 1)[-1]
        assert not any(post.overrun for post in entry.posts)
        return entry.usd_nanos or 0


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with raw_provider() as upstream, FakeProvider() as provider:
        base = upstream.base_url
        root = base.removesuffix("/v1")
        rows = [
            Row("gpt-5", "openai/gpt-5", "gpt-5", api_key=CREDENTIAL, api_base=base),
            Row(CLAUDE, f"anthropic/{CLAUDE}", "claude", api_key=CREDENTIAL, api_base=root),
        ]
        folder, budgets = Path(tmp_path_factory.mktemp("uses")), [usd_budget("global", 10_000.0)]
        with run_gateway(provider, folder, rows_of=rows, budgets=budgets) as gateway:
            yield Door(gateway, upstream)
            gateway.journal.check()


def response(*items: dict[str, Any]) -> dict[str, Any]:
    return {"id": "r", "object": "response", "status": "completed", "output": [*items], "usage": USAGE}


def streamed(done: list[dict[str, Any]], *items: dict[str, Any]) -> list[dict[str, Any]]:
    events = [{"type": "response.output_item.done", "item": item} for item in done]
    return [*events, {"type": "response.completed", "response": response(*items)}]


@pytest.mark.parametrize(
    ("answer", "nanos"),
    [
        (response(WEB_CALL, WEB_CALL, TEXT), 2 * WEB),
        (response(FILE_CALL, FILE_CALL, TEXT), 2 * FILES),
        (response(WEB_CALL, FILE_CALL, TEXT), WEB + FILES),
        (streamed([], WEB_CALL, FILE_CALL, TEXT), WEB + FILES),
        (streamed([WEB_CALL, WEB_CALL], TEXT), 2 * WEB),
        (streamed([FILE_CALL]), FILES),
        (streamed([WEB_CALL, FILE_CALL], WEB_CALL, FILE_CALL, TEXT), WEB + FILES),
        (streamed([TEXT], TEXT), 0),
    ],
)
def test_searches_of_a_response_are_charged_whichever_event_shows_them(
    door: Door, answer: Any, nanos: int
) -> None:
    tools = [{"type": "web_search"}, {"type": "file_search", "vector_store_ids": ["v"]}]
    request = {"model": "gpt-5", "input": LONG, "max_output_tokens": 100, "tools": tools, "max_tool_calls": 4}
    assert door.charged("/v1/responses", request, answer) == GPT + nanos


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize(
    ("blocks", "told", "searches"),
    [
        ([FOUND, FOUND], {}, 2),
        ([FOUND, FAILED], {}, 1),
        ([FOUND], {"server_tool_use": {"web_search_requests": 3}}, 3),
        ([FOUND, FOUND], {"server_tool_use": {"web_search_requests": 2}}, 2),
        ([], {}, 0),
    ],
)
def test_searches_of_a_message_are_charged_by_what_they_found(
    door: Door, blocks: list[Any], told: dict[str, Any], searches: int, is_stream: bool
) -> None:
    tool = {"type": "web_search_20250305", "name": "web_search", "max_uses": 4}
    request = {"model": CLAUDE, "messages": LONG, "max_tokens": 100, "tools": [tool]}
    usage, text = {**USAGE, **told}, {"type": "text", "text": "Rhine"}
    answer: Any = {"type": "message", "content": [*blocks, text], "stop_reason": "end_turn", "usage": usage}
    if is_stream:
        starts = [{"type": "content_block_start", "content_block": block} for block in [*blocks, text]]
        delta = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage}
        start = {"type": "message_start", "message": {"usage": {**USAGE, "output_tokens": 1}}}
        answer = [start, *starts, delta, {"type": "message_stop"}]
    assert door.charged("/v1/messages", request, answer) == SONNET + searches * WEB
