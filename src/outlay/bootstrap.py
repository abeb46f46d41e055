"""The composition root: builds the objects from the settings and hands them on."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from outlay.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from outlay.ledger.ledger import Ledger
    from outlay.pricing.book import PriceBook


def open_ledger(settings: Settings, clock: object = None) -> Ledger:
    """Give a ledger on the database of the settings; the file is opened (or made) on first use.

    `clock` is a Clock, a callable that returns the time, or None for the machine's.

    Raises:
        InvalidValueError: `clock` is none of these.
    """
    from outlay.ledger.clock import as_clock
    from outlay.ledger.ledger import Ledger
    from outlay.stores.sqlite import SQLiteStore

    return Ledger(SQLiteStore(settings.database_path, clock=as_clock(clock)))


_SHARED: dict[Path, Ledger] = {}
_LOCK = threading.Lock()
os.register_at_fork(after_in_child=lambda: globals().update(_LOCK=threading.Lock()))


def shared_ledger(settings: Settings) -> Ledger:
    """Give this program's one ledger on that file: a program may make a manager for each request."""
    path = settings.database_path.absolute()
    with _LOCK:
        if path not in _SHARED:
            _SHARED[path] = open_ledger(settings)
        return _SHARED[path]


def open_price_book(settings: Settings) -> PriceBook:
    """Give the library's price book: with the user's price file, if the settings name one.

    Raises:
        InvalidValueError: the file cannot be read, or states a price that cannot be used.
    """
    from outlay.pricing.book import PriceBook
    from outlay.providers.catalogue import PROVIDERS

    free = [provider.id for provider in PROVIDERS.values() if provider.is_free]
    return PriceBook(user_file=settings.price_file, free_providers=free)
