"""Authenticate: whose request is this?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from outlay.gateway.exchange import Exchange
from outlay.gateway.failures import GatewayError
from outlay.gateway.paths import PATHS
from outlay.pricing.bound.caps import Endpoint

_NAMES: Final[Mapping[Endpoint, tuple[str, str]]] = {
    endpoint: (paths[0], paths[0].removeprefix("/v1")) for endpoint, paths in PATHS
}
"""What a key's `allowed_routes` may call an endpoint: its path, with `/v1` or without."""
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
    if not principal.may_call(_NAMES[exchange.endpoint], _ALL_CALLS):
        raise GatewayError(
            403,
            "permission_error",
            f"The allowed_routes of this key do not include {_NAMES[exchange.endpoint][1]}.",
            error_code="key_not_allowed",
        )
    exchange.principal = principal
