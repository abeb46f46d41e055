"""Outlay under a profiler, each of its threads: `python -m bench.profiled FOLDER serve …`.

What each thread did is written when the process ends by SIGINT, in processor time of that thread: waiting for
the disk, a lock or another program counts for nothing. The product knows nothing of this.
"""

from __future__ import annotations

import cProfile
import io
import itertools
import pstats
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

SHOWN = 45
_numbers = itertools.count()


def describe(folder: Path, requests: int) -> str:
    """The functions of each thread by their own time, and the time of one request."""
    texts = []
    for path in sorted(folder.glob("*.prof")):
        out = io.StringIO()
        stats = pstats.Stats(str(path), stream=out)
        stats.strip_dirs().sort_stats("tottime").print_stats(SHOWN)
        texts.append(f"{path.stem}, {requests:,} requests\n{out.getvalue().strip()}")
    return "\n\n".join(texts)


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir()
    _profile_threads(folder)
    from outlay.cli import main as outlay

    sys.argv = ["outlay", *sys.argv[2:]]
    profile = cProfile.Profile(time.thread_time)
    with suppress(KeyboardInterrupt, SystemExit):
        profile.runcall(outlay)
    profile.dump_stats(folder / "main.prof")


def _profile_threads(folder: Path) -> None:
    run = threading.Thread.run

    def profiled_run(self: threading.Thread) -> None:
        profile = cProfile.Profile(time.thread_time)
        try:
            profile.runcall(run, self)
        finally:
            profile.dump_stats(folder / f"thread-{next(_numbers)}-{self.name.replace('/', '-')}.prof")

    threading.Thread.run = profiled_run  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
