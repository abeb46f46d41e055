"""The fake provider, seen through OpenAI's own SDK and over plain HTTP."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest

from outlay.testing.provider import Behaviour, Bill, FakeProvider

HELLO: list[Any] = [{"role": "user", "content": "hello"}]
HELLO_TOKENS = 8  # 3 for the message, 1 for `user`, 1 for `hello`, 3 to prime the reply
TOOLS: list[Any] = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}]


@contextmanager
def client_of(provider: FakeProvider, key: str = "any") -> Iterator[openai.OpenAI]:
    client = openai.OpenAI(base_url=provider.base_url, api_key=key, max_retries=0, timeout=10)
    try:
        yield client
    finally:
        client.close()


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as running:
        yield running


@pytest.fixture
def client(provider: FakeProvider) -> Iterator[openai.OpenAI]:
    with client_of(provider) as opened:
        yield opened


def test_a_chat_is_answered_and_billed(provider: FakeProvider, client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="demo", messages=HELLO, max_tokens=10)
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (HELLO_TOKENS, 10)
    assert answer.choices[0].finish_reason == "length"
    call = provider.bill.calls[0]
    assert (call.id, call.outcome) == (answer.id, "served")
    assert provider.bill.total_nanos == HELLO_TOKENS * 2_500 + 10 * 10_000


def test_equal_requests_get_equal_answers(client: openai.OpenAI) -> None:
    first, second = (client.chat.completions.create(model="demo", messages=HELLO) for _ in range(2))
    assert first.choices[0].message.content == second.choices[0].message.content
    assert first.id != second.id


def test_every_choice_is_billed(provider: FakeProvider, client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="demo", messages=HELLO, max_completion_tokens=5, n=3)
    assert len(answer.choices) == 3
    assert provider.bill.output_tokens == 15


def test_a_stream_has_the_same_text_as_the_whole_answer(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="demo", messages=HELLO, n=2)
    stream = client.chat.completions.create(
        model="demo", messages=HELLO, n=2, stream=True, stream_options={"include_usage": True}
    )
    texts = ["", ""]
    usage = None
    for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts == [choice.message.content for choice in whole.choices]
    assert usage == whole.usage


def test_a_stream_has_no_usage_unless_it_is_asked_for(client: openai.OpenAI) -> None:
    chunks = list(client.chat.completions.create(model="demo", messages=HELLO, stream=True))
    assert all(chunk.usage is None for chunk in chunks)


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_tool_is_called_when_it_is_required(
    provider: FakeProvider, client: openai.OpenAI, is_stream: bool
) -> None:
    arguments = ""
    if is_stream:
        for chunk in client.chat.completions.create(
            model="demo", messages=HELLO, tools=TOOLS, tool_choice="required", stream=True
        ):
            for choice in chunk.choices:
                for delta in choice.delta.tool_calls or []:
                    assert delta.function is not None
                    arguments += delta.function.arguments or ""
    else:
        answer = client.chat.completions.create(
            model="demo", messages=HELLO, tools=TOOLS, tool_choice="required"
        )
        calls = answer.choices[0].message.tool_calls
        assert calls is not None
        assert calls[0].type == "function"
        arguments = calls[0].function.arguments
    assert set(json.loads(arguments)) == {"text"}
    assert provider.bill.output_tokens == 24


def test_embeddings_are_billed_by_input(provider: FakeProvider, client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model="text-embedding-3-small", input=["one", "two words"])
    assert [len(item.embedding) for item in answer.data] == [8, 8]
    assert (answer.usage.prompt_tokens, provider.bill.output_tokens) == (3, 0)


def test_completions_default_to_sixteen_tokens(provider: FakeProvider, client: openai.OpenAI) -> None:
    answer = client.completions.create(model="demo", prompt="Once upon a time")
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (4, 16)


@pytest.mark.parametrize("is_stream", [False, True])
def test_responses_are_answered(provider: FakeProvider, client: openai.OpenAI, is_stream: bool) -> None:
    if is_stream:
        events = list(client.responses.create(model="demo", input="hello", stream=True))
        assert events[-1].type == "response.completed"
        answer = events[-1].response
    else:
        answer = client.responses.create(model="demo", input="hello")
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (HELLO_TOKENS, 24)
    assert len(answer.output_text.split()) == 24
    assert provider.bill.calls[0].id == answer.id


def test_models_are_listed(client: openai.OpenAI) -> None:
    assert "demo" in {model.id for model in client.models.list()}


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
    ],
)
def test_a_refusal_is_not_billed(
    provider: FakeProvider, client: openai.OpenAI, status: int, error: type[Exception]
) -> None:
    with pytest.raises(error):
        client.chat.completions.create(model=f"demo?status={status}", messages=HELLO)
    assert provider.bill.calls == []
    assert len(provider.requests) == 1


def test_a_failure_can_be_billed_all_the_same(provider: FakeProvider, client: openai.OpenAI) -> None:
    provider.set({"status": 500, "bills_failure": True})
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model="demo", messages=HELLO)
    assert [call.outcome for call in provider.bill.calls] == ["failed"]


def test_only_the_right_key_is_let_in() -> None:
    with FakeProvider(api_key="right") as provider:
        with client_of(provider, "wrong") as client, pytest.raises(openai.AuthenticationError):
            client.chat.completions.create(model="demo", messages=HELLO)
        with client_of(provider, "right") as client:
            client.chat.completions.create(model="demo", messages=HELLO)
        assert len(provider.bill.calls) == 1


def test_a_behaviour_is_chosen_by_script_header_metadata_and_model() -> None:
    with FakeProvider({"output_tokens": 1}, models={"two": {"output_tokens": 2}}) as provider:
        with client_of(provider) as client:
            provider.script([{"output_tokens": 6}])
            ask = client.chat.completions.create
            ask(model="demo", messages=HELLO, extra_headers={"x-fake-output-tokens": "5"})
            ask(model="demo", messages=HELLO)
            ask(model="two", messages=HELLO)
            ask(model="two?output_tokens=3", messages=HELLO)
            ask(model="two", messages=HELLO, metadata={"fake": '{"output_tokens": 4}'})
            ask(model="demo", messages=HELLO, extra_headers={"x-fake": '{"output_tokens": 5}'})
        assert [call.output_tokens for call in provider.bill.calls] == [6, 1, 2, 3, 4, 5]
        assert {call.model for call in provider.bill.calls} == {"demo", "two"}


def test_an_unknown_behaviour_is_named(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="no behaviour called"):
        client.chat.completions.create(model="demo?colour=red", messages=HELLO)


@pytest.mark.parametrize(
    ("lie", "said"),
    [
        ("negative", -24),
        ("zero", 0),
        ("half", 12),
        ("double", 48),
        ("string", "24"),
        ("float", 24.5),
        ("huge", 10**15),
    ],
)
def test_a_lie_changes_the_usage_and_not_the_bill(
    provider: FakeProvider, client: openai.OpenAI, lie: str, said: object
) -> None:
    raw = client.chat.completions.with_raw_response.create(model=f"demo?usage={lie}", messages=HELLO)
    assert json.loads(raw.content)["usage"]["completion_tokens"] == said
    assert provider.bill.output_tokens == 24


def test_the_cap_can_be_needed_refused_or_ignored(provider: FakeProvider, client: openai.OpenAI) -> None:
    ask = client.chat.completions.create
    with pytest.raises(openai.BadRequestError):
        ask(model="demo?needs_cap=1", messages=HELLO)
    with pytest.raises(openai.BadRequestError):
        ask(model="demo?rejects_max_tokens=1", messages=HELLO, max_tokens=5)
    ask(model="demo?ignores_cap=1", messages=HELLO, max_tokens=5)
    assert provider.bill.output_tokens == 24


def test_a_cut_stream_is_billed_for_what_was_made(provider: FakeProvider, client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(model="demo?cut_after_chunks=4", messages=HELLO, stream=True)
    with pytest.raises(openai.APIError):
        for _ in stream:
            pass
    provider.wait_until(lambda it: it.bill.serving == 0)
    call = provider.bill.calls[0]
    assert (call.outcome, call.output_tokens) == ("cut", 3)  # the first event has no text


@pytest.mark.parametrize(("bills_after_hangup", "billed"), [(False, 2), (True, 24)])
def test_a_client_that_leaves_is_billed(
    provider: FakeProvider, client: openai.OpenAI, bills_after_hangup: bool, billed: int
) -> None:
    provider.set(Behaviour(hang_after_chunks=3, bills_after_hangup=bills_after_hangup))
    stream = client.chat.completions.create(model="demo", messages=HELLO, stream=True)
    for _ in range(3):
        next(stream)
    assert provider.bill.calls[0].outcome == "serving"
    stream.close()
    provider.wait_until(lambda it: it.bill.serving == 0)
    call = provider.bill.calls[0]
    assert (call.outcome, call.output_tokens) == ("hung_up", billed)


def test_a_hanging_request_goes_on_when_it_is_released(provider: FakeProvider, client: openai.OpenAI) -> None:
    provider.set({"hang_after_chunks": 2})
    stream = client.chat.completions.create(model="demo", messages=HELLO, stream=True)
    next(stream)
    next(stream)
    provider.release()
    assert len(list(stream)) == 24  # 23 more tokens and the end
    assert provider.bill.calls[0].outcome == "served"


def test_an_error_in_a_stream_reaches_the_client(provider: FakeProvider, client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(model="demo?error_after_chunks=3", messages=HELLO, stream=True)
    with pytest.raises(openai.APIError, match="had an error"):
        list(stream)


def test_the_process_prints_its_address_keeps_its_bill_and_is_driven_over_http(tmp_path: Path) -> None:
    path = tmp_path / "bill.jsonl"
    command = [sys.executable, "-m", "outlay.testing.provider", "--port", "0", "--bill", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            ready = json.loads(process.stdout.readline())
            assert _call(f"{ready['root_url']}/_fake/script", [{"output_tokens": 2}])["steps"] == 1
            body = {"model": "demo", "messages": HELLO}
            answer = _call(f"{ready['base_url']}/chat/completions", body)
            bill = _call(f"{ready['root_url']}/_fake/bill")
        finally:
            process.send_signal(signal.SIGKILL)
    assert answer["usage"]["completion_tokens"] == 2
    assert bill["total_nanos"] == HELLO_TOKENS * 2_500 + 2 * 10_000
    kept = Bill.read(path)
    assert kept.total_nanos == bill["total_nanos"]
    assert [call.outcome for call in kept.calls] == ["served"]


def test_anthropic_messages_are_answered(provider: FakeProvider) -> None:
    body = {"model": "claude-3-5-sonnet-latest", "max_tokens": 5, "messages": HELLO}
    answer = _call(f"{provider.root_url}/v1/messages", body)
    assert answer["usage"]["output_tokens"] == 5
    assert answer["stop_reason"] == "max_tokens"
    assert provider.bill.output_tokens == 5


def _call(url: str, body: Any = None) -> Any:
    async def main() -> Any:
        async with (
            aiohttp.ClientSession() as session,
            session.request("GET" if body is None else "POST", url, json=body) as response,
        ):
            return await response.json()

    return asyncio.run(main())
