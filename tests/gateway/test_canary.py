"""Secrets and texts with a mark in them: where they are not wanted, no mark may be found."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from gateways import DEMO_RATE, MASTER_KEY, ServeProcess, litellm_config, run_gateway
from journal import Journal, eventually
from raw_provider import SSE_HEAD, RawProvider, raw_provider

from outlay.gateway.logs import JsonFormatter
from outlay.testing.provider import FakeProvider

CREDENTIAL = "AIzaCanary/0f1e2d3c4b5a69788796a5b4c3d2e1f0"
"""It looks like no key that a pattern knows."""
PROMPT = "zanzibarprompt"
ANSWER = "quetzalanswer"
USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
ECHO = f"your key is {CREDENTIAL}, you asked {PROMPT}"
CHAT = "/v1/chat/completions"


class Watched:
    """`outlay serve` before two providers, and all that it ever said."""

    def __init__(self, serve: ServeProcess, provider: FakeProvider, raw: RawProvider) -> None:
        self.serve, self.provider, self.raw = serve, provider, raw
        self.said: list[str] = []
        self.client = httpx.Client(base_url=serve.root_url, timeout=30)
        answer = self.ask("POST", "/key/generate", {"key_alias": "canary"}, MASTER_KEY, is_noted=False)
        self.key: str = answer.json()["key"]

    def ask(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        key: str | None = None,
        *,
        is_noted: bool = True,
    ) -> httpx.Response:
        """One request; what comes back is noted, headers and all."""
        headers = {"authorization": f"Bearer {key or self.key}"}
        answer = self.client.request(method, path, json=body, headers=headers)
        if is_noted:
            self.said.append(f"{method} {path} {answer.status_code} {answer.headers.raw!r} {answer.text}")
        return answer

    def chat(self, **more: Any) -> httpx.Response:
        """One chat whose prompt has a mark."""
        body = {"model": "raw", "max_tokens": 5, "messages": [{"role": "user", "content": PROMPT}], **more}
        return self.ask("POST", CHAT, body)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("canary")
    with FakeProvider(default_rate=DEMO_RATE) as provider, raw_provider() as raw:
        config = litellm_config(provider)
        price = {"input_cost_per_token": 2.5e-6, "output_cost_per_token": 1e-5}
        params = {"model": "openai/raw", "api_base": raw.base_url, "api_key": CREDENTIAL, **price}
        config["model_list"].append({"model_name": "raw", "litellm_params": params})
        claude = {"model": "anthropic/claude-sonnet-4-6", "api_base": raw.base_url.removesuffix("/v1")}
        config["model_list"].append(
            {"model_name": "claude", "litellm_params": {**claude, "api_key": CREDENTIAL}}
        )
        serve = ServeProcess(folder, config)
        serve.start()
        try:
            running = Watched(serve, provider, raw)
            yield running
            running.client.close()
        finally:
            serve.kill()


def whole(text: str) -> bytes:
    """A chat's answer."""
    message = {"role": "assistant", "content": text}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    return json.dumps({"id": CREDENTIAL, "model": "raw", "choices": choices, "usage": USAGE}).encode()


def event(document: dict[str, Any]) -> bytes:
    """One event."""
    return b"data: " + json.dumps(document).encode() + b"\n\n"


def chunk(text: str) -> bytes:
    """A chunk of a chat's stream."""
    return event(
        {"id": CREDENTIAL, "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": "stop"}]}
    )


