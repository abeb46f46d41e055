"""How many calls a second the ledger admits and charges: reserve + settle pairs, durable, on SQLite.

Beside each run a bare loop writes the same rows to a fresh file in batches of the size the ledger had.
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Literal

from bench.bare import BareLoop
from bench.options import Options, say
from bench.report import Report, at_least, spread, value_at_least
from bench.speed import Speed, Stopwatch
from outlay.bootstrap import open_ledger
from outlay.domain.budgets import Budget
from outlay.domain.commands import Amount, PutBudget, Reserve, Settle
from outlay.domain.windows import Window
from outlay.ledger.ids import new_id
from outlay.ledger.ledger import Ledger
from outlay.ledger.store import EntryFilter
from outlay.settings import Settings

PROJECT = "bench"
LIMIT = 10**18
LEAST_PAIRS = {"async": 10_000, "threads": 4_000}
LEAST_SHARE = 0.2
HOLD_MICROS = 720_000_000
AMOUNTS = {"usd": Amount(30_000, 10_000), "tokens": Amount(12, 1)}
USAGE = {"input_tokens": 12, "output_tokens": 40}

Accounts = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Load:
    """`callers` at once, each on `budgets` budgets; with `is_own`, two of those are the caller's own."""

    style: Literal["async", "threads"]
    callers: int
    budgets: int
    is_own: bool = False

    def __str__(self) -> str:
        who = "1 caller" if self.callers == 1 else f"{self.callers} callers"
        what = "1 budget" if self.budgets == 1 else f"{self.budgets} budgets"
        return f"{self.style}, {who}, {what}" + (", two of them each caller's own" if self.is_own else "")

    def accounts(self, caller: int) -> Accounts:
        """The accounts of one caller."""
        suffix = f"-{caller}" if self.is_own else ""
        return (f"user:alice{suffix}", f"key:k{suffix}", "team:red", "global")[: self.budgets]


LOADS = (
    *(
        Load(style, callers, budgets)
        for style in ("async", "threads")
        for callers in (1, 64)
        for budgets in (1, 4)
    ),
    Load("async", 64, 4, is_own=True),
)


def run(options: Options) -> Report:
    """Alternate the ledger and the bare loop under each load; medians."""
    report = Report("ledger", "reserve + settle pairs a second, SQLite with synchronous=FULL")
    times, seconds = (1, 0.5) if options.is_quick else (5, 3.0)
    for load in LOADS:
        say(f"ledger: {load}")
        ours: list[Speed] = []
        bare: list[Speed] = []
        batches: list[float] = []
        for _ in range(times):
            with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                speed, batch = measure(Path(folder, "ours.db"), load, seconds)
                ours.append(speed)
                batches.append(batch)
                bare.append(_measure_bare(Path(folder, "bare.db"), load, batch, seconds / 2))
        _add(report, load, ours, bare, batches)
    return report


def _add(report: Report, load: Load, ours: list[Speed], bare: list[Speed], batches: list[float]) -> None:
    rates, bare_rates = [each.pairs_per_second for each in ours], [each.pairs_per_second for each in bare]
    beside = f"bare loop, batches of {mean(batches):.0f}"
    if load.callers != 64 or load.budgets != 4 or load.is_own:
        report.add(str(load), median(rates), "pairs/s", beside, median(bare_rates))
        return
    report.add(str(load), median(rates), "pairs/s", target=value_at_least(LEAST_PAIRS[load.style]))
    report.add(str(load), median(rates), "pairs/s", beside, median(bare_rates), target=at_least(LEAST_SHARE))
    micros, bare_micros = [each.cpu_micros for each in ours], [each.cpu_micros for each in bare]
    report.add(f"{load}: processor time", median(micros), "µs/pair", beside, median(bare_micros))
    report.notes.append(f"{load}: {spread(rates)} pairs/s in {len(ours)} runs; bare {spread(bare_rates)}.")


def open_with_budgets(path: Path, load: Load) -> Ledger:
    """Make a database with the budgets of all callers."""
    ledger = open_ledger(Settings(path))
    accounts = {account for caller in range(load.callers) for account in load.accounts(caller)}
    for account in sorted(accounts):
        budget = Budget(PROJECT, f"{account}/usd", account, "usd", LIMIT, Window.parse("daily"))
        ledger.execute(PutBudget(budget))
    return ledger


def measure(path: Path, load: Load, seconds: float) -> tuple[Speed, float]:
    """The speed, and the mean batch of the writer."""
    ledger = open_with_budgets(path, load)
    ledger.writer.batch_sizes.clear()
    if load.style == "async":
        speed = asyncio.run(_measure_async(ledger, load, seconds))
    else:
        speed = _measure_threads(ledger, load, seconds)
    ledger.close()
    return speed, mean(ledger.writer.batch_sizes)


async def _measure_async(ledger: Ledger, load: Load, seconds: float) -> Speed:
    pairs = [0] * load.callers
    is_over = False

    async def call(caller: int) -> None:
        accounts = load.accounts(caller)
        while not is_over:
            id = new_id()
            await ledger.reserve_async(_reserve(id, accounts))
            await ledger.execute_async(_settle(id))
            pairs[caller] += 1

    callers = [asyncio.create_task(call(caller)) for caller in range(load.callers)]
    await asyncio.sleep(seconds / 6)
    watch = Stopwatch(lambda: sum(pairs))
    await asyncio.sleep(seconds)
    speed = watch.stop()
    is_over = True
    await asyncio.gather(*callers)
    return speed


def _measure_threads(ledger: Ledger, load: Load, seconds: float) -> Speed:
    pairs = [0] * load.callers
    is_over = threading.Event()

    def call(caller: int) -> None:
        accounts = load.accounts(caller)
        while not is_over.is_set():
            pair(ledger, accounts)
            pairs[caller] += 1

    callers = [threading.Thread(target=call, args=(caller,)) for caller in range(load.callers)]
    for thread in callers:
        thread.start()
    time.sleep(seconds / 6)
    watch = Stopwatch(lambda: sum(pairs))
    time.sleep(seconds)
    speed = watch.stop()
    is_over.set()
    for thread in callers:
        thread.join()
    return speed


def pair(ledger: Ledger, accounts: Accounts) -> None:
    """Reserve and settle one call."""
    id = new_id()
    ledger.reserve(_reserve(id, accounts))
    ledger.execute(_settle(id))


def _measure_bare(path: Path, load: Load, batch: float, seconds: float) -> Speed:
    """Write what a real pair of this load writes; each period that a batch touches once."""
    ledger = open_with_budgets(path, load)
    for caller in range(load.callers):
        pair(ledger, load.accounts(caller))
    id = new_id()
    ledger.reserve(_reserve(id, load.accounts(0)))
    with ledger.read() as reader:
        reservation = next(reader.reservations())
    ledger.execute(_settle(id))
    with ledger.read() as reader:
        entry = next(reader.entries(EntryFilter(), is_newest_first=True))
        periods, clock = list(reader.periods()), reader.clock_state()
    touched = 2 + round(2 * batch) if load.is_own else load.budgets
    ledger.close()
    loop = BareLoop(path, periods[:touched], reservation, entry, clock)
    speed = loop.run(batch, seconds)
    loop.close()
    return speed


def _reserve(id: str, accounts: Accounts) -> Reserve:
    return Reserve(
        PROJECT,
        id,
        accounts,
        AMOUNTS,
        HOLD_MICROS,
        500,
        1,
        provider="openai",
        model="gpt-4o",
        price_version="bench",
    )


def _settle(id: str) -> Settle:
    return Settle(PROJECT, id, 430_000, 52, USAGE, price_version="bench")
