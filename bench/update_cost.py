"""What `BudgetManager.update_cost` costs: with few users and many, for the first time and the 100,000th.

All databases are open at once and take turns with a bare `fdatasync` in the same folder, so that whatever
else the machine does falls on all alike; each figure is a median.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

import outlay
from bench.durability import share_kept_after_kill, syncs_per_update
from bench.options import Options, ask_peer, say
from bench.report import Report, at_most, value_at_least
from bench.users import INPUT_TEXT, MODEL, OUTPUT_TEXT, PROJECT, make_users, record_updates, user_name

SIZES = (10, 1_000, 10_000, 100_000)
QUICK_SIZES = (10, 1_000)
MOST_GROWTH = 1.5
MOST_SYNCS = 4.0
MOST_AGEING = 1.2
LEAST_LEAD = 500
PRIMES = 7919


def run(options: Options) -> Report:
    """Measure ours; with a peer, LiteLLM's beside it."""
    report = Report("update_cost", "BudgetManager.update_cost, until it is durable")
    sizes = QUICK_SIZES if options.is_quick else SIZES
    updates, rounds = (2_000, 200) if options.is_quick else (100_000, 1_000)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        ours = _measure_ours(Path(folder), sizes, updates, rounds)
        least, most = sizes[0], sizes[-1]
        for size in sizes:
            report.add(
                f"{size:,} users",
                ours[f"{size} users"],
                "ms",
                "bare fdatasync of 4 KiB",
                ours["fdatasync"],
                target=at_most(MOST_SYNCS),
            )
        report.add(
            f"{most:,} users",
            ours[f"{most} users"],
            "ms",
            f"{least:,} users",
            ours[f"{least} users"],
            target=at_most(MOST_GROWTH),
        )
        report.add(
            f"create_budget beside {most:,} users",
            ours[f"create, {most} users"],
            "ms",
            f"beside {least:,} users",
            ours[f"create, {least} users"],
        )
        report.add(
            f"create_budget beside {updates:,} updates",
            ours["create, old"],
            "ms",
            f"beside {rounds:,} updates",
            ours["create, new"],
        )
        report.add(
            f"one user, updates {updates - rounds + 1:,} to {updates:,}",
            ours["old user"],
            "ms",
            f"updates 1 to {rounds:,}",
            ours["new user"],
            target=at_most(MOST_AGEING),
        )
        say("update_cost: killing a process amid updates")
        syncs = syncs_per_update(Path(folder, "syncs.db"))
        report.add("syncs of the disk by one update", syncs, "", target=value_at_least(1))
        kept = share_kept_after_kill(Path(folder, "kill.db"))
        report.add("acknowledged updates kept by SIGKILL", 100 * kept, "%", target=value_at_least(100))
    if options.peers:
        _add_peer(report, options, options.peers, sizes, ours)
    return report


def _measure_ours(folder: Path, sizes: tuple[int, ...], updates: int, rounds: int) -> dict[str, float]:
    """Medians in milliseconds by what was done."""
    subjects: dict[str, Callable[[int], object]] = {"fdatasync": _bare_sync(folder / "bare")}
    for size in sizes:
        say(f"update_cost: making {size:,} users")
        path = folder / f"{size}.db"
        make_users(path, size)
        subjects[f"{size} users"] = _updater(path, size)
    say(f"update_cost: {updates:,} updates of one user")
    make_users(folder / "new.db", 1)
    make_users(folder / "old.db", 1)
    record_updates(folder / "old.db", user_name(0), updates - rounds)
    subjects["new user"] = _updater(folder / "new.db", 1)
    subjects["old user"] = _updater(folder / "old.db", 1)
    for name in subjects.keys() - {"new user", "old user"}:
        for number in range(20):
            subjects[name](number)
    say(f"update_cost: {rounds:,} rounds of each")
    medians = _take_turns(subjects, rounds)
    creators = {f"create, {size} users": _creator(folder / f"{size}.db", size) for size in sizes}
    creators |= {f"create, {age}": _creator(folder / f"{age}.db", 1) for age in ("new", "old")}
    return medians | _take_turns(creators, rounds // 10)


def _take_turns(subjects: Mapping[str, Callable[[int], object]], rounds: int) -> dict[str, float]:
    """Let each act once a round; medians in milliseconds."""
    seconds: dict[str, list[float]] = {name: [] for name in subjects}
    for number in range(rounds):
        for name, act in subjects.items():
            start = time.perf_counter()
            act(number)
            seconds[name].append(time.perf_counter() - start)
    return {name: median(taken) * 1000 for name, taken in seconds.items()}


def _updater(path: Path, users: int) -> Callable[[int], object]:
    manager = outlay.BudgetManager(PROJECT, database_url=str(path))

    def update(number: int) -> object:
        user = user_name(number * PRIMES % users)
        return manager.update_cost(user, model=MODEL, input_text=INPUT_TEXT, output_text=OUTPUT_TEXT)

    return update


def _creator(path: Path, users: int) -> Callable[[int], object]:
    manager = outlay.BudgetManager(PROJECT, database_url=str(path))
    return lambda number: manager.create_budget(1000, user_name(users + number), "monthly")


def _bare_sync(path: Path) -> Callable[[int], object]:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    block = os.urandom(4096)

    def write(_: int) -> None:
        os.write(file, block)
        os.fdatasync(file)

    return write


def _add_peer(
    report: Report, options: Options, peers: Path, sizes: tuple[int, ...], ours: dict[str, float]
) -> None:
    for size in sizes:
        say(f"update_cost: LiteLLM, {size:,} users")
        rounds = 10 if size >= 100_000 else 50
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            theirs = ask_peer(peers, Path(folder), "update-cost", size, rounds)
        report.add(
            f"{size:,} users",
            ours[f"{size} users"],
            "ms",
            "LiteLLM, until its thread has written the file",
            1000 * median(theirs["seconds"]),
            target=at_most(1 / LEAST_LEAD) if size == max(SIZES) else None,
        )
