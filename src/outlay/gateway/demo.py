"""Demo: what `outlay demo` serves, and the commands that show it off.

It serves a fake provider, a process of its own that ends with whoever started it, unless a real one is asked
for: a key that happens to be in the environment is no reason to spend its owner's money.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from time import time_ns
from typing import Any, Final

from outlay.domain.money import NANOS_PER_USD
from outlay.errors import InvalidValueError, OutlayError
from outlay.pricing.book import PriceBook
from outlay.routing.configured import ConfiguredRoutes, Row
from outlay.routing.deployments import Routes
from outlay.routing.environment import EnvironmentRoutes

BUDGET_USD: Final = 0.05
FAKE_MODEL: Final = "demo"
FAKE_PRICE: Final[Mapping[str, float]] = {"input_cost_per_token": 2.5e-6, "output_cost_per_token": 1e-5}
"""What the fake provider bills."""

_CHEAP: Final[Mapping[str, str]] = {
    "openai": "gpt-4o-mini",
    "anthropic": "claude-haiku-4-5",
    "groq": "groq/llama-3.1-8b-instant",
    "mistral": "mistral-small-latest",
    "deepseek": "deepseek-chat",
    "openrouter": "openrouter/openai/gpt-4o-mini",
    "together": "together/meta-llama/Llama-3.3-70B-Instruct-Turbo",
    "fireworks": "fireworks/accounts/fireworks/models/gpt-oss-20b",
    "xai": "grok-4-1-fast-non-reasoning",  # whose cap covers all, whatever it is called
    "cerebras": "cerebras/gpt-oss-120b",
    "perplexity": "perplexity/sonar",  # each call has a fee for its search
}
_CHUNK_SECONDS: Final = 0.05  # so that a stream is seen to be one
_WAIT_SECONDS: Final = 10.0
_TOO_MANY_TOKENS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Scene:
    """What is served, who answers, the model to call, parameters that the budget refuses, and whether calls
    cost money.
    """

    routes: Routes
    tells: str
    model: str
    refused: Mapping[str, int]
    is_live: bool = False


def real_scene(environ: Mapping[str, str], book: PriceBook) -> Scene:
    """The providers whose keys are in the environment.

    Raises:
        InvalidValueError: there is none with a model of a known price, or a key or an address in the
            environment cannot be used.
    """
    routes = EnvironmentRoutes(environ)
    for provider in routes.providers:
        model = _CHEAP.get(provider)
        group = None if model is None else routes.find(model)
        if group is None:
            continue
        target = group.deployments[0].target
        refused = _too_dear(book, provider, target.model)
        if refused is not None:
            name = target.provider.name
            tells = f"{name} at {target.base_url} answers, and bills the owner of the key in your environment"
            return Scene(routes, tells, group.name, refused, is_live=True)
    raise InvalidValueError(
        "a live demo needs a provider's key in the environment, such as OPENAI_API_KEY: set one, or leave "
        "out --live (LIVE=1)"
    )


@contextmanager
def fake_scene() -> Iterator[Scene]:
    """Start a fake provider on a free port; it ends with this, or with this process, however that ends.

    Raises:
        InvalidValueError: it does not start.
    """
    command = [sys.executable, "-m", "outlay.testing.provider", "--port", "0", "--until-stdin-ends"]
    command += ["--behaviour", json.dumps({"chunk_delay_seconds": _CHUNK_SECONDS})]
    # A session of its own: Ctrl-C is for the gateway, whose last calls may need the provider.
    with subprocess.Popen(  # noqa: S603 # our own program
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        try:
            yield _fake(_base_url(process))
        finally:
            _end(process)


def commands(scene: Scene, address: str, key: str) -> list[tuple[str, str]]:
    """What to paste: each with what it shows."""
    question = [{"role": "user", "content": "Name three rivers in Europe."}]
    asked = {"model": scene.model, "messages": question, "max_tokens": 100}
    return [
        (
            "A chat. Its headers tell what it cost (x-outlay-cost) and what is left (x-outlay-remaining).",
            _curl("-i -w '\\n'", address, key, asked),
        ),
        ("The same as a stream.", _curl("-N", address, key, {**asked, "stream": True})),
        (
            "One that could cost more than the key has left: refused with 402, and never sent.",
            _curl("-i -w '\\n'", address, key, {**asked, **scene.refused}),
        ),
    ]


def _curl(flag: str, address: str, key: str, body: Mapping[str, Any]) -> str:
    return (
        f"curl {flag} {address}/v1/chat/completions \\\n"
        f"  -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \\\n"
        f"  -d '{json.dumps(body)}'"
    )


def _fake(base_url: str) -> Scene:
    row = Row(
        FAKE_MODEL,
        FAKE_MODEL,
        "demo",
        provider="openai_compatible",
        api_key="sk-fake",
        api_base=base_url,
        own_price=FAKE_PRICE,
    )
    routes = ConfiguredRoutes([row], {}, {})
    tells = "a fake provider answers, and nothing costs money"
    return Scene(routes, tells, FAKE_MODEL, {"max_tokens": _TOO_MANY_TOKENS})


def _too_dear(book: PriceBook, provider: str, model: str) -> dict[str, int] | None:
    """Parameters whose bound is above the budget: as much output as the model gives, as often as it takes."""
    try:
        nanos = book.price(provider, model, at=time_ns() // 1000).bound_rates(has_media=False).output
    except OutlayError:
        return None
    tokens = min(book.max_output_tokens(provider, model) or _TOO_MANY_TOKENS, _TOO_MANY_TOKENS)
    if not nanos:
        return None
    answers = math.ceil(Fraction(round(2 * BUDGET_USD * NANOS_PER_USD)) / (tokens * nanos))
    return {"max_tokens": tokens} if answers == 1 else {"max_tokens": tokens, "n": answers}


def _base_url(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None  # noqa: S101 # it is a pipe
    line = process.stdout.readline()
    try:
        return str(json.loads(line)["base_url"])
    except ValueError as error:
        raise InvalidValueError("the fake provider did not start: its own message says why") from error


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None  # noqa: S101 # it is a pipe
    process.stdin.close()
    try:
        process.wait(_WAIT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