def drive(watched: Watched) -> None:
    """All ways in which a provider may repeat what it was told, and all ways of failing."""
    raw, refusal = watched.raw, json.dumps({"error": {"message": ECHO, "type": CREDENTIAL}}).encode()
    for is_stream in (False, True):
        for status in (b"400 Bad", b"401 No", b"403 No", b"404 No", b"429 Slow", b"500 Oh", b"503 Oh"):
            raw.says_whole(
                refusal,
                status,
                b"retry-after: " + CREDENTIAL.encode(),
                b"x-request-id: a" + CREDENTIAL.encode(),
            )
            assert watched.chat(stream=is_stream).status_code >= 400
        raw.says_whole(ECHO.encode(), b"400 Bad")
        watched.chat(stream=is_stream)
        raw.says_whole(b"", b"307 Go", b"location: http://127.0.0.1:9/?key=" + CREDENTIAL.encode())
        watched.chat(stream=is_stream)
        raw.says(b"HTTP/9 " + CREDENTIAL.encode() + b"\r\n\r\n")
        watched.chat(stream=is_stream)
        raw.says()
        watched.chat(stream=is_stream)
        raw.says_whole(whole(f"{ANSWER} {ECHO}"), b"200 OK", b"content-type: x/" + CREDENTIAL.encode())
        assert watched.chat(stream=is_stream).status_code == 200
    escaped = chunk(CREDENTIAL).replace(b"/", b"\\/")
    endings = [
        event({"choices": [], "usage": USAGE}) + b"data: [DONE]\n\n",
        event(json.loads(refusal)),
        b"",
        b"data: {",
    ]
    for ending in endings:
        pieces = (
            chunk(f"{ANSWER} {ECHO}"),
            escaped,
            b"event: " + CREDENTIAL.encode() + b"\ndata: {}\n\n",
            ending,
        )
        data = b"".join(pieces)
        raw.says(SSE_HEAD, *(data[start : start + 7] for start in range(0, len(data), 7)))
        assert watched.chat(stream=True).status_code == 200
    messages = {"model": "claude", "max_tokens": 5, "messages": [{"role": "user", "content": PROMPT}]}
    raw.says_whole(
        json.dumps({"type": "error", "error": {"type": "x", "message": ECHO}}).encode(), b"400 Bad"
    )
    watched.ask("POST", "/v1/messages", messages)
    raw.says_whole(json.dumps({"input_tokens": 3, "echo": ECHO}).encode())
    watched.ask("POST", "/v1/messages/count_tokens", messages)
    raw.says_whole(
        json.dumps({"type": "error", "error": {"type": "x", "message": ECHO}}).encode(), b"400 Bad"
    )
    poor = watched.ask("POST", "/key/generate", {"max_budget": 0.000001}, MASTER_KEY, is_noted=False).json()[
        "key"
    ]
    asked = len(raw.requests)
    assert watched.ask("POST", "/v1/messages", messages, poor).status_code == 402
    assert len(raw.requests) == asked + 1  # it was asked to count, for nothing
    watched.ask("POST", CHAT, {"model": "raw", "api_key": "x", "messages": []})
    watched.ask("POST", CHAT, {"model": CHAT})
    watched.ask("POST", CHAT, key="sk-wrong")
    watched.ask("POST", "/key/generate", {"key_alias": 5}, MASTER_KEY)


def look(watched: Watched) -> list[str]:
    """All that can be read back, by the operator too."""
    start = len(watched.said)
    for path in (
        "/openapi.json",
        "/docs",
        "/metrics",
        "/spend/logs",
        "/v1/entries",
        "/v1/balances",
        "/v1/models",
    ):
        watched.ask("GET", path, key=MASTER_KEY)
        watched.ask("GET", path)
    for path in ("/key/list", "/key/info", "/user/list", "/team/list", "/health/readiness", "/model/info"):
        watched.ask("GET", path, key=MASTER_KEY)
    return watched.said[start:]


def test_no_secret_is_in_what_the_gateway_says_and_no_text_in_what_it_keeps(watched: Watched) -> None:
    drive(watched)
    answered = "\n".join(watched.said)
    assert ANSWER in answered
    assert answered.count("[redacted]") > 20
    shown = "\n".join(look(watched))
    assert "canary" in shown
    journal = Journal(watched.serve.path)
    assert len(journal.entries()) > 10
    kept = "\n".join(repr(entry) for entry in journal.entries())
    journal.close()
    eventually(lambda: watched.serve.log.read_text().count('"event":"request"') >= 30)
    log = watched.serve.log.read_text()
    files = b"".join(path.read_bytes() for path in watched.serve.path.parent.glob("outlay.db*"))
    secrets = [CREDENTIAL, CREDENTIAL.replace("/", "\\/"), CREDENTIAL[:20], MASTER_KEY, watched.key]
    for place, text in {"answers": answered, "views": shown, "log": log, "journal": kept}.items():
        for secret in secrets:
            assert secret not in text, f"{secret} in {place}: {_around(text, secret)}"
    for secret in secrets:
        assert secret.encode() not in files
    for mark in (PROMPT, ANSWER, "your key is"):
        for place, text in {"views": shown, "log": log, "journal": kept}.items():
            assert mark not in text, f"{mark} in {place}: {_around(text, mark)}"
        assert mark.encode() not in files


def _around(text: str, mark: str) -> str:
    at = text.index(mark)
    return text[max(at - 300, 0) : at + 200]


def test_a_fault_is_logged_by_where_it_was_and_what_it_was_but_not_by_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("outlay")

    async def fail(_: object) -> None:
        try:
            raise KeyError(f"{PROMPT} {CREDENTIAL}")
        except KeyError as error:
            raise RuntimeError(f"{PROMPT} {CREDENTIAL}") from error

    monkeypatch.setattr("outlay.gateway.pipeline.estimate", fail)
    with FakeProvider() as provider, run_gateway(provider, tmp_path) as gateway:
        logger.addHandler(handler)
        try:
            answer = gateway.chat()
        finally:
            logger.removeHandler(handler)
        assert answer.status_code == 500
        assert answer.json()["error"]["type"] == "internal_error"
        assert provider.requests == []
    (line,) = [json.loads(each) for each in written.getvalue().splitlines()]
    assert "pipeline.py" in line["traceback"]
    assert "KeyError" in line["traceback"]
    assert "RuntimeError" in line["traceback"]
    for text in (answer.text, written.getvalue()):
        assert PROMPT not in text
        assert CREDENTIAL not in text
