"""Billing: what the provider itself says it was asked for, and how it is told to behave."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from bench.servers import get, post
from outlay.testing.provider.behaviour import Behaviour

_NO_KEY = "none"
_FAKE_BILL = "/_fake/bill"
_END_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Bill:
    """Nano-dollars and calls that a provider billed; `serving` of them have not ended yet."""

    nanos: int
    calls: int
    serving: int = 0

    def __sub__(self, before: Self) -> Bill:
        return Bill(self.nanos - before.nanos, self.calls - before.calls, self.serving)


class Billing:
    """A provider's books: `url` answers JSON with `total_nanos`, `count` and `serving`.

    The fake provider has one at `/_fake/bill`, and is told there how to behave.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self.root_url = url.partition(_FAKE_BILL)[0]

    def bill(self) -> Bill:
        """The bill as it is now."""
        found: dict[str, Any] = get(f"{self._url}?totals", _NO_KEY)
        return Bill(found["total_nanos"], found["count"], found.get("serving", 0))

    def final_bill(self) -> Bill:
        """The bill once nothing is served any more.

        Raises:
            SystemExit: something still is after half a minute.
        """
        deadline = time.monotonic() + _END_SECONDS
        while (bill := self.bill()).serving:
            if time.monotonic() > deadline:
                raise SystemExit(f"{self._url}: {bill.serving} calls are still being served")
            time.sleep(0.02)
        return bill

    def behave(self, changes: Mapping[str, Any]) -> None:
        """Let the fake provider behave as it does by default, but for these changes."""
        if _FAKE_BILL in self._url:
            post(f"{self.root_url}/_fake/behaviour", {**asdict(Behaviour()), **changes}, _NO_KEY)
        elif changes:
            raise SystemExit(f"only the fake provider can be told to behave by {dict(changes)}: {self._url}")

    def cost_of(self, body: Mapping[str, object]) -> int:
        """Nano-dollars of one such call, asked of the provider itself."""
        before = self.bill()
        post(f"{self.root_url}/v1/chat/completions", {**body, "stream": False}, _NO_KEY)
        return (self.final_bill() - before).nanos
