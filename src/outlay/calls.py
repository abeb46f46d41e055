"""One call, from top to bottom: estimate → reserve → send → meter → settle.

The provider's answer is read by a task of its own: a caller that gives up, or drops a stream half read, does
not lose the charge. What may have been billed and cannot be known stays held, and is presumed when the hold
expires.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

from outlay.answers import Answer, completion_key
from outlay.domain.money import usd_float
from outlay.errors import (
    CostUnboundedError,
    InvalidValueError,
    OutlayError,
    PriceUnknownError,
    ProviderConnectionError,
    ProviderError,
)
from outlay.guards import SPARE_SECONDS, Guard, Held, Want
from outlay.pricing.book import PriceBook
from outlay.pricing.caps import CAP_FIELDS, Endpoint
from outlay.pricing.estimate import Estimate, Method, estimate
from outlay.pricing.metering import ABSURD, Metered, meter
from outlay.pricing.price import Price
from outlay.pricing.tokens import count_messages, count_text
from outlay.pricing.usage import Usage
from outlay.providers.call import StreamedCall, ask
from outlay.providers.failure import void_reason
from outlay.providers.target import Target
from outlay.providers.transport import Timeouts, Transport
from outlay.providers.wires import Reading
from outlay.spend import served_price

log = logging.getLogger("outlay")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything about a call that does not change while it runs.

    `own_price` are a caller's own price fields; `at` is when the call was made, in microseconds.
    """

    endpoint: Endpoint
    target: Target
    body: Mapping[str, Any]
    guards: Sequence[Guard]
    book: PriceBook
    timeouts: Timeouts
    at: int
    own_price: Mapping[str, Any] = field(default_factory=dict)
    method: Method = "auto"
    default_max_tokens: int = 16_384
    tags: tuple[str, ...] = ()
    count: Callable[[int], Awaitable[None]] | None = None
    """Told the cost in nanos, if it is known: for a process whose budget is off."""


