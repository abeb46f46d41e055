"""The store conformance suite: the same tests for every store. Subclass it in a test file:

class TestMyStore(StoreConformance):
    def make_store(self, clock):
        return MyStore(clock=clock)

    def reopen_store(self, store, clock):
        return MyStore(clock=clock)  # the same data, as after a crash
"""

from outlay.testing.conformance.accounts import Accounts
from outlay.testing.conformance.admission import Admission
from outlay.testing.conformance.base import Bench
from outlay.testing.conformance.periods import Periods
from outlay.testing.conformance.resolution import Resolution

__all__ = ["Accounts", "Admission", "Bench", "Periods", "Resolution", "StoreConformance"]


class StoreConformance(Accounts, Admission, Resolution, Periods):
    """Everything a store must do."""
