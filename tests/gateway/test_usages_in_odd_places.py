"""What a usage is charged that stands where few put it, comes in another order, or writes numbers oddly."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gateways import CREDENTIAL, Gateway, run_gateway, usd_budget
from raw_provider import SSE_HEAD, RawProvider, raw_provider

from outlay.routing.configured import Row
from outlay.testing.provider import FakeProvider

pytestmark = pytest.mark.once("rules that are the same on every Python")

LONG: list[Any] = [{"role": "user", "content": "river " * 1_200}]
PRICE = {"input_cost_per_token": 3e-6, "output_cost_per_token": 1.5e-5}
FREE = {"input_cost_per_token": 0, "output_cost_per_token": 0}
CLAUDE = "claude-sonnet-4-6"
IN, OUT, READ, WRITE, HOUR = 3_000, 15_000, 300, 3_750, 6_000
REAL = 25_000 * IN + 5_000 * OUT
HELD_OUTPUT = 9_000 * OUT


class Door:
    """A gateway with a budget that everything fits, before a provider that says what a test makes it say."""

    def __init__(self, gateway: Gateway, upstream: RawProvider) -> None:
        self.gateway, self.upstream = gateway, upstream

    def entry(self, path: str, request: dict[str, Any], answer: Any) -> Any:
        """The entry of one call; a list is a stream's events, of which text is sent as it is."""
        if isinstance(answer, list):
            events = [each if isinstance(each, str) else json.dumps(each) for each in answer]
            body = "".join(f"data: {event}\n\n" for event in events)
            self.upstream.says(SSE_HEAD, body.encode())
            request = {**request, "stream": True}
        else:
            self.upstream.says_whole(
                answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
            )
        assert self.gateway.post(path, request).status_code == 200
        self.gateway.settled()
        entry = self.gateway.journal.entries()[-1]
        for post in entry.posts:
            assert post.unit != "usd" or post.settled - post.held == post.overrun or post.settled < post.held
        return entry

    def chat(self, answer: Any, model: str = "chat") -> Any:
        request = {"model": model, "messages": LONG, "max_tokens": 9_000}
        return self.entry("/v1/chat/completions", request, answer)

    def message(self, answer: Any) -> Any:
        return self.entry("/v1/messages", {"model": CLAUDE, "messages": LONG, "max_tokens": 9_000}, answer)

    def response(self, answer: Any) -> Any:
        request = {"model": "chat", "input": LONG, "max_output_tokens": 9_000}
        return self.entry("/v1/responses", request, answer)


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with raw_provider() as upstream, FakeProvider() as provider:
        base = upstream.base_url
        root = base.removesuffix("/v1")
        rows = [
            Row("chat", "openai_compatible/m", "chat", api_key=CREDENTIAL, api_base=base, own_price=PRICE),
            Row(CLAUDE, f"anthropic/{CLAUDE}", "claude", api_key=CREDENTIAL, api_base=root),
            Row("gpt-5", "openai/gpt-5", "gpt-5", api_key=CREDENTIAL, api_base=base),
            Row("nano", "openai/gpt-4.1-nano", "nano", api_key=CREDENTIAL, api_base=base, own_price=PRICE),
            Row("free", "openai_compatible/f", "free", api_key=CREDENTIAL, api_base=base, own_price=FREE),
            Row("embed", "mistral/mistral-embed", "embed", api_key=CREDENTIAL, api_base=base),
        ]
        folder = Path(tmp_path_factory.mktemp("places"))
        budgets = [usd_budget("global", 1_000_000.0)]
        with run_gateway(provider, folder, rows_of=rows, budgets=budgets) as gateway:
            yield Door(gateway, upstream)
            gateway.journal.check()


def choice(text: str = "Rhine", finish: str | None = "stop", **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish, **more}]}


def told(usage: Any) -> dict[str, Any]:
    return {"choices": [], "usage": usage}


