"""Exchange: one request on its way through the gateway. Each stage adds what it found."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from time import monotonic
from typing import Any, Literal

from outlay.charging import Charge
from outlay.domain.outcomes import Outcome, Reserved
from outlay.gateway.idempotency import Claimed, Recording
from outlay.gateway.principal import Principal
from outlay.gateway.services import Ending, Services
from outlay.pricing.bound.caps import Endpoint
from outlay.pricing.bound.estimate import Estimate
from outlay.pricing.price import Price
from outlay.providers.call import Piece
from outlay.providers.transport import Timeouts
from outlay.providers.wires import Reading
from outlay.routing.deployments import Deployment, ModelGroup

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
State = Literal["unsent", "sent", "settled", "voided"]


class Exchange:
    """One request, its way, and its answer. Times are `monotonic()` seconds, but `at`: µs since the epoch.

    What stands under a stage's name is set when that stage is done.
    """

    __slots__ = (
        "accounts",
        "at",
        "body",
        "bound",
        "cap",
        "charge",
        "claimed",
        "customer",
        "delivered",
        "deployment",
        "digest",
        "ending",
        "endpoint",
        "first_chunk_at",
        "group",
        "headers",
        "held_back",
        "hold_micros",
        "is_client_gone",
        "is_cost_asked",
        "is_plain",
        "is_standard_tier_put",
        "is_stream",
        "is_usage_asked",
        "kept_headers",
        "price",
        "price_reason",
        "principal",
        "reading",
        "receive",
        "request_id",
        "reservation_id",
        "reserved",
        "reserved_at",
        "send",
        "sent_at",
        "sent_body",
        "sent_tool_calls",
        "services",
        "settings",
        "size",
        "started_at",
        "state",
        "status",
        "tags",
        "told_cap",
        "unbounded_field",
        "unbounded_reason",
        "unproven_reason",
        "upstream_headers",
        "upstream_seconds",
    )

    def __init__(
        self,
        services: Services,
        endpoint: Endpoint,
        headers: Mapping[bytes, bytes],
        receive: Receive,
        send: Send,
    ) -> None:
        self.services = services
        self.endpoint: Endpoint = endpoint
        self.headers = headers
        self.receive = receive
        self.send = send
        self.started_at = monotonic()
        self.at = services.clock.wall()
        self.request_id = services.new_id()
        # authenticate
        self.principal: Principal | None = None
        # parse
        self.body: dict[str, Any] = {}
        self.size = 0
        self.digest = ""
        self.is_stream = False
        self.is_usage_asked = self.is_cost_asked = False
        self.customer: str | None = None
        self.tags: tuple[str, ...] = ()
        self.upstream_headers: dict[str, str] | None = None
        self.claimed: Claimed | None = None
        # entitle, route
        self.group: ModelGroup | None = None
        self.deployment: Deployment | None = None
        # estimate
        self.price: Price | None = None
        self.bound: Estimate | None = None
        self.unbounded_field: str | None = None
        self.unbounded_reason: str | None = None
        self.unproven_reason: str | None = None
        self.price_reason: str | None = None
        self.settings: Mapping[str, str] = {}
        self.is_standard_tier_put = False
        # reserve
        self.accounts: tuple[str, ...] = ()
        self.reservation_id = ""
        self.reserved: Reserved | None = None
        self.reserved_at = self.hold_micros = 0
        self.cap = 0
        self.told_cap: int | None = None
        self.sent_tool_calls: int | None = None
        # send
        self.state: State = "unsent"
        self.sent_body: dict[str, Any] = {}
        self.sent_at = self.first_chunk_at = 0.0
        self.upstream_seconds = 0.0
        # meter
        self.reading: Reading | None = None
        self.charge: Charge | None = None
        # answer, settle
        self.held_back: list[Piece] = []
        self.ending: tuple[Ending, asyncio.Future[Outcome]] | None = None
        self.status = 0
        self.is_client_gone = False
        self.is_plain = False
        self.delivered: Recording | None = None
        self.kept_headers: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def upstream(self) -> Deployment:
        """The deployment, once it is picked."""
        assert self.deployment is not None  # noqa: S101 # `route` comes before all that ask
        return self.deployment

    @property
    def model(self) -> str:
        """The public name of the model, once it is known."""
        return "" if self.group is None else self.group.name

    @property
    def who(self) -> Principal:
        """The principal, once it is known."""
        assert self.principal is not None  # noqa: S101 # `authenticate` comes first
        return self.principal

    @property
    def timeouts(self) -> Timeouts:
        """The upstream's timeouts: the deployment's own, or the gateway's."""
        return self.upstream.timeouts or self.services.config.timeouts

    @property
    def held_nanos(self) -> int:
        """What is held for it; 0 where its price is not known."""
        return 0 if self.bound is None or self.price is None else self.bound.bound(self.cap)

    @property
    def is_unproven(self) -> bool:
        """Whether a budget that can refuse counts it by a bound that is not proven."""
        bound, reserved = self.bound, self.reserved
        return bool(bound and bound.unknown_fields and reserved and reserved.is_limited)

    def seconds(self) -> float:
        """How long the request has taken so far."""
        return monotonic() - self.started_at
