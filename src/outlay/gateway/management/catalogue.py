"""Catalogue: the accounts and budgets as the management routes change them, one change at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from outlay.errors import LedgerBusyError
from outlay.gateway.key_rules import KeyRules
from outlay.gateway.services import Services
from outlay.ledger.ledger import Ledger


class Catalogue:
    """What the routes change. A change reads a record and writes it anew: of two at once, one would be lost.

    The lock is of this process; the last of several processes to write a record wins.
    """

    def __init__(self, services: Services) -> None:
        self.services = services
        config = services.config
        self.rules = KeyRules(config.default_key_params, config.upperbound_key_params)
        self._changing = Lock()

    @property
    def ledger(self) -> Ledger:
        """The ledger that holds it."""
        return self.services.ledger

    @property
    def zone(self) -> str:
        """The time zone in which days, weeks and months of its budgets begin."""
        return self.services.config.time_zone

    @contextmanager
    def changing(self) -> Iterator[Ledger]:
        """Be the only one to change it.

        Raises:
            LedgerBusyError: other changes take longer than the ledger may.
        """
        if not self._changing.acquire(timeout=self.ledger.answer_seconds):
            raise LedgerBusyError("other changes of keys, users and teams did not end in time: try again")
        try:
            yield self.ledger
        finally:
            self._changing.release()
