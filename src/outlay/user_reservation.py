"""A reservation on a user's budget, for calls that a program makes itself."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Mapping
from types import TracebackType
from typing import Any, Literal, Self

from outlay.domain.entries import VOID_REASONS, VoidReason
from outlay.domain.money import parse_usd
from outlay.errors import REFUSALS, InvalidValueError
from outlay.guards import Guard, Held, Want
from outlay.loop_thread import LOOP
from outlay.pricing.book import PriceBook
from outlay.pricing.bound.estimate import estimate
from outlay.pricing.request_fields import unproven_reason
from outlay.pricing.usage import Usage
from outlay.providers.target import split_model
from outlay.spend import Spend, spend_of_completion, spend_of_text

log = logging.getLogger("outlay")


class UserReservation:
    """The bound of one call, held on a user's budget while the `with` block runs.

    `max_tokens` is the output cap that the hold covers: send the call with it.
    """

    def __init__(
        self,
        guard: Guard,
        book: PriceBook,
        model: str,
        body: Mapping[str, Any],
        hold_seconds: float,
        default_max_tokens: int,
        now: Callable[[], int],
        *,
        allowed_fields: frozenset[str] = frozenset(),
        is_unknown_passed: bool = False,
    ) -> None:
        self._held = Held([guard], is_strict=True)
        self._book = book
        self._model = model
        self._body = body
        self._hold_seconds = hold_seconds
        self._default_max_tokens = default_max_tokens
        self._now = now
        self._allowed_fields, self._is_unknown_passed = allowed_fields, is_unknown_passed
        self._is_unproven = False
        self._state: Literal["new", "held", "ended"] = "new"
        self.max_tokens = 0

    def settle(
        self,
        completion_obj: object = None,
        *,
        cost: float | None = None,
        input_text: str | None = None,
        output_text: str | None = None,
    ) -> None:
        """Charge what the call cost: a completion, texts, or an amount of USD. Once.

        Raises:
            InvalidValueError: nothing of these was given, or it cannot be charged.
            StoreError, LedgerError: the ledger cannot be used; it stays held, and the same can be repeated.
        """
        spend = self._spend(completion_obj, cost, input_text, output_text)
        self._end(
            self._held.settle(
                spend.nanos,
                spend.usage.total_tokens,
                spend.usage.counts,
                spend.source,
                price_version=spend.price_version or None,
                completion_key=spend.completion_key,
                detail={"unproven": True} if self._is_unproven and self._held.is_limited else {},
                priced_nanos=spend.priced_nanos,
            )
        )

    def void(self, reason: VoidReason = "never_sent") -> None:
        """Give the hold back: the call was `never_sent`, `rejected` (4xx), or a `provider_error` (5xx).

        Raises:
            InvalidValueError: another reason, or it ended before.
            StoreError, LedgerError: the ledger cannot be used; it stays held, and the same can be repeated.
        """
        if reason not in VOID_REASONS:
            raise InvalidValueError(f"reason must be one of {', '.join(VOID_REASONS)}, not {reason!r}")
        self._end(self._held.void(reason))

    def __enter__(self) -> Self:
        if self._state != "new":
            raise InvalidValueError("a reservation is entered once: call reserve again for another call")
        provider, name = split_model(self._model)
        price = self._book.price(provider, name, at=self._now())
        bound = estimate(
            self._body,
            endpoint="chat",
            provider=provider,
            model=name,
            price=price,
            book=self._book,
            default_max_tokens=self._default_max_tokens,
            allowed_fields=self._allowed_fields,
        )
        self._is_unproven = bool(bound.unknown_fields)
        is_refused = self._is_unproven and not self._is_unknown_passed
        unproven = unproven_reason(bound.unknown_fields) if is_refused else None
        want = Want(
            bound,
            self._hold_seconds,
            provider,
            name,
            price.version,
            unproven_reason=unproven,
            is_free=price.is_declared_free,
        )
        try:
            LOOP.run(self._held.reserve(want))
        except REFUSALS as refusal:
            refusal.__traceback__ = None
            raise
        self._state = "held"
        self.max_tokens = self._held.output_cap or 0
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._state == "held":
            self._held.free_slots()
            log.warning(
                "a reservation was neither settled nor voided: it stays held, then is presumed spent (%s s)",
                self._hold_seconds,
            )

    def _spend(
        self, completion: object, cost: float | None, input_text: str | None, output_text: str | None
    ) -> Spend:
        at = self._now()
        if completion is not None:
            return spend_of_completion(self._book, completion, model=self._model, at=at)
        if cost is not None:
            return Spend(parse_usd(cost, "cost"), Usage(), "manual", "", self._model, "")
        if input_text is None and output_text is None:
            raise InvalidValueError("settle needs a completion, a cost, or input_text and output_text")
        return spend_of_text(self._book, self._model, input_text, output_text, at=at)

    def _end(self, ending: Coroutine[Any, Any, None]) -> None:
        if self._state != "held":
            ending.close()
            is_new = self._state == "new"
            raise InvalidValueError(
                "this reservation holds nothing yet: enter it with `with`"
                if is_new
                else "this reservation was settled or voided before"
            )
        LOOP.run(ending)
        self._state = "ended"
