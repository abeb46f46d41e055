"""Killed with SIGKILL at every step of a call: no charge is lost, no hold stays, no counter is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from journal import HELLO, Journal, eventually, script

import outlay
from outlay import BudgetExceededError, BudgetManager
from outlay.errors import ProviderConnectionError
from outlay.testing.provider import Bill, FakeProvider

pytest_plugins = ["front_doors"]
pytestmark = pytest.mark.once("what a killed process leaves in the database")

CHILD = """
import json, sys, threading
import outlay, outlay.calls
from outlay.domain.commands import Settle
from outlay.guards import Held
from outlay.ledger.books import Books
from outlay.ledger.writer import LedgerWriter

step, options = sys.argv[1], json.loads(sys.argv[2])

def stop(*_, **__):
    print("stopped", flush=True)
    threading.Event().wait()

def stop_after_writing(wanted):
    finish = Books.finish
    def patched(books):
        is_it = bool(getattr(books._changes, wanted))
        finish(books)
        if is_it:
            stop()
    Books.finish = patched

def stop_before_telling(command):
    deliver = LedgerWriter._deliver
    def patched(writer, batch):
        if any(isinstance(job.command, command) for job in batch):
            stop()
        deliver(writer, batch)
    LedgerWriter._deliver = patched

if step == "before reserve":
    Held.reserve = stop
elif step == "in the commit of the reserve":
    stop_after_writing("reservations")
elif step == "reserved, not sent":
    outlay.calls.ask = outlay.calls.StreamedCall = stop
elif step == "answered, not settled":
    Held.settle = stop
elif step == "in the commit of the settle":
    stop_after_writing("resolved")
elif step == "settled, not told":
    stop_before_telling(Settle)

manager = outlay.BudgetManager("tests")
answer = manager.completion(user="bob", model="gpt-4o", messages=json.loads(sys.argv[3]), **options)
for number, _ in enumerate(answer):
    if step == f"after {number} chunks":
        stop()
print("ended", flush=True)
"""

STEPS = [
    ("before reserve", 0),
    ("in the commit of the reserve", 0),
    ("reserved, not sent", 1),
    ("sent, not answered", 1),
    ("after 0 chunks", 1),
    ("after 7 chunks", 1),
    ("answered, not settled", 1),
    ("in the commit of the settle", 1),
    ("settled, not told", 0),
]
"""Each step, and how many reservations are left pending by a process that dies there."""

LIMIT_NANOS = 500_000


def run_until(step: str, is_stream: bool, provider: FakeProvider) -> None:
    """Start the child, wait until it stands at the step, kill it."""
    arguments = json.dumps({"stream": is_stream, "max_tokens": 24}), json.dumps(HELLO)
    with script(CHILD, step, *arguments) as child:
        assert child.stdout is not None
        if step == "sent, not answered":
            provider.wait_until(lambda it: it.bill.serving == 1)
        else:
            assert child.stdout.readline() == "stopped\n", child.communicate()
        child.kill()
        child.wait()


@pytest.mark.parametrize(
    ("step", "pending", "is_stream"),
    [
        pytest.param(step, pending, is_stream, id=f"{step}-{'stream' if is_stream else 'whole'}")
        for step, pending in STEPS
        for is_stream in (False, True)
        if is_stream or "chunks" not in step  # a whole answer has no chunks
    ],
)
def test_killed_at_a_step(
    provider: FakeProvider,
    manager: BudgetManager,
    journal: Journal,
    step: str,
    pending: int,
    is_stream: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    manager.create_budget(LIMIT_NANOS / 1e9, "bob", mode="hard")
    behaviour: dict[str, Any] = {"bills_after_hangup": True}
    if step == "sent, not answered":
        behaviour["hang_after_chunks"] = 0
    if "chunks" in step:
        behaviour["hang_after_chunks"] = 10
    provider.set(behaviour)

    run_until(step, is_stream, provider)
    monkeypatch.setattr(outlay, "budget_wait_seconds", 0)

    provider.wait_until(lambda it: it.bill.serving == 0)
    assert journal.pending() == pending
    journal.check()
    provider.set({"hang_after_chunks": None})
    assert manager.completion(user="alice", model="gpt-4o", messages=HELLO).cost  # others go on at once
    if pending:  # what may have been billed leaves no room for what would go beyond the limit
        with pytest.raises(BudgetExceededError):
            manager.completion(user="bob", model="gpt-4o", messages=HELLO, max_tokens=24)
    journal.expire()
    journal.check()
    assert journal.charged_nanos() >= provider.bill.total_nanos
    bobs = sum(entry.usd_nanos or 0 for entry in journal.entries() if "user:bob" in entry.accounts)
    assert bobs <= LIMIT_NANOS
    if step == "settled, not told":
        assert journal.charged_nanos() == provider.bill.total_nanos


BUSY_CHILD = """
import sys, threading
import outlay
messages = [{"role": "user", "content": "Name three rivers in Europe, please."}]
manager = outlay.BudgetManager("tests")
def work():
    while True:
        list(manager.completion(user="bob", model="gpt-4o", messages=messages, stream=True, max_tokens=24))
        manager.update_cost(user="carol", model="gpt-4o", input_text="a", output_text="b")
        print(1, flush=True)
for _ in range(8):
    threading.Thread(target=work, daemon=True).start()
threading.Event().wait()
"""


@pytest.mark.parametrize("calls", [3, 20, 57])
def test_killed_in_the_middle_of_much(
    provider: FakeProvider, manager: BudgetManager, journal: Journal, calls: int
) -> None:
    for user in ("bob", "carol"):
        manager.create_budget(1_000, user)
    with script(BUSY_CHILD) as child:
        provider.wait_until(lambda it: len(it.bill.calls) >= calls, 30)
        child.kill()
        printed, _ = child.communicate()
    provider.wait_until(lambda it: it.bill.serving == 0)
    journal.check()
    journal.expire()
    journal.check()
    bobs = sum(entry.usd_nanos or 0 for entry in journal.entries() if "user:bob" in entry.accounts)
    assert bobs >= provider.bill.total_nanos
    assert len(journal.entries("record")) >= printed.count("1\n")  # what was acknowledged is there


def test_a_provider_that_dies_leaves_the_hold(
    manager: BudgetManager, journal: Journal, tmp_path: Path
) -> None:
    """The other side killed: its bill outlives it in a file, and the journal covers it."""
    bill = tmp_path / "bill.jsonl"
    behaviour = json.dumps({"hang_after_chunks": 7})
    command = [sys.executable, "-m", "outlay.testing.provider", "--port", "0", "--bill", str(bill)]
    with subprocess.Popen([*command, "--behaviour", behaviour], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = json.loads(process.stdout.readline())["base_url"]
        stream = manager.completion(
            user="alice", model="gpt-4o", messages=HELLO, stream=True, api_base=address, api_key="k"
        )
        for _ in range(7):
            next(iter(stream))
        process.kill()
        process.wait()
    with pytest.raises(ProviderConnectionError):
        list(stream)
    eventually(lambda: journal.pending() == 1)
    journal.expire()
    assert journal.charged_nanos() >= Bill.read(bill).total_nanos > 0
    journal.check()
