"""Authenticate: whose request is this?"""

from __future__ import annotations

from typing import Final

from outlay.gateway.exchange import Exchange
from outlay.gateway.failures import GatewayError

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
    exchange.principal = principal
