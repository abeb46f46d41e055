"""The provider's own bill is the charge, where its record says that it states one; ours stays beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gateways import CREDENTIAL, HELLO, Gateway, run_gateway, usd_budget

from outlay.domain.commands import PutBudget
from outlay.domain.money import NANOS_PER_USD
from outlay.gateway.config import PROJECT
from outlay.ledger.store import EntryFilter
from outlay.providers.catalogue import PROVIDERS
from outlay.routing.configured import Row
from outlay.testing.provider import FakeProvider

pytestmark = pytest.mark.once("rules that are the same on every Python")

OURS = 15 * 2_500 + 5 * 10_000
"""Nanos: our own price of the usage that the provider tells."""
PRICE = {"input_cost_per_token": 2.5e-6, "output_cost_per_token": 1e-5}
USAGE = {"prompt_tokens": 15, "completion_tokens": 5, "total_tokens": 20}
BILLING = ("openrouter", "xai", "perplexity")


def stated(provider: str, usd: Any) -> dict[str, Any]:
    """What a provider's usage states for an amount of USD; what is no number stays as it is."""
    is_number = isinstance(usd, int | float) and not isinstance(usd, bool)
    if provider == "xai":
        return {"cost_in_usd_ticks": round(usd * 10**10) if is_number and abs(usd) < 1e9 else usd}
    return {"cost": {"total_cost": usd} if provider == "perplexity" else usd}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """`NAME` is a model at a provider's own host; `NAME-elsewhere` the same at another one."""
    with FakeProvider() as provider, pytest.MonkeyPatch.context() as patch:
        elsewhere = provider.base_url.replace("127.0.0.1", "localhost")
        rows = []
        for name in (*BILLING, "openai"):
            own = replace(PROVIDERS[name], base_url=provider.base_url)
            patch.setitem(PROVIDERS, name, own)
            for id, base in ((name, provider.base_url), (f"{name}-elsewhere", elsewhere)):
                rows.append(Row(id, f"{name}/m", id, api_key=CREDENTIAL, api_base=base, own_price=PRICE))
        free = {"input_cost_per_token": 0, "output_cost_per_token": 0}
        unknown = "nobody-prices-this"
        for id, price in (("openrouter-free", free), ("openrouter-unknown", {})):
            rows.append(
                Row(id, f"openrouter/{unknown}", id, api_key="k", api_base=provider.base_url, own_price=price)
            )
        folder = tmp_path_factory.mktemp("bills")
        with run_gateway(provider, Path(folder), rows_of=rows) as running:
            yield running


def ask(gateway: Gateway, model: str, more: dict[str, Any], *, stream: bool = False, **script: Any) -> Any:
    """One chat whose usage has `more`; gives its entry."""
    usage = {**USAGE, **more}
    choice = {"index": 0, "finish_reason": "stop", "message": {"content": "Rhine, Elbe"}}
    whole = {"id": "c", "model": "m", "choices": [choice], "usage": usage}
    body = json.dumps(whole)
    if stream:
        delta = {"index": 0, "finish_reason": "stop", "delta": {"content": "Rhine, Elbe"}}
        chunks = [{"id": "c", "choices": [delta]}, {"id": "c", "choices": [], "usage": usage}]
        body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
    gateway.provider.script([{"body": body, **script}])
    request = {"model": model, "messages": HELLO, "max_tokens": 100, "stream": stream}
    assert gateway.post("/v1/chat/completions", request).status_code == 200
    gateway.settled()
    return gateway.journal.entries()[-1]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("provider", BILLING)
