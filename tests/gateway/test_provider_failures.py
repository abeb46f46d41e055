"""A provider that cannot be reached or understood: the answer names the deployment and its host, no more."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from gateways import CREDENTIAL, HELLO, Gateway, run_gateway
from raw_provider import RawProvider, raw_provider

from outlay.routing.configured import Row
from outlay.testing.provider import FakeProvider

pytestmark = pytest.mark.once("rules that are the same on every Python")

TENANT = "tenant-7f3a"


class Broken(NamedTuple):
    """A gateway before a provider that fails as it is told, and before one where nobody listens."""

    gateway: Gateway
    raw: RawProvider
    hosts: dict[str, str]


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broken]:
    with FakeProvider() as provider, raw_provider() as raw, socket.create_server(("127.0.0.1", 0)) as nobody:
        host, nowhere = raw.base_url.split("/")[2], f"127.0.0.1:{nobody.getsockname()[1]}"
        nobody.close()
        base, root = f"http://{host}/{TENANT}/v1", f"http://{host}/{TENANT}"
        answers = replace(raw.row(), api_base=base)
        gone = replace(raw.row(), group="gone", id="gone-1", api_base=f"http://{nowhere}/{TENANT}/v1")
        claude = Row("claude", "anthropic/claude-sonnet-4-6", "claude-1", api_key=CREDENTIAL, api_base=root)
        folder: Path = tmp_path_factory.mktemp("broken")
        with run_gateway(provider, folder, rows_of=[answers, gone, claude]) as gateway:
            yield Broken(gateway, raw, {"raw": host, "claude": host, "gone": nowhere})


FAILURES = {
    "hangs up": (b"", 502, "provider_error"),
    "no HTTP": (b"HTTP/9 no\r\n\r\n", 502, "provider_error"),
    "a redirect": (b"HTTP/1.1 302 Go\r\nlocation: /login\r\n\r\n", 502, "provider_error"),
    "our key refused": (b"HTTP/1.1 401 No\r\ncontent-length: 2\r\n\r\nno", 502, "provider_auth_error"),
    "a page of a proxy": (b"HTTP/1.1 502 Bad\r\ncontent-length: 6\r\n\r\n<html>", 502, "provider_error"),
    "overloaded": (b"HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nbusy", 503, "provider_error"),
}


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("model", ["raw", "claude"])
@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_names_the_deployment_and_its_host(
    broken: Broken, failure: str, model: str, *, is_stream: bool
) -> None:
    said, status, type = FAILURES[failure]
    broken.raw.says(said)
    check(broken, model, status, type, is_stream=is_stream)


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
def test_a_host_where_nobody_listens_is_named(broken: Broken, *, is_stream: bool) -> None:
    check(broken, "gone", 502, "provider_error", is_stream=is_stream)


def check(broken: Broken, model: str, status: int, type: str, *, is_stream: bool) -> None:
    path = "/v1/messages" if model == "claude" else "/v1/chat/completions"
    body = {"model": model, "messages": HELLO, "max_tokens": 50, "stream": is_stream}
    answer = broken.gateway.post(path, body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, type)
    assert (error["deployment"], error["host"]) == (f"{model}-1", broken.hosts[model])
    assert error["message"].endswith(f" Deployment {model}-1 at {broken.hosts[model]}.")
    assert TENANT not in answer.text
    assert CREDENTIAL not in answer.text


def test_what_a_provider_says_of_itself_is_passed_on_unchanged(broken: Broken) -> None:
    said = b'{"error": {"message": "the model sleeps", "type": "server_error"}}'
    broken.raw.says_whole(said, b"502 Bad")
    answer = broken.gateway.chat(model="raw", max_tokens=50)
    assert answer.status_code == 502
    assert answer.json() == {"error": {"message": "the model sleeps", "type": "server_error"}}
