"""What OpenAI's and Anthropic's SDKs raise, and how often they ask: as docs/reference/sdk-errors.md says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import anthropic
import httpx2 as httpx
import openai
import pytest
from gateways import CREDENTIAL, HELLO, Gateway, run_gateway
from raw_provider import RawProvider, raw_provider

from outlay.routing.configured import Row
from outlay.testing.provider import FakeProvider

OVERLOADED = b'{"error": {"message": "Overloaded", "type": "server_error"}}'


class Served(NamedTuple):
    """A gateway, whose `busy` and `busy-claude` are at a provider that is, and a key for each refusal."""

    gateway: Gateway
    busy: RawProvider
    keys: dict[int, str]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with FakeProvider() as provider, raw_provider() as busy:
        busy.says_whole(OVERLOADED, b"503 Busy")
        demo = {"input_cost_per_token": 2.5e-6, "output_cost_per_token": 1e-5}
        claude, root = "anthropic/claude-sonnet-4-6", busy.base_url.removesuffix("/v1")
        rows = [
            Row(
                "demo",
                "openai/demo",
                "demo-1",
                api_key=CREDENTIAL,
                api_base=provider.base_url,
                own_price=demo,
            ),
            Row("claude", claude, "claude-1", api_key=CREDENTIAL, api_base=provider.root_url),
            Row("busy", "openai/busy", "busy-1", api_key=CREDENTIAL, api_base=busy.base_url, own_price=demo),
            Row("busy-claude", claude, "busy-2", api_key=CREDENTIAL, api_base=root),
        ]
        with run_gateway(provider, tmp_path_factory.mktemp("sdk"), rows_of=rows) as gateway:
            keys = {
                402: gateway.new_key(max_budget=0.000001),
                429: gateway.new_key(rpm_limit=1),
                403: gateway.new_key(models=["other"]),
                401: "sk-wrong",
                503: gateway.new_key(),
            }
            for model, path in (("demo", "chat/completions"), ("claude", "messages")):
                body = {"model": model, "messages": HELLO, "max_tokens": 5}
                gateway.post(f"/v1/{path}", body, keys[429])  # the only one of this minute
            yield Served(gateway, busy, keys)


class Asked(NamedTuple):
    """A client's call that failed: its error, and how many requests it sent."""

    error: Any
    requests: int


def ask_openai(served: Served, status: int, *, is_stream: bool, **more: Any) -> Asked:
    model = "busy" if status == 503 else "demo"

    def call(http: httpx.Client) -> None:
        client = openai.OpenAI(
            base_url=served.gateway.base_url, api_key=served.keys[status], http_client=http, **more
        )
        client.chat.completions.create(model=model, messages=HELLO, max_tokens=50, stream=is_stream)

    return asked(call, openai.APIStatusError)


def ask_anthropic(served: Served, status: int, *, is_stream: bool, **more: Any) -> Asked:
    model = "busy-claude" if status == 503 else "claude"

    def call(http: httpx.Client) -> None:
        client = anthropic.Anthropic(
            base_url=served.gateway.root_url, api_key=served.keys[status], http_client=http, **more
        )
        client.messages.create(model=model, messages=HELLO, max_tokens=50, stream=is_stream)

    return asked(call, anthropic.APIStatusError)


def asked(call: Callable[[httpx.Client], None], kind: type[Exception]) -> Asked:
    sent: list[httpx.Request] = []
    with (
        httpx.Client(event_hooks={"request": [sent.append]}) as http,
        pytest.raises(kind) as caught,
    ):
        call(http)
    return Asked(caught.value, len(sent))


ASK = {"openai": ask_openai, "anthropic": ask_anthropic}
ROWS = [
    ("openai", 402, "APIStatusError", 1),
    ("openai", 403, "PermissionDeniedError", 1),
    ("openai", 401, "AuthenticationError", 1),
    ("openai", 503, "InternalServerError", 3),
    ("anthropic", 402, "PaymentRequiredError", 1),
    ("anthropic", 403, "PermissionDeniedError", 1),
    ("anthropic", 401, "AuthenticationError", 1),
    ("anthropic", 503, "ServiceUnavailableError", 3),
]


@pytest.fixture
def without_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The SDKs wait between two requests: note how long, and go on at once."""
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)
    return waited


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("sdk", "status", "name", "requests"), ROWS, ids=str)
def test_the_sdk_raises_what_the_page_says_after_as_many_requests(
    served: Served,
    without_waiting: list[float],
    sdk: str,
    status: int,
    name: str,
    requests: int,
    *,
    is_stream: bool,
) -> None:
    error, sent = ASK[sdk](served, status, is_stream=is_stream)
    assert (type(error).__name__, error.status_code, sent) == (name, status, requests)
    assert len(without_waiting) == requests - 1


@pytest.mark.parametrize("sdk", ASK)
def test_a_429_is_waited_for_as_long_as_retry_after_says(
    served: Served, without_waiting: list[float], sdk: str
) -> None:
    error, sent = ASK[sdk](served, 429, is_stream=False)
    assert (type(error).__name__, sent) == ("RateLimitError", 3)
    assert 0 < float(error.response.headers["retry-after"]) <= 60
    assert len(without_waiting) == 2
    assert all(0 < seconds <= 61 for seconds in without_waiting)
    error, sent = ASK[sdk](served, 429, is_stream=False, max_retries=0)
    assert (type(error).__name__, sent) == ("RateLimitError", 1)


def test_the_figures_are_in_the_body_of_openais_error(served: Served) -> None:
    error, _ = ask_openai(served, 402, is_stream=False)
    assert error.code == "budget_exceeded"
    assert error.response.headers["x-should-retry"] == "false"
    facts = error.body
    assert (facts["limit"], facts["settled"], facts["can_wait"]) == ("0.000001", "0", False)
    assert float(facts["needed"]) > 0.000001


def test_the_figures_are_under_error_in_the_body_of_anthropics(served: Served) -> None:
    error, _ = ask_anthropic(served, 402, is_stream=False)
    facts = error.body["error"]
    assert (facts["type"], facts["reason"], facts["code"]) == (
        "billing_error",
        "budget_exceeded",
        "budget_exceeded",
    )
    assert (facts["limit"], facts["can_wait"]) == ("0.000001", False)


def test_the_page_names_the_versions_that_are_tested() -> None:
    from pages import REFERENCE

    page = (REFERENCE / "sdk-errors.md").read_text(encoding="utf-8")
    for sdk in (openai, anthropic):
        (row,) = (line for line in page.splitlines() if line.startswith(f"| `{sdk.__name__}` "))
        assert sdk.__version__ in row