def whole(usage: Any, **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": "Rhine"}
    return {"choices": [{"index": 0, "finish_reason": "stop", "message": message, **more}], "usage": usage}


USED = {"prompt_tokens": 25_000, "completion_tokens": 5_000}
SO_FAR = {"prompt_tokens": 1_200, "completion_tokens": 5}
DONE = "[DONE]"
PARTS = {"prompt_tokens": 25_000, "completion_tokens": 10, "total_tokens": 30_000}

CHATS: dict[str, Any] = {
    "floats": whole({"prompt_tokens": 25_000.0, "completion_tokens": 5e3}),
    "texts": whole({"prompt_tokens": "25000", "completion_tokens": "5000"}),
    "a total as text": whole({**PARTS, "total_tokens": "30000"}),
    "half a token": whole({"prompt_tokens": 25_000, "completion_tokens": 4_999.5}),
    "a float beside a smaller number": whole(
        {"prompt_tokens": 25_000.0, "input_tokens": 10, "completion_tokens": 5e3, "output_tokens": 3}
    ),
    "a list of usages": whole([USED]),
    "details in a list": whole(
        {
            "prompt_tokens": 25_000,
            "completion_tokens": 10,
            "completion_tokens_details": [{"reasoning_tokens": 4_990}],
        }
    ),
    "in a message": {"choices": [{"finish_reason": "stop", "message": {"content": "Rhine", "usage": USED}}]},
    "in a delta": [
        {"choices": [{"index": 0, "finish_reason": "stop", "delta": {"content": "R", "usage": USED}}]},
        DONE,
    ],
    "a list of usages in a stream": [choice(), told([USED]), DONE],
    "the first chunk alone": [told(USED), choice(), DONE],
    "behind the end mark": [DONE, choice(), told(USED)],
    "no number, then one": [choice(), '{"choices": [], "usage": {"prompt_tokens": NaN}}', told(USED), DONE],
    "too large, then a number": [
        choice(),
        '{"choices": [], "usage": {"completion_tokens": 1e400}}',
        told(USED),
        DONE,
    ],
    "text, then a smaller number": [
        choice(),
        told({"prompt_tokens": "25000", "completion_tokens": "5000"}),
        told(SO_FAR),
    ],
    "details that a number replaces": [
        choice(),
        told(
            {
                "prompt_tokens": 25_000,
                "completion_tokens": 10,
                "completion_tokens_details": {"reasoning_tokens": 4_990},
            }
        ),
        told({"prompt_tokens": 25_000, "completion_tokens": 10, "completion_tokens_details": 0}),
        DONE,
    ],
}


@pytest.mark.parametrize("name", CHATS)
def test_a_chats_usage_is_charged_wherever_and_however_it_is_written(door: Door, name: str) -> None:
    entry = door.chat(CHATS[name])
    assert REAL <= entry.usd_nanos <= REAL + HELD_OUTPUT


@pytest.mark.parametrize(
    "events",
    [
        [DONE, {**choice(finish=None), "usage": SO_FAR}, choice(" and more" * 200, None)],
        [{**choice(), "usage": SO_FAR}, choice("river " * 900, None)],
    ],
    ids=["behind the end mark", "behind its finish"],
)
def test_a_stream_that_goes_on_and_is_cut_has_not_said_all(door: Door, events: list[Any]) -> None:
    entry = door.chat(events)
    assert entry.source == "presumed"
    assert entry.usd_nanos >= HELD_OUTPUT


def test_a_last_chunk_without_text_takes_no_finish_back(door: Door) -> None:
    usage = {"prompt_tokens": 1_200, "completion_tokens": 5}
    entry = door.chat([choice(), {**choice("", None), "usage": usage}])
    assert (entry.source, entry.usd_nanos) == ("provider", 1_200 * IN + 5 * OUT)


@pytest.mark.parametrize("reason", ["error", "cancelled"])
def test_a_choice_that_broke_off_is_not_counted_as_all(door: Door, reason: str) -> None:
    assert door.chat([choice(finish=reason), DONE]).source == "presumed"
    answer = {"choices": [{"finish_reason": reason, "message": {"content": "Rhine"}}]}
    assert door.chat(answer).source == "presumed"


BIG = {"input_tokens": 25_000, "output_tokens": 5_000}
PART = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Rhine"}}
STOP = {"type": "message_stop"}


def start(usage: Any, **more: Any) -> dict[str, Any]:
    return {"type": "message_start", "message": {"id": "m", "usage": usage}, **more}


def delta(usage: Any, **more: Any) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage, **more}


