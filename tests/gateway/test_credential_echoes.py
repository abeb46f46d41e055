"""A provider that repeats the credential: in whatever form and in how many pieces, no caller reads it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx2 as httpx
import pytest
from gateways import HELLO, Gateway, run_gateway
from raw_provider import SSE_HEAD, RawProvider, raw_provider

from outlay.routing.configured import Row
from outlay.testing.provider import FakeProvider

pytestmark = pytest.mark.once("rules that are the same on every Python")

KEY = "AIza/Echo+0f1e2d3c4b5a69788796a5b4c3d2e1f0=="
USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
SHORT = "expect"


def unicode_escaped(text: str) -> str:
    return "".join(f"\\u{ord(each):04x}" for each in text)


FORMS = {
    "as it is": KEY,
    "slashes escaped": KEY.replace("/", "\\/"),
    "some escaped": KEY.replace("/", "\\u002F").replace("+", "\\u002b").replace("E", "\\u0045"),
    "all escaped": unicode_escaped(KEY),
    "JSON in JSON": json.dumps(json.dumps(unicode_escaped(KEY)))[1:-1],
    "slashes in JSON in JSON": KEY.replace("/", "\\\\\\/"),
    "percent-encoded": quote(KEY, safe=""),
    "all percent-encoded": "".join(f"%{ord(each):02x}" for each in KEY),
    "percent-encoded twice": quote(quote(KEY, safe=""), safe=""),
}


class Echo(NamedTuple):
    """A gateway before a provider that says what it is told to."""

    gateway: Gateway
    raw: RawProvider

    def post(self, model: str = "raw") -> httpx.Response:
        return self.gateway.chat(model=model, max_tokens=50)

    def stream(self, events: Sequence[bytes], **more: Any) -> list[dict[str, Any]]:
        """The events that a caller of a chat gets when the provider sends these; not that it broke off."""
        body = {"model": "raw", "messages": HELLO, "max_tokens": 50}
        return self.stream_of("/v1/chat/completions", {**body, **more}, events)

    def stream_of(self, path: str, body: dict[str, Any], events: Sequence[bytes]) -> list[dict[str, Any]]:
        self.raw.says(SSE_HEAD, *events)
        answer = self.gateway.post(path, {**body, "stream": True})
        assert answer.status_code == 200
        lines = (line.removeprefix("data: ") for line in answer.text.splitlines() if "data: {" in line)
        return [document for document in map(json.loads, lines) if "error" not in document]


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Echo]:
    with FakeProvider() as provider, raw_provider() as raw:
        price = {"input_cost_per_token": 2.5e-6, "output_cost_per_token": 1e-5}
        short = Row("short", "openai/raw", "raw-2", api_key=SHORT, api_base=raw.base_url, own_price=price)
        root = raw.base_url.removesuffix("/v1")
        claude = Row("claude", "anthropic/claude-sonnet-4-6", "claude-1", api_key=KEY, api_base=root)
        folder: Path = tmp_path_factory.mktemp("echo")
        with run_gateway(provider, folder, rows_of=[raw.row(KEY), short, claude]) as gateway:
            yield Echo(gateway, raw)


def assert_hidden(answer: httpx.Response) -> None:
    """No form of the key is in the answer, and it is still JSON."""
    assert "[redacted]" in answer.text
    assert not [name for name, form in FORMS.items() if form in answer.text]
    json.loads(answer.text)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_no_form_of_the_key_is_in_an_answer(echo: Echo, form: str) -> None:
    text = f'"you sent C:\\\\{form} to me"'
    choices = (
        f'[{{"index": 0, "message": {{"role": "assistant", "content": {text}}}, "finish_reason": "stop"}}]'
    )
    echo.raw.says_whole(f'{{"id": "a", "choices": {choices}, "usage": {json.dumps(USAGE)}}}'.encode())
    answer = echo.post()
    assert answer.status_code == 200
    assert_hidden(answer)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_no_form_of_the_key_is_in_a_refusal(echo: Echo, form: str) -> None:
    echo.raw.says_whole(f'{{"error": {{"message": "no such key: {form}"}}}}'.encode(), b"400 Bad")
    answer = echo.post()
    assert answer.status_code == 400
    assert_hidden(answer)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_no_form_of_the_key_is_in_a_stream_that_comes_in_small_pieces(echo: Echo, form: str) -> None:
    event = f'data: {{"choices": [{{"index": 0, "delta": {{"content": "it is {form}!"}}}}]}}\n\n'.encode()
    pieces = [event[start : start + 5] for start in range(0, len(event), 5)]
    (document,) = echo.stream(pieces)
    assert "[redacted]" in json.dumps(document)
    assert not [name for name, each in FORMS.items() if each in json.dumps(document)]


def test_a_credential_that_is_too_short_to_be_secret_leaves_the_words_alone(echo: Echo) -> None:
    said = "none was expected, you expect too much"
    echo.raw.says_whole(json.dumps({"error": {"message": said}}).encode(), b"400 Bad")
    assert echo.post("short").json()["error"]["message"] == said
    choices = [{"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}]
    echo.raw.says_whole(json.dumps({"id": "a", "choices": choices, "usage": USAGE}).encode())
    assert echo.post("short").json()["choices"][0]["message"]["content"] == said
    (event,) = echo.stream([chat(said)], model="short")
    assert event["choices"][0]["delta"]["content"] == said


def event_of(document: dict[str, Any], name: str = "") -> bytes:
    return (f"event: {name}\n" if name else "").encode() + b"data: " + json.dumps(document).encode() + b"\n\n"


def chat(text: str, index: int = 0) -> bytes:
    return event_of({"choices": [{"index": index, "delta": {"content": text}}]})


def reasoning(text: str) -> bytes:
    return event_of({"choices": [{"index": 0, "delta": {"role": "assistant", "reasoning_content": text}}]})


def arguments(text: str) -> bytes:
    call = {"index": 0, "function": {"arguments": text}}
    return event_of({"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]})


def completion(text: str) -> bytes:
    return event_of({"choices": [{"index": 0, "text": text}]})


def response(text: str) -> bytes:
    return event_of({"type": "response.output_text.delta", "output_index": 0, "delta": text})


def message(text: str) -> bytes:
    delta = {"type": "text_delta", "text": text}
    return event_of({"type": "content_block_delta", "index": 0, "delta": delta}, "content_block_delta")


CHAT = ("/v1/chat/completions", {"model": "raw", "messages": HELLO, "max_tokens": 50})
STREAMS: dict[str, tuple[Callable[[str], bytes], str, dict[str, Any]]] = {
    "chat": (chat, *CHAT),
    "reasoning": (reasoning, *CHAT),
    "arguments": (arguments, *CHAT),
    "completions": (completion, "/v1/completions", {"model": "raw", "prompt": "Hello", "max_tokens": 50}),
    "responses": (response, "/v1/responses", {"model": "raw", "input": "Hello", "max_output_tokens": 50}),
    "messages": (message, "/v1/messages", {"model": "claude", "messages": HELLO, "max_tokens": 50}),
}


def texts(value: Any) -> str:
    """All that a caller of a stream reads, of all events in a row."""
    if isinstance(value, dict):
        return "".join(texts(each) for name, each in value.items() if name not in ("type", "role"))
    if isinstance(value, list):
        return "".join(texts(each) for each in value)
    return value if isinstance(value, str) else ""


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("cuts", [(4,), (8,), (20,), (43,), (9, 30), (1, 2, 3), range(1, 44)], ids=str)
def test_a_key_that_comes_in_several_events_is_taken_out(echo: Echo, kind: str, cuts: Sequence[int]) -> None:
    make, path, body = STREAMS[kind]
    whole = f"It is {KEY}, you see"
    at = [0, *(6 + cut for cut in cuts), len(whole)]
    read = texts(echo.stream_of(path, body, [make(whole[start:end]) for start, end in pairwise(at)]))
    assert read.startswith("It is ")
    assert read.endswith("[redacted], you see")
    assert len(read) < len("It is [redacted], you see") + 8  # a start too short to be secret may be read


def escaped(text: str) -> str:
    """A text of JSON with all of its characters escaped."""
    return "".join(f"\\u{ord(each):04X}" for each in text)


@pytest.mark.parametrize("size", [1, 2, 5, 9, 22])
@pytest.mark.parametrize("is_escaped", [(True, True), (True, False), (False, True)])
def test_a_key_that_comes_in_several_events_is_taken_out_though_json_escapes_it(
    echo: Echo, size: int, is_escaped: tuple[bool, bool]
) -> None:
    pieces = ["It is ", *(KEY[start : start + size] for start in range(0, len(KEY), size)), ", you see"]
    events = [
        chat("?").replace(b"?", (escaped(piece) if is_escaped[number % 2] else piece).encode())
        for number, piece in enumerate(pieces)
    ]
    read = texts(echo.stream(events))
    assert KEY not in read
    assert read.endswith("[redacted], you see")


@pytest.mark.parametrize("end", ["", "and no more", KEY[:9], KEY])
def test_a_text_that_only_begins_like_the_key_comes_as_it_was_sent(echo: Echo, end: str) -> None:
    sent = ["keys begin with ", KEY[:12], "", "-like ", KEY[:20], KEY[:10], end]
    events = echo.stream([chat(each) for each in sent])
    assert texts(events) == "".join(sent).replace(KEY, "[redacted]")
    assert len(events) == len(sent)


def test_choices_that_come_by_turns_are_told_apart(echo: Echo) -> None:
    pieces = [KEY[start : start + 4] for start in range(0, len(KEY), 4)]
    sent = [chat(piece, index) for piece in pieces for index in (0, 1)]
    events = echo.stream(sent, n=2)
    for index in (0, 1):
        read = texts([each for each in events if each["choices"][0]["index"] == index])
        assert read == f"{KEY[:4]}[redacted]"
