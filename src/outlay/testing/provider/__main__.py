"""The fake provider as a process of its own: `python -m outlay.testing.provider --port 0 --bill bill.jsonl`.

It prints one line of JSON when it listens: `{"base_url": "http://127.0.0.1:4010/v1", "root_url": …,
"pid": …}`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from outlay.testing.provider.behaviour import Behaviour
from outlay.testing.provider.bill import DEFAULT_RATE, Bill, Rate
from outlay.testing.provider.fake import listen
from outlay.testing.provider.server import Server


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m outlay.testing.provider", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=4010, help="0 takes any free port (default: 4010)")
    parser.add_argument(
        "--bill", type=Path, help="a file that each call is appended to, a line of JSON at a time"
    )
    parser.add_argument("--api-key", help="refuse every other key")
    parser.add_argument(
        "--behaviour", type=json.loads, default={}, help="JSON, such as '{\"delay_seconds\": 0.1}'"
    )
    parser.add_argument("--models", type=json.loads, default={}, help="JSON: model → behaviour")
    parser.add_argument(
        "--rates", type=json.loads, default={}, help="JSON: model → [input, output] nanos a token"
    )
    parser.add_argument(
        "--until-stdin-ends",
        action="store_true",
        help="stop when stdin is closed, as it is when whoever started it ends, even if killed",
    )
    return parser.parse_args(arguments)


async def serve(options: argparse.Namespace) -> None:
    """Listen until SIGTERM or SIGINT, or the end of stdin if that is asked."""
    rates = {model: Rate(*pair) for model, pair in options.rates.items()}
    bill = Bill(rates, DEFAULT_RATE, options.bill)
    default = Behaviour().altered(options.behaviour)
    models = {model: default.altered(changes) for model, changes in options.models.items()}
    server = Server(bill, default, models, api_key=options.api_key)
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    if options.until_stdin_ends:
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), _stop_at_end, stopping)
    runner, root_url = await listen(server, options.host, options.port)
    ready = {"base_url": f"{root_url}/v1", "root_url": root_url, "pid": os.getpid()}
    print(json.dumps(ready), flush=True)
    try:
        await stopping.wait()
    finally:
        await runner.cleanup()
        bill.close()


def _stop_at_end(stopping: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        stopping.set()


if __name__ == "__main__":
    asyncio.run(serve(parse()))
