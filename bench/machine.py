"""The machine: what the figures were measured on, and how busy it was."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import apsw

import outlay


def describe() -> dict[str, str]:
    """Name what a reader needs to compare: cores, Python, SQLite, load."""
    return {
        "cores": f"{os.cpu_count()} ({_processor()})",
        "system": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
        "SQLite": apsw.sqlite_lib_version(),
        "Outlay": outlay.__version__,
        "load": load(),
    }


def load() -> str:
    """How many processes wanted to run in the last minute, besides what the benchmark itself adds."""
    return f"{os.getloadavg()[0]:.1f}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )
