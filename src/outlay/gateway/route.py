"""Route: pick the deployment that serves the request."""

from __future__ import annotations

from outlay.gateway.exchange import Exchange
from outlay.gateway.parse import invalid
from outlay.routing.deployments import choose


def route(exchange: Exchange) -> None:
    """Pick a deployment of the group, by weight, that speaks the request's wire.

    Raises:
        GatewayError: 400 when none of them does.
    """
    group = exchange.group
    assert group is not None  # noqa: S101 # `entitle` comes first
    if exchange.endpoint == "messages":
        speaking = [each for each in group.deployments if each.target.provider.wire == "anthropic"]
        if not speaking:
            raise invalid(
                f"{group.name!r} is served by a provider that does not speak Anthropic's wire: call "
                "/v1/chat/completions, or choose a Claude model.",
                "model",
            )
        group = group._replace(deployments=speaking)
    exchange.deployment = choose(group, exchange.services.random)
