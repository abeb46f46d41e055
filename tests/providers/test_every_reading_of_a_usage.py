"""Whatever a usage is called, wherever its parts stand, in what order it comes: never below the truth.

A truth is made up (what was sent, cached, written to the cache, reasoned, answered), then told as some
provider might: in OpenAI's or Anthropic's names, with each part inside its whole or beside it, with a total
that is true, at once or in pieces that rise, fall and repeat.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outlay.charging import Charge, charge_of
from outlay.domain.commands import Amount, PutBudget
from outlay.domain.outcomes import Posted, Reserved
from outlay.pricing.book import PriceBook
from outlay.pricing.bound.estimate import estimate
from outlay.pricing.usage import Usage
from outlay.providers.catalogue import PROVIDERS, Endpoint
from outlay.providers.sse import Event
from outlay.providers.target import Target
from outlay.providers.wires import Reading, wire_of
from outlay.stores.memory import MemoryStore
from outlay.testing.clock import FakeClock
from outlay.testing.conformance.base import ANN, a_budget, a_reserve, a_settle
from outlay.testing.inline import InlineLedger

pytestmark = pytest.mark.once("rules that are the same on every Python")

BOOK = PriceBook()
AT = 1_790_000_000_000_000
PRICES: list[dict[str, Any]] = [
    {"input_cost_per_token": 3e-6, "output_cost_per_token": 1.5e-5},
    {
        "input_cost_per_token": 3e-6,
        "output_cost_per_token": 1.5e-5,
        "cache_read_input_token_cost": 3e-7,
        "cache_creation_input_token_cost": 3.75e-6,
    },
]
COUNT = st.integers(0, 40_000) | st.sampled_from([0, 1, 2, 64, 128])
BODY: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 50_000}


class Truth(NamedTuple):
    """What was really used; the three kinds of input exclude each other."""

    plain: int
    read: int
    written: int
    answered: int
    reasoned: int

    def usage(self) -> Usage:
        sent = self.plain + self.read + self.written
        parts = {"cache_read_tokens": self.read, "cache_write_tokens": self.written}
        return Usage.of(sent, self.answered + self.reasoned, output_reasoning_tokens=self.reasoned, **parts)


class Telling(NamedTuple):
    """How a provider tells it."""

    is_anthropic_format: bool
    is_openai_named: bool
    has_other_names: bool
    is_cache_named_beside: bool
    is_read_inside: bool
    is_written_inside: bool
    is_reasoning_inside: bool
    has_total: bool


TRUTHS = st.builds(Truth, st.integers(1, 40_000), COUNT, COUNT, st.integers(1, 20_000), COUNT)
TELLINGS = st.builds(Telling, *[st.booleans()] * 8)


@st.composite
def truths_as_told(draw: st.DrawFn) -> tuple[Truth, Telling]:
    """A truth and a telling of it; where its names alone would lie, it has a total, or obeys them."""
    truth, how = draw(TRUTHS), draw(TELLINGS)
    if is_tellable(truth, how):
        return truth, how
    how = how._replace(has_total=True)
    if is_tellable(truth, how):
        return truth, how
    return truth, how._replace(is_read_inside=False, is_written_inside=False)


def told(truth: Truth, how: Telling) -> dict[str, Any]:
    """The usage object."""
    sent = truth.plain + truth.read * how.is_read_inside + truth.written * how.is_written_inside
    made = truth.answered + truth.reasoned * how.is_reasoning_inside
    openai = {"prompt_tokens": sent, "completion_tokens": made}
    anthropic = {"input_tokens": sent, "output_tokens": made}
    usage: dict[str, Any] = dict(openai if how.is_openai_named else anthropic)
    if how.has_other_names:
        usage |= dict.fromkeys(anthropic if how.is_openai_named else openai, 0)
    prefix = "prompt" if how.is_openai_named else "input"
    if how.is_cache_named_beside:
        usage |= {"cache_read_input_tokens": truth.read, "cache_creation_input_tokens": truth.written}
    else:
        details = {"cached_tokens": truth.read, "cache_write_tokens": truth.written}
        usage[f"{prefix}_tokens_details"] = details
    outer = "completion" if how.is_openai_named else "output"
    usage[f"{outer}_tokens_details"] = {"reasoning_tokens": truth.reasoned}
    if how.has_total:
        usage["total_tokens"] = truth.usage().total_tokens
    return usage


def is_tellable(truth: Truth, how: Telling) -> bool:
    """Whether the telling says the truth: by its total, or by what its names mean."""
    parts = ((truth.read, how.is_read_inside), (truth.written, how.is_written_inside))
    if how.is_anthropic_format and how.is_cache_named_beside and not how.is_openai_named:
        return not any(count and is_inside for count, is_inside in parts) and (
            how.has_total or how.is_reasoning_inside or truth.reasoned > truth.answered
        )
    if how.has_total:
        return True
    means_inside = not how.is_cache_named_beside
    is_cache_meant = all(not count or is_inside is means_inside for count, is_inside in parts)
    return is_cache_meant and (how.is_reasoning_inside or not truth.reasoned)


def whole(usage: Mapping[str, Any], how: Telling, target: Target) -> Reading:
    if how.is_anthropic_format:
        body = {"content": [{"type": "text", "text": "x"}], "stop_reason": "end_turn", "usage": usage}
    else:
        choice = {"index": 0, "finish_reason": "stop", "message": {"content": "x"}}
        body = {"choices": [choice], "usage": usage}
    return wire_of(target, endpoint(how)).read(body, endpoint(how), target.provider.quirks)


def streamed(pieces: Sequence[Mapping[str, Any]], how: Telling, target: Target) -> Reading:
    reader = wire_of(target, endpoint(how)).reader(endpoint(how), target.provider.quirks)
    for number, usage in enumerate(pieces):
        if how.is_anthropic_format:
            start = {"type": "message_start", "message": {"usage": usage}}
            delta = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage}
            document: dict[str, Any] = delta if number else start
        else:
            choice = {"index": 0, "delta": {"content": "x"}, "finish_reason": "stop" if number else None}
            document = {"choices": [choice], "usage": usage}
        reader.read(Event(json.dumps(document).encode()))
    end = b'{"type": "message_stop"}' if how.is_anthropic_format else b"[DONE]"
    reader.read(Event(end))
    return reader.reading


def endpoint(how: Telling) -> Endpoint:
    return "messages" if how.is_anthropic_format else "chat"


def target_of(how: Telling) -> Target:
    provider = PROVIDERS["anthropic" if how.is_anthropic_format else "openai_compatible"]
    return Target(provider, "m", "http://127.0.0.1:9", "")


def charged(reading: Reading, how: Telling, own: dict[str, Any]) -> Charge:
    price = BOOK.price("openai_compatible", "m", at=AT, own=own)
    bound = estimate(
        BODY, endpoint=endpoint(how), provider="openai_compatible", model="m", price=price, book=BOOK
    )
    return charge_of(
        reading,
        body=BODY,
        target=target_of(how),
        bound=bound,
        cap=50_000,
        book=BOOK,
        at=AT,
        own=own,
        price=price,
    )


@given(case=truths_as_told(), own=st.sampled_from(PRICES))
@settings(derandomize=True, deadline=None, max_examples=150)
def test_a_whole_answer_is_never_charged_below_the_truth(case: tuple[Truth, Telling], own: Any) -> None:
    truth, how = case
    charge = charged(whole(told(truth, how), how, target_of(how)), how, own)
    least = BOOK.price("openai_compatible", "m", at=AT, own=own).cost(truth.usage())
    assert charge.nanos is not None
    assert charge.nanos >= least
    assert charge.tokens >= truth.usage().total_tokens


@given(
    case=truths_as_told(),
    own=st.sampled_from(PRICES),
    shares=st.lists(st.sampled_from([0.0, 0.1, 0.5, 1.0, None]), min_size=1, max_size=5),
    at=st.integers(1, 5),
)
@settings(derandomize=True, deadline=None, max_examples=150)
def test_a_streams_usage_may_rise_fall_and_repeat_and_the_largest_counts(
    case: tuple[Truth, Telling], own: Any, shares: list[float | None], at: int
) -> None:
    truth, how = case
    usage = told(truth, how)
    pieces = [scaled(usage, share) for share in shares]
    pieces.insert(min(at, len(pieces)), usage)
    charge = charged(streamed(pieces, how, target_of(how)), how, own)
    once = charged(whole(usage, how, target_of(how)), how, own)
    assert charge.nanos is not None
    assert once.nanos is not None
    assert charge.nanos >= BOOK.price("openai_compatible", "m", at=AT, own=own).cost(truth.usage())
    assert charge.nanos >= once.nanos


def scaled(usage: Mapping[str, Any], share: float | None) -> dict[str, Any]:
    """A part of a usage, or nulls."""
    return {
        name: scaled(value, share)
        if isinstance(value, Mapping)
        else None
        if share is None
        else int(value * share)
        for name, value in usage.items()
    }


@given(case=truths_as_told(), cap=st.integers(1, 40_000))
@settings(derandomize=True, deadline=None, max_examples=60)
def test_what_is_charged_above_the_hold_is_an_overrun(case: tuple[Truth, Telling], cap: int) -> None:
    truth, how = case
    charge = charged(whole(told(truth, how), how, target_of(how)), how, PRICES[1])
    assert charge.nanos is not None
    ledger = InlineLedger(MemoryStore(FakeClock()))
    ledger.execute(PutBudget(a_budget(10**12)))
    assert isinstance(ledger.execute(a_reserve("r", Amount(cap * 15_000), accounts=(ANN,))), Reserved)
    posted = ledger.execute(a_settle("r", charge.nanos, charge.tokens, usage=dict(charge.usage)))
    assert isinstance(posted, Posted)
    (post,) = posted.entry.posts
    assert (post.settled, post.overrun) == (charge.nanos, max(0, charge.nanos - cap * 15_000))