PLACEHOLDER = {"input_tokens": 25_000, "output_tokens": 1}
FEW = {"output_tokens": 10}
COMPACTED = {"type": "compaction", "input_tokens": 25_000, "output_tokens": 5_000}

MESSAGES: dict[str, list[Any]] = {
    "two starts": [start(BIG), start({"input_tokens": 9, "output_tokens": 1}), PART, delta(FEW), STOP],
    "the delta before the start": [delta(BIG), start({"input_tokens": 9, "output_tokens": 1}), PART, STOP],
    "at the stop": [start(PLACEHOLDER), PART, delta(FEW), {**STOP, "usage": BIG}],
    "in a message at the stop": [start(PLACEHOLDER), PART, delta(FEW), {**STOP, "message": {"usage": BIG}}],
    "at a ping": [start(PLACEHOLDER), PART, {"type": "ping", "usage": BIG}, delta(FEW), STOP],
    "at the end of a block": [
        start(PLACEHOLDER),
        PART,
        {"type": "content_block_stop", "usage": BIG},
        delta(FEW),
        STOP,
    ],
    "beside the message of the start": [
        {"type": "message_start", "message": {"id": "m"}, "usage": PLACEHOLDER},
        *(PART, delta({"output_tokens": 5_000}), STOP),
    ],
    "in a message of the delta": [start(PLACEHOLDER), PART, delta(FEW, message={"usage": BIG}), STOP],
    "rounds that an empty list replaces": [
        start({"input_tokens": 9, "output_tokens": 1, "iterations": [COMPACTED]}),
        *(PART, delta({"input_tokens": 9, "output_tokens": 10, "iterations": []}), STOP),
    ],
}


@pytest.mark.parametrize("name", MESSAGES)
def test_a_messages_usage_is_charged_whichever_event_has_it(door: Door, name: str) -> None:
    entry = door.message(MESSAGES[name])
    assert REAL <= entry.usd_nanos < REAL + HELD_OUTPUT
    assert entry.source == "provider"


@pytest.mark.parametrize("usage", [{"input_tokens": 25_000}, {"output_tokens": None}, {"output_tokens": 0}])
def test_a_last_usage_without_its_output_leaves_the_placeholder_one(
    door: Door, usage: dict[str, Any]
) -> None:
    entry = door.message([start(PLACEHOLDER), PART, delta(usage), STOP])
    assert entry.source == "presumed"
    assert entry.usd_nanos >= HELD_OUTPUT


@pytest.mark.parametrize("number", [int, float, str])
@pytest.mark.parametrize("is_stream", [False, True])
def test_cached_tokens_stand_beside_the_input_however_they_are_written(
    door: Door, number: type, is_stream: bool
) -> None:
    lifetimes = {"ephemeral_5m_input_tokens": number(300), "ephemeral_1h_input_tokens": number(500)}
    usage = {
        "input_tokens": number(1_000),
        "cache_read_input_tokens": number(700),
        "cache_creation_input_tokens": number(800),
        "cache_creation": lifetimes,
        "output_tokens": number(100),
    }
    text = {"type": "text", "text": "Rhine"}
    answer = {"type": "message", "content": [text], "stop_reason": "end_turn", "usage": usage}
    entry = door.message([start(usage), PART, delta(usage), STOP] if is_stream else answer)
    assert entry.usd_nanos == 1_000 * IN + 700 * READ + 300 * WRITE + 500 * HOUR + 100 * OUT


def response(status: str, usage: Any = None, **more: Any) -> dict[str, Any]:
    output = [{"type": "message", "content": [{"type": "output_text", "text": "Rhine"}]}]
    return {"id": "r", "object": "response", "status": status, "output": output, "usage": usage, **more}


