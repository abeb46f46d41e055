"""Failures: from an HTTP status to an error, and from an error to the ledger's reason for a void."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, Literal

from outlay.errors import (
    ProviderAuthError,
    ProviderError,
    ProviderFailedError,
    ProviderNonsenseError,
    ProviderRejectedError,
)
from outlay.providers.redaction import redact
from outlay.providers.request import Request

VoidReason = Literal["never_sent", "rejected", "provider_error"]
"""The reasons that prove nothing was billed (see `Ledger.void`)."""

UNKNOWN_REFUSALS: Final = frozenset({408, 499})
"""The 4xx statuses that prove nothing: somebody in between gave up waiting, and the model may have run on."""
ERROR_BODY_BYTES = 65_536
_MESSAGE_CHARACTERS = 500
_MOST_HEADERS: Final = 20
_MOST_HEADER_CHARACTERS: Final = 1_000
_TOLD_HEADERS: Final = frozenset(
    {"retry-after", "retry-after-ms", "x-should-retry", "content-type", "x-request-id", "request-id"}
)
_TOLD_PREFIXES: Final = ("x-ratelimit-", "anthropic-ratelimit-")
_SENDABLE_NAME: Final = re.compile(r"[a-z0-9-]{1,100}")
_UNSENDABLE: Final = re.compile(r"[^\x20-\x7e]")
_UNSERVED_REDIRECTS = frozenset({301, 302, 307, 308})


def void_reason(error: ProviderError) -> VoidReason | None:
    """Say why a reservation may be voided after this error, or None: its outcome is unknown.

    `never_sent`: no byte left for the provider. `rejected`: it answered 4xx (but 408 and 499), or with a
    redirect, which is never followed. `provider_error`: it answered a 5xx that its table says is not billed.
    """
    if error.is_unknown_outcome:
        return None
    if error.status is None:
        return "never_sent"
    return "provider_error" if isinstance(error, ProviderFailedError) else "rejected"


def status_error(
    request: Request,
    status: int,
    body: bytes,
    *,
    headers: Mapping[str, str] | None = None,
    is_cut: bool = False,
) -> ProviderError:
    """Make the error for an answer that is not 2xx.

    Args:
        request: what was sent; its credential is taken out of whatever the provider said.
        status: the HTTP status.
        body: the first bytes of the answer.
        headers: the answer's, with lower-case names; those that help a caller go into the error.
        is_cut: whether `body` is not all of it.
    """
    text = redact(body, request.credential, is_cut=is_cut)
    said = _message_in(text)
    tail = f": {said}" if said else "."
    headers = headers or {}
    facts: dict[str, Any] = {"status": status, "body": text, "headers": _told(headers, request.credential)}
    start = f"{request.provider} answered {status}"
    if status in {401, 403}:
        return ProviderAuthError(f"{start}; check the API key for it{tail}", **facts)
    if 400 <= status < 500:
        is_unknown = status in UNKNOWN_REFUSALS and status not in request.free_failures
        tail += " It may have been billed." if is_unknown else ""
        return ProviderRejectedError(f"{start}{tail}", is_unknown_outcome=is_unknown, **facts)
    if status >= 500:
        is_free = status in request.free_failures
        return ProviderFailedError(f"{start}{tail}", is_unknown_outcome=not is_free, **facts)
    location = headers.get("location")
    where = f" to {redact(location.encode(), request.credential)[:200]}" if location else ""
    return ProviderNonsenseError(
        f"{start}, a redirect{where}, and redirects are not followed: set api_base to the API itself.",
        is_unknown_outcome=status not in _UNSERVED_REDIRECTS,
        **facts,
    )


def _told(headers: Mapping[str, str], credential: str) -> dict[str, str]:
    """The headers of a refusal that help a caller, safe to send on."""
    told: dict[str, str] = {}
    for name, value in headers.items():
        is_known = name in _TOLD_HEADERS or name.startswith(_TOLD_PREFIXES)
        is_safe = _SENDABLE_NAME.fullmatch(name) is not None and not _UNSENDABLE.search(value)
        if is_known and is_safe and len(value) <= _MOST_HEADER_CHARACTERS and len(told) < _MOST_HEADERS:
            told[name] = redact(value.encode(), credential)
    return told


def _message_in(text: str) -> str:
    """The human part of an error body: OpenAI's and Anthropic's `error.message`, or a plain `message`."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return " ".join(text.split())[:_MESSAGE_CHARACTERS]
    said: Any = document
    for key in ("error", "message"):
        said = said.get(key, said) if isinstance(said, dict) else said
    return said[:_MESSAGE_CHARACTERS] if isinstance(said, str) else text[:_MESSAGE_CHARACTERS]