def test_what_a_provider_bills_is_the_charge_upwards_and_down_to_half(
    gateway: Gateway, provider: str, stream: bool
) -> None:
    for nanos in (OURS * 3, OURS, OURS // 2 + 1, 61_200_000):
        entry = ask(gateway, provider, stated(provider, nanos / NANOS_PER_USD), stream=stream)
        assert (entry.usd_nanos, entry.priced_nanos, entry.source) == (nanos, OURS, "provider")
        assert "disputed" not in entry.detail


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("provider", BILLING)
@pytest.mark.parametrize("usd", [0, -1, OURS / 2.1 / NANOS_PER_USD, "much", True, float("inf"), [1], 1e300])
def test_a_bill_that_is_too_low_or_no_amount_is_disputed(
    gateway: Gateway, provider: str, stream: bool, usd: Any
) -> None:
    entry = ask(gateway, provider, stated(provider, usd), stream=stream)
    assert (entry.usd_nanos, entry.priced_nanos, entry.source) == (OURS, OURS, "provider")
    assert entry.detail["disputed"] is True


@pytest.mark.parametrize("provider", [*BILLING, "openai"])
def test_at_another_host_what_is_stated_can_only_raise_the_charge(gateway: Gateway, provider: str) -> None:
    name = f"{provider}-elsewhere"
    for nanos in (OURS * 3, OURS - 1, 1):
        entry = ask(gateway, name, stated(provider, nanos / NANOS_PER_USD))
        assert (entry.usd_nanos, entry.priced_nanos) == (max(nanos, OURS), OURS)
        assert "disputed" not in entry.detail


@pytest.mark.parametrize("stream", [False, True])
def test_the_cost_header_of_a_proxy_can_only_raise_the_charge(gateway: Gateway, stream: bool) -> None:
    for said, nanos in (("0.0612", 61_200_000), ("1e-9", OURS), ("much", OURS), ("-5", OURS), ("nan", OURS)):
        headers = json.dumps({"x-litellm-response-cost": said})
        entry = ask(gateway, "openai", {}, stream=stream, headers=headers)
        assert entry.usd_nanos == nanos


@pytest.mark.parametrize(
    ("more", "nanos"),
    [
        ({"cost": 0.001, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.02}}, 21_000_000),
        ({"cost": 0.001, "cost_details": {"upstream_inference_cost": 0.02}}, 21_000_000),
        ({"cost": 0.02, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.02}}, 20_000_000),
        ({"cost": 0.02, "cost_details": {"upstream_inference_cost": 0.02}}, 20_000_000),
        ({"cost": 0.02, "cost_details": {"upstream_inference_cost": None}}, 20_000_000),
        ({"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.02}}, 20_000_000),
        ({"cost": 0.0000875004}, 87_500),
        ({"cost": 0.0000875005}, 87_501),
    ],
)
def test_openrouters_bill_is_read_exactly_with_what_a_key_of_ones_own_is_billed(
    gateway: Gateway, more: dict[str, Any], nanos: int
) -> None:
    assert ask(gateway, "openrouter", more).usd_nanos == nanos


def test_where_our_price_is_nothing_or_unknown_the_bill_is_the_charge(gateway: Gateway) -> None:
    free = ask(gateway, "openrouter-free", {"cost": 0.01})
    assert (free.usd_nanos, free.priced_nanos) == (10_000_000, 0)
    unknown = ask(gateway, "openrouter-unknown", {"cost": 0.01})
    assert (unknown.usd_nanos, unknown.priced_nanos) == (10_000_000, None)


def test_a_bill_without_tokens_is_the_charge(gateway: Gateway) -> None:
    nothing = dict.fromkeys(USAGE)
    assert ask(gateway, "openrouter", {**nothing, "cost": 0.01}).usd_nanos == 10_000_000


def test_a_bill_above_the_hold_is_an_overrun(gateway: Gateway) -> None:
    gateway.execute(PutBudget(usd_budget("global", 1_000.0)))
    entry = ask(gateway, "openrouter", {"cost": 5.0})
    assert entry.usd_nanos == 5 * NANOS_PER_USD
    (post,) = [post for post in entry.posts if post.unit == "usd"]
    assert post.overrun == post.settled - post.held > 0


def test_the_entry_and_a_metric_show_our_price_beside_the_charge(gateway: Gateway) -> None:
    before = _drift(gateway)
    ask(gateway, "xai", stated("xai", 0.0612))
    row = gateway.get("/v1/entries", limit=1).json()["entries"][0]
    assert (row["usd"], row["priced_usd"], row["source"]) == ("0.0612", "0.0000875", "provider")
    assert _drift(gateway) - before == pytest.approx(0.0612 - 0.0000875)
    with gateway.services.ledger.read() as reader:
        (drift,) = reader.drift(EntryFilter(PROJECT, model="xai"))
    assert drift.charged_nanos > drift.priced_nanos > 0


def _drift(gateway: Gateway) -> float:
    lines = [line for line in gateway.get("/metrics").text.splitlines() if "outlay_price_drift_usd{" in line]
    return sum(float(line.split()[1]) for line in lines if 'model="xai"' in line)
