"""Many processes on one file, spawned and forked: everything is counted, exactly once."""

from __future__ import annotations

from pathlib import Path

import pytest
from journal import Journal, run_script, script

from outlay import BudgetManager
from outlay.testing.provider import FakeProvider

pytest_plugins = ["front_doors"]

UPDATES = """
import sys
from outlay import BudgetManager

def update(manager, count=50):
    for _ in range(count):
        manager.update_cost(user="alice", model="gpt-4o", input_text="a", output_text="b c")
"""


def cost_of(updates: int, manager: BudgetManager) -> float:
    """What so many updates cost, by one made here in a project of its own."""
    alone = BudgetManager("alone")
    alone.create_budget(10, "alice")
    once = alone.update_cost(user="alice", model="gpt-4o", input_text="a", output_text="b c")
    return float(once["user"]["current_cost"]) * updates


def test_four_spawned_processes_lose_nothing(
    manager: BudgetManager, journal: Journal, provider: FakeProvider
) -> None:
    source = f"{UPDATES}\nmanager = BudgetManager('tests')\nprint('ready', flush=True)\n"
    source += "sys.stdin.readline()\nupdate(manager)\n"
    with script(source) as a, script(source) as b, script(source) as c, script(source) as d:
        workers = (a, b, c, d)
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        ends = [worker.communicate(timeout=60) for worker in workers]
    assert [complaints for _, complaints in ends] == [""] * 4
    assert len(journal.entries("record")) == 200
    assert manager.get_current_cost("alice") == pytest.approx(cost_of(200, manager), abs=1e-12)
    journal.check()


FORKS = {
    "before the manager is used": """
manager = BudgetManager("tests")
children = [fork(lambda: update(manager)) for _ in range(4)]
wait(children)
""",
    "after the manager was used": """
manager = BudgetManager("tests")
update(manager, 5)
children = [fork(lambda: update(manager)) for _ in range(4)]
update(manager, 5)
wait(children)
update(manager, 5)
""",
    "while threads use the manager": """
import threading
manager = BudgetManager("tests")
threads = [threading.Thread(target=update, args=(manager,)) for _ in range(4)]
[thread.start() for thread in threads]
children = [fork(lambda: update(manager)) for _ in range(4)]
[thread.join() for thread in threads]
wait(children)
""",
    "from children that make managers of their own": """
update(BudgetManager("tests"), 5)
children = [fork(lambda: update(BudgetManager("tests"))) for _ in range(4)]
wait(children)
""",
    "from children of children": """
manager = BudgetManager("tests")
update(manager, 5)
def nested():
    update(manager, 5)
    wait([fork(lambda: update(manager)) for _ in range(2)])
wait([fork(nested) for _ in range(2)])
""",
    "by multiprocessing": """
import multiprocessing
manager = BudgetManager("tests")
update(manager, 5)
context = multiprocessing.get_context("fork")
processes = [context.Process(target=update, args=(manager,)) for _ in range(4)]
[process.start() for process in processes]
[process.join(60) for process in processes]
assert [process.exitcode for process in processes] == [0] * 4
""",
}
EXPECTED = (200, 215, 400, 205, 215, 205)

FORKING = f"""{UPDATES}
import os

def fork(work):
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
    except Exception:
        import traceback; traceback.print_exc(); sys.stderr.flush()
        os._exit(1)
    sys.exit(0)

def wait(children):
    assert all(os.waitpid(pid, 0)[1] == 0 for pid in children), "a child failed"
"""


@pytest.mark.parametrize(("when", "count"), list(zip(FORKS, EXPECTED, strict=True)))
def test_forked_processes_lose_nothing(
    manager: BudgetManager, journal: Journal, when: str, count: int
) -> None:
    run_script(FORKING + FORKS[when])
    assert len(journal.entries("record")) == count
    assert manager.get_current_cost("alice") == pytest.approx(cost_of(count, manager), abs=1e-12)
    journal.check()


CALLS = """
import asyncio
import outlay
messages = [{"role": "user", "content": "hi"}]
manager = outlay.BudgetManager("tests")
options = {"user": "alice", "model": "gpt-4o", "messages": messages, "max_tokens": 9}

async def calls_async():
    await manager.acompletion(**options)
    async for _ in await manager.acompletion(**options, stream=True):
        pass

def calls():
    before = outlay.current_cost()
    manager.completion(**options)
    list(manager.completion(**options, stream=True))
    asyncio.run(calls_async())
    outlay.embedding("text-embedding-3-small", "a", user="alice", budget_manager=manager)
    assert outlay.current_cost() > before
"""

FORKED_CALLS = {
    "before the parent calls": "wait([fork(calls) for _ in range(2)])",
    "after the parent called": "calls()\nwait([fork(calls) for _ in range(2)])\ncalls()",
    "under max_budget": "outlay.max_budget = 5\ncalls()\nwait([fork(calls) for _ in range(2)])\ncalls()",
    "while threads call": (
        "import threading\nthreads = [threading.Thread(target=calls) for _ in range(4)]\n"
        "[thread.start() for thread in threads]\nchildren = [fork(calls) for _ in range(2)]\n"
        "[thread.join() for thread in threads]\nwait(children)"
    ),
}


@pytest.mark.parametrize("when", FORKED_CALLS)
def test_forked_processes_call(
    provider: FakeProvider, manager: BudgetManager, journal: Journal, when: str
) -> None:
    run_script(FORKING + CALLS + FORKED_CALLS[when])
    provider.wait_until(lambda it: it.bill.serving == 0)
    assert len(provider.bill.calls) % 5 == 0
    assert journal.charged_nanos() == provider.bill.total_nanos > 0
    assert journal.pending() == 0
    journal.check()


FORK_IN_FLIGHT = """
import threading
def read():
    print(len(list(manager.completion(**options, stream=True))), flush=True)
thread = threading.Thread(target=read)
thread.start()
print("calling", flush=True)
sys.stdin.readline()
child = fork(lambda: outlay.completion("gpt-4o-mini", messages, user="alice", budget_manager=manager))
wait([child])
print("forked", flush=True)
thread.join()
"""


def test_a_fork_while_a_stream_is_read_disturbs_neither(
    provider: FakeProvider, manager: BudgetManager, journal: Journal
) -> None:
    provider.set({"hang_after_chunks": 5}, model="gpt-4o")
    with script(FORKING + CALLS + FORK_IN_FLIGHT) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "calling\n"
        provider.wait_until(lambda it: it.bill.serving == 1)
        process.stdin.write("go\n")
        process.stdin.flush()
        assert process.stdout.readline() == "forked\n"
        provider.release()
        printed, complaints = process.communicate(timeout=60)
    assert (printed, complaints) == ("11\n", "")
    assert [call.outcome for call in provider.bill.calls] == ["served", "served"]
    assert journal.charged_nanos() == provider.bill.total_nanos
    journal.check()


def test_a_relative_path_stays_where_the_process_was(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    source = f"""
import os, outlay
os.environ.pop("OUTLAY_DATABASE_URL", None)
os.chdir({str(here)!r})
manager = outlay.BudgetManager("tests")
os.chdir({str(there)!r})
manager.create_budget(10, "alice")
"""
    run_script(source)
    assert (here / "outlay.db").exists()
    assert list(there.iterdir()) == []
