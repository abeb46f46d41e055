"""Room: how many calls may be under way at once. Who is still sending a body takes none."""

from __future__ import annotations

from outlay.gateway.exchange import Exchange
from outlay.gateway.failures import GatewayError


def check_room(exchange: Exchange) -> None:
    """Check that one more call may begin.

    Raises:
        GatewayError: 503; as many are under way as `outlay.limits.max_concurrency` allows.
    """
    most = exchange.services.config.limits.max_concurrency
    if exchange.services.running.count >= most:
        raise GatewayError(
            503,
            "gateway_busy",
            f"{most} calls are under way, which is all that outlay.limits.max_concurrency allows: try again.",
            headers={"retry-after": "1"},
        )
