"""A command line in a folder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import CommandLine


@pytest.fixture
def outlay(tmp_path: Path) -> CommandLine:
    """Runs `outlay` in the test's folder."""
    return CommandLine(tmp_path)
