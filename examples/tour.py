"""The five-minute tour: what Outlay does, over real HTTP, against a provider that keeps its own bill.

python examples/tour.py           a fake provider on this machine; costs nothing
python examples/tour.py --live    the real OpenAI API, with OPENAI_API_KEY; costs less than one cent
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import outlay
from outlay.testing.clock import FakeClock

MODEL = "gpt-4o-mini"
QUESTION = [{"role": "user", "content": "Name three rivers in Europe."}]


def main() -> None:
    """Walk through the tour, one step after the other."""
    is_live = "--live" in sys.argv[1:]
    if is_live and not os.environ.get("OPENAI_API_KEY"):
        sys.exit("LIVE=1 calls the real API: set OPENAI_API_KEY first.")
    with tempfile.TemporaryDirectory() as folder, provider(is_live=is_live):
        database = Path(folder) / "outlay.db"
        os.environ["OUTLAY_DATABASE_URL"] = str(database)
        process_budget()
        users(database)
        texts()
        months(Path(folder) / "months.db")
        audit()
    say("Done", "Everything above ran for real. The code is examples/tour.py; next: docs/tutorial.md.")


@contextmanager
def provider(*, is_live: bool) -> Iterator[None]:
    """The real API, or a fake provider in a process of its own."""
    if is_live:
        say("Provider", "OpenAI's API, for real.")
        yield
        return
    command = [sys.executable, "-m", "outlay.testing.provider", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = json.loads(process.stdout.readline())["base_url"]
        os.environ["OPENAI_API_BASE"], os.environ["OPENAI_API_KEY"] = address, "sk-tour"
        say(
            "Provider", f"A fake provider that speaks OpenAI's API listens on {address}; nothing costs money."
        )
        try:
            yield
        finally:
            process.terminate()


def process_budget() -> None:
    """A budget for the whole process."""
    say("1. A budget for this process", "outlay.max_budget = 0.00002 (USD), then calls until it is used up.")
    outlay.max_budget = 0.00002
    for number in range(1, 10):
        try:
            reply = outlay.completion(model=MODEL, messages=QUESTION, max_tokens=16)
        except outlay.BudgetExceededError as error:
            show(f"call {number}: BudgetExceededError: {error}")
            break
        text = str(reply.choices[0].message.content)
        show(f"call {number}: {text[:28]!r}…  cost so far: ${outlay.current_cost():.6f}")
    outlay.max_budget = None


def users(database: Path) -> None:
    """A budget for each user; hard: what might not fit is not sent."""
    say(
        "2. A budget for each user",
        f"BudgetManager keeps them in {database.name}; alice gets $0.00002, hard.",
    )
    manager = outlay.BudgetManager(project_name="tour", mode="hard")
    manager.create_budget(total_budget=0.00002, user="alice")
    for number in range(1, 10):
        try:
            stream = manager.completion(
                user="alice", model=MODEL, messages=QUESTION, max_tokens=16, stream=True
            )
        except outlay.BudgetExceededError as error:
            left = manager.get_total_budget("alice") - manager.get_current_cost("alice")
            show(
                f"stream {number}: refused before it was sent: it needs up to ${error.needed:.7f}, and "
                f"${left:.7f} is left; it would fit with max_tokens={error.affordable_max_tokens}"
            )
            break
        words = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
        show(f"stream {number}: {words[:26]!r}…  alice has spent ${manager.get_current_cost('alice'):.6f}")


def texts() -> None:
    """What texts cost, without a call."""
    say("3. Text in, text out", "Spend that happened elsewhere is charged by its texts.")
    manager = outlay.BudgetManager(project_name="tour")
    manager.create_budget(total_budget=10, user="bob")
    manager.update_cost(user="bob", model="gpt-4o", input_text="Hello!", output_text="Hi, how can I help?")
    show(f"bob's record: {manager.user_dict['bob']}")


def months(database: Path) -> None:
    """A monthly budget, with a clock that we move."""
    say("4. Budgets that reset", "carol has $5 a month; we move the clock instead of waiting.")
    clock = FakeClock(datetime.now(UTC))
    manager = outlay.BudgetManager("tour", clock=clock, database_url=str(database))
    manager.create_budget(total_budget=5, user="carol", duration="monthly")
    manager.update_cost(user="carol", model="gpt-4o", input_text="word " * 1000, output_text="word " * 1000)
    show(f"today:         carol has spent ${manager.get_current_cost('carol'):.4f}")
    clock.advance(timedelta(days=32))
    show(f"32 days later: carol has spent ${manager.get_current_cost('carol'):.4f} in the new month")


def audit() -> None:
    """The books, checked."""
    say("5. The audit", "$ outlay balance; outlay audit")
    for command in ("balance", "audit"):
        subprocess.run([sys.executable, "-m", "outlay", command], check=True)


def say(title: str, text: str) -> None:
    """Print a step's title and what it is about."""
    print(f"\n\033[1m{title}\033[0m\n{text}" if sys.stdout.isatty() else f"\n{title}\n{text}", flush=True)


def show(line: str) -> None:
    """Print what happened."""
    print(f"  {line}", flush=True)


if __name__ == "__main__":
    main()
