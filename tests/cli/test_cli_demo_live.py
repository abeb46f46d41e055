"""Whether `outlay demo` and `make run` cost money, and what they say at their end."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from command_line import CommandLine
from test_cli_demo import children, is_gone, paste, shown

from outlay.providers.catalogue import PROVIDERS
from outlay.testing.provider import FakeProvider

pytestmark = pytest.mark.once("the words of the demo")
_ROOT = Path(__file__).parents[2]


def test_no_key_in_the_environment_makes_a_demo_call_a_real_provider(outlay: CommandLine) -> None:
    with FakeProvider() as real:
        keys = {name: "sk-somebodys-own" for each in PROVIDERS.values() for name in each.key_env}
        bases = {name: real.base_url for each in PROVIDERS.values() for name in each.base_env}
        with outlay.runs("demo", "--port", "0", **keys, **bases) as server:
            found = shown(server)
            answers = [paste(command).partition("\n")[0].strip() for command in found.commands]
        assert "nothing costs money" in found.text
        assert answers[0] == "HTTP/1.1 200 OK"
        assert answers[2] == "HTTP/1.1 402 Payment Required"
        assert real.bill.calls == []


def test_a_live_demo_without_a_key_says_what_to_set(outlay: CommandLine) -> None:
    assert "such as OPENAI_API_KEY" in outlay.fails("demo", "--live")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_end_of_a_demo_says_what_was_removed(outlay: CommandLine, number: signal.Signals) -> None:
    with outlay.runs("demo", "--port", "0") as server:
        found = shown(server)
        (provider,) = children(server.process.pid)
        ran = server.stop(number)
    assert (ran.code, "Traceback" in ran.err) == (0, False)
    assert f"The fake provider has ended. Removed: {found.database.parent}, with the database" in ran.out
    assert not found.database.parent.exists()
    assert is_gone(provider)


def test_the_end_of_a_demo_with_a_folder_says_what_was_kept(outlay: CommandLine) -> None:
    with outlay.runs("demo", "--port", "0", "--folder", "kept") as server:
        found = shown(server)
        ran = server.stop(signal.SIGINT)
    assert f"Kept: {outlay.folder / 'kept'}, with the database and the master key." in ran.out
    assert found.database.exists()


@pytest.mark.parametrize(
    ("arguments", "is_live"),
    [((), False), (("LIVE=1",), True), (("LIVE=yes",), True), (("LIVE=0",), False), (("LIVE=",), False)],
    ids=str,
)
def test_make_run_and_make_tour_are_live_only_if_they_are_told(
    arguments: tuple[str, ...], *, is_live: bool
) -> None:
    make = shutil.which("make")
    assert make is not None
    for target in ("run", "tour"):
        done = subprocess.run(
            [make, "--dry-run", target, *arguments], cwd=_ROOT, capture_output=True, text=True, check=True
        )
        (command,) = (line for line in done.stdout.splitlines() if "demo" in line or "tour.py" in line)
        assert ("--live" in command) == is_live
