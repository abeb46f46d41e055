"""Refusals: what the ledger would not admit, as an HTTP answer with all the facts."""

from __future__ import annotations

import math
from typing import Any, Final

from outlay.domain.outcomes import Refusal
from outlay.domain.windows import SECOND, to_datetime
from outlay.gateway.exchange import Exchange
from outlay.gateway.failures import GatewayError
from outlay.ledger.refusals import amount_text
from outlay.ledger.reports import amount_value

RETRY_SECONDS: Final = 1
"""When to try again where only others' reservations stand in the way: most calls end within seconds."""


def refusal_error(exchange: Exchange, refusal: Refusal) -> GatewayError:
    """The answer to a refusal, after the table of the reference (`docs/reference/gateway.md`).

    Of an account that is not the caller's own it tells the kind, when its period ends, and whether waiting
    helps: a caller names customers and tags as it likes, and must not read their balances that way.
    """
    if refusal.reason == "account_blocked":
        who = refusal.account if _is_own(exchange, refusal) else f"This {_kind(refusal)}"
        return GatewayError(
            403,
            "permission_error",
            f"{who} is blocked: ask the operator.",
            error_code="account_blocked",
            facts=_who(exchange, refusal),
        )
    if refusal.reason == "price_unknown":
        return _price_unknown(exchange, refusal)
    if refusal.reason == "cost_unbounded":
        return GatewayError(
            403,
            "cost_unbounded",
            refusal.detail or "The cost of this request cannot be bounded, and a budget applies.",
            param=exchange.unbounded_field,
            facts=_who(exchange, refusal),
            headers={"x-should-retry": "false"},
        )
    return _exceeded(exchange, refusal)


def _price_unknown(exchange: Exchange, refusal: Refusal) -> GatewayError:
    target = exchange.upstream.target
    name = f"{target.provider.id}/{target.model}"
    if exchange.price_reason is not None:
        budget = _named_budget(exchange, refusal)
        why = f"{exchange.price_reason} The call is refused, because {budget} applies."
    else:
        why = _no_price(name, _named_budget(exchange, refusal))
    return GatewayError(
        403,
        "price_unknown",
        why,
        param="model",
        facts=_who(exchange, refusal),
        headers={"x-should-retry": "false"},
    )


def _no_price(name: str, budget: str) -> str:
    return (
        f"No price is known for {name}, and {budget} applies: ask the operator to "
        f"add input_cost_per_token and output_cost_per_token to the deployment, or {name!r} to outlay.prices "
        "(`free: true` for a local model)."
    )


def _exceeded(exchange: Exchange, refusal: Refusal) -> GatewayError:
    unit, override = refusal.unit, exchange.services.config.budget_exceeded_status
    facts = _facts(exchange, refusal)
    if unit == "usd":
        status = override or (429 if refusal.can_wait else 402)
        headers = {"retry-after": str(RETRY_SECONDS)} if refusal.can_wait else {"x-should-retry": "false"}
        return GatewayError(
            status,
            "budget_exceeded",
            _message(exchange, refusal, is_litellm=override is not None),
            error_code=None if override is None else str(override),
            facts=facts,
            headers=headers,
        )
    if unit == "tokens" and refusal.needed > refusal.limit:
        return GatewayError(
            400,
            "invalid_request_error",
            f"{_message(exchange, refusal)} It can never be admitted: shorten it, or lower max_tokens.",
            error_code="tokens_above_limit",
            facts=facts,
        )
    return GatewayError(
        429,
        "rate_limit_exceeded",
        _message(exchange, refusal),
        facts=facts,
        headers=_rate_headers(exchange, refusal),
    )


def _is_own(exchange: Exchange, refusal: Refusal) -> bool:
    return exchange.who.owns(refusal.account)


def _kind(refusal: Refusal) -> str:
    """The account's kind: `key`, `customer`, `global` …"""
    return refusal.account.partition(":")[0]


def _who(exchange: Exchange, refusal: Refusal) -> dict[str, Any]:
    """Whose budget it is, as far as the caller may know."""
    kind = {"account_kind": _kind(refusal)}
    if not _is_own(exchange, refusal):
        return kind
    return {"budget": refusal.budget_id, "account": refusal.account, **kind}


