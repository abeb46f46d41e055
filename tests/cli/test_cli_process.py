"""`outlay` as a process: however it is started, it answers what `main` answers in the process of a test."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from command_line import CommandLine

from outlay.domain.budgets import Budget
from outlay.domain.commands import PutBudget, Record
from outlay.domain.windows import Window

SCRIPT = (str(Path(sys.executable).with_name("outlay")),)
MODULE = (sys.executable, "-m", "outlay")


@pytest.mark.parametrize(
    ("program", "arguments", "code"),
    [
        (SCRIPT, ("balance", "--account", "user:adä"), 0),
        (SCRIPT, ("balance", "--nonsense"), 2),
        (MODULE, ("balance", "--account", "user:adä", "--json"), 0),
        (MODULE, ("audit", "--json"), 1),
        (MODULE, ("entries", "--since", "nonsense"), 2),
        (MODULE, ("presumed",), 2),
    ],
)
def test_a_process_answers_as_main_does(
    outlay: CommandLine, program: tuple[str, ...], arguments: tuple[str, ...], code: int
) -> None:
    outlay.execute(
        PutBudget(Budget("shop", "day", "user:adä", "usd", 10**9, Window.parse("total"))),
        Record("shop", "r1", ("user:adä",), 40),
    )
    outlay.tamper("UPDATE periods SET settled = 41")
    ran = outlay.process(*arguments, program=program)
    assert ran == outlay(*arguments)
    assert ran.code == code
