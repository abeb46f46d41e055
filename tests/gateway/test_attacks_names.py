"""Names that callers make up: any number of customers and tags, and a gateway that forgets them again."""

from __future__ import annotations

import pytest
from gateways import Gateway

from outlay.ledger import books

pytest_plugins = ["gateway_fixtures"]


def test_what_is_kept_of_made_up_names_does_not_grow_for_ever(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(books, "_MOST_VIEWS", 50)
    monkeypatch.setattr(books, "_MOST_LINEAGES", 10)
    key = gateway.new_key(max_budget=0.0025)
    statuses = [
        gateway.chat(key, user=f"c{n}", metadata={"tags": [f"t{n}.{m}" for m in range(20)]}).status_code
        for n in range(30)
    ]
    known = gateway.services.ledger.writer._books
    assert len(known._views) <= 50 + 2 * 25
    assert len(known._lineages) <= 11
    assert statuses == sorted(statuses)
    assert set(statuses) == {200, 402}
    gateway.settled()
    assert gateway.provider.bill.total_nanos == gateway.journal.charged_nanos() <= 2_500_000
