"""Completions and embeddings over real HTTP: what comes back, what is sent, what is charged."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pydantic
import pytest
from journal import HELLO, Journal, eventually, plain_server, run_script

import outlay
from outlay import BudgetManager
from outlay.answers import Answer
from outlay.errors import (
    BudgetExceededError,
    CostUnboundedError,
    InvalidValueError,
    PriceUnknownError,
    ProviderAuthError,
    ProviderConnectionError,
    ProviderError,
    ProviderFailedError,
    ProviderNonsenseError,
    ProviderRejectedError,
    ProviderTimeoutError,
)
from outlay.testing.provider import FakeProvider

pytest_plugins = ["front_doors"]

TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tell the weather of a city, for a day, in the units that people there know best.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def ask(**options: Any) -> Answer:
    answer = outlay.completion(model=options.pop("model", "gpt-4o"), messages=HELLO, **options)
    assert isinstance(answer, Answer)
    return answer


def ask_async(**options: Any) -> Answer:
    answer = asyncio.run(outlay.acompletion(model="gpt-4o", messages=HELLO, **options))
    assert isinstance(answer, Answer)
    return answer


def sent(provider: FakeProvider) -> Any:
    """The body of the last request."""
    return provider.requests[-1].json()


# What comes back.


@pytest.mark.parametrize("face", [ask, ask_async])
def test_an_answer_reads_as_an_object_and_by_key(provider: FakeProvider, face: Callable[..., Answer]) -> None:
    answer = face(max_tokens=5)
    text = answer.choices[0].message.content
    assert text == answer["choices"][0]["message"]["content"]
    assert len(text.split()) == 5
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == answer["usage"]["completion_tokens"] == 5
    assert (answer.model, answer.object, answer.id[:9]) == ("gpt-4o", "chat.completion", "chatcmpl-")


def test_fields_that_openai_always_has_are_none_when_the_wire_leaves_them_out(provider: FakeProvider) -> None:
    answer = ask()
    assert answer.choices[0].message.tool_calls is None
    assert answer.system_fingerprint is None
    with pytest.raises(AttributeError, match="no field 'contents'"):
        _ = answer.choices[0].message.contents


def test_tool_calls_come_through(provider: FakeProvider) -> None:
    answer = ask(tools=[TOOL], tool_choice="required")
    call = answer.choices[0].message.tool_calls[0]
    assert call.function.name == "weather"
    assert isinstance(json.loads(call.function.arguments), dict)
    assert answer.choices[0].message.content is None


@pytest.mark.parametrize("face", [ask, ask_async])
def test_an_answer_says_what_it_cost(provider: FakeProvider, face: Callable[..., Answer]) -> None:
    answer = face()
    assert answer.cost == answer._hidden_params["response_cost"] == provider.bill.total_nanos / 1e9


def test_an_answer_is_plain_json_and_can_be_copied(provider: FakeProvider) -> None:
    answer = ask()
    assert json.loads(json.dumps(answer)) == json.loads(answer.model_dump_json()) == answer.model_dump()
    for twin in (copy.copy(answer), copy.deepcopy(answer), pickle.loads(pickle.dumps(answer))):  # noqa: S301
        assert twin == answer
        assert twin.choices[0].message.content == answer.choices[0].message.content
        assert twin.cost == answer.cost


def test_an_answers_message_can_be_sent_back(provider: FakeProvider) -> None:
    message = ask().choices[0].message
    outlay.completion(model="gpt-4o", messages=[*HELLO, message, *HELLO])
    assert sent(provider)["messages"][1]["content"] == message.content


@pytest.mark.parametrize("text", ["a river", ["a river", "a town"], [1, 2, 3]])
def test_embeddings_in_both_faces(provider: FakeProvider, text: Any) -> None:
    model = "text-embedding-3-small"
    answer = outlay.embedding(model=model, input=text)
    same = asyncio.run(outlay.aembedding(model=model, input=text))
    assert answer.data[0].embedding == same["data"][0]["embedding"]
    assert answer.cost == same.cost
    assert (answer.cost or 0) * 2 == pytest.approx(provider.bill.total_nanos / 1e9)


def test_it_can_be_called_inside_a_running_event_loop(provider: FakeProvider) -> None:
    async def main() -> Answer:
        return ask()

    assert asyncio.run(main()).choices[0].message.content


# Where it goes, and what is sent.


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gpt-4o", "gpt-4o"),
        ("openai/gpt-4o", "gpt-4o"),
        ("groq/llama-3.3-70b-versatile", "llama-3.3-70b-versatile"),
        ("openrouter/openai/gpt-4o", "openai/gpt-4o"),
        ("my-lab/my-model", "my-lab/my-model"),
    ],
)
def test_model_names_go_to_the_provider_as_it_knows_them(
    provider: FakeProvider, model: str, name: str
) -> None:
    outlay.completion(model=model, messages=HELLO, api_base=provider.base_url, api_key="sk-given")
    assert sent(provider)["model"] == name
    assert provider.requests[-1].headers["authorization"] == "Bearer sk-given"


def test_the_key_and_the_address_come_from_the_environment(provider: FakeProvider) -> None:
    ask()
    assert provider.requests[-1].headers["authorization"] == "Bearer sk-of-the-environment"


def test_base_url_is_another_name_for_api_base_and_neither_is_sent(provider: FakeProvider) -> None:
    ask(api_base=provider.base_url, base_url="http://127.0.0.1:9")
    assert sent(provider).keys() == {"model", "messages"}


def test_without_a_key_nothing_is_sent(
    provider: FakeProvider, monkeypatch: pytest.MonkeyPatch, manager: BudgetManager, journal: Journal
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ProviderAuthError, match="OPENAI_API_KEY"):
        manager.completion(user="alice", model="gpt-4o", messages=HELLO)
    assert (provider.requests, journal.entries(), journal.pending()) == ([], [], 0)


def test_what_is_not_named_goes_to_the_provider_as_it_is(provider: FakeProvider) -> None:
    ask(temperature=0.5, seed=7, stop=None, user="u-1", extra_body={"top_k": 3}, tags=["a"], timeout=20)
    assert sent(provider) == {
        "model": "gpt-4o",
        "messages": HELLO,
        "temperature": 0.5,
        "seed": 7,
        "user": "u-1",
        "top_k": 3,
    }


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"timeout": 0}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"timeout": "10"}, "timeout"),
        ({"num_retries": 3}, "num_retries"),
        ({"fallbacks": ["gpt-4"]}, "fallbacks"),
        ({"mock_response": "hi"}, "mock_response"),
        ({"tags": "a-tag"}, "tags"),
        ({"tags": [1]}, "tags"),
        ({"tags": ["\ud800"]}, "tags"),
        ({"api_key": 5}, "api_key"),
        ({"custom_llm_provider": 5}, "custom_llm_provider"),
        ({"extra_body": "x"}, "extra_body"),
        ({"budget_manager": object()}, "budget_manager"),
        ({"temperature": object()}, "object"),
        ({"model": ""}, "model"),
        ({"model": "no-such-provider/model", "api_base": None}, "no-such-provider"),
    ],
)
def test_an_argument_that_cannot_be_used_is_named(
    provider: FakeProvider, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], named: str
) -> None:
    if "api_base" in options:
        monkeypatch.delenv("OPENAI_API_BASE")
    with pytest.raises(InvalidValueError, match=named):
        ask(**{"user": "u", **options})
    assert provider.requests == []


def test_an_empty_extra_body_and_no_tags_are_fine(provider: FakeProvider) -> None:
    ask(extra_body=None, tags=None, timeout=None)
    assert sent(provider).keys() == {"model", "messages"}


def test_a_manager_needs_a_user(provider: FakeProvider, manager: BudgetManager) -> None:
    with pytest.raises(InvalidValueError, match="user"):
        ask(budget_manager=manager)


def test_tags_are_kept_with_the_charge(
    provider: FakeProvider, manager: BudgetManager, journal: Journal
) -> None:
    manager.completion(user="alice", model="gpt-4o", messages=HELLO, tags=["search", "eu"])
    assert journal.entries("settle")[0].tags == ("search", "eu")


def test_prices_of_ones_own(provider: FakeProvider) -> None:
    answer = ask(model="my-model", input_cost_per_token=0.001, output_cost_per_token=0.01)
    assert answer.cost == pytest.approx(answer.usage.prompt_tokens * 0.001 + 24 * 0.01)


# The cap.


@pytest.mark.parametrize(
    ("model", "field"),
    [("gpt-4o", "max_tokens"), ("gpt-5", "max_completion_tokens"), ("groq/llama-3.3-70b-versatile", None)],
)
def test_under_a_budget_the_cap_is_put_into_the_request(
    provider: FakeProvider, manager: BudgetManager, model: str, field: str | None
) -> None:
    manager.completion(user="alice", model=model, messages=HELLO, api_base=provider.base_url, api_key="k")
    caps = {name: value for name, value in sent(provider).items() if "max" in name}
    assert caps.keys() == {field or "max_completion_tokens"}
    assert 0 < next(iter(caps.values())) <= outlay.default_max_tokens


def test_a_hard_budget_puts_what_is_affordable(provider: FakeProvider, manager: BudgetManager) -> None:
    manager.create_budget(total_budget=0.0005, user="bob", mode="hard")
    manager.completion(user="bob", model="gpt-4o", messages=HELLO, service_tier="default")
    cap = sent(provider)["max_tokens"]
    assert provider.bill.input_tokens * 2_500 + cap * 10_000 <= 500_000
    assert 40 < cap < 50


def caps_sent(provider: FakeProvider, manager: BudgetManager, model: str, **declared: int) -> dict[str, int]:
    options: dict[str, Any] = {"api_base": provider.base_url, "api_key": "k", **declared}
    manager.completion(user="alice", model=model, messages=HELLO, **options)
    return {name: value for name, value in sent(provider).items() if "max" in name}


@pytest.mark.parametrize(
    ("model", "declared"),
    [
        ("gpt-4o", {"max_tokens": 7}),
        ("gpt-5", {"max_completion_tokens": 7}),
        ("groq/llama-3.3-70b-versatile", {"max_tokens": 7}),
        ("groq/llama-3.3-70b-versatile", {"max_completion_tokens": 7}),
        ("deepseek/deepseek-chat", {"max_tokens": 7}),
    ],
)
def test_a_declared_cap_that_the_provider_takes_is_sent_as_it_is(
    provider: FakeProvider, manager: BudgetManager, model: str, declared: dict[str, int]
) -> None:
    assert caps_sent(provider, manager, model, **declared) == declared


@pytest.mark.parametrize("model", ["deepseek/deepseek-chat", "mistral/mistral-small-latest", "gpt-4o"])
def test_a_declared_cap_that_the_provider_may_ignore_is_sent_where_it_looks(
    provider: FakeProvider, manager: BudgetManager, model: str
) -> None:
    assert caps_sent(provider, manager, model, max_completion_tokens=7) == {"max_tokens": 7}
    assert caps_sent(provider, manager, model, max_completion_tokens=7, max_tokens=9) == {"max_tokens": 9}


def test_without_a_budget_a_declared_cap_is_the_callers_own(
    provider: FakeProvider, process_budget: None
) -> None:
    ask(max_completion_tokens=7)
    assert sent(provider)["max_completion_tokens"] == 7


def test_without_a_budget_no_cap_is_put(provider: FakeProvider, process_budget: None) -> None:
    ask()
    assert sent(provider).keys() == {"model", "messages"}


def test_embeddings_have_no_cap(provider: FakeProvider, manager: BudgetManager, journal: Journal) -> None:
    outlay.embedding("text-embedding-3-small", "a river", user="alice", budget_manager=manager)
    assert sent(provider).keys() == {"model", "input"}
    assert journal.charged_nanos() == provider.bill.total_nanos


# What is estimated is what is sent.


class SearchTool(pydantic.BaseModel):
    """A tool as an SDK would have it."""

    type: str = "function"
    function: dict[str, Any]


@dataclass
class DataTool:
    """A tool that only the encoder can read."""

    type: str
    function: dict[str, Any]


@dataclass
class DataFormat:
    """A form of the answer that only the encoder can read."""

    type: str
    json_schema: dict[str, Any]


BIG = {"name": "f", "description": "big " * 20_000}


@pytest.mark.parametrize(
    "options",
    [
        {"tools": ({"type": "function", "function": BIG},)},
        {"tools": [SearchTool(function=BIG)]},
        {"tools": [DataTool("function", BIG)]},
        {"functions": (BIG,)},
        {"response_format": DataFormat("json_schema", BIG)},
        {"messages": ({"role": "user", "content": ({"type": "text", "text": "big " * 20_000},)},)},
    ],
)
def test_whatever_a_body_is_made_of_a_hard_budget_sees_all_of_it(
    provider: FakeProvider, manager: BudgetManager, options: dict[str, Any]
) -> None:
    manager.create_budget(total_budget=0.01, user="bob", mode="hard")
    call: dict[str, Any] = {"messages": HELLO, "max_tokens": 16, **options}
    with pytest.raises(BudgetExceededError):
        manager.completion(user="bob", model="gpt-4o", **call)
    with pytest.raises(BudgetExceededError), manager.reserve("bob", "gpt-4o", **call):
        pass
    assert provider.requests == []


def test_messages_changed_while_a_call_waits_are_sent_as_they_were(
    provider: FakeProvider, manager: BudgetManager
) -> None:
    manager.create_budget(total_budget=0.001, user="bob")
    messages = copy.deepcopy(HELLO)
    with ThreadPoolExecutor(1) as pool:
        with occupied(manager, "bob"):
            waiting = pool.submit(manager.completion, user="bob", model="gpt-4o", messages=messages)
            eventually(lambda: manager._ledger.writer._parked)
            messages[0]["content"] = "big " * 20_000
        waiting.result(DEADLINE)
    assert sent(provider)["messages"] == HELLO


# What cannot be bounded is not sent.


def test_an_unknown_price_is_refused_under_a_budget_and_passes_without(
    provider: FakeProvider, manager: BudgetManager
) -> None:
    with pytest.raises(PriceUnknownError):
        manager.completion(user="alice", model="my-model", messages=HELLO)
    assert provider.requests == []
    assert ask(model="my-model").cost is None


def test_an_unbounded_cost_is_refused_under_a_budget(provider: FakeProvider, manager: BudgetManager) -> None:
    audio = [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}]
    with pytest.raises(CostUnboundedError):
        manager.completion(
            user="alice",
            model="my-model",
            messages=audio,
            input_cost_per_token=1e-6,
            output_cost_per_token=1e-6,
        )
    assert provider.requests == []


# Failures: void or held.


@contextmanager
def closed_port() -> Iterator[str]:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))  # bound, not listening: nobody else gets the port
        yield f"http://127.0.0.1:{holder.getsockname()[1]}/v1"


REFUSALS: list[tuple[dict[str, Any], type[ProviderError], str]] = [
    ({"status": 400}, ProviderRejectedError, "rejected"),
    ({"status": 401}, ProviderAuthError, "rejected"),
    ({"status": 403}, ProviderAuthError, "rejected"),
    ({"status": 404}, ProviderRejectedError, "rejected"),
    ({"status": 429, "retry_after_seconds": 3}, ProviderRejectedError, "rejected"),
    ({"redirect": "http://127.0.0.1:9/v1"}, ProviderNonsenseError, "rejected"),
    ({"status": 500}, ProviderFailedError, "provider_error"),
    ({"status": 503}, ProviderFailedError, "provider_error"),
]
UNKNOWN: list[tuple[dict[str, Any], type[ProviderError]]] = [
    ({"status": 504, "bills_failure": True}, ProviderFailedError),
    ({"status": 520, "bills_failure": True}, ProviderFailedError),
    ({"cut_after_chunks": 0, "bills_after_hangup": True}, ProviderConnectionError),
    ({"hang_after_chunks": 0, "bills_after_hangup": True}, ProviderTimeoutError),
    ({"nonsense": "json"}, ProviderError),
    ({"nonsense": "html"}, ProviderError),
    ({"nonsense": "array"}, ProviderError),
    ({"nonsense": "empty"}, ProviderError),
    ({"nonsense": "garbage"}, ProviderError),
]


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize(("behaviour", "error", "reason"), REFUSALS)
def test_what_was_not_served_is_voided(
    provider: FakeProvider,
    manager: BudgetManager,
    journal: Journal,
    behaviour: dict[str, Any],
    error: type[ProviderError],
    reason: str,
    is_stream: bool,
) -> None:
    provider.set(behaviour)
    with pytest.raises(error) as caught:
        manager.completion(user="alice", model="gpt-4o", messages=HELLO, stream=is_stream)
    assert not caught.value.is_unknown_outcome
    assert [(entry.kind, entry.reason) for entry in journal.entries()] == [("void", reason)]
    assert (journal.pending(), manager.get_current_cost("alice")) == (0, 0)
    journal.check()


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize(("behaviour", "error"), UNKNOWN)
def test_what_may_have_been_served_is_presumed_at_once_or_when_its_hold_expires(
    provider: FakeProvider,
    manager: BudgetManager,
    journal: Journal,
    behaviour: dict[str, Any],
    error: type[ProviderError],
    is_stream: bool,
) -> None:
    provider.set(behaviour)
    timeout = 0.2 if "hang_after_chunks" in behaviour else 20
    options: dict[str, Any] = {"stream": is_stream, "max_tokens": 30, "timeout": timeout}
    with pytest.raises(error) as caught:
        list(manager.completion(user="alice", model="gpt-4o", messages=HELLO, **options))
    assert caught.value.is_unknown_outcome
    assert [entry.source for entry in journal.entries()] == ["presumed"] * (1 - journal.pending())
    provider.wait_until(lambda it: it.bill.serving == 0)
    journal.expire()
    assert journal.charged_nanos() >= provider.bill.total_nanos > 0
    journal.check()


def test_what_never_left_is_voided(manager: BudgetManager, journal: Journal) -> None:
    with closed_port() as address, pytest.raises(ProviderConnectionError, match="never sent"):
        manager.completion(user="alice", model="gpt-4o", messages=HELLO, api_base=address, api_key="k")
    assert [(entry.kind, entry.reason) for entry in journal.entries()] == [("void", "never_sent")]


def test_a_body_that_cannot_be_written_is_voided(
    provider: FakeProvider, manager: BudgetManager, journal: Journal
) -> None:
    with pytest.raises(InvalidValueError):
        manager.completion(user="alice", model="gpt-4o", messages=HELLO, logit_bias=object())
    assert (provider.requests, journal.pending(), manager.get_current_cost("alice")) == ([], 0, 0)


def test_a_credential_never_shows(provider: FakeProvider) -> None:
    provider.set({"status": 400, "echoes_credential": True})
    with pytest.raises(ProviderRejectedError) as caught:
        ask(api_key="sk-very-secret")
    assert "sk-very-secret" not in f"{caught.value} {caught.value.body} {caught.value!r}"


# Lies about the usage.

LIES = ["missing", "null", "zero", "half", "negative", "string", "float", "huge"]
ODD = [{"role": "user", "content": "Name three rivers in Europe, please!!"}]


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("lie", LIES)
def test_a_lie_about_the_usage_is_disputed_and_never_cheaper(
    provider: FakeProvider, manager: BudgetManager, journal: Journal, lie: str, is_stream: bool
) -> None:
    provider.set({"usage": lie, "output_tokens": 25})
    list(manager.completion(user="alice", model="gpt-4o", messages=ODD, stream=is_stream))
    (entry,) = journal.wait_for(1)
    assert entry.kind == "settle"
    assert entry.detail["disputed"] is True
    assert (entry.usd_nanos or 0) >= provider.bill.total_nanos
    assert manager.get_current_cost("alice") * 1e9 == pytest.approx(entry.usd_nanos)
    journal.check()


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_about_a_request_that_is_more_than_text_is_never_cheaper(
    provider: FakeProvider, manager: BudgetManager, journal: Journal, lie: str
) -> None:
    provider.set({"usage": lie, "output_tokens": 25})
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}}
    parts = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, picture]}]
    manager.completion(user="alice", model="gpt-4o", messages=parts, tools=[TOOL] * 5)
    assert journal.charged_nanos() >= provider.bill.total_nanos


def test_an_honest_usage_is_charged_to_the_nano(
    provider: FakeProvider, manager: BudgetManager, journal: Journal
) -> None:
    for tools in ([], [TOOL] * 5):
        manager.completion(user="alice", model="gpt-4o", messages=HELLO, tools=tools or None)
    assert journal.charged_nanos() == provider.bill.total_nanos
    assert not any("disputed" in entry.detail for entry in journal.entries())


@pytest.mark.parametrize("digits", [30, 400, 5_000])
def test_a_usage_of_absurdly_many_digits_is_no_way_to_lose_a_charge(
    manager: BudgetManager, journal: Journal, digits: int
) -> None:
    body = (
        '{"id":"x","model":"gpt-4o","choices":[{"message":{"content":"hi"},"finish_reason":"stop"}],"usage":{'
    )
    body += f'"prompt_tokens":{"9" * digits},"completion_tokens":1}}}}'
    with plain_server(body.encode()) as address:
        try:
            manager.completion(user="alice", model="gpt-4o", messages=HELLO, api_base=address, api_key="k")
        except ProviderNonsenseError:
            assert [entry.source for entry in journal.entries()] == ["presumed"]
    assert journal.pending() == 0
    assert journal.charged_nanos() > 0
    journal.check()


def answer_with(**changes: str) -> bytes:
    """An answer of which some fields are other JSON."""
    fields = {
        "id": '"x"',
        "model": '"gpt-4o"',
        "choices": '[{"message":{"content":"hi"},"finish_reason":"stop"}]',
        "usage": '{"prompt_tokens":14,"completion_tokens":1}',
        **changes,
    }
    return ("{" + ",".join(f'"{name}":{value}' for name, value in fields.items()) + "}").encode()


def ask_plain(manager: BudgetManager, body: bytes, **options: Any) -> Any:
    with plain_server(body) as address:
        options |= {"api_base": address, "api_key": "k"}
        return manager.completion(user="alice", model="gpt-4o", messages=HELLO, **options)


@pytest.mark.parametrize("levels", [101, 500, 100_000])
def test_an_answer_that_nests_absurdly_deep_may_have_been_billed(
    manager: BudgetManager, journal: Journal, levels: int
) -> None:
    with pytest.raises(ProviderNonsenseError) as caught:
        ask_plain(manager, answer_with(deep="[" * levels + "]" * levels))
    assert caught.value.is_unknown_outcome
    assert [entry.source for entry in journal.entries()] == ["presumed"]


@pytest.mark.parametrize(
    "body",
    [
        answer_with(deep="[" * 95 + "]" * 95),
        answer_with(deep=json.dumps('"[\\"{' * 500 + "\\")),
        answer_with(flat="[" + ",".join(["[{}]"] * 500) + "]"),
    ],
)
def test_an_answer_with_many_brackets_is_read_and_charged(
    manager: BudgetManager, journal: Journal, body: bytes
) -> None:
    assert ask_plain(manager, body) == json.loads(body)
    assert journal.charged_nanos() == 14 * 2_500 + 10_000


@pytest.mark.parametrize(
    ("answer", "written"),
    [
        ({"usage": '{"prompt_tokens":1' + "0" * 25 + "}"}, "1" + "0" * 25),
        ({"id": '"half-\\ud83d"', "usage": '{"prompt_tokens":"\\ud83d"}'}, "?"),
    ],
)
def test_whatever_a_provider_claims_the_call_is_settled_and_the_claim_kept(
    manager: BudgetManager, journal: Journal, answer: dict[str, str], written: str
) -> None:
    ask_plain(manager, answer_with(**answer))
    (entry,) = journal.entries("settle")
    assert entry.detail["claimed"] == {"input_tokens": written}
    assert (entry.usd_nanos or 0) > 0
    journal.check()


def test_a_chunk_that_cannot_be_delivered_does_not_lose_the_charge(
    provider: FakeProvider, manager: BudgetManager, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> Answer:
        raise ZeroDivisionError

    monkeypatch.setattr("outlay.calls.Answer", fail)
    with pytest.raises(ZeroDivisionError):
        list(manager.completion(user="alice", model="gpt-4o", messages=HELLO, stream=True))
    assert journal.charged_nanos() == provider.bill.total_nanos > 0


@pytest.mark.parametrize("message", [{"tool_calls": 5}, {"content": 5}, 5, None])
def test_an_answer_to_messages_that_cannot_be_counted_is_not_lost(
    provider: FakeProvider, process_budget: None, message: Any
) -> None:
    odd = [{"role": "user", "content": "Hello", **message}] if isinstance(message, dict) else message
    with plain_server(answer_with(usage="null")) as address:
        answer = outlay.completion("gpt-4o", odd, api_base=address, api_key="k")
    assert isinstance(answer, Answer)
    assert answer.choices[0].message.content == "hi"


# Cancelled, interrupted, in many threads.


@contextmanager
def occupied(manager: BudgetManager, user: str) -> Iterator[None]:
    """While inside, a reservation of somebody else keeps every call of the user waiting."""
    with manager.reserve(user, "gpt-4o", HELLO, max_tokens=100_000) as reservation:
        yield
        reservation.void()


def test_a_call_cancelled_before_it_is_sent_is_never_sent(
    provider: FakeProvider, manager: BudgetManager, journal: Journal
) -> None:
    manager.create_budget(total_budget=0.001, user="bob")

    async def main() -> None:
        call = asyncio.create_task(manager.acompletion(user="bob", model="gpt-4o", messages=HELLO))
        while not manager._ledger.writer._parked:
            await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    with occupied(manager, "bob"):
        asyncio.run(main())
    eventually(lambda: not journal.pending())
    assert provider.requests == []
    assert manager.get_current_cost("bob") == 0


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_call_cancelled_after_it_was_sent_is_settled(
    provider: FakeProvider, manager: BudgetManager, journal: Journal, is_stream: bool
) -> None:
    provider.set({"hang_after_chunks": 0})

    async def main() -> None:
        call = asyncio.create_task(
            manager.acompletion(user="alice", model="gpt-4o", messages=HELLO, stream=is_stream)
        )
        while not provider.bill.serving:
            await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        while not journal.entries():
            provider.release()
            await asyncio.sleep(0.001)

    asyncio.run(main())
    assert journal.charged_nanos() == provider.bill.total_nanos > 0
    journal.check()


class Interrupt(BaseException):
    """As KeyboardInterrupt, but it cannot stop the test run."""


@contextmanager
def interrupted_when(condition: Callable[[], object]) -> Iterator[None]:
    """Interrupt the main thread, as Ctrl-C does, once something is true; the block must be interrupted."""

    def handler(*_: object) -> None:
        raise Interrupt

    def watch() -> None:
        eventually(condition)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    former = signal.signal(signal.SIGUSR1, handler)
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with pytest.raises(Interrupt):
            yield
    finally:
        watcher.join()
        signal.signal(signal.SIGUSR1, former)


@pytest.mark.parametrize("is_stream", [False, True])
def test_an_interrupted_wait_leaves_the_charge(
    provider: FakeProvider, manager: BudgetManager, journal: Journal, is_stream: bool
) -> None:
    provider.set({"hang_after_chunks": 0})
    with interrupted_when(lambda: provider.bill.serving):
        manager.completion(user="alice", model="gpt-4o", messages=HELLO, stream=is_stream)
    assert journal.pending() == 1
    while not journal.entries("settle"):
        provider.release()
    assert journal.charged_nanos() == provider.bill.total_nanos > 0


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_call_interrupted_before_it_is_sent_is_never_sent(
    provider: FakeProvider, manager: BudgetManager, journal: Journal, is_stream: bool
) -> None:
    manager.create_budget(total_budget=0.001, user="bob")
    with occupied(manager, "bob"), interrupted_when(lambda: manager._ledger.writer._parked):
        manager.completion(user="bob", model="gpt-4o", messages=HELLO, stream=is_stream)
    eventually(lambda: not manager._ledger.writer._parked and journal.pending() == 0)
    assert provider.requests == []


def test_a_call_waits_for_others_and_goes_on_when_they_settle(
    provider: FakeProvider, manager: BudgetManager
) -> None:
    manager.create_budget(total_budget=0.001, user="bob")
    with ThreadPoolExecutor(1) as pool:
        with occupied(manager, "bob"):
            waiting = pool.submit(manager.completion, user="bob", model="gpt-4o", messages=HELLO)
            eventually(lambda: manager._ledger.writer._parked)
            assert provider.requests == []
        assert waiting.result(DEADLINE).cost


DEADLINE = 20


def test_a_call_that_may_not_wait_is_refused_at_once(
    provider: FakeProvider, manager: BudgetManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outlay, "budget_wait_seconds", 0)
    manager.create_budget(total_budget=0.001, user="bob")
    with occupied(manager, "bob"), pytest.raises(BudgetExceededError) as caught:
        manager.completion(user="bob", model="gpt-4o", messages=HELLO)
    assert caught.value.can_wait


@pytest.mark.parametrize("seconds", [-1, float("nan"), "5", None, True])
def test_a_wait_that_cannot_be_is_named(
    provider: FakeProvider, manager: BudgetManager, monkeypatch: pytest.MonkeyPatch, seconds: Any
) -> None:
    monkeypatch.setattr(outlay, "budget_wait_seconds", seconds)
    with pytest.raises(InvalidValueError, match=r"outlay\.budget_wait_seconds"):
        manager.completion(user="alice", model="gpt-4o", messages=HELLO)


@pytest.mark.parametrize("tokens", [0, -1, 1.5, "5", None, True])
def test_a_default_cap_that_cannot_be_is_named(
    provider: FakeProvider, manager: BudgetManager, monkeypatch: pytest.MonkeyPatch, tokens: Any
) -> None:
    monkeypatch.setattr(outlay, "default_max_tokens", tokens)
    with pytest.raises(InvalidValueError, match=r"outlay\.default_max_tokens"):
        manager.completion(user="alice", model="gpt-4o", messages=HELLO)


def test_many_threads_and_loops_at_once(
    provider: FakeProvider, manager: BudgetManager, journal: Journal, process_budget: None
) -> None:
    def one(number: int) -> float:
        options: dict[str, Any] = {"user": "alice", "model": "gpt-4o", "messages": HELLO}
        if number % 3:
            return manager.completion(**options).cost or 0
        return asyncio.run(manager.acompletion(**options)).cost or 0

    with ThreadPoolExecutor(16) as pool:
        costs = list(pool.map(one, range(90)))
    assert len(provider.bill.calls) == 90
    assert journal.charged_nanos() == provider.bill.total_nanos
    assert sum(costs) == pytest.approx(outlay.current_cost()) == provider.bill.total_nanos / 1e9
    journal.check()


SILENT = """
import asyncio, sys, threading
import outlay
messages = [{"role": "user", "content": "hi"}]
start = threading.Barrier(24)
def one():
    start.wait()
    outlay.completion("gpt-4o", messages)
threads = [threading.Thread(target=one) for _ in range(24)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
list(outlay.completion("gpt-4o", messages, stream=True))
async def main():
    await outlay.acompletion("gpt-4o", messages)
    stream = await outlay.acompletion("gpt-4o", messages, stream=True)
    async for chunk in stream:
        pass
asyncio.run(main())
outlay.completion("gpt-4o", messages, stream=True)
import gc; gc.collect()
print(outlay.current_cost())
"""


def test_a_process_ends_without_a_complaint(provider: FakeProvider) -> None:
    assert float(run_script(SILENT)) > 0


def test_importing_outlay_loads_no_heavy_library() -> None:
    heavy = ("aiohttp", "apsw", "genai_prices", "msgspec", "splintr", "asyncio")
    assert run_script(f"import sys, outlay; print(set({heavy}) & set(sys.modules))") == "set()\n"
