"""Every error Outlay raises, in one tree. Each has a stable `code`; each message says what to do.

OutlayError
├── BudgetExceededError          a budget cannot admit the request (or not now); carries the facts
├── PriceUnknownError            a usd budget applies and the model has no price
├── CostUnboundedError           a hard budget applies and the request has no upper bound
├── AccountBlockedError          an operator blocked the account
├── InvalidValueError            (ValueError) a field has a value that cannot be used
│   └── InvalidAmountError       an amount is negative, NaN, infinite or absurd
├── UnknownUserError             (KeyError) the budget manager has no such user
├── LedgerError
│   ├── LedgerBusyError          the queue is full
│   ├── LedgerUnavailableError   the store did not answer in time, or failed
│   ├── LedgerStaleError         the caller's accounts changed since they were read
│   ├── IdempotencyConflictError an id was used before with other content
│   ├── ReservationNotFoundError no reservation or charge has this id
│   └── AlreadyResolvedError     the reservation ended in another way
├── StoreError
│   ├── DatabaseLockedError      another process holds the database
│   ├── DatabaseFullError        the disk is full
│   ├── DatabaseReadOnlyError    the file or its folder cannot be written
│   ├── DatabaseCorruptError     the file is damaged, or is not an Outlay database
│   ├── SchemaTooNewError        a newer Outlay wrote the file
│   ├── EngineTooOldError        the SQLite engine has the WAL-reset defect
│   ├── NetworkFileSystemError   the file lies where locks cannot be trusted
│   └── ClockError               the clock jumped, and windows wait for it to settle
└── ProviderError                a call to a provider failed; `status`, `body`, `headers` …
    ├── ProviderAuthError        the provider refused the credential
    ├── ProviderTimeoutError     the provider was too slow
    ├── ProviderConnectionError  the provider could not be reached, or hung up
    ├── ProviderRejectedError    a 4xx: the provider did not serve the request
    ├── ProviderFailedError      a 5xx
    └── ProviderNonsenseError    the answer is not what the wire promises
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar, Final, Self

__all__ = [
    "AccountBlockedError",
    "AlreadyResolvedError",
    "BudgetExceededError",
    "ClockError",
    "CostUnboundedError",
    "DatabaseCorruptError",
    "DatabaseFullError",
    "DatabaseLockedError",
    "DatabaseReadOnlyError",
    "EngineTooOldError",
    "IdempotencyConflictError",
    "InvalidAmountError",
    "InvalidValueError",
    "LedgerBusyError",
    "LedgerError",
    "LedgerStaleError",
    "LedgerUnavailableError",
    "NetworkFileSystemError",
    "OutlayError",
    "PriceUnknownError",
    "ProviderAuthError",
    "ProviderConnectionError",
    "ProviderError",
    "ProviderFailedError",
    "ProviderNonsenseError",
    "ProviderRejectedError",
    "ProviderTimeoutError",
    "ReservationNotFoundError",
    "SchemaTooNewError",
    "StoreError",
    "UnknownUserError",
]


class OutlayError(Exception):
    """The root of the tree. `field` names the field that the error is about, where there is one."""

    code: ClassVar[str] = "outlay_error"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field

    def __str__(self) -> str:
        return self.message


class BudgetExceededError(OutlayError):
    """A budget cannot admit the request.

    `current_cost` and `max_budget` are USD, as LiteLLM's error of this name has them (for a budget in
    another unit they are counts of that unit). The other attributes are the facts behind the refusal;
    they are None where the refusal does not come from a stored budget.
    """

    code = "budget_exceeded"

    def __init__(
        self,
        current_cost: float,
        max_budget: float,
        message: str | None = None,
        *,
        budget: str | None = None,
        account: str | None = None,
        unit: str = "usd",
        limit: float | None = None,
        settled: float | None = None,
        reserved: float | None = None,
        needed: float | None = None,
        affordable_max_tokens: int | None = None,
        resets_at: datetime | None = None,
        can_wait: bool = False,
    ) -> None:
        self.current_cost = current_cost
        self.max_budget = max_budget
        super().__init__(
            message or f"Budget has been exceeded! Current cost: {current_cost}, Max budget: {max_budget}"
        )
        self.budget = budget
        self.account = account
        self.unit = unit
        self.limit = limit
        self.settled = settled
        self.reserved = reserved
        self.needed = needed
        self.affordable_max_tokens = affordable_max_tokens
        self.resets_at = resets_at
        self.can_wait = can_wait

    def __reduce__(self) -> tuple[type[Self], tuple[float, float, str], dict[str, object]]:
        """Be made of its three arguments, not of the message alone: pools of processes pickle errors."""
        return type(self), (self.current_cost, self.max_budget, self.message), self.__dict__


class PriceUnknownError(OutlayError):
    """A usd budget applies and the model has no price: the message says how to add one.

    `field` names the field of a stated price that is not counted, if that is why.
    """

    code = "price_unknown"


class CostUnboundedError(OutlayError):
    """A hard budget applies and no upper bound of the cost can be given; `field` is what has none."""

    code = "cost_unbounded"

    @classmethod
    def of(cls, field: str, why: str) -> Self:
        """The error of one field; `why` completes the sentence."""
        message = f"The cost of {field} cannot be bounded: {why}. Leave it out, or make the budget soft."
        return cls(message, field=field)


class AccountBlockedError(OutlayError):
    """An operator blocked the account."""

    code = "account_blocked"


REFUSALS: Final = (BudgetExceededError, PriceUnknownError, CostUnboundedError, AccountBlockedError)
"""What a call raises that a budget does not admit. Its message says all: the library raises it anew, without
the frames that led there."""


class InvalidValueError(OutlayError, ValueError):
    """A field has a value that cannot be used; the message names the field and the remedy."""

    code = "invalid_value"


class InvalidAmountError(InvalidValueError):
    """An amount is negative, NaN, infinite, or beyond what 64-bit nano-dollars can hold."""

    code = "invalid_amount"


class UnknownUserError(OutlayError, KeyError):
    """The budget manager has no such user: call `create_budget` first."""

    code = "unknown_user"


class LedgerError(OutlayError):
    """The ledger could not do what it was asked."""

    code = "ledger_error"


class LedgerBusyError(LedgerError):
    """The queue is full: try again shortly. Nothing was written."""

    code = "ledger_busy"


class LedgerUnavailableError(LedgerError):
    """The store failed or did not answer in time. A repeat with the same id is safe."""

    code = "ledger_unavailable"


class LedgerStaleError(LedgerError):
    """An account of the request changed since the caller read it: read it again and repeat."""

    code = "ledger_stale"


class IdempotencyConflictError(LedgerError):
    """The id was used before with other content: use a new id for a new command."""

    code = "idempotency_conflict"


class ReservationNotFoundError(LedgerError):
    """No reservation or charge has this id in this project."""

    code = "reservation_not_found"


class AlreadyResolvedError(LedgerError):
    """The reservation ended before, in another way; the first end stands."""

    code = "already_resolved"


class StoreError(OutlayError):
    """The database cannot be used."""

    code = "store_error"


class DatabaseLockedError(StoreError):
    """Another process holds the database for longer than the busy timeout."""

    code = "database_locked"


class DatabaseFullError(StoreError):
    """The disk is full: free some space; nothing that was acknowledged is lost."""

    code = "database_full"


class DatabaseReadOnlyError(StoreError):
    """The file or its folder cannot be written."""

    code = "database_read_only"


class DatabaseCorruptError(StoreError):
    """The file is damaged or is not an Outlay database; it is never recreated over."""

    code = "database_corrupt"


class SchemaTooNewError(StoreError):
    """A newer Outlay wrote the file: upgrade this one."""

    code = "schema_too_new"


class EngineTooOldError(StoreError):
    """The SQLite engine predates the fix of the WAL-reset defect: upgrade apsw."""

    code = "engine_too_old"


class NetworkFileSystemError(StoreError):
    """The file lies on a network file system, where locks cannot be trusted: use a local disk."""

    code = "network_file_system"


class ClockError(StoreError):
    """The clock cannot be read, or jumped and has not been confirmed."""

    code = "clock_error"


class ProviderError(OutlayError):
    """A call to a provider failed.

    `status` is the HTTP status (None if there was none), `body` what the provider said (the first 64 KiB,
    redacted of credentials), `headers` those of its answer that help a caller (lower-case names: its limits,
    its request id, when to come back), `is_unknown_outcome` whether the provider may have served, and
    billed, the request.
    """

    code = "provider_error"

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        body: str = "",
        is_unknown_outcome: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = body
        self.is_unknown_outcome = is_unknown_outcome
        self.headers: dict[str, str] = dict(headers or {})

    @property
    def retry_after_seconds(self) -> float | None:
        """In how many seconds the provider wants to be asked again; None if it did not say, or as a date."""
        for name, unit in (("retry-after-ms", 1000), ("retry-after", 1)):
            try:
                seconds = float(self.headers.get(name, "")) / unit
            except ValueError:
                continue
            if 0 <= seconds < float("inf"):
                return seconds
        return None


class ProviderAuthError(ProviderError):
    """The provider refused the credential (401 or 403): check the API key of that provider."""

    code = "provider_auth_error"


class ProviderTimeoutError(ProviderError):
    """The provider did not answer in time."""

    code = "provider_timeout"


class ProviderConnectionError(ProviderError):
    """The provider could not be reached, or hung up."""

    code = "provider_connection_error"


class ProviderRejectedError(ProviderError):
    """The provider answered 4xx: it did not serve the request, and, but for 408 and 499, billed nothing."""

    code = "provider_rejected"


class ProviderFailedError(ProviderError):
    """The provider answered 5xx."""

    code = "provider_failed"


class ProviderNonsenseError(ProviderError):
    """The provider's answer is not what its wire promises."""

    code = "provider_nonsense"
