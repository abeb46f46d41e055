"""Servers: processes on loopback that are started, waited for, weighed, killed and stopped."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

START_SECONDS = 180.0
STOP_SECONDS = 20.0
_MEMORY = re.compile(r"^VmRSS:\s+(\d+) kB", re.MULTILINE)


@dataclass(slots=True)
class Server:
    """One process that serves HTTP at `root_url`; what it says goes to `log`.

    `ready_path` answers 200 as soon as it serves. Started by `with`, or by `start`, again after `kill`.
    """

    name: str
    command: Sequence[str]
    root_url: str
    log: Path
    ready_path: str = "/health/readiness"
    environ: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> float:
        """Start it; gives the seconds until it was ready.

        Raises:
            SystemExit: it ended, or was not ready in time; the message has the end of its log.
        """
        begun = time.perf_counter()
        environ = {**_clean_environment(), **self.environ}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, env=environ, stdout=log, stderr=log)
        while not _answers(self.root_url + self.ready_path):
            if self.process.poll() is not None or time.perf_counter() - begun > START_SECONDS:
                self.kill()
                raise SystemExit(f"{self.name} did not start:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.01)
        return time.perf_counter() - begun

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        self._end(signal.SIGTERM)

    def interrupt(self) -> None:
        """End it as a keyboard does."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End it at once, as `kill -9` does."""
        self._end(signal.SIGKILL)

    def megabytes(self) -> float:
        """What it and its children have resident."""
        assert self.process is not None
        return sum(map(_megabytes, _family(self.process.pid)))

    def cpu_seconds(self) -> float:
        """The processor time that it and its children have used."""
        assert self.process is not None
        return sum(map(_cpu_seconds, _family(self.process.pid)))

    def _end(self, number: signal.Signals) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(number)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start_reporting(module: str, *arguments: str) -> tuple[subprocess.Popen[str], Any]:
    """Start a server of ours that prints a line of JSON when it listens: the process, and that line."""
    command = [sys.executable, "-m", module, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=_clean_environment())
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())


def end(process: subprocess.Popen[str]) -> None:
    """End a process that `start_reporting` gave."""
    process.terminate()
    process.communicate()


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def post(url: str, document: Mapping[str, object], key: str) -> Any:
    """Post JSON and read JSON.

    Raises:
        SystemExit: it was refused; the message says how.
    """
    return _ask(urllib.request.Request(url, json.dumps(document).encode(), _headers(key)))  # noqa: S310


def get(url: str, key: str) -> Any:
    """Get JSON.

    Raises:
        SystemExit: it was refused; the message says how.
    """
    return _ask(urllib.request.Request(url, None, _headers(key)))  # noqa: S310


def _headers(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}", "content-type": "application/json"}


def _ask(request: urllib.request.Request) -> Any:
    try:
        with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310 # ours, on loopback
            return json.loads(response.read())
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{request.full_url}: {error.code} {error.read().decode()[:1000]}") from error


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as response:  # noqa: S310 # ours, on loopback
            status: int = response.status
    except OSError:
        return False
    return status == 200


def _clean_environment() -> dict[str, str]:
    """The environment without what could redirect, configure or pay for a gateway."""
    ours = ("OUTLAY_", "LITELLM_", "OPENAI_", "ANTHROPIC_")
    names = ("DATABASE_URL", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "CONFIG_FILE_PATH")
    return {
        name: value for name, value in os.environ.items() if not name.startswith(ours) and name not in names
    }


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in _family(int(child)))]


def _megabytes(pid: int) -> float:
    found = _MEMORY.search(Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def _cpu_seconds(pid: int) -> float:
    """User and system time: fields 14 and 15 of proc_pid_stat(5), behind the name in parentheses."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
