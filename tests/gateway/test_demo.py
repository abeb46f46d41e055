"""The demo with a real provider's key: a model to call, and a call that the budget must refuse."""

from __future__ import annotations

from time import time_ns

import pytest

from outlay.errors import InvalidValueError
from outlay.gateway.demo import BUDGET_USD, real_scene
from outlay.pricing.book import PriceBook
from outlay.pricing.bound.estimate import estimate
from outlay.providers.catalogue import PROVIDERS

MESSAGES = [{"role": "user", "content": "Name three rivers in Europe."}]


@pytest.mark.parametrize("provider", sorted(each.id for each in PROVIDERS.values() if each.requires_key))
def test_each_provider_has_a_call_that_fits_the_budget_and_one_that_does_not(provider: str) -> None:
    book = PriceBook()
    scene = real_scene({PROVIDERS[provider].key_env[0]: "sk-test"}, book)
    group = scene.routes.find(scene.model)
    assert group is not None
    target = group.deployments[0].target
    assert target.provider.id == provider
    price = book.price(provider, target.model, at=time_ns() // 1000)

    def bound_usd(**parameters: int) -> float:
        body = {"model": scene.model, "messages": MESSAGES, **parameters}
        found = estimate(body, endpoint="chat", provider=provider, model=target.model, price=price, book=book)
        return (found.input_nanos + found.nanos_per_output_token * found.wanted_output_tokens) / 10**9

    assert bound_usd(max_tokens=100) < BUDGET_USD / 3
    assert bound_usd(**scene.refused) > BUDGET_USD


@pytest.mark.parametrize("environ", [{}, {"OLLAMA_HOST": "127.0.0.1:11434"}])
def test_without_a_provider_that_has_prices_there_is_no_real_scene(environ: dict[str, str]) -> None:
    with pytest.raises(InvalidValueError, match="a live demo needs a provider's key"):
        real_scene(environ, PriceBook())
