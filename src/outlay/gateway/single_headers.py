"""Single headers: those that a request has once at most, so that all who read it read the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from outlay.gateway.failures import GatewayError
from outlay.providers.wires.anthropic import PASSED_HEADERS

_SINGLE: Final = frozenset(
    {
        b"authorization",
        b"x-api-key",
        b"x-litellm-api-key",
        b"idempotency-key",
        b"content-length",
        b"x-outlay-customer",
        b"x-litellm-end-user-id",
        b"x-outlay-tags",
        b"x-litellm-tags",
        *(name.encode() for name in PASSED_HEADERS),
    }
)


def refusal_of_doubled(given: Sequence[tuple[bytes, bytes]]) -> GatewayError | None:
    """The answer to a request that has one of these twice: a 400 that names it. None for any other."""
    names = [name for name, _ in given if name in _SINGLE]
    if len(set(names)) == len(names):
        return None
    name = next(name for name in names if names.count(name) > 1).decode()
    message = f"The header {name} is there twice: send it once."
    return GatewayError(400, "invalid_request_error", message, param=name)
