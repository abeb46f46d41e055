"""What all tests share: a command line, and which of them run once and not on every Python."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest
from command_line import CommandLine

# No client speaks TLS (one test's does, and names its certificate): each would read all of the machine's
# certificates, which takes 30 ms. This folder has none.
os.environ.pop("SSL_CERT_FILE", None)
os.environ["SSL_CERT_DIR"] = str(Path(__file__).parent)

PROPERTY = "a property of exact arithmetic and pure rules"


def pytest_collection_finish() -> None:
    """Let the garbage collector leave alone what was imported: it would take a fifth of the time."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)  # as the server does


@pytest.fixture
def outlay(tmp_path: Path) -> CommandLine:
    """Runs `outlay` in the test's folder."""
    return CommandLine(tmp_path)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of Hypothesis, before tests are chosen by marks; no mark is without a reason."""
    for item in items:
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker(pytest.mark.once(PROPERTY))
        for mark in item.iter_markers("once"):
            if not (len(mark.args) == 1 and isinstance(mark.args[0], str)):
                raise pytest.UsageError(f"{item.nodeid}: say why it runs once: once('the reason')")
