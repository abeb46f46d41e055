"""Fixtures that the tests of the library's front doors and of the gateway share: a provider, and a database.

A test module takes them by `pytest_plugins = ["front_doors"]`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from journal import Journal

import outlay
from outlay import BudgetManager
from outlay.testing.provider import FakeProvider


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProvider]:
    """A provider that `gpt-4o` and all of OpenAI's models go to, which bills by genai-prices."""
    rates = {
        "gpt-4o": (2_500, 10_000),
        "gpt-4o-mini": (150, 600),
        "text-embedding-3-small": (20, 0),
        "claude-sonnet-4-6": (3_000, 15_000),
    }
    with FakeProvider(rates=rates) as running:
        monkeypatch.setenv("OPENAI_API_BASE", running.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-environment")
        yield running


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the data is."""
    path = tmp_path / "outlay.db"
    monkeypatch.setenv("OUTLAY_DATABASE_URL", str(path))
    return path


@pytest.fixture
def manager(database: Path) -> Iterator[BudgetManager]:
    """A manager whose budgets are crossed at most once; alice has ten dollars."""
    made = BudgetManager(project_name="tests")
    made.create_budget(total_budget=10, user="alice")
    yield made
    made.close()


@pytest.fixture
def journal(database: Path) -> Iterator[Journal]:
    """The database as anyone sees it."""
    opened = Journal(database)
    yield opened
    opened.close()


@pytest.fixture
def process_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has spent nothing and has no budget; what a test sets is undone."""
    for name, value in (("max_budget", None), ("budget_mode", "crossing"), ("budget_wait_seconds", 30.0)):
        monkeypatch.setattr(outlay, name, value)
    outlay._current_cost = 0
