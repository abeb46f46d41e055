"""Reserve: hold the bound, durably, on every budget of the request, before a byte of it is sent."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Final

from outlay.charging import put_cap
from outlay.domain.commands import Amount, Command, Probe, Reserve
from outlay.domain.outcomes import Outcome, Refusal, Reserved, Stale
from outlay.errors import IdempotencyConflictError, LedgerStaleError, ProviderError
from outlay.gateway import estimate, idempotency
from outlay.gateway.authenticate import authenticate
from outlay.gateway.config import PROJECT
from outlay.gateway.entitle import entitle
from outlay.gateway.exchange import Exchange
from outlay.gateway.refusals import refusal_error
from outlay.pricing.bound.hosted import put_tool_calls
from outlay.providers.call import count_tokens

log = logging.getLogger("outlay")

SPARE_SECONDS: Final = 60
"""What a hold outlasts the longest call and the drain by."""
_TRIES: Final = 4
_COUNT_SLACK: Final = 1.02
"""Anthropic calls its count an estimate: https://docs.anthropic.com/en/docs/build-with-claude/token-counting"""


async def reserve(exchange: Exchange) -> None:
    """Hold the bound on all budgets, or on none; then the body obeys it.

    A key that changed since it was read is read again. Where only the bound by bytes does not fit and the
    provider counts tokens for nothing, it is asked, and its count is tried.

    Raises:
        GatewayError: a budget refuses, or the key is no longer good.
        LedgerError, StoreError: the ledger cannot be used; nothing is held.
    """
    exchange.accounts = _accounts(exchange)
    exchange.reserved_at = exchange.services.clock.boot()
    outcome = await _reserve(exchange)
    if isinstance(outcome, Refusal) and await _is_counted_anew(exchange, outcome):
        outcome = await _reserve(exchange)
    if isinstance(outcome, Refusal):
        exchange.services.metrics.refused(outcome.reason)
        raise refusal_error(exchange, outcome)
    exchange.reserved = outcome
    _obey(exchange, outcome)
    if exchange.is_unproven:
        exchange.services.metrics.unproven()
    exchange.services.metrics.reserved(exchange.held_nanos)
    for alert in outcome.alerts:
        log.warning("%s has %s %% of budget %s spent or held", *alert[1:], alert.budget_id)


async def refuse_if_spent(exchange: Exchange) -> None:
    """Refuse a long request before its tokens are counted, where a budget has nothing left for it.

    Raises:
        GatewayError: as `reserve`, which would refuse it whatever others hold.
    """
    exchange.accounts = _accounts(exchange)
    outcome = await _decided(exchange, lambda: Probe(_least(exchange)))
    if isinstance(outcome, Refusal):
        exchange.services.metrics.refused(outcome.reason)
        raise refusal_error(exchange, outcome)


async def _reserve(exchange: Exchange) -> Reserved | Refusal:
    wait = exchange.services.config.budget_wait_seconds
    exchange.reservation_id = idempotency.reservation_id(exchange)
    try:
        outcome = await _decided(exchange, lambda: _command(exchange), wait)
    except IdempotencyConflictError:
        raise idempotency.conflict(exchange) from None
    if isinstance(outcome, Reserved) and outcome.is_replay:
        raise idempotency.conflict(exchange)
    assert isinstance(outcome, Reserved | Refusal)  # noqa: S101 # a reserve has no other outcome
    return outcome


async def _decided(exchange: Exchange, command: Callable[[], Command], wait_seconds: float = 0.0) -> Outcome:
    """What the ledger says; a key that changed since it was read is read again."""
    for _ in range(_TRIES):
        outcome = await exchange.services.ledger.execute_async(command(), wait_seconds=wait_seconds)
        if not isinstance(outcome, Stale):
            return outcome
        authenticate(exchange, is_fresh=True)
        entitle(exchange)
        exchange.accounts = _accounts(exchange)
    raise LedgerStaleError("the key kept changing while the request was admitted: repeat it")


