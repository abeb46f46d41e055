"""Authenticate: whose request is this?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from outlay.gateway.exchange import Exchange
from outlay.gateway.failures import GatewayError
from outlay.pricing.caps import Endpoint

_PATHS: Final[Mapping[Endpoint, str]] = {
    "chat": "/chat/completions",
    "completions": "/completions",
    "embeddings": "/embeddings",
    "responses": "/responses",
    "messages": "/messages",
}
_ALL_CALLS: Final = frozenset({"llm_api_routes", "openai_routes"})
"""LiteLLM's names for whatever calls a model."""
_CALLERS: Final = frozenset({"admin", "user", "caller"})


def authenticate(exchange: Exchange, *, is_fresh: bool = False) -> None:
    """Find the principal.

    Raises:
        GatewayError: 401; 403 for a key that may not call models.
    """
    principal = exchange.services.keyring.authenticate(exchange.headers, is_fresh=is_fresh)
    if principal.role not in _CALLERS:
        raise GatewayError(
            403,
            "permission_error",
            f"This key may not call models: it is for {principal.role.replace('_', ' ')} only.",
            error_code="key_not_allowed",
        )
    if principal.allowed_routes and not _is_allowed(principal.allowed_routes, exchange.endpoint):
        raise GatewayError(
            403,
            "permission_error",
            f"The allowed_routes of this key do not include {_PATHS[exchange.endpoint]}.",
            error_code="key_not_allowed",
        )
    exchange.principal = principal


def _is_allowed(allowed: tuple[str, ...], endpoint: Endpoint) -> bool:
    """Whether a key's list names an endpoint: by its path, with `/v1` or without, or all of them at once."""
    paths = (f"/v1{_PATHS[endpoint]}", _PATHS[endpoint])
    return any(
        each in _ALL_CALLS
        or each in paths
        or (each.endswith("/*") and any(p.startswith(each[:-1]) for p in paths))
        for each in allowed
    )