class Call:
    """One call to one provider."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._held = Held(plan.guards)
        self._started = time.monotonic()
        self._price: Price | None = None
        self._estimate: Estimate | None = None
        self.is_sent = False
        self.cost: float | None = None

    async def answer(self) -> Answer:
        """Make the call and give the whole answer, settled.

        Raises:
            BudgetExceededError: a budget refuses; nothing was sent.
            PriceUnknownError, CostUnboundedError: a budget applies and there is no bound; nothing was sent.
            ProviderError: the provider failed; voided if it cannot have billed, else still held.
        """
        plan, body = self._plan, await self._admit()
        try:
            self.is_sent = True
            reply = await ask(TRANSPORT, plan.target, plan.endpoint, body, timeouts=plan.timeouts)
        except (ProviderError, InvalidValueError) as error:
            await self._fail(error)
            raise
        await self._end(reply.reading, _key(reply.document))
        answer = Answer(reply.document)
        answer._hidden_params.update(
            response_cost=self.cost, custom_llm_provider=self._plan.target.provider.id
        )
        return answer

    async def chunks(self, opened: Callable[[], None], deliver: Callable[[Answer], None]) -> None:
        """Make the call as a stream: `opened` when the provider answers, then each chunk to `deliver`.

        Settled when this returns.

        Raises:
            As `answer`; a stream that broke off is still held.
        """
        plan, body = self._plan, await self._admit()
        call: StreamedCall | None = None
        undelivered: Exception | None = None
        try:
            self.is_sent = True
            call = StreamedCall(TRANSPORT, plan.target, plan.endpoint, body, timeouts=plan.timeouts)
            async with call:
                opened()
                async for piece in call:
                    for document in piece.documents:
                        if not (document.get("error") or _is_uncalled_for(document, plan.body)):
                            undelivered = undelivered or _failure(deliver, document)
        except (ProviderError, InvalidValueError) as error:
            if call is None or not _is_told(call.reading):
                await self._fail(error)
                raise
            log.debug("all of a stream came before it broke: %s", error)
        await self._end(call.reading, None)
        if undelivered is not None:
            raise undelivered

    async def _admit(self) -> dict[str, Any]:
        """Bound the call and hold the bound on every guard; gives the body that obeys it."""
        plan = self._plan
        body = dict(plan.body)
        try:
            self._price = plan.book.price(
                plan.target.provider.id, plan.target.model, at=plan.at, own=plan.own_price or None
            )
        except PriceUnknownError:
            if self._held:
                raise
        if self._held and self._price is not None:
            await self._reserve(body, self._price)
        return body

    async def _reserve(self, body: dict[str, Any], price: Price) -> None:
        plan, target, reason = self._plan, self._plan.target, None
        try:
            self._estimate = estimate(
                body,
                endpoint=plan.endpoint,
                provider=target.provider.id,
                model=target.model,
                price=price,
                book=plan.book,
                method=plan.method,
                default_max_tokens=plan.default_max_tokens,
            )
        except CostUnboundedError as error:
            reason = error.message
        bound = self._estimate
        await self._held.reserve(
            Want(
                bound,
                plan.timeouts.total_seconds + SPARE_SECONDS,
                target.provider.id,
                target.model,
                price.version,
                plan.tags,
                reason,
            )
        )
        if bound is not None and bound.output_multiplier:
            _put_cap(body, self._held.output_cap, plan.endpoint, target.cap_field(plan.endpoint))

    async def _fail(self, error: OutlayError) -> None:
        """Void what cannot have been billed; leave held what may have been."""
        reason = void_reason(error) if isinstance(error, ProviderError) else "never_sent"
        if reason is not None:
            await self._held.void(reason)

    async def _end(self, reading: Reading, key: str | None) -> None:
        """Settle what came whole or with a usage; what broke off without one stays held."""
        name = self._plan.target.provider.name
        failure: ProviderError | None = reading.failure(name)
        if reading.claim is None and failure is None and not reading.is_complete:
            failure = ProviderConnectionError(
                f"{name} ended its stream without an end mark or a usage. It may have been billed.",
                is_unknown_outcome=True,
            )
        if failure is None or reading.claim is not None:
            await self._settle(reading, key)
        if failure is not None:
            raise failure

    async def _settle(self, reading: Reading, key: str | None) -> None:
        metered = self._meter(reading)
        usage = metered.usage
        nanos = None if usage is None else self._cost(usage, reading)
        self.cost = None if nanos is None else usd_float(nanos)
        bound, cap = self._estimate, self._held.output_cap or 0
        held_tokens = bound.token_bound(cap) if bound is not None else 0
        await self._held.settle(
            nanos,
            held_tokens if usage is None else usage.total_tokens,
            {} if usage is None else usage.counts,
            metered.source,
            price_version=None if self._price is None else self._price.version,
            completion_key=key,
            detail=self._detail(reading, metered),
        )
        if self._plan.count is not None and nanos:
            await self._plan.count(nanos)

    def _cost(self, usage: Usage, reading: Reading) -> int | None:
        plan, tier = self._plan, reading.service_tier
        provider, model, own = plan.target.provider.id, plan.target.model, plan.own_price or None
        try:
            return served_price(plan.book, provider, model, tier, at=plan.at, own=own).cost(usage)
        except PriceUnknownError:
            return None

    def _meter(self, reading: Reading) -> Metered:
        plan, provider = self._plan, self._plan.target.provider
        is_reasoning = plan.book.is_reasoning(provider.id, plan.target.model)
        window = plan.book.context_window(provider.id, plan.target.model)
        answers = max(1, self._estimate.output_multiplier if self._estimate else 1)
        metered = meter(
            reading.claim,
            counted=self._count(reading),
            has_text=reading.has_text,
            can_count=provider.quirks.is_reasoning_streamed or not is_reasoning,
            most_tokens=ABSURD if window is None else 2 * window * answers,
        )
        return self._raised(metered)

    def _raised(self, metered: Metered) -> Metered:
        """Where a claim is not believed, charge the input's bound: our count has no tools and no pictures."""
        bound, usage = self._estimate, metered.usage
        is_counted = metered.source == "counted" or (bound is not None and bound.quality == "exact")
        if bound is None or usage is None or not (metered.is_disputed and is_counted):
            return metered
        input_tokens = max(usage.input_tokens, bound.input_tokens)
        return replace(metered, usage=Usage({**usage.counts, "input_tokens": input_tokens}))

    def _count(self, reading: Reading) -> Usage | None:
        """Our own count. From a vocabulary that is not the model's it serves only where there is no claim."""
        provider, model = self._plan.target.provider.id, self._plan.target.model
        try:
            counts = [count_text(text, provider, model) for text in reading.texts]
            if reading.claim is not None and any(count.quality != "exact" for count in counts):
                return None
            used = count_input(self._plan.body, provider, model)
            return Usage.of(used, sum(count.tokens for count in counts))
        except (InvalidValueError, TypeError):  # a provider took, or sent, what we cannot count
            return None

    def _detail(self, reading: Reading, metered: Metered) -> dict[str, object]:
        detail: dict[str, object] = {
            "response_id": _storable(reading.response_id),
            "latency_seconds": round(time.monotonic() - self._started, 3),
        }
        if self._estimate is not None:
            detail["estimate"] = self._estimate.quality
        if metered.is_disputed:
            detail["disputed"] = True
            detail["claimed"] = _storable(metered.claimed)
        return detail


