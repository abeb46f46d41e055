"""Fixtures: a gateway before a provider that keeps its own bill, that of `front_doors`.

A test module takes them by `pytest_plugins = ["gateway_fixtures"]`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from gateways import Gateway, run_gateway

from outlay.testing.clock import FakeClock
from outlay.testing.provider import FakeProvider

pytest_plugins = ["front_doors"]


@pytest.fixture
def gateway(provider: FakeProvider, tmp_path: Path) -> Iterator[Gateway]:
    """A gateway without budgets of its own."""
    with run_gateway(provider, tmp_path) as running:
        yield running


@pytest.fixture
def clock() -> FakeClock:
    """The clock of `still`."""
    return FakeClock()


@pytest.fixture
def still(provider: FakeProvider, tmp_path: Path, clock: FakeClock) -> Iterator[Gateway]:
    """A gateway whose clock a test moves."""
    with run_gateway(provider, tmp_path, clock=clock) as running:
        yield running