def event(kind: str, body: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", "response": body, **more}


TEXT = {"type": "response.output_text.delta", "delta": "Rhine"}
RESPONSES: dict[str, list[Any]] = {
    "beside the response": [TEXT, event("completed", response("completed"), usage=BIG)],
    "in the first event alone": [
        event("created", response("in_progress", BIG)),
        TEXT,
        event("completed", response("completed")),
    ],
    "in an item": [
        {"type": "response.output_item.done", "item": {"type": "message", "usage": BIG}},
        event("completed", response("completed", {"input_tokens": 9, "output_tokens": 5})),
    ],
    "two ends": [
        event("completed", response("completed", BIG)),
        event("completed", response("completed", {"input_tokens": 9, "output_tokens": 5})),
    ],
}


@pytest.mark.parametrize("name", RESPONSES)
def test_a_responses_usage_is_charged_whichever_event_has_it(door: Door, name: str) -> None:
    assert door.response(RESPONSES[name]).usd_nanos == REAL


@pytest.mark.parametrize("status", ["failed", "cancelled", "expired"])
def test_a_response_that_broke_off_without_a_usage_costs_its_hold(door: Door, status: str) -> None:
    entry = door.response(response(status))
    assert entry.source == "presumed"
    assert entry.usd_nanos >= HELD_OUTPUT
    assert door.response(response(status, BIG)).usd_nanos == REAL


def test_many_texts_to_embed_may_use_more_than_one_window(door: Door) -> None:
    texts = ["river " * 500] * 60
    answer = {"data": [{"embedding": [0.1]}], "usage": {"prompt_tokens": 36_000, "total_tokens": 36_000}}
    entry = door.entry("/v1/embeddings", {"model": "embed", "input": texts}, answer)
    assert (entry.source, entry.usd_nanos) == ("provider", 36_000 * 100)
    assert "disputed" not in entry.detail


@pytest.mark.parametrize(
    ("model", "answered", "is_disputed"),
    [
        ("gpt-5", {"service_tier": "brand-new"}, True),
        ("gpt-5", {"service_tier": "priority"}, False),
        ("gpt-5", {"service_tier": "default"}, False),
        ("gpt-5", {"service_tier": "scale"}, False),
        ("nano", {"service_tier": "priority"}, True),
        ("nano", {"speed": "warp"}, True),
        ("nano", {}, False),
    ],
)
def test_an_answer_served_as_nobody_here_knows_is_disputed_and_shown(
    door: Door, model: str, answered: dict[str, str], is_disputed: bool
) -> None:
    entry = door.chat({**whole({"prompt_tokens": 1_200, "completion_tokens": 5}), **answered}, model)
    assert entry.detail.get("disputed", False) is is_disputed
    assert not is_disputed or entry.detail["claimed"].items() >= answered.items()


def test_what_a_free_model_bills_all_the_same_is_an_overrun_of_its_budgets(door: Door) -> None:
    entry = door.chat(whole({**SO_FAR, "cost": 0.5}), "free")
    (post,) = entry.posts
    assert (entry.usd_nanos, post.held, post.settled, post.overrun) == (
        500_000_000,
        0,
        500_000_000,
        500_000_000,
    )
    assert door.chat(whole(SO_FAR), "free").usd_nanos == 0


def test_a_free_model_passes_where_nothing_is_left(tmp_path: Path) -> None:
    with raw_provider() as upstream, FakeProvider() as provider:
        more: dict[str, Any] = {"api_key": CREDENTIAL, "api_base": upstream.base_url}
        rows = [Row("free", "openai_compatible/f", "free", own_price=FREE, **more)]
        budgets = [usd_budget("global", 0.1), usd_budget("provider:openai_compatible", 0.1, mode="crossing")]
        with run_gateway(provider, tmp_path, rows_of=rows, budgets=budgets) as gateway:
            door = Door(gateway, upstream)
            for _ in range(3):
                assert door.chat(whole({**SO_FAR, "cost": 0.5}), "free").usd_nanos == 500_000_000
            assert gateway.journal.pending() == 0
