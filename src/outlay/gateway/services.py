"""Services: what every request of the gateway uses, built once and handed on."""

from __future__ import annotations

import secrets
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from outlay.domain.commands import FreeSlot, Settle, Void
from outlay.gateway.config import Config
from outlay.gateway.idempotency import Replays
from outlay.gateway.keyring import Keyring
from outlay.gateway.logs import RequestLog
from outlay.gateway.metrics import Metrics
from outlay.gateway.running import Running
from outlay.ledger.clock import Clock
from outlay.ledger.ids import new_id
from outlay.ledger.ledger import Ledger
from outlay.pricing.book import PriceBook
from outlay.providers.transport import Transport

Ending = Settle | Void | FreeSlot
"""A command that ends a call, or says that it is over."""


@dataclass(slots=True)
class Services:
    """The parts of one gateway. `instance` names this process among those that share the database."""

    config: Config
    ledger: Ledger
    book: PriceBook
    transport: Transport
    clock: Clock
    keyring: Keyring
    metrics: Metrics
    running: Running
    instance: str = ""
    unsettled: deque[Ending] = field(default_factory=lambda: deque(maxlen=10_000))
    request_log: RequestLog = field(default_factory=lambda: RequestLog(sys.stderr))
    replays: Replays = field(default_factory=Replays)
    new_id: Callable[[], str] = new_id
    random: Random = field(default_factory=lambda: Random(secrets.randbits(64)))  # noqa: S311 # it spreads load, and guards nothing
