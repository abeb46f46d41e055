"""The gateway that pages of the documentation speak of, and the commands of such a page.

A page means a running gateway by `http://127.0.0.1:4000` and a key by `sk-…`, and in its `console` blocks by
`$GATEWAY`, `$KEY` and `$MASTER_KEY` too. An answer whose status a block shows
(`HTTP/1.1 402 …`) has that status; all others are 200.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gateways import CREDENTIAL, Gateway, run_gateway
from pages import Block, blocks, python_of

from outlay.routing.configured import Row
from outlay.testing.provider import FakeProvider

ADDRESS = "http://127.0.0.1:4000"
KEY = "sk-…"
_STATUS = re.compile(r"^HTTP/1\.1 (\d{3})", re.MULTILINE)
_RUN = re.compile(
    r"^(\w+=\$\()?(curl .*(\$GATEWAY|http://127\.0\.0\.1:4000)|"
    r"outlay (key|budget|balance|entries|audit|presumed)\b)",
    re.DOTALL,
)
_CURL = "curl() { command curl -sS \"$@\" -w '%{stderr}status %{http_code}\\n'; }\n"


@dataclass(frozen=True, slots=True)
class Documented:
    """A gateway, and the key that its page calls `sk-…`."""

    gateway: Gateway
    key: str

    def fill_in(self, text: str) -> str:
        """The text with the real address and key."""
        return text.replace(ADDRESS, self.gateway.root_url).replace(KEY, self.key)

    @property
    def environ(self) -> dict[str, str]:
        """What the reader of the page has exported."""
        return {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "OUTLAY_DATABASE_URL": str(self.gateway.path),
            "GATEWAY": self.gateway.root_url,
            "KEY": self.key,
            "MASTER_KEY": self.gateway.master_key,
        }


def commands_of(block: Block) -> list[str]:
    """The commands of a console block that speak with the gateway, or with its database."""
    if block.info != "console":
        return []
    found = re.findall(r"^\$ ((?:.*\\\n)*.*)$", block.body, re.MULTILINE)
    return [command for command in found if _RUN.match(command)]


def is_of_gateway(page: Path) -> bool:
    """Whether the page needs a gateway that runs."""
    return any("curl" in command for block in blocks(page) for command in commands_of(block)) or any(
        ADDRESS in block.body for block, _ in python_of(page)
    )


@contextmanager
def documented_gateway(page: Path, folder: Path) -> Iterator[Documented | None]:
    """Run the gateway that the page speaks of; None if it speaks of none."""
    if not is_of_gateway(page):
        yield None
        return
    home = folder / "gateway"
    home.mkdir()
    with FakeProvider() as provider:
        demo = {"input_cost_per_token": 2.5e-6, "output_cost_per_token": 1e-5}
        rows = [
            _row(provider.base_url, "demo", "openai/demo", demo),
            _row(provider.base_url, "gpt-4o-mini", "openai/gpt-4o-mini"),
            _row(provider.base_url, "gpt-4o", "openai/gpt-4o"),
            _row(provider.root_url, "claude-sonnet-4-6", "anthropic/claude-sonnet-4-6"),
        ]
        with run_gateway(provider, home, rows_of=rows) as gateway:
            yield Documented(
                gateway, gateway.new_key(key_alias="page", max_budget=0.05, budget_duration="1d")
            )


def _row(api_base: str, name: str, model: str, price: Mapping[str, float] | None = None) -> Row:
    return Row(name, model, f"{name}-1", api_key=CREDENTIAL, api_base=api_base, own_price=price or {})


def statuses(page: Path, documented: Documented, folder: Path) -> list[tuple[int, list[int], list[int]]]:
    """Run a page's commands in one shell: each block's line, the statuses it says, and those it had."""
    running = [(block, found) for block in blocks(page) if (found := commands_of(block))]
    lines = ["set -eu -o pipefail", _CURL]
    for block, found in running:
        lines += [f"echo 'block {block.line}' >&2", *(documented.fill_in(each) for each in found)]
    done = subprocess.run(
        ["bash", "-c", "\n".join(lines)],
        env=documented.environ,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{done.stderr}\n{done.stdout}"
    parts = re.split(r"^block (?=\d+$)", done.stderr, flags=re.MULTILINE)[1:]
    results = []
    for (block, found), part in zip(running, parts, strict=True):
        had = [int(status) for status in re.findall(r"^status (\d+)$", part, re.MULTILINE)]
        said = [int(status) for status in _STATUS.findall(block.body)]
        calls = sum("curl" in command for command in found)
        results.append((block.line, said or [200] * calls, had))
    return results
