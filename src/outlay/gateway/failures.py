"""Failures: what the gateway answers when it does not serve. One table from errors to HTTP.

The shape is OpenAI's `{"error": {"message", "type", "param", "code", …}}` with the facts as extra fields;
`/v1/messages` answers in Anthropic's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from outlay.errors import (
    AccountBlockedError,
    AlreadyResolvedError,
    BudgetExceededError,
    CostUnboundedError,
    IdempotencyConflictError,
    InvalidValueError,
    LedgerBusyError,
    LedgerStaleError,
    LedgerUnavailableError,
    OutlayError,
    PriceUnknownError,
    ProviderAuthError,
    ProviderError,
    ProviderFailedError,
    ProviderRejectedError,
    ProviderTimeoutError,
    ReservationNotFoundError,
    StoreError,
    UnknownUserError,
)
from outlay.providers.body import decode_object
from outlay.routing.deployments import Deployment


class GatewayError(OutlayError):
    """A request that the gateway does not serve, as HTTP: any stage and any management route raises it.

    `type` and `code` are those of the answer's error (`code` is the type unless given); `facts` are extra
    fields of the error.
    """

    code = "gateway_error"

    def __init__(
        self,
        status: int,
        type: str,
        message: str,
        *,
        param: str | None = None,
        error_code: str | None = None,
        facts: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.type = type
        self.param = param
        self.error_code = error_code or type
        self.facts = dict(facts or {})
        self.headers = dict(headers or {})


@dataclass(frozen=True, slots=True)
class Failure:
    """One answer: a status, the error document in OpenAI's shape, and headers."""

    status: int
    document: dict[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)


_FIELD: Final = re.compile(r"([a-z][a-z0-9_]*(?:[.\[][\w.\[\]-]*)?)(?: must |: | is not | holds )")
_BUSY: Final = "Too many requests wait for the ledger, so nothing was sent: try again."
_STORE: Final = ("ledger_unavailable", "The ledger cannot be used, so nothing was sent: try again shortly.")


def failure_of(error: OutlayError, *, deployment: Deployment | None = None) -> Failure:
    """The answer to any error of Outlay's. One of a provider names its deployment and host."""
    if isinstance(error, GatewayError):
        facts = (error.error_code, error.param, error.facts, error.headers)
        return _failure(error.status, error.type, error.message, *facts)
    if isinstance(error, ProviderError):
        return _of_provider(error, deployment)
    for kinds, answered in _ANSWERS:
        if isinstance(error, kinds):
            return answered(error)
    return internal_failure()


def param_of(error: OutlayError) -> str | None:
    """The field that an error is about: the one it carries, or the one that its message begins with.

    Messages about wrong values begin with it: `max_budget must be …`.
    """
    if error.field is not None:
        return error.field
    found = _FIELD.match(error.message)
    return None if found is None else found[1]


def internal_failure() -> Failure:
    """The answer to a fault of the gateway's own: it says nothing of it."""
    return _failure(500, "internal_error", "The gateway failed; its log says how. Nothing more was sent.")


def anthropic_document(failure: Failure, request_id: str) -> dict[str, Any]:
    """The same failure in Anthropic's shape: https://docs.anthropic.com/en/api/errors"""
    error = failure.document.get("error")
    if failure.document.get("type") == "error" or not isinstance(error, dict):
        return failure.document
    named = _ANTHROPIC_TYPES.get(
        failure.status, "invalid_request_error" if failure.status < 500 else "api_error"
    )
    facts = {name: value for name, value in error.items() if name not in ("type", "param")}
    return {
        "type": "error",
        "error": {"type": named, "reason": error.get("type"), **facts},
        "request_id": request_id,
    }


_ANTHROPIC_TYPES: Final[Mapping[int, str]] = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


def _of_provider(error: ProviderError, deployment: Deployment | None) -> Failure:
    facts, where = {}, ""
    if deployment is not None:  # of its address only the host: a path may hold what is not for callers
        facts = {"deployment": deployment.id, "host": urlsplit(deployment.target.base_url).netloc}
        where = f" Deployment {facts['deployment']} at {facts['host']}."
    if isinstance(error, ProviderAuthError):
        said = "The provider refused the gateway's credential: the operator must check its API key."
        return _failure(502, "provider_auth_error", said + where, facts=facts)
    if isinstance(error, ProviderTimeoutError):
        return _failure(504, "provider_timeout", error.message + where, facts=facts)
    passed_on: dict[str, str] = {name: error.headers[name] for name in _PASSED_ON if name in error.headers}
    if isinstance(error, ProviderRejectedError | ProviderFailedError) and error.status is not None:
        document = decode_object(error.body.encode())
        if document is not None:
            return Failure(error.status, document, passed_on)
        said = error.message + where
        return _failure(error.status, "provider_error", said, facts=facts, headers=passed_on)
    return _failure(502, "provider_error", error.message + where, facts=facts)


_PASSED_ON: Final = ("retry-after", "retry-after-ms", "x-should-retry")


def _unavailable(type: str, message: str) -> Failure:
    return _failure(503, type, message, headers={"retry-after": "1"})


def _failure(
    status: int,
    type: str,
    message: str,
    error_code: str | None = None,
    param: str | None = None,
    facts: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Failure:
    error = {"message": message, "type": type, "param": param, "code": error_code or type, **(facts or {})}
    return Failure(status, {"error": error}, headers or {})


_ANSWERS: Final[tuple[tuple[tuple[type[OutlayError], ...], Callable[[OutlayError], Failure]], ...]] = (
    ((LedgerBusyError,), lambda _: _unavailable("ledger_busy", _BUSY)),
    ((StoreError, LedgerUnavailableError, LedgerStaleError), lambda _: _unavailable(*_STORE)),
    (
        (InvalidValueError,),
        lambda error: _failure(400, "invalid_request_error", error.message, param=param_of(error)),
    ),
    (
        (IdempotencyConflictError, AlreadyResolvedError),
        lambda error: _failure(409, "conflict", error.message, error.code),
    ),
    (
        (PriceUnknownError, CostUnboundedError, AccountBlockedError),
        lambda error: _failure(403, error.code, error.message),
    ),
    (
        (BudgetExceededError,),
        lambda error: _failure(402, error.code, error.message, headers={"x-should-retry": "false"}),
    ),
    (
        (UnknownUserError, ReservationNotFoundError),
        lambda error: _failure(404, "not_found", error.message, error.code),
    ),
)
"""What each kind of error is answered; the first kind that fits."""
