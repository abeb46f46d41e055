"""Rows: the ways in which gateways let more be spent than the limit says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

OUTPUT_TOKENS = 24
LEAVING_CHUNK_SECONDS = 0.005
KILLED_CALL_SECONDS = 0.1
_TEXT = "Name three rivers in Europe, please."
_CJK = "預算是為了不超支而定的界限，每次呼叫都要先預留最壞情況的費用。"
CJK_CHARACTERS = 40_000
_LEAST_FITTING = 15


@dataclass(frozen=True, slots=True)
class Row:
    """Calls that all go to one limit, which is `fits` times what one of them costs.

    `more` goes into each body, `behaviour` to the fake provider, `deployment` into the upstream's parameters
    (a row with some has a model of its own). `is_warm`: one call is made before all others. `kill_at`: the
    gateway is killed when the provider has served so many.
    """

    name: str
    title: str
    more: Mapping[str, Any] = field(default_factory=dict)
    text: str = _TEXT
    behaviour: Mapping[str, Any] = field(default_factory=dict)
    deployment: Mapping[str, Any] = field(default_factory=dict)
    calls: int = 500
    at_once: int = 500
    fits: int = 100
    is_warm: bool = True
    is_leaving: bool = False
    has_four_budgets: bool = False
    kill_at: int | None = None

    def body(self, model: str) -> dict[str, Any]:
        """One request."""
        return {"model": model, "messages": [{"role": "user", "content": self.text}], **self.more}

    def smaller(self) -> Row:
        """The same with a fifth of the calls, for a quick look."""
        return replace(
            self,
            calls=self.calls // 5,
            at_once=min(self.at_once, self.calls // 5),
            fits=max(self.fits // 5, _LEAST_FITTING),
            kill_at=None if self.kill_at is None else self.kill_at // 5,
        )


_CAPPED = {"max_tokens": OUTPUT_TOKENS}
_STREAM = {**_CAPPED, "stream": True}
_ROOMY = {"max_tokens": 4 * OUTPUT_TOKENS}
_INPUT_TOKENS = 15
_STANDARD_NANOS = _INPUT_TOKENS * 2_500 + OUTPUT_TOKENS * 10_000
"""What a call costs at the prices of the benchmarks' deployment (see gateways)."""
_PRIORITY_PRICES = {"input_cost_per_token_priority": 0.000005, "output_cost_per_token_priority": 0.00002}
_SONAR_NANOS = 12_000_000 + (_INPUT_TOKENS + OUTPUT_TOKENS) * 1_000
"""Perplexity's dearest fee for one search, and its tokens: https://docs.perplexity.ai/getting-started/pricing"""
_OPENROUTER = {"input_cost_per_token": None, "output_cost_per_token": None}


def _falling_usage() -> str:
    """A stream whose usage is whole at first, and then nearly nothing."""
    start: dict[str, Any] = {"id": "chatcmpl-falling", "object": "chat.completion.chunk", "model": "gpt-4o"}
    whole = {"prompt_tokens": _INPUT_TOKENS, "completion_tokens": OUTPUT_TOKENS}
    delta = {"index": 0, "delta": {"content": " word" * OUTPUT_TOKENS}, "finish_reason": None}
    chunks = [
        {**start, "choices": [delta], "usage": whole},
        {**start, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {**start, "choices": [], "usage": {"prompt_tokens": 0, "completion_tokens": 1}},
    ]
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"


ROWS = (
    Row("declared", "max_tokens declared", _CAPPED),
    Row("undeclared", "no max_tokens"),
    Row(
        "long-input",
        f"{CJK_CHARACTERS:,} CJK characters each",
        _CAPPED,
        text=(_CJK * (CJK_CHARACTERS // len(_CJK) + 1))[:CJK_CHARACTERS],
        fits=40,
    ),
    Row(
        "hang-up",
        "streams whose client hangs up after one chunk",
        _STREAM,
        behaviour={"chunk_delay_seconds": LEAVING_CHUNK_SECONDS, "bills_after_hangup": True},
        is_leaving=True,
    ),
    Row("no-usage", "streams of a provider that sends no usage", _STREAM, behaviour={"usage": "missing"}),
    Row("n-8", "n = 8", {**_CAPPED, "n": 8}, fits=60),
    Row("first-use", "first ever use of the key", _CAPPED, is_warm=False),
    Row("four-budgets", "four budgets at once", _CAPPED, has_four_budgets=True),
    Row(
        "killed",
        "kill -9 of the gateway under load, restart, continue",
        _CAPPED,
        behaviour={"delay_seconds": KILLED_CALL_SECONDS, "bills_after_hangup": True},
        at_once=16,
        fits=200,
        kill_at=60,
    ),
    Row(
        "tier",
        "a dearer tier that was asked, and is not echoed",
        {**_CAPPED, "service_tier": "priority"},
        behaviour={"bills_nanos": 2 * _STANDARD_NANOS},
        deployment=_PRIORITY_PRICES,
    ),
    Row(
        "reseller",
        "a search model through a reseller: its fee is in no usage",
        _CAPPED,
        behaviour={"bills_nanos": _SONAR_NANOS},
        deployment={"model": "openrouter/perplexity/sonar", **_OPENROUTER},
    ),
    Row(
        "stated-cost",
        "a provider that states a cost above the price of its usage",
        _ROOMY,
        behaviour={
            "bills_nanos": 2 * _STANDARD_NANOS,
            "usage_more": json.dumps({"cost": 2 * _STANDARD_NANOS / 1e9}),
        },
        deployment={"model": "openrouter/openai/gpt-4o"},
    ),
    Row(
        "no-answer",
        "a 200 that holds no answer yet, and is billed",
        _CAPPED,
        behaviour={"body": json.dumps({"request_id": "deferred"})},
    ),
    Row(
        "falling-usage",
        "a stream whose last usage is below the one before",
        _STREAM,
        behaviour={"body": _falling_usage()},
    ),
)
