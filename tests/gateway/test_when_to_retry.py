"""Retry-After says when a request may be admitted; where no waiting helps, there is none, and SDKs stop."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import openai
import pytest
from gateways import DEMO_RATE, HELLO, Gateway, a_budget, run_gateway

from outlay.domain.commands import PutBudget
from outlay.testing.clock import FakeClock
from outlay.testing.provider import FakeProvider

pytestmark = pytest.mark.once("rules that are the same on every Python")

NOON = "2026-01-05T12:00:00+00:00"


@pytest.fixture(scope="module")
def clock() -> FakeClock:
    return FakeClock(datetime.fromisoformat(NOON))


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, clock: FakeClock) -> Iterator[Gateway]:
    with (
        FakeProvider(default_rate=DEMO_RATE) as provider,
        run_gateway(provider, tmp_path_factory.mktemp("retry"), clock=clock) as running,
    ):
        yield running


NEVER: list[tuple[str, Any, int, str]] = [
    ("no slot", "concurrency", 0, "total"),
    ("no request a minute", "requests", 0, "1m"),
    ("no request at all", "requests", 0, "total"),
    ("one request in all", "requests", 1, "total"),
    ("tokens in all", "tokens", 400, "total"),
]


def spend(gateway: Gateway, key: str, *, most: int = 30) -> Any:
    """Call until the key is refused; give the refusal."""
    for _ in range(most):
        answer = gateway.chat(key)
        if answer.status_code != 200:
            return answer
        gateway.settled()
    raise AssertionError("it was never refused")


@pytest.mark.parametrize("is_own", [True, False])
@pytest.mark.parametrize(("unit", "limit", "window"), [each[1:] for each in NEVER], ids=[e[0] for e in NEVER])
def test_where_no_waiting_helps_nobody_is_told_to_wait(
    gateway: Gateway, unit: Any, limit: int, window: str, *, is_own: bool
) -> None:
    name = f"{unit}-{limit}-{window}-{is_own}"
    account = f"user:{name}" if is_own else f"organization:{name}"
    gateway.execute(PutBudget(a_budget(account, unit, limit, window)))
    key = gateway.new_key(**{"user_id" if is_own else "organization_id": name})
    refused = spend(gateway, key)
    assert refused.status_code == 429, refused.text
    assert "retry-after" not in refused.headers
    assert refused.headers["x-should-retry"] == "false"
    assert not [each for each in refused.headers if each.startswith("x-ratelimit-reset")]
    assert ("x-ratelimit-limit-tokens" in refused.headers) == (is_own and unit == "tokens")


@pytest.mark.parametrize("window", ["1m", "daily", "monthly", "30d"])
def test_who_waits_as_long_as_told_is_admitted(gateway: Gateway, clock: FakeClock, window: str) -> None:
    key = gateway.new_key(user_id=window)
    gateway.execute(PutBudget(a_budget(f"user:{window}", "requests", 1, window)))
    seconds = int(spend(gateway, key).headers["retry-after"])
    clock.advance(seconds - 1)
    assert gateway.chat(key).status_code == 429
    clock.advance(1)
    assert gateway.chat(key).status_code == 200


def test_the_sdk_does_not_repeat_what_cannot_be_admitted(gateway: Gateway) -> None:
    client = gateway.openai(gateway.new_key(max_parallel_requests=0), max_retries=5)
    with pytest.raises(openai.RateLimitError) as refused:
        client.chat.completions.create(model="demo", messages=HELLO, max_tokens=5)
    assert refused.value.response.request.headers["x-stainless-retry-count"] == "0"
