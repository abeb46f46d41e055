"""Guards: the budgets that watch one call. Each is an account in some ledger; all must hold the estimate."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from outlay.domain.commands import Amount, FreeSlot, Reserve, Settle, Void
from outlay.domain.entries import Source, VoidReason
from outlay.domain.outcomes import Reserved
from outlay.errors import BudgetExceededError, LedgerError, OutlayError
from outlay.ledger.clock import SystemClock
from outlay.ledger.ids import new_id
from outlay.ledger.ledger import Ledger
from outlay.pricing.bound.estimate import Estimate

log = logging.getLogger("outlay")

SPARE_SECONDS: Final = 120
"""What a hold outlasts the longest possible call by: a minute to drain and a minute to settle."""


@dataclass(frozen=True, slots=True)
class Guard:
    """An account whose budgets a call must fit, and for how long it may wait for others' reservations."""

    ledger: Ledger
    project: str
    account: str
    wait_seconds: float = 0.0
    is_plain: bool = False
    """Whether its refusal says no more than LiteLLM's own message."""


@dataclass(frozen=True, slots=True)
class Want:
    """What a call asks its guards to hold: its bound, for `hold_seconds`, and what the journal says of it.

    Without a bound, `unbounded_reason` says why there is none: only soft budgets admit that.
    `unproven_reason` says why nobody knows whether it is one: hard budgets refuse that. A model that
    `is_free` needs none in usd.
    """

    bound: Estimate | None
    hold_seconds: float
    provider: str
    model: str
    price_version: str
    tags: tuple[str, ...] = ()
    unbounded_reason: str | None = None
    unproven_reason: str | None = None
    is_free: bool = False


class Held:
    """The reservations of one call, one a guard, from `reserve` to `settle` or `void`.

    `output_cap` is the granted number of output tokens, once it is reserved; `is_limited` says whether a
    budget that can refuse counts the call, `is_usd_limited` whether one counts money. With `is_strict`
    a ledger that fails to settle or void raises, for who can repeat it; else it is logged.
    """

    def __init__(self, guards: Sequence[Guard], *, is_strict: bool = False) -> None:
        self._guards = guards
        self._is_strict = is_strict
        self._ids: list[tuple[Guard, str]] = []
        self._ended: set[str] = set()
        self.output_cap: int | None = None
        self.is_limited = self.is_usd_limited = False

    def __bool__(self) -> bool:
        return bool(self._guards)

    async def reserve(self, want: Want) -> None:
        """Hold the estimate on every guard, or on none.

        Raises:
            BudgetExceededError, AccountBlockedError: a guard refuses.
            LedgerError, StoreError: a ledger cannot be used.
        """
        clock = SystemClock()
        asked_at = clock.boot()
        cap = 0 if want.bound is None else want.bound.wanted_output_tokens
        for guard in self._guards:
            try:
                reserved = await self._reserve(guard, want, cap)
            except BaseException:
                await self.void("never_sent")
                raise
            cap = cap if reserved.output_cap is None else reserved.output_cap
            self.is_usd_limited = self.is_usd_limited or reserved.is_usd_limited
            if clock.boot() - asked_at > want.hold_seconds * 1_000_000 / 2:
                await self.void("never_sent")
                raise LedgerError("the call stood still for too long after it was admitted: repeat it")
        self.output_cap = cap

    async def _reserve(self, guard: Guard, want: Want, cap: int) -> Reserved:
        id, bound = new_id(), want.bound
        amounts = {"usd": Amount(0), "tokens": Amount(0)}
        if bound is not None:
            amounts["usd"] = Amount(bound.input_nanos, bound.nanos_per_output_token)
            amounts["tokens"] = Amount(bound.token_bound(0), bound.tokens_per_output_token)
        command = Reserve(
            guard.project,
            id,
            (guard.account,),
            amounts,
            round(want.hold_seconds * 1_000_000),
            cap if bound is not None and bound.output_multiplier else None,
            0 if bound is None else min(bound.least_output_tokens, cap),
            want.unbounded_reason,
            provider=want.provider,
            model=want.model,
            price_version=want.price_version,
            tags=want.tags,
            unproven_reason=want.unproven_reason,
            is_free=want.is_free,
        )
        try:
            reserved = await guard.ledger.reserve_async(command, wait_seconds=guard.wait_seconds)
        except BudgetExceededError as error:
            if guard.is_plain and error.current_cost >= error.max_budget:
                raise _plain(error) from None
            raise
        self._ids.append((guard, id))
        self.is_limited = self.is_limited or reserved.is_limited
        for alert in reserved.alerts:
            log.warning("%s has %s %% of budget %s spent or held", *alert[1:], alert.budget_id)
        return reserved

    async def settle(
        self,
        usd_nanos: int | None,
        tokens: int,
        usage: Mapping[str, int],
        source: Source,
        *,
        price_version: str | None = None,
        completion_key: str | None = None,
        detail: Mapping[str, object],
        priced_nanos: int | None = None,
    ) -> None:
        """Charge every guard. A ledger that fails keeps the hold, which is then presumed at its expiry."""
        for guard, id in self._ids:
            key = None if completion_key is None else f"{guard.account}:{completion_key}"
            command = Settle(
                guard.project,
                id,
                usd_nanos,
                tokens,
                dict(usage),
                source,
                price_version,
                key,
                dict(detail),
                priced_nanos,
            )
            await self._end(guard, command)

    async def void(self, reason: VoidReason) -> None:
        """Give back every hold: nothing was billed."""
        for guard, id in self._ids:
            await self._end(guard, Void(guard.project, id, reason))
        self._ids.clear()

    @contextmanager
    def while_called(self) -> Iterator[None]:
        """The call is over at the end of the block: what did not end stays held, but for its slots."""
        try:
            yield
        finally:
            self.free_slots()

    def free_slots(self) -> None:
        """Give back the slots of what did not end; whoever waits for one may have it."""
        for guard, id in self._ids:
            if id in self._ended:
                continue
            try:
                guard.ledger.submit(FreeSlot(guard.project, id))
            except OutlayError as error:  # how the call ended is what its caller must hear
                log.warning("could not free the slot of %s (it ends with the hold): %s", id, error)

    async def _end(self, guard: Guard, command: Settle | Void) -> None:
        try:
            await guard.ledger.execute_async(command)
            self._ended.add(command.id)
        except OutlayError as error:  # the provider answered: what the caller gets must not depend on this
            if self._is_strict:
                raise
            kind = type(command).__name__.lower()
            log.warning("could not %s %s (it stays held, then presumed): %s", kind, command.id, error)


def _plain(error: BudgetExceededError) -> BudgetExceededError:
    """The same refusal in LiteLLM's words alone."""
    plain = BudgetExceededError(error.current_cost, error.max_budget)
    plain.__dict__.update({name: value for name, value in error.__dict__.items() if name != "message"})
    return plain
