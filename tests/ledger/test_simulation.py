"""A thousand worlds, each from a seed, in which every promise must hold; and a seed that fails says so."""

import subprocess
import sys

import pytest

from outlay.ledger.writer import LedgerWriter
from outlay.testing.simulator import SimulationError, Tally, simulate

pytestmark = pytest.mark.once("the ledger's rules, the same on every Python")

SEEDS = 1000
STEPS = 200
AT_ONCE = 50

EVENTS = (
    *("locked", "within", "before commit", "after commit", "crash", "jump forward", "jump back"),
    *("repeat", "other content", "bill above the bound"),
    *("Reserve reserved", "Reserve refused", "Settle posted", "Void posted", "Increase increased"),
    *("Record posted", "Grant posted", "Reset posted", "Reverse posted", "PutBudget put", "PutAccount put"),
    *("FreeSlots freed", "FreeSlot freed"),
)


@pytest.mark.parametrize("first", range(0, SEEDS, AT_ONCE))
def test_every_promise_holds_under_every_seed(first: int) -> None:
    total = Tally()
    for seed in range(first, first + AT_ONCE):
        for what, count in simulate(seed, STEPS).counts.items():
            total.counts[what] = total.counts.get(what, 0) + count
    assert not [event for event in EVENTS if not total.counts.get(event)], "the simulation is too tame"


def test_a_failing_seed_is_named_and_fails_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LedgerWriter, "_try", lambda writer, batch, *, is_last=False: True)
    messages = []
    for _ in range(2):
        with pytest.raises(SimulationError, match=r"^seed 7, step \d+ \(memory\)") as caught:
            simulate(7, STEPS)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_the_simulator_runs_from_the_command_line() -> None:
    command = [
        sys.executable,
        "-m",
        "outlay.testing.simulator",
        "--seeds",
        "3",
        "--steps",
        "20",
        "--first",
        "24",
    ]
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    assert "3 seeds of 20 steps, from 24: every promise held" in output
