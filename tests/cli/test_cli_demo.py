"""`outlay demo`: three commands that work as they are printed, and nothing left behind."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import httpx2
import pytest
from command_line import CommandLine, Server

from outlay.testing.provider import FakeProvider

PRINTED = pytest.mark.once("the words of the demo")


class Shown(NamedTuple):
    """What the demo says when it listens."""

    text: str
    address: str
    master_key: str
    key: str
    database: Path
    commands: list[str]


def shown(server: Server) -> Shown:
    server.says("Ctrl-C ends it")
    text = server.said
    address, master, key, database = (
        re.findall(rf"^  {name} +(\S+)", text, re.M)[0]
        for name in ("Address", "Master key", "A key", "Database")
    )
    commands = re.findall(r"^curl .*?'$", text.replace("\\\n", "\\\r"), re.M | re.S)
    commands = [
        command.replace("\\\r", "\\\n") for command in re.findall(r"^curl [^\n]*", "\n".join(commands), re.M)
    ]
    return Shown(text, address, master, key, Path(database), commands)


def paste(command: str) -> str:
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def children(process: int) -> list[int]:
    """The processes that a process started."""
    found = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii")
    return [int(each) for each in found.split()]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_gone(process: int) -> bool:
    """Whether a process has ended; one that nobody has waited for yet counts as ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return True
    return "\nState:\tZ" in status


def test_the_three_commands_work_as_they_are_printed(outlay: CommandLine) -> None:
    with outlay.runs("demo", "--port", "0") as server:
        found = shown(server)
        chat, stream, refused = (paste(command) for command in found.commands)
        (provider,) = children(server.process.pid)
        ran = server.stop(signal.SIGINT)
    assert chat.startswith("HTTP/1.1 200")
    assert re.search(r"^x-outlay-cost: 0\.000\d+", chat, re.M)
    assert '"content":' in chat
    assert stream.count("data: ") > 10
    assert "data: [DONE]" in stream
    assert refused.startswith("HTTP/1.1 402")
    assert '"type":"budget_exceeded"' in refused
    assert '"limit":"0.05"' in refused
    assert ran.code == 0
    assert "Traceback" not in ran.err
    assert "nothing costs money" in ran.out
    assert is_gone(provider)
    assert not found.database.parent.exists()


@PRINTED
def test_what_is_printed_says_how_to_see_what_is_left(outlay: CommandLine) -> None:
    with outlay.runs("demo", "--port", "0") as server:
        found = shown(server)
        paste(found.commands[0])
        command = re.findall(r"^.* balance --database .*$", found.text, re.M)[0]
        assert "$0.0497275" in paste(command)
        headers = {"Authorization": f"Bearer {found.master_key}"}
        listed = httpx2.get(f"{found.address}/v1/models", headers=headers).json()["data"]
        assert [each["id"] for each in listed] == ["demo"]


def test_the_fake_provider_ends_with_a_demo_that_is_killed(outlay: CommandLine) -> None:
    with outlay.runs("demo", "--port", "0", "--folder", "kept") as server:
        shown(server)
        (provider,) = children(server.process.pid)
        assert not is_gone(provider)
        server.process.kill()
        server.process.wait()
        wait_until(lambda: is_gone(provider))


@PRINTED
def test_a_busy_port_is_told_and_another_taken(outlay: CommandLine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with outlay.runs("demo", "--port", str(port)) as server:
            found = shown(server)
            assert f"Port {port} is busy" in found.text
            assert not found.address.endswith(f":{port}")
            assert paste(found.commands[0]).startswith("HTTP/1.1 200")


@PRINTED
def test_a_live_demo_calls_the_provider_whose_key_is_in_the_environment(outlay: CommandLine) -> None:
    with FakeProvider() as provider:
        environ = {"OPENAI_API_KEY": "sk-upstream", "OPENAI_BASE_URL": provider.base_url}
        with outlay.runs("demo", "--port", "0", "--live", **environ) as server:
            found = shown(server)
            assert f"OpenAI at {provider.base_url} answers" in found.text
            assert children(server.process.pid) == []
            chat, stream, refused = (paste(command) for command in found.commands)
        assert chat.startswith("HTTP/1.1 200")
        assert "data: [DONE]" in stream
        assert refused.startswith("HTTP/1.1 402")
        assert [call.model for call in provider.bill.calls] == ["gpt-4o-mini"] * 2
        assert "sk-upstream" not in found.text


@PRINTED
def test_a_folder_keeps_the_database_and_the_master_key(outlay: CommandLine) -> None:
    found = []
    for alias in ("demo", "demo-2"):
        with outlay.runs("demo", "--port", "0", "--folder", "kept") as server:
            found.append(shown(server))
            assert f"alias {alias};" in found[-1].text
            assert server.stop().code == 0
    first, second = found
    assert first.database == second.database == outlay.folder / "kept" / "outlay.db"
    assert first.master_key == second.master_key
    assert first.key != second.key
    listed = outlay("key", "list", "--database", str(first.database), "--json").json["keys"]
    assert sorted(each["key_alias"] for each in listed) == ["demo", "demo-2"]


def test_a_folder_that_cannot_be_made_is_one_line(outlay: CommandLine) -> None:
    (outlay.folder / "taken").write_text("")
    assert "--folder taken cannot be used" in outlay.fails("demo", "--folder", "taken")
