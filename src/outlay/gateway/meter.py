"""Meter: what the answer used, and what that costs."""

from __future__ import annotations

from outlay.charging import charge_of
from outlay.gateway.exchange import Exchange
from outlay.providers.wires import Reading


def meter(exchange: Exchange, reading: Reading | None = None) -> None:
    """Say what the exchange is charged, from what was read of the answer."""
    reading = reading or exchange.reading
    assert reading is not None  # noqa: S101 # `send` comes first
    deployment = exchange.upstream
    exchange.charge = charge_of(
        reading,
        body=exchange.sent_body,
        target=deployment.target,
        bound=exchange.bound,
        cap=exchange.cap,
        book=exchange.services.book,
        at=exchange.at,
        own=deployment.own_price or None,
        price=exchange.price,
        priced_as=deployment.priced_as,
        asked=deployment.asked,
    )