def count_input(body: Mapping[str, Any], provider: str, model: str) -> int:
    """Count what a request puts in, as near as texts alone allow. Not a bound."""
    if isinstance(body.get("messages"), list):
        return count_messages(body["messages"], provider, model).tokens
    given = body.get("input", body.get("prompt"))
    total = 0
    for each in given if isinstance(given, list) else [given]:
        if isinstance(each, str):
            total += count_text(each, provider, model).tokens
        else:
            total += len(each) if isinstance(each, list) else int(isinstance(each, int))
    return total


def _put_cap(body: dict[str, Any], cap: int | None, endpoint: Endpoint, field: str) -> None:
    """Write the granted cap where the provider looks for it.

    A `max_tokens` of the caller's stays: every provider obeys it or refuses it. Other fields some ignore.
    """
    declared = [name for name in CAP_FIELDS[endpoint] if body.get(name) is not None]
    if declared != ["max_tokens"]:
        for name in declared:
            del body[name]
        body[field] = cap


def _key(document: Mapping[str, Any]) -> str | None:
    """Name an answer if it can be named: it is charged in any case."""
    try:
        return completion_key(document)
    except InvalidValueError:
        return None


def _failure(deliver: Callable[[Answer], None], document: Mapping[str, Any]) -> Exception | None:
    """Deliver a chunk; give what went wrong, for the call is read and charged to its end all the same."""
    try:
        deliver(Answer(document))
    except Exception as error:  # noqa: BLE001 # raised when the call is settled
        return error
    return None


def _storable(said: object) -> Any:
    """What a provider said as JSON that any database keeps: long numbers as text, no lone surrogates."""
    written = json.dumps(said, default=str, ensure_ascii=False).encode("utf-8", "replace")
    return json.loads(written, parse_int=lambda digits: int(digits) if len(digits) < 19 else digits)


def _is_uncalled_for(chunk: Mapping[str, Any], body: Mapping[str, Any]) -> bool:
    """Whether a chunk is there only because Outlay asked for the usage."""
    options = body.get("stream_options")
    asked = isinstance(options, Mapping) and options.get("include_usage")
    return not asked and chunk.get("choices") == [] and chunk.get("usage") is not None


def _is_told(reading: Reading) -> bool:
    """Whether a stream that broke had said all: every answer to its end, and what it used."""
    return reading.is_complete and reading.claim is not None and reading.error is None


async def answered(call: Call) -> Answer:
    """Make a call in a task of its own, and wait for its answer."""
    return await shielded(call, keep(asyncio.ensure_future(call.answer())))


_RUNNING: set[asyncio.Task[Any]] = set()


def keep(task: asyncio.Task[Any]) -> asyncio.Task[Any]:
    """Hold on to a task until it is done: a loop itself only holds it weakly."""
    _RUNNING.add(task)
    task.add_done_callback(_let_go)
    return task


def _let_go(task: asyncio.Task[Any]) -> None:
    _RUNNING.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        log.debug("a call failed: %s", error)  # whoever still waits for it raises it


async def shielded(call: Call, task: asyncio.Task[T]) -> T:
    """Wait for a call's task: to cancel the wait cancels the call only before it is sent."""
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if not call.is_sent:
            task.cancel()
        raise


TRANSPORT: Final = Transport()
