"""What `update_cost` promises when it returns: a child that is killed, and one that counts syncs.

python -m bench.durability kill|count DATABASE
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import apsw

import outlay
from bench.users import INPUT_TEXT, MODEL, OUTPUT_TEXT, PROJECT, user_name

UPDATES = 200


class CountingFile(apsw.VFSFile):
    """A file that counts how often it is made durable."""

    syncs = 0

    def xSync(self, flags: int) -> None:
        CountingFile.syncs += 1
        super().xSync(flags)


class CountingFiles(apsw.VFS):
    """The usual files, counted."""

    def __init__(self) -> None:
        self.base = apsw.vfs_names()[0]
        super().__init__("counting", self.base, makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> CountingFile:
        return CountingFile(self.base, name, flags)


def open_manager(path: Path) -> outlay.BudgetManager:
    return outlay.BudgetManager(PROJECT, database_url=str(path))


def update(manager: outlay.BudgetManager) -> None:
    manager.update_cost(user_name(0), model=MODEL, input_text=INPUT_TEXT, output_text=OUTPUT_TEXT)


def share_kept_after_kill(path: Path) -> float:
    """Kill a process amid updates; the share of what it was told is charged that is still there."""
    manager = open_manager(path)
    manager.create_budget(1000, user_name(0))
    update(manager)
    one = manager.get_current_cost(user_name(0))
    manager.close()
    child = subprocess.Popen(
        [sys.executable, "-m", "bench.durability", "kill", str(path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    acknowledged = 0
    for acknowledged, _ in enumerate(child.stdout, 1):  # the count after the kill is wanted
        if acknowledged == UPDATES:
            child.send_signal(signal.SIGKILL)
    child.wait()
    charged = round(open_manager(path).get_current_cost(user_name(0)) / one) - 1
    open_manager(path).close()
    return min(1.0, charged / acknowledged)


def syncs_per_update(path: Path) -> float:
    """How often the engine asks the disk to make a file durable for one update."""
    command = [sys.executable, "-m", "bench.durability", "count", str(path)]
    return float(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def main() -> None:
    task, path = sys.argv[1], Path(sys.argv[2])
    vfs = CountingFiles() if task == "count" else None
    manager = open_manager(path)
    manager.create_budget(1000, user_name(0))
    update(manager)
    while vfs is None:
        update(manager)
        print("charged", flush=True)
    CountingFile.syncs = 0
    for _ in range(UPDATES):
        update(manager)
    print(CountingFile.syncs / UPDATES)
    manager.close()


if __name__ == "__main__":
    main()