def _facts(exchange: Exchange, refusal: Refusal) -> dict[str, Any]:
    unit = refusal.unit
    amounts = ("limit", "settled", "reserved", "needed")
    told: dict[str, Any] = {}
    if _is_own(exchange, refusal):
        told = {
            "unit": unit,
            "window": refusal.window,
            **{name: amount_value(getattr(refusal, name), unit) for name in amounts},
            **({} if _is_counted(exchange) else {"needed": None}),
            "affordable_max_tokens": refusal.affordable_output_tokens,
        }
    return {
        **_who(exchange, refusal),
        **told,
        "resets_at": None if refusal.resets_at is None else to_datetime(refusal.resets_at).isoformat(),
        "can_wait": refusal.can_wait,
    }


def _message(exchange: Exchange, refusal: Refusal, *, is_litellm: bool = False) -> str:
    start = "Budget has been exceeded! " if is_litellm else ""
    if _is_own(exchange, refusal):
        text = _with_figures(exchange, refusal, is_litellm=is_litellm)
    else:
        text = f"{start}{_named_budget(exchange, refusal).capitalize()} cannot admit this request."
    if refusal.can_wait:
        return f"{text} Others' reservations stand in the way: try again shortly."
    if refusal.resets_at is not None:
        text += f" It resets at {to_datetime(refusal.resets_at):%Y-%m-%d %H:%M:%S} UTC."
    return text


def _with_figures(exchange: Exchange, refusal: Refusal, *, is_litellm: bool) -> str:
    unit = refusal.unit
    limit, is_usd = amount_text(refusal.limit, unit), unit == "usd"
    settled, reserved, needed = (
        amount_text(amount, unit) if is_usd else f"{amount}"
        for amount in (refusal.settled, refusal.reserved, refusal.needed)
    )
    start = ""
    if is_litellm:
        cost, most = settled.lstrip("$"), limit.lstrip("$")
        start = f"Budget has been exceeded! Current cost: {cost}, Max budget: {most}. "
    need = f"it needs up to {needed}; " if _is_counted(exchange) else ""
    text = (
        f"{start}The budget {_shown_budget(refusal)} of {_shown(refusal.account)} cannot admit this request: "
        f"{need}of {limit}, {settled} {'is' if is_usd else 'are'} spent and {reserved} "
        "reserved."
    )
    if refusal.affordable_output_tokens:
        text += f" max_tokens of at most {refusal.affordable_output_tokens} would fit."
    return text


def _is_counted(exchange: Exchange) -> bool:
    """Whether it is known what the request needs: of one that is refused before it is counted it is not."""
    return exchange.bound is not None or exchange.unbounded_reason is not None


def _named_budget(exchange: Exchange, refusal: Refusal) -> str:
    if _is_own(exchange, refusal):
        return f"the budget {_shown_budget(refusal)}"
    kind = _kind(refusal)
    return f"a {kind} budget" if kind == "global" else f"a budget of this {kind}"


def _shown(account: str) -> str:
    """An account's name; of a key only the start of its hash."""
    kind, _, name = account.partition(":")
    return f"key {name[:8]}…" if kind == "key" else account


def _shown_budget(refusal: Refusal) -> str:
    """A budget's id; one that is named after a key has only the start of its hash too."""
    return str(refusal.budget_id).replace(refusal.account, _shown(refusal.account))


def _rate_headers(exchange: Exchange, refusal: Refusal) -> dict[str, str]:
    wait = _wait_seconds(exchange, refusal)
    headers = {"x-should-retry": "false"} if wait is None else {"retry-after": str(wait)}
    if not _is_own(exchange, refusal):
        return headers
    kind = "tokens" if refusal.unit == "tokens" else "requests"
    left = max(refusal.limit - refusal.settled - refusal.reserved, 0)
    headers[f"x-ratelimit-limit-{kind}"] = str(refusal.limit)
    headers[f"x-ratelimit-remaining-{kind}"] = str(left)
    if wait is not None:
        headers[f"x-ratelimit-reset-{kind}"] = f"{wait}s"
    return headers


def _wait_seconds(exchange: Exchange, refusal: Refusal) -> int | None:
    """After how many seconds it may be admitted; None where no waiting helps."""
    if refusal.can_wait:
        return RETRY_SECONDS
    if refusal.resets_at is None or refusal.needed > refusal.limit:
        return None
    return max(math.ceil((refusal.resets_at - exchange.services.clock.wall()) / SECOND), 1)
