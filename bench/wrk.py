"""Load from wrk, which is written in C and so takes little of the machine from what it measures."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

SCRIPT = Path(__file__).with_name("post.lua")


class Load(NamedTuple):
    """What a stretch of load came to; latencies are milliseconds."""

    requests: int
    requests_per_second: float
    p50: float
    p99: float


def need_wrk() -> None:
    """Say how to get wrk if it is missing.

    Raises:
        SystemExit: it is missing.
    """
    if shutil.which("wrk") is None:
        raise SystemExit("the load comes from wrk, which is not here: apt-get install wrk")


def run_wrk(root_url: str, key: str, body: Mapping[str, object], *, clients: int, seconds: float) -> Load:
    """Post chat requests from `clients` connections, each the next when the last is answered.

    Raises:
        SystemExit: a request was refused or broke, so that the figures would say nothing.
    """
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds:.0f}s", "--timeout", "30s", "-s", str(SCRIPT)]
    environ = {**os.environ, "BENCH_KEY": key, "BENCH_BODY": json.dumps(body)}
    done = subprocess.run(
        [*command, f"{root_url}/v1/chat/completions"], env=environ, stdout=subprocess.PIPE, check=True
    )
    printed = done.stdout.decode()
    figures = json.loads(printed.rpartition("JSON ")[2])
    if figures["refused"] or figures["broken"] or not figures["requests"]:
        raise SystemExit(f"{root_url} did not answer all with 200: {figures}")
    rate = 1e6 * figures["requests"] / figures["micros"]
    return Load(figures["requests"], rate, figures["p50"] / 1000, figures["p99"] / 1000)
