"""`outlay clock` through steps of the machine's clock and back."""

from __future__ import annotations

import time

import pytest
from command_line import CommandLine

from outlay.ledger.clock import SystemClock

HOUR = 3600 * 10**6


class Wall:
    """The machine's wall clock, moved by so many microseconds."""

    def __init__(self) -> None:
        self.shift = 0

    def now(self) -> int:
        return time.time_ns() // 1000 + self.shift


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    wall = Wall()
    monkeypatch.setattr(SystemClock, "wall", lambda _: wall.now())
    return wall


def use(outlay: CommandLine) -> None:
    """Write something."""
    number = str(time.time_ns())
    assert outlay("budget", "set", "user:ada", number[-6:] + "1", "daily").code == 0


@pytest.mark.parametrize("shift", [-20 * HOUR, -HOUR, HOUR, 20 * HOUR])
def test_a_clock_that_was_wrong_and_is_right_again_is_believed(
    outlay: CommandLine, wall: Wall, shift: int
) -> None:
    use(outlay)
    wall.shift = shift
    use(outlay)
    told = outlay("clock", "--json").json
    assert (told["is_believed"], told["lag_seconds"] > 3590) == (shift < 0, shift < 0)
    use(outlay)
    wall.shift = 0
    for _ in range(2):
        told = outlay("clock", "--json").json
        assert (told["is_believed"], told["lead_seconds"], told["lag_seconds"]) == (True, 0, 0)
        assert outlay("clock").out.startswith("The clock is believed")
        use(outlay)


def test_one_that_goes_further_than_it_was_set_back_is_a_jump(outlay: CommandLine, wall: Wall) -> None:
    use(outlay)
    wall.shift = -HOUR
    use(outlay)
    wall.shift = 2 * HOUR
    told = outlay("clock", "--json").json
    assert (told["is_believed"], 7190 < told["lead_seconds"] <= 7200) == (False, True)
