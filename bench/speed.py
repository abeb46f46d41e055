"""Speed: pairs per second, and the processor time of one, which other programs disturb less."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple


class Speed(NamedTuple):
    """What a stretch of work came to; `cpu_micros` is the processor time of one pair, of all threads."""

    pairs_per_second: float
    cpu_micros: float


class Stopwatch:
    """Runs from when it is made until `stop`; `count` tells how many pairs are done."""

    def __init__(self, count: Callable[[], int]) -> None:
        self._count = count
        self._pairs = count()
        self._cpu = time.process_time()
        self._start = time.perf_counter()

    def stop(self) -> Speed:
        """Give the speed since the start."""
        seconds, cpu = time.perf_counter() - self._start, time.process_time() - self._cpu
        pairs = max(self._count() - self._pairs, 1)
        return Speed(pairs / seconds, 1e6 * cpu / pairs)
