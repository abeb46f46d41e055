"""LiteLLM's side of the comparisons. Run by its own Python, in a folder of its own; prints one line of JSON.

    peer_litellm.py update-cost USERS ROUNDS
    peer_litellm.py processes PROCESSES UPDATES

Its `update_cost` returns before anything is on disk and lets a thread rewrite `user_cost.json`. What is timed
is the call until that thread has ended: until the file holds the update, though no fsync makes it durable.
"""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import threading
import time
from importlib import import_module
from pathlib import Path
from typing import Any

TEXTS = {"input_text": "Hello, how are you?", "output_text": "I'm fine, and you?"}
MODEL = "gpt-4o"


def make_manager() -> Any:
    return import_module("litellm").BudgetManager(project_name="bench")


def wait_until_saved() -> None:
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and not thread.daemon:
            thread.join()


def make_users(count: int) -> None:
    """Write the file that `count` calls of `create_budget` leave behind."""
    manager = make_manager()
    record = manager.create_budget(total_budget=1000, user="user-0", duration="monthly")
    wait_until_saved()
    manager.user_dict = {f"user-{number}": copy.deepcopy(record) for number in range(count)}
    manager.save_data()


def update_cost(users: int, rounds: int) -> dict[str, Any]:
    make_users(users)
    manager = make_manager()
    seconds, returned = [], []
    for number in range(rounds + 2):
        start = time.perf_counter()
        manager.update_cost(user=f"user-{number * 7919 % users}", model=MODEL, **TEXTS)
        returned.append(time.perf_counter() - start)
        wait_until_saved()
        seconds.append(time.perf_counter() - start)
    return {"seconds": seconds[2:], "returned": returned[2:]}


def child(updates: int) -> None:
    manager = make_manager()
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(updates):
        manager.update_cost(user="user-0", model=MODEL, **TEXTS)
    wait_until_saved()


def processes(count: int, updates: int) -> dict[str, Any]:
    """Each process loads the file, then all start at once. Gives the share of the cost that the file kept."""
    make_users(1)
    one = make_manager().update_cost(user="user-0", model=MODEL, **TEXTS)["user"]["current_cost"]
    wait_until_saved()
    make_users(1)
    command = [sys.executable, __file__, "child", str(updates)]
    children = [
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        for _ in range(count)
    ]
    for process in children:
        assert process.stdout is not None
        process.stdout.readline()
    start = time.perf_counter()
    for process in children:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    failed = sum(process.wait() != 0 for process in children)
    seconds = time.perf_counter() - start
    try:
        kept = json.loads(Path("user_cost.json").read_text(encoding="utf-8"))["user-0"]["current_cost"]
    except ValueError:
        return {"kept": 0.0, "failed": failed, "seconds": seconds, "is_torn": True}
    share = kept / (one * count * updates)
    return {"kept": share, "failed": failed, "seconds": seconds, "is_torn": False}


def main() -> None:
    task, *numbers = sys.argv[1:]
    if task == "child":
        child(int(numbers[0]))
        return
    tasks = {"update-cost": update_cost, "processes": processes}
    print(json.dumps(tasks[task](int(numbers[0]), int(numbers[1]))))


main()
