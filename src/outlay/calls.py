"""One call, from top to bottom: estimate → reserve → send → meter → settle.

The provider's answer is read by a task of its own: a caller that gives up, or drops a stream half read, does
not lose the charge. What may have been billed and cannot be known stays held, and is presumed when the hold
expires.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from outlay.answers import Answer, completion_key
from outlay.charging import (
    Charge,
    charge_of,
    is_no_answer,
    is_told,
    is_uncalled_for,
    put_cap,
    put_standard_tier,
    storable,
)
from outlay.domain.money import usd_float
from outlay.errors import (
    CostUnboundedError,
    InvalidValueError,
    OutlayError,
    PriceUnknownError,
    ProviderError,
)
from outlay.guards import SPARE_SECONDS, Guard, Held, Want
from outlay.pricing.book import PriceBook
from outlay.pricing.bound.caps import Endpoint
from outlay.pricing.bound.estimate import Estimate, Method, estimate
from outlay.pricing.bound.hosted import DEFAULT_MAX_TOOL_CALLS, put_tool_calls
from outlay.pricing.dimensions import asked_of
from outlay.pricing.price import Price
from outlay.pricing.request_fields import check_fields, unproven_reason
from outlay.providers.call import StreamedCall, ask
from outlay.providers.failure import void_reason
from outlay.providers.target import Target
from outlay.providers.transport import Timeouts, Transport
from outlay.providers.wires import Reading

log = logging.getLogger("outlay")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything about a call that does not change while it runs.

    `own_price` are a caller's own price fields; `allowed_fields` are unknown request fields that the program
    vouches for, `is_unknown_passed` says that all others pass too, unproven; `at` is when the call was made,
    in microseconds.
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
    allowed_fields: frozenset[str] = frozenset()
    is_unknown_passed: bool = False
    default_max_tool_calls: int = DEFAULT_MAX_TOOL_CALLS
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
        body = await self._admit()
        with self._held.while_called():
            return await self._ask(body)

    async def _ask(self, body: Mapping[str, Any]) -> Answer:
        plan = self._plan
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
        body = await self._admit()
        with self._held.while_called():
            await self._read(body, opened, deliver)

    async def _read(
        self, body: Mapping[str, Any], opened: Callable[[], None], deliver: Callable[[Answer], None]
    ) -> None:
        plan = self._plan
        call: StreamedCall | None = None
        undelivered: Exception | None = None
        try:
            self.is_sent = True
            call = StreamedCall(TRANSPORT, plan.target, plan.endpoint, body, timeouts=plan.timeouts)
            async with call:
                opened()
                async for piece in call:
                    for document in piece.documents:
                        if not (document.get("error") or is_uncalled_for(document, plan.body)):
                            undelivered = undelivered or _failure(deliver, document)
        except (ProviderError, InvalidValueError) as error:
            if call is None or not is_told(call.reading):
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
        else:
            check_fields(body, endpoint=plan.endpoint, provider=plan.target.provider.id)
        return body

    async def _reserve(self, body: dict[str, Any], price: Price) -> None:
        plan, target, reason, unproven = self._plan, self._plan.target, None, None
        asked = {**target.asked, **asked_of(body)}
        is_standard_tier_put = put_standard_tier(asked, target, plan.endpoint, price)
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
                allowed_fields=plan.allowed_fields,
                default_max_tool_calls=plan.default_max_tool_calls,
                asked=asked,
            )
        except CostUnboundedError as error:
            reason = error.message
        bound = self._estimate
        if bound is not None and bound.unknown_fields and not plan.is_unknown_passed:
            unproven = unproven_reason(bound.unknown_fields)
        await self._held.reserve(
            Want(
                bound,
                plan.timeouts.total_seconds + SPARE_SECONDS,
                target.provider.id,
                target.model,
                price.version,
                plan.tags,
                reason,
                unproven,
                price.is_declared_free,
            )
        )
        if is_standard_tier_put and self._held.is_usd_limited:
            body["service_tier"] = "default"
        if bound is not None and bound.tool_calls is not None and self._held.is_limited:
            put_tool_calls(body, bound.tool_calls, plan.endpoint)
        if bound is not None and bound.output_multiplier:
            put_cap(body, self._held.output_cap, plan.endpoint, target.cap_field(plan.endpoint))

    async def _fail(self, error: OutlayError) -> None:
        """Void what cannot have been billed; presume an answer that is none; leave the rest held."""
        if is_no_answer(error):
            await self._settle(Reading(), None)
            return
        reason = void_reason(error) if isinstance(error, ProviderError) else "never_sent"
        if reason is not None:
            await self._held.void(reason)

    async def _end(self, reading: Reading, key: str | None) -> None:
        """Settle what came to its end; where it does not say what it used, the hold is presumed at once."""
        name = self._plan.target.provider.name
        failure = reading.end_failure(name)
        await self._settle(reading, key)
        if failure is not None:
            raise failure

    async def _settle(self, reading: Reading, key: str | None) -> None:
        plan = self._plan
        charge = charge_of(
            reading,
            body=plan.body,
            target=plan.target,
            bound=self._estimate,
            cap=self._held.output_cap or 0,
            book=plan.book,
            at=plan.at,
            own=plan.own_price,
            price=self._price,
            asked=plan.target.asked,
        )
        self.cost = None if charge.nanos is None else usd_float(charge.nanos)
        await self._held.settle(
            charge.nanos,
            charge.tokens,
            charge.usage,
            charge.source,
            price_version=charge.price_version,
            completion_key=key,
            detail=self._detail(reading, charge),
            priced_nanos=charge.priced_nanos,
        )
        if plan.count is not None and charge.nanos:
            await plan.count(charge.nanos)

    def _detail(self, reading: Reading, charge: Charge) -> dict[str, object]:
        detail: dict[str, object] = {
            "response_id": storable(reading.response_id),
            "latency_seconds": round(time.monotonic() - self._started, 3),
        }
        if self._estimate is not None:
            detail["estimate"] = self._estimate.quality
            if self._estimate.unknown_fields and self._held.is_limited:
                detail["unproven"] = True
        if charge.is_disputed:
            detail["disputed"] = True
            detail["claimed"] = storable(charge.claimed)
        if charge.stated is not None:
            detail["stated"] = storable(charge.stated)
        return detail


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
