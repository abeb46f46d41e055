"""Overspend through the gateway: 100 calls at once, and the provider's own bill stays below the limit.

`python -m bench.overspend` does the same with more calls, and in more ways.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import openai
import pytest
from gateways import CREDENTIAL, HELLO, MASTER_KEY, Gateway, ServeProcess, litellm_config, run_gateway
from journal import Journal

from outlay.routing.configured import Row
from outlay.testing.provider import FakeProvider

pytest_plugins = ["gateway_fixtures"]
pytestmark = pytest.mark.once("sums under load, which the database keeps")

CALLS = 100
FITTING = 12
CALL_NANOS = 15 * 2_500 + 24 * 10_000
LIMIT_NANOS = FITTING * CALL_NANOS + CALL_NANOS // 2
LIMIT_USD = LIMIT_NANOS / 1e9
MODEL = "gpt-4o"
PRICE = {"input_cost_per_token": 2.5e-6, "output_cost_per_token": 1e-5}
RETRIES = 30
"""A caller told to wait comes again, until the budget is spent or its call is served."""
REFUSED = (402, 429)
KILLED_AT, WORKERS = 5, 3


@pytest.fixture
def limited(provider: FakeProvider, tmp_path: Path) -> Iterator[Gateway]:
    """A gateway that serves a model whose vocabulary is known, so that holds are tight."""
    row = Row(
        MODEL, f"openai/{MODEL}", "one", api_key=CREDENTIAL, api_base=provider.base_url, own_price=PRICE
    )
    with run_gateway(provider, tmp_path, rows_of=[row], is_user_budget_on_team_keys=True) as gateway:
        yield gateway


def call_at_once(gateway: Gateway, key: str, *, is_leaving: bool = False, **body: Any) -> int:
    """Make all calls at once by OpenAI's SDK; gives how many were served."""

    async def one(client: openai.AsyncOpenAI) -> bool:
        try:
            answer = await client.chat.completions.create(model=MODEL, messages=HELLO, **body)
        except openai.APIStatusError as error:
            if error.status_code in REFUSED:
                return False
            raise
        if body.get("stream"):
            async for _ in answer:
                if is_leaving:
                    break
            await answer.close()
        return True

    async def main() -> int:
        async with openai.AsyncOpenAI(base_url=gateway.base_url, api_key=key, max_retries=RETRIES) as client:
            return sum(await asyncio.gather(*(one(client) for _ in range(CALLS))))

    return asyncio.run(main())


def check(gateway: Gateway, served: int) -> None:
    """The promise, on the provider's bill and in the books; and that it is not kept by refusing everybody."""
    gateway.provider.wait_until(lambda it: it.bill.serving == 0)
    gateway.settled()
    bill = gateway.provider.bill
    assert bill.total_nanos <= LIMIT_NANOS
    assert len(bill.calls) == served
    assert served >= 0.8 * FITTING
    assert {each["reserved"] for each in gateway.get("/v1/balances").json()["balances"]} == {"0"}
    assert gateway.journal.charged_nanos() >= bill.total_nanos
    check_audit(gateway.path)


def check_audit(path: Path) -> None:
    """`outlay audit` finds nothing."""
    command = [sys.executable, "-m", "outlay", "audit", "--database", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("body", [{"max_tokens": 24}, {}], ids=["declared", "undeclared"])
def test_calls_at_once_stay_below_the_limit(limited: Gateway, body: dict[str, Any]) -> None:
    served = call_at_once(limited, limited.new_key(max_budget=LIMIT_USD), **body)
    check(limited, served)
    assert limited.journal.charged_nanos() == limited.provider.bill.total_nanos


def test_streams_whose_clients_hang_up_are_charged_to_their_end(limited: Gateway) -> None:
    limited.provider.set({"chunk_delay_seconds": 0.002, "bills_after_hangup": True})
    key = limited.new_key(max_budget=LIMIT_USD)
    served = call_at_once(limited, key, stream=True, max_tokens=24, is_leaving=True)
    check(limited, served)
    assert limited.journal.charged_nanos() == limited.provider.bill.total_nanos


def test_a_provider_without_usage_is_counted_and_stays_below_the_limit(limited: Gateway) -> None:
    limited.provider.set({"usage": "missing"})
    served = call_at_once(limited, limited.new_key(max_budget=LIMIT_USD), stream=True, max_tokens=24)
    check(limited, served)
    assert {entry.source for entry in limited.journal.entries("settle")} == {"counted"}


def test_the_tightest_of_four_budgets_holds(limited: Gateway) -> None:
    limited.post("/user/new", {"user_id": "u", "max_budget": LIMIT_USD, "auto_create_key": False})
    limited.post("/team/new", {"team_id": "t", "max_budget": 3 * LIMIT_USD})
    limited.post("/customer/new", {"user_id": "c", "max_budget": 4 * LIMIT_USD})
    key = limited.new_key(max_budget=2 * LIMIT_USD, user_id="u", team_id="t")
    served = call_at_once(limited, key, max_tokens=24, user="c")
    check(limited, served)
    settled = {each["settled"] for each in limited.get("/v1/balances").json()["balances"]}
    assert len(settled) == 1, "all four budgets have the same spend"


def test_a_gateway_killed_under_load_goes_on_below_the_limit(provider: FakeProvider, tmp_path: Path) -> None:
    provider.set({"delay_seconds": 0.05, "bills_after_hangup": True})
    config = litellm_config(provider)
    config["model_list"][0]["litellm_params"]["model"] = f"openai/{MODEL}"
    serve = ServeProcess(tmp_path, config)
    serve.start()
    try:
        key, restarted = _new_key(serve), threading.Event()
        callers = [threading.Thread(target=_work, args=(serve, key, restarted)) for _ in range(WORKERS)]
        for caller in callers:
            caller.start()
        provider.wait_until(lambda it: len(it.bill.calls) >= KILLED_AT)
        serve.kill()
        served_before = len(provider.bill.calls)
        serve.start()
        restarted.set()
        for caller in callers:
            caller.join()
        provider.wait_until(lambda it: it.bill.serving == 0)
        serve.signal(signal.SIGTERM)
        assert serve.wait() == 0, serve.log.read_text()
    finally:
        serve.kill()
    bill, journal = provider.bill, Journal(serve.path)
    assert served_before < len(bill.calls), "it went on after it was killed"
    assert bill.total_nanos <= LIMIT_NANOS
    assert len(bill.calls) >= 0.8 * FITTING
    assert 0 < journal.pending() <= WORKERS, "what was under way is held until it expires"
    check_audit(serve.path)
    journal.expire()
    assert bill.total_nanos <= journal.charged_nanos() <= LIMIT_NANOS
    check_audit(serve.path)
    journal.close()


def _new_key(serve: ServeProcess) -> str:
    headers = {"authorization": f"Bearer {MASTER_KEY}"}
    answer = httpx.post(
        f"{serve.root_url}/key/generate", json={"max_budget": LIMIT_USD}, headers=headers, timeout=30
    )
    key: str = answer.json()["key"]
    return key


def _work(serve: ServeProcess, key: str, restarted: threading.Event) -> None:
    """Call until refused. A broken connection is tried again once the gateway is back."""
    with openai.OpenAI(base_url=f"{serve.root_url}/v1", api_key=key, max_retries=0) as client:
        for _ in range(CALLS):
            try:
                client.chat.completions.create(model="demo", messages=HELLO, max_tokens=24)
            except openai.APIConnectionError:
                assert restarted.wait(30)
            except openai.APIStatusError as error:
                if error.status_code in REFUSED:
                    return
                raise
