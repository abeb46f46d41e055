"""Several processes charge one user at once: how much of the cost is kept.

python -m bench.processes DATABASE UPDATES     one of the processes
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean, median

import outlay
from bench.options import Options, ask_peer, say
from bench.report import Report, value_at_least
from bench.users import INPUT_TEXT, MODEL, OUTPUT_TEXT, PROJECT, make_users, user_name

PROCESSES = 4
UPDATES = 50


def run(options: Options) -> Report:
    """Repeat ours, and theirs with a peer."""
    report = Report("processes", f"{PROCESSES} processes with {UPDATES} update_costs each, of one user")
    times = 1 if options.is_quick else 5
    say(f"processes: {times} times")
    found = [_measure(options) for _ in range(times)]
    kept, seconds = min(share for share, _ in found), median(taken for _, taken in found)
    theirs = [_measure_peer(options, options.peers) for _ in range(times)] if options.peers else []
    if not theirs:
        report.add("cost kept, the worst run", 100 * kept, "%", target=value_at_least(100))
        report.add("time for all", seconds, "s")
        return report
    shares = [100 * each["kept"] for each in theirs]
    report.add(
        "cost kept, the worst run",
        100 * kept,
        "%",
        "LiteLLM, the best run",
        max(shares),
        target=value_at_least(100),
    )
    report.add("time for all", seconds, "s", "LiteLLM", median(each["seconds"] for each in theirs))
    torn = sum(each["is_torn"] for each in theirs)
    report.notes.append(
        f"LiteLLM kept {mean(shares):.0f} % on average of {times} runs, {min(shares):.0f} % at worst; "
        f"{torn} of {times} runs left a file that is no JSON."
    )
    return report


def _measure(options: Options) -> tuple[float, float]:
    """The share of the cost kept, and the seconds it took once all processes were ready."""
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder, "shared.db")
        make_users(path, 2)
        command = [sys.executable, "-m", "bench.processes", str(path), str(UPDATES)]
        children = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(PROCESSES)
        ]
        for child in children:
            assert child.stdout is not None
            child.stdout.readline()
        start = time.perf_counter()
        for child in children:
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        failed = [child for child in children if child.wait() != 0]
        seconds = time.perf_counter() - start
        assert not failed
        manager = outlay.BudgetManager(PROJECT, database_url=str(path))
        _update(manager, 1)
        one, all_of_them = (manager.get_current_cost(user_name(number)) for number in (1, 0))
        manager.close()
    return all_of_them / (one * PROCESSES * UPDATES), seconds


def _measure_peer(options: Options, peers: Path) -> dict[str, float]:
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        answer: dict[str, float] = ask_peer(peers, Path(folder), "processes", PROCESSES, UPDATES)
    return answer


def _update(manager: outlay.BudgetManager, user: int) -> None:
    manager.update_cost(user_name(user), model=MODEL, input_text=INPUT_TEXT, output_text=OUTPUT_TEXT)


def main() -> None:
    manager = outlay.BudgetManager(PROJECT, database_url=sys.argv[1])
    manager.get_current_cost(user_name(0))
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(int(sys.argv[2])):
        _update(manager, 0)


if __name__ == "__main__":
    main()
