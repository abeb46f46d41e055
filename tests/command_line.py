"""A command line in a folder of its own: run in this process, or as one of its own where that matters."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, chdir, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from threading import Timer
from typing import Any, NamedTuple
from unittest.mock import patch

import apsw
import pytest

from outlay.bootstrap import open_ledger
from outlay.cli import main
from outlay.domain.commands import Command
from outlay.ledger.ledger import Ledger
from outlay.settings import Settings
from outlay.testing.clock import FakeClock

_PATIENCE_SECONDS = 30
_PROGRAM = (sys.executable, "-m", "outlay")


class Ran(NamedTuple):
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its output as JSON."""
        assert self.code in (0, 1), self.err
        return json.loads(self.out)


class Server:
    """A process that serves, and what it has said on stdout so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said = ""

    def says(self, text: str) -> str:
        """Wait for a line with this text, and give it."""
        assert self.process.stdout is not None
        timer = Timer(_PATIENCE_SECONDS, self.process.kill)
        timer.start()
        try:
            for line in self.process.stdout:
                self.said += line
                if text in line:
                    return line.rstrip("\n")
        finally:
            timer.cancel()
        raise AssertionError(f"{text!r} was not said, but {self.said!r}, {self.process.communicate()[1]!r}")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> Ran:
        """Send a signal, and wait for the end; it is killed if that does not come."""
        self.process.send_signal(number)
        timer = Timer(_PATIENCE_SECONDS, self.process.kill)
        timer.start()
        out, err = self.process.communicate()
        timer.cancel()
        return Ran(self.process.returncode, self.said + out, err)


class CommandLine:
    """Runs `outlay` in a folder, with an environment that has nothing of Outlay's or a provider's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "outlay.db"

    def __call__(self, *arguments: str, **environ: str) -> Ran:
        """Run a command in this process, unless it is `demo`, which handles signals, or has other imports."""
        if "demo" in arguments or "PYTHONPATH" in environ:
            return self.process(*arguments, **environ)
        out, err = _Captured(), _Captured()
        with ExitStack() as stack:
            stack.enter_context(patch.dict(os.environ, {**_clean_environment(), **environ}, clear=True))
            stack.enter_context(chdir(self.folder))
            stack.enter_context(patch.object(sys, "argv", ["outlay", *arguments]))
            stack.enter_context(patch.object(sys, "stdin", io.StringIO()))
            if "serve" in arguments:
                stack.enter_context(patch("outlay.gateway.server.serve", _serve))
            stack.enter_context(redirect_stdout(out))
            stack.enter_context(redirect_stderr(err))
            end = stack.enter_context(pytest.raises(SystemExit))
            main()
        assert isinstance(end.value.code, int)
        return Ran(end.value.code, out.text, err.text)

    def process(self, *arguments: str, program: Sequence[str] = _PROGRAM, **environ: str) -> Ran:
        """Run a command as a process of its own."""
        done = subprocess.run(
            [*program, *arguments],
            cwd=self.folder,
            env={**_clean_environment(), **environ},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def fails(self, *arguments: str, **environ: str) -> str:
        """Run what must fail: one line on stderr, nothing on stdout, exit code 2. Gives the line."""
        ran = self(*arguments, **environ)
        assert (ran.code, ran.out) == (2, ""), ran
        assert ran.err.startswith("outlay: ")
        assert ran.err.count("\n") == 1
        return ran.err

    @contextmanager
    def runs(self, *arguments: str, **environ: str) -> Iterator[Server]:
        """Start what goes on until it is stopped; it is gone at the end in any case."""
        with subprocess.Popen(
            [*_PROGRAM, *arguments],
            cwd=self.folder,
            env={**_clean_environment(), **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            server = Server(process)
            try:
                yield server
            finally:
                if process.poll() is None:
                    server.stop()

    def piped_to_head(self, *arguments: str) -> str:
        """Run with a reader that takes one line and leaves; gives the line. No complaint, exit code 0."""
        process = subprocess.Popen(
            [*_PROGRAM, *arguments],
            cwd=self.folder,
            env=_clean_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        process.stderr.close()
        assert process.wait(timeout=60) == 0
        return line

    @contextmanager
    def ledger(self, clock: FakeClock | None = None) -> Iterator[Ledger]:
        """The ledger on the folder's database."""
        ledger = open_ledger(Settings(self.database), clock)
        yield ledger
        ledger.close()

    def execute(self, *commands: Command) -> None:
        """Carry out commands, before or between runs."""
        with self.ledger() as ledger:
            for command in commands:
                ledger.execute(command)

    def tamper(self, *statements: str) -> None:
        """Change the database behind the ledger's back."""
        connection = apsw.Connection(str(self.database))
        for statement in statements:
            connection.execute(statement)
        connection.close()


def _serve(*_: object, **__: object) -> None:
    raise AssertionError("it would serve for ever: start what serves with `runs`")


class _Captured(io.TextIOWrapper):
    """An output that is no terminal, as a pipe is."""

    def __init__(self) -> None:
        self._bytes = io.BytesIO()
        super().__init__(self._bytes, encoding="utf-8")

    @property
    def text(self) -> str:
        """What was written."""
        self.flush()
        return self._bytes.getvalue().decode()


def _clean_environment() -> dict[str, str]:
    dropped = ("OUTLAY_", "PYTHONDONTWRITEBYTECODE")  # compiling everything anew takes most of a run's time
    of_providers = ("_API_KEY", "_API_BASE", "_BASE_URL", "_HOST", "_MASTER_KEY", "DATABASE_URL")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(dropped) and not name.endswith(of_providers)
    }
    return {**kept, "COLUMNS": "80", "PYTHONWARNINGS": "error"}
