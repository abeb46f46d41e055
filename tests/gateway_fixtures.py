"""Fixtures: a gateway before a provider that keeps its own bill.

A test module takes them by `pytest_plugins = ["gateway_fixtures"]`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from gateways import CLAUDE_RATE, DEMO_RATE, Gateway, run_gateway

from outlay.testing.provider import FakeProvider


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    """A provider that keeps its own bill, by the same rates as the gateway's prices."""
    with FakeProvider(rates={"claude-sonnet-4-6": CLAUDE_RATE}, default_rate=DEMO_RATE) as running:
        yield running


@pytest.fixture
def gateway(provider: FakeProvider, tmp_path: Path) -> Iterator[Gateway]:
    """A gateway without budgets of its own."""
    with run_gateway(provider, tmp_path) as running:
        yield running
