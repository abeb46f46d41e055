"""The benchmarks that anybody may repeat: they run, and say what they found."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.once("sums under load, which the database keeps")

ROOT = Path(__file__).parents[1]


def test_the_overspend_benchmark_runs_and_its_proof_holds(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench.overspend", "--quick", "--row", "first-use", "--json"]
    done = subprocess.run(
        [*command, "--folder", str(tmp_path)],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)["results"]
    assert 0 < result["ratio"] <= 1
    assert result["served"] >= 0.8 * result["fitting"]
    assert (result["reserved_nanos"], result["audit"]) == (0, "clean")


def test_the_overspend_benchmark_says_what_anybodys_gateway_needs() -> None:
    command = [sys.executable, "-m", "bench.overspend", "--url", "http://127.0.0.1:9", "--row", "declared"]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr == "--url needs --row and --key, as many of the one as of the other\n"
