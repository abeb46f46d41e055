"""Route: pick the deployment that serves the request."""

from __future__ import annotations

from outlay.gateway.exchange import Exchange
from outlay.gateway.parse import invalid
from outlay.pricing.bound.caps import Endpoint
from outlay.routing.deployments import choose


def route(exchange: Exchange) -> None:
    """Pick a deployment of the group, by weight, that speaks the request's wire.

    Raises:
        GatewayError: 400 when none of them does.
    """
    group = exchange.group
    assert group is not None  # noqa: S101 # `entitle` comes first
    if exchange.endpoint != "chat":  # which both wires have
        wire = "anthropic" if exchange.endpoint == "messages" else "openai"
        speaking = [each for each in group.deployments if each.target.provider.wire == wire]
        if not speaking:
            raise invalid(_unspoken(group.name, exchange.endpoint), "model")
        if len(speaking) < len(group.deployments):
            group = group._replace(deployments=speaking)
    exchange.deployment = choose(group, exchange.services.random)


def _unspoken(model: str, endpoint: Endpoint) -> str:
    if endpoint == "messages":
        return (
            f"{model!r} is served by a provider that does not speak Anthropic's wire: call "
            "/v1/chat/completions, or choose a Claude model."
        )
    other = (
        "choose another model." if endpoint == "embeddings" else "call /v1/chat/completions or /v1/messages."
    )
    return f"{model!r} is served by a provider that has no {endpoint}: {other}"