def _command(exchange: Exchange) -> Reserve:
    bound, target, config = exchange.bound, exchange.upstream.target, exchange.services.config
    seconds = exchange.timeouts.total_seconds + config.limits.drain_seconds + SPARE_SECONDS
    exchange.hold_micros = round(seconds * 1_000_000)
    amounts: dict[str, Amount] = {}
    wanted, least = None, 0
    if bound is not None:
        if exchange.price is not None:
            amounts["usd"] = Amount(bound.input_nanos, bound.nanos_per_output_token)
        amounts["tokens"] = Amount(bound.token_bound(0), bound.tokens_per_output_token)
        if bound.output_multiplier:
            wanted = bound.wanted_output_tokens
            is_always = config.clamp == "always"
            least = bound.floor_output_tokens if is_always else bound.least_output_tokens
    elif exchange.price is not None:
        amounts = {"usd": Amount(0), "tokens": Amount(0)}
    return Reserve(
        PROJECT,
        exchange.reservation_id,
        exchange.accounts,
        amounts,
        exchange.hold_micros,
        wanted,
        least,
        exchange.unbounded_reason,
        _attempt_accounts(exchange),
        exchange.request_id,
        provider=target.provider.id,
        model=exchange.model,
        price_version=None if exchange.price is None else exchange.price.version,
        tags=exchange.tags,
        catalogue_version=exchange.who.version,
        holder=exchange.services.instance,
        unproven_reason=exchange.unproven_reason,
        is_free=exchange.price is not None and exchange.price.is_declared_free,
        disclosed_accounts=exchange.who.own_accounts,
        model_aliases=() if exchange.group is None else exchange.group.aliases,
    )


def _least(exchange: Exchange) -> Reserve:
    """The least that any request may need: a token, and a nano-dollar unless the model is free."""
    target, price = exchange.upstream.target, exchange.price
    amounts = {"tokens": Amount(1)}
    if price is not None:
        amounts["usd"] = Amount(0 if price.is_free else 1)
    return Reserve(
        PROJECT,
        exchange.request_id,
        exchange.accounts,
        amounts,
        1,
        attempt_accounts=_attempt_accounts(exchange),
        provider=target.provider.id,
        model=exchange.model,
        catalogue_version=exchange.who.version,
    )


def _attempt_accounts(exchange: Exchange) -> tuple[str, ...]:
    deployment = exchange.upstream
    return f"provider:{deployment.target.provider.id}", f"deployment:{deployment.id}"


def _accounts(exchange: Exchange) -> tuple[str, ...]:
    """All that the request belongs to; the ledger adds teams, users and organizations above them."""
    customer = (f"customer:{exchange.customer}",) if exchange.customer else ()
    deployment = exchange.upstream
    return (
        *exchange.who.accounts,
        *customer,
        *(f"tag:{tag}" for tag in exchange.tags),
        f"provider:{deployment.target.provider.id}",
        f"deployment:{deployment.id}",
        "global",
    )


async def _is_counted_anew(exchange: Exchange, refusal: Refusal) -> bool:
    """Ask a provider that counts for nothing, where only the bound by bytes stands in the way."""
    bound, target = exchange.bound, exchange.upstream.target
    if (
        bound is None
        or bound.quality != "bytes"
        or refusal.reason != "budget_exceeded"
        or refusal.unit not in ("usd", "tokens")
        or target.provider.wire != "anthropic"
        or exchange.endpoint != "messages"
    ):
        return False
    try:
        counted = await count_tokens(
            exchange.services.transport,
            target,
            exchange.body,
            timeouts=exchange.timeouts,
            headers=exchange.upstream_headers,
        )
    except ProviderError as error:
        log.warning("%s could not count a request's tokens: %s", target.provider.name, error.code)
        return False
    await estimate.estimate(exchange, counted_input_tokens=math.ceil(counted * _COUNT_SLACK))
    return exchange.bound is not None and exchange.bound.input_tokens < bound.input_tokens


def _obey(exchange: Exchange, reserved: Reserved) -> None:
    """Put the granted cap into what is sent, unless no budget needs one and the caller gave none.

    So too the standard tier, and a cap on a search's uses; a deployment's own settings in any case.
    """
    bound, body = exchange.bound, dict(exchange.body)
    exchange.sent_body = body
    body.update(exchange.settings)
    if exchange.is_standard_tier_put and reserved.is_usd_limited:
        body["service_tier"] = "default"
    if bound is not None and bound.tool_calls is not None and reserved.is_limited:
        put_tool_calls(body, bound.tool_calls, exchange.endpoint)
        exchange.sent_tool_calls = bound.tool_calls
    if bound is None or not bound.output_multiplier or reserved.output_cap is None:
        return
    exchange.cap = reserved.output_cap
    if bound.cap_field is None and not reserved.is_limited:
        return
    is_put = bound.cap_field is None or reserved.output_cap < bound.wanted_output_tokens
    if is_put and reserved.is_cap_disclosed:
        exchange.told_cap = reserved.output_cap
    put_cap(
        body, reserved.output_cap, exchange.endpoint, exchange.upstream.target.cap_field(exchange.endpoint)
    )
    if bound.cap_field == "max_tokens" and "max_tokens" in body:
        body["max_tokens"] = reserved.output_cap  # `clamp: always` may have lowered it
