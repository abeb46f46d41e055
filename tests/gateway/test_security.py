"""Who may do what, and what nobody may: keys, upstream addresses, headers, redirects."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import httpx2 as httpx
import pytest
from gateways import CREDENTIAL, DEMO_RATE, HELLO, MASTER_KEY, Gateway, rows, run_gateway
from raw_provider import SSE_HEAD, RawProvider, raw_provider

from outlay.errors import InvalidValueError
from outlay.routing.configured import ConfiguredRoutes, Row
from outlay.testing.clock import FakeClock
from outlay.testing.provider import FakeProvider

CHAT = "/v1/chat/completions"
CHUNK = b'data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1}}\n\ndata: [DONE]\n\n'
LINE_BREAKS = ["a\r\nX-Evil: 1", "a\nb", "a\rb", "a\0b", "a\x1b[2J"]
CHAT_BODY = json.dumps({"model": "demo", "messages": HELLO, "max_tokens": 5})
CLOCK = FakeClock()


@pytest.fixture(scope="module")
def raw() -> Iterator[RawProvider]:
    with raw_provider() as provider:
        yield provider


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, raw: RawProvider) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("secure")
    with FakeProvider(default_rate=DEMO_RATE) as provider:
        wild = Row("any/*", "openai/*", "wild-1", api_key=CREDENTIAL, api_base=provider.base_url)
        all_rows = [*rows(provider), wild, raw.row()]
        with run_gateway(provider, folder, rows_of=all_rows, clock=CLOCK) as running:
            yield running


def test_a_key_has_256_random_bits_and_only_its_hash_is_kept(gateway: Gateway) -> None:
    keys = {gateway.new_key() for _ in range(5)}
    assert len(keys) == 5
    stored = b"".join(path.read_bytes() for path in gateway.path.parent.iterdir())
    for key in keys:
        assert len(base64.urlsafe_b64decode(key.removeprefix("sk-") + "=")) == 32
        assert key.encode() not in stored
        assert key.removeprefix("sk-")[:20].encode() not in stored


def test_whatever_is_wrong_with_a_key_the_answer_is_the_same(gateway: Gateway) -> None:
    blocked, deleted, expired = gateway.new_key(), gateway.new_key(), gateway.new_key(duration="1m")
    team = gateway.post("/team/new", {}).json()["team_id"]
    of_blocked_team = gateway.new_key(team_id=team)
    for key in (blocked, deleted, expired, of_blocked_team):
        assert gateway.chat(key).status_code == 200
    assert gateway.post("/key/block", {"key": blocked}).status_code == 200
    assert gateway.post("/key/delete", {"keys": [deleted]}).status_code == 200
    assert gateway.post("/team/update", {"team_id": team, "blocked": True}).status_code == 200
    CLOCK.advance(61)
    wrong = [
        *(blocked, deleted, expired, of_blocked_team),
        *("sk-unknown", "x", "sk-" + "0" * 43, "s" * 5_000, MASTER_KEY[:-1], MASTER_KEY + "0", "\u00fc"),
    ]
    headers = [{"authorization": f"Bearer {key}"} for key in wrong] + [{"x-api-key": key} for key in wrong]
    headers += [{}, {"authorization": ""}, {"authorization": f"Basic {MASTER_KEY}"}]
    with httpx.Client(base_url=gateway.root_url) as client:
        for method, path in (
            ("POST", CHAT),
            ("GET", "/v1/models"),
            ("GET", "/key/list"),
            ("GET", "/metrics"),
        ):
            seen = {_refused(client, method, path, each) for each in headers}
            assert len(seen) == 1, path


@pytest.mark.parametrize(
    "content", [b"", b"[" * 1_000, b"{}", b'{"model": "nope"}', b'{"model": "demo", "n": 0}']
)
def test_a_key_that_was_deleted_learns_nothing_from_requests_that_are_wrong(
    gateway: Gateway, content: bytes
) -> None:
    key = gateway.new_key()
    assert gateway.chat(key).status_code == 200
    with gateway.http(key) as client:
        assert client.post(CHAT, content=content).status_code in (400, 404)
        assert gateway.post("/key/delete", {"keys": [key]}).status_code == 200
        assert client.post(CHAT, content=content).status_code == 401


def _refused(client: httpx.Client, method: str, path: str, headers: dict[str, str]) -> tuple[object, ...]:
    encoded = {name.encode(): value.encode() for name, value in headers.items()}
    answer = client.request(method, path, headers=encoded, content=CHAT_BODY)
    assert answer.status_code == 401, (path, headers, answer.text)
    ids = {"x-request-id", "x-outlay-request-id", "x-litellm-call-id"}
    told = {name: value for name, value in answer.headers.items() if name not in ids}
    return answer.content, tuple(sorted(told.items()))


@pytest.mark.parametrize(
    "name",
    [
        *("api_base", "base_url", "api_key", "api_version", "custom_llm_provider", "extra_headers"),
        *("headers", "model_list", "organization"),
    ],
)
def test_a_caller_cannot_say_where_to_send_or_as_whom(gateway: Gateway, name: str) -> None:
    sent = len(gateway.provider.requests)
    answer = gateway.chat(**{name: "http://127.0.0.1:9/evil"})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == name
    assert len(gateway.provider.requests) == sent


def test_no_header_of_a_caller_reaches_the_provider_but_those_of_anthropics_wire(gateway: Gateway) -> None:
    given = {
        "x-api-base": "http://evil.test",
        "x-litellm-api-base": "http://evil.test",
        "x-litellm-timeout": "0.001",
        "openai-organization": "org-evil",
        "openai-project": "proj-evil",
        "openai-beta": "evil",
        "api-key": "evil",
        "proxy-authorization": "Basic evil",
        "proxy": "http://evil.test",
        "x-forwarded-for": "evil",
        "cookie": "evil=1",
        "user-agent": "evil",
        "referer": "http://evil.test",
        "transfer-encoding-": "evil",
        "x-fake": '{"status": 500}',
        "connection": "keep-alive, authorization",
    }
    with gateway.http(headers=given) as client:
        assert client.post(CHAT, json={"model": "demo", "messages": HELLO}).status_code == 200
        heard = gateway.provider.requests[-1]
        assert heard.headers["authorization"] == f"Bearer {CREDENTIAL}"
        allowed = {"host", "authorization", "accept", "accept-encoding", "content-type", "content-length"}
        assert set(heard.headers) <= allowed | {"connection", "user-agent"}
        assert "evil" not in repr(heard)
        messages = {"model": "claude-sonnet-4-6", "max_tokens": 5, "messages": HELLO}
        passed = {"anthropic-version": "2023-06-01", "anthropic-beta": "some-beta-1"}
        answer = client.post("/v1/messages", json=messages, headers=passed)
        assert answer.status_code == 200, answer.text
    heard = gateway.provider.requests[-1]
    assert heard.headers["x-api-key"] == CREDENTIAL
    assert heard.headers["anthropic-beta"] == "some-beta-1"
    assert "evil" not in repr(heard)


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_redirect_of_the_provider_is_not_followed(gateway: Gateway, is_stream: bool) -> None:
    with FakeProvider() as elsewhere:
        gateway.provider.script([{"redirect": f"{elsewhere.base_url}/chat/completions"}])
        answer = gateway.chat(stream=is_stream)
        assert answer.status_code == 502
        assert "location" not in answer.headers
        assert elsewhere.requests == []
    gateway.settled()


@pytest.mark.parametrize("text", LINE_BREAKS)
def test_names_with_line_breaks_are_refused_wherever_they_come_from(gateway: Gateway, text: str) -> None:
    sent = len(gateway.provider.requests)
    chat: dict[str, object] = {"model": "demo", "messages": HELLO}
    attempts = [
        *(
            (CHAT, {**chat, **more})
            for more in (
                {"user": text},
                {"metadata": {"tags": [text]}},
                {"model": text},
                {"model": f"any/{text}"},
            )
        ),
        ("/key/generate", {"key_alias": text}),
        ("/key/generate", {"tags": [text]}),
        ("/team/new", {"team_id": text}),
        ("/user/new", {"user_id": text}),
    ]
    with gateway.http() as client:
        for path, fields in attempts:
            answer = client.post(path, json=fields)
            assert answer.status_code in (400, 404), (path, answer.text)
            assert "x-evil" not in answer.headers
    assert len(gateway.provider.requests) == sent


@pytest.mark.parametrize("text", ["a\r\nX-Evil: 1", "a\nb", "a\0b"])
def test_a_deployment_whose_id_cannot_stand_in_a_header_is_refused_at_start(
    provider_url: str, text: str
) -> None:
    row = Row("demo", "openai/demo", text, api_key=CREDENTIAL, api_base=provider_url)
    with pytest.raises(InvalidValueError, match="id"):
        ConfiguredRoutes([row], {}, {})


@pytest.fixture
def provider_url(gateway: Gateway) -> str:
    return gateway.provider.base_url


@pytest.mark.parametrize(
    "content_type",
    [
        b"text/event-stream\rX-Evil: 1",
        b"text/event-stream; a=\x01",
        b"text/event-stream; a=\xff",
        b"text/event-stream; " + b"a" * 3_000,
    ],
    ids=["CR", "a control character", "not ASCII", "long"],
)
@pytest.mark.parametrize("is_stream", [False, True])
def test_a_providers_content_type_cannot_break_the_answers_head(
    gateway: Gateway, raw: RawProvider, content_type: bytes, is_stream: bool
) -> None:
    body = CHUNK + USAGE
    if not is_stream:
        content_type = content_type.replace(b"text/event-stream", b"application/json")
        body = json.dumps(
            {
                "choices": [{"index": 0, "message": {"content": "hi"}}],
                "usage": {"prompt_tokens": 3, "completion_tokens": 1},
            }
        ).encode()
    head = SSE_HEAD.replace(b"text/event-stream", content_type).replace(
        b"\r\n\r\n", b"\r\nx-evil: 1\r\nset-cookie: a=b\r\n\r\n"
    )
    raw.says(head, body)
    answer = gateway.chat(model="raw", stream=is_stream)
    assert answer.status_code in (200, 502)
    assert "x-evil" not in answer.headers
    assert "set-cookie" not in answer.headers
    assert answer.headers["content-type"].isascii()
    assert len(answer.headers["content-type"]) < 200
