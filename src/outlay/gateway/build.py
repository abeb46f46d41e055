"""Build: the parts of one gateway, put together from its configuration."""

from __future__ import annotations

from pathlib import Path

from outlay.bootstrap import open_ledger
from outlay.domain.commands import FreeSlots
from outlay.gateway.config import PROJECT, Config
from outlay.gateway.keyring import Keyring
from outlay.gateway.metrics import Metrics
from outlay.gateway.running import Running
from outlay.gateway.services import Services
from outlay.gateway.stated_budgets import put_stated_budgets, remember_served
from outlay.ledger.clock import Clock, SystemClock
from outlay.pricing.book import PriceBook
from outlay.providers.transport import Transport
from outlay.settings import Settings


def build_services(config: Config, *, clock: Clock | None = None, instance: str = "") -> Services:
    """Put the parts together. Nothing is opened yet.

    `instance` names this process among those that share the database: `host:port` of where it listens.

    Raises:
        InvalidValueError: the database's URL or a price cannot be used.
    """
    settings = Settings.from_environment(database_url=config.database_url)
    clock = clock or SystemClock()
    ledger = open_ledger(settings, clock)
    keyring = Keyring(
        ledger,
        clock,
        master_key=config.master_key,
        is_user_budget_on_team_keys=config.is_user_budget_on_team_keys,
    )
    metrics, running = Metrics(config.routes.names()), Running()
    metrics.watch(writer=ledger.writer, running=running)
    book = PriceBook(config.prices, settings.price_file)
    transport = Transport(config.timeouts)
    return Services(config, ledger, book, transport, clock, keyring, metrics, running, instance)


def open_books(services: Services) -> None:
    """Open the database, put the configuration's budgets in force, and free what a dead self still holds.

    Raises:
        StoreError: the database cannot be used.
    """
    put_stated_budgets(services.ledger, services.config.budgets)
    remember_served(services.ledger, services.config.routes)
    if services.instance:
        services.ledger.execute(FreeSlots(PROJECT, services.instance))


def database_path(config: Config) -> Path:
    """Where the gateway's database lies.

    Raises:
        InvalidValueError: its URL cannot be used.
    """
    return Settings.from_environment(database_url=config.database_url).database_path
