"""Decisions: properties of admission that hold whatever the budgets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outlay.domain.budgets import MODES, UNITS, Budget, Period, PeriodKey
from outlay.domain.commands import Amount, Reserve
from outlay.domain.decide import NO_AMOUNTS, Decision, decide_reserve
from outlay.domain.outcomes import Refusal, Reserved
from outlay.domain.windows import Window

pytestmark = pytest.mark.once("rules that are the same on every Python")

PROOF = settings(derandomize=True, deadline=None, max_examples=300)
NOW = 1000
TOTAL = Window.parse("total")
SMALL = st.integers(0, 200)


@st.composite
def budgets(draw: st.DrawFn, modes: Sequence[str] = MODES) -> list[tuple[Budget, Period]]:
    found = []
    for key in range(1, draw(st.integers(1, 4)) + 1):
        budget = Budget(
            "p",
            f"b{key}",
            "user:ann",
            draw(st.sampled_from(UNITS)),
            draw(SMALL),
            TOTAL,
            draw(st.sampled_from(modes)),
            key=key,
        )
        period = Period(key, 0, 2**63 - 1, draw(st.integers(0, 20)), draw(SMALL), draw(SMALL))
        found.append((budget, period))
    return found


@st.composite
def reserves(draw: st.DrawFn) -> Reserve:
    amounts = {unit: Amount(draw(st.integers(0, 80)), draw(st.integers(0, 7))) for unit in ("usd", "tokens")}
    least = draw(st.integers(0, 20))
    wanted = draw(st.none() | st.integers(least, 100))
    return Reserve("p", "r", ("user:ann",), amounts, 10, wanted, least if wanted is not None else 0)


def decide(
    command: Reserve, state: list[tuple[Budget, Period]], stuck: Mapping[PeriodKey, int] = NO_AMOUNTS
) -> Decision:
    newest = {budget.key: period for budget, period in state}
    budgets = [budget for budget, _ in state]
    return decide_reserve(command, command.accounts, budgets, newest, NOW, b"", stuck)


def needs(command: Reserve, budget: Budget, cap: int) -> int:
    fixed, each = command.amounts.get(budget.unit, Amount(1))
    return fixed + each * cap


def fits(command: Reserve, state: list[tuple[Budget, Period]], cap: int) -> bool:
    """Invariant 1, said without any clamp, for the budgets that the request touches."""
    return all(
        command.amounts.get(budget.unit) == (0, 0)
        or period.settled + period.reserved + needs(command, budget, cap) <= budget.limit + period.granted
        for budget, period in state
    )


@PROOF
@given(reserves(), budgets(modes=["hard"]))
def test_the_granted_cap_is_the_largest_that_fits(
    command: Reserve, state: list[tuple[Budget, Period]]
) -> None:
    outcome = decide(command, state).outcome
    wanted = command.wanted_output_tokens
    caps = [0] if wanted is None else range(command.least_output_tokens, wanted + 1)
    fitting = [cap for cap in caps if fits(command, state, cap)]
    if not fitting:
        assert isinstance(outcome, Refusal)
    else:
        assert isinstance(outcome, Reserved)
        assert outcome.output_cap == (None if wanted is None else max(fitting))


@PROOF
@given(reserves(), budgets())
def test_what_is_admitted_keeps_every_hard_limit_and_holds_on_every_budget(
    command: Reserve, state: list[tuple[Budget, Period]]
) -> None:
    decision = decide(command, state)
    before = dict(state)
    if isinstance(decision.outcome, Refusal):
        assert not decision.periods
        assert decision.reservation is None
        return
    assert decision.reservation is not None
    cap = decision.reservation.output_cap or 0
    holds = {hold.budget_key: hold.amount for hold in decision.reservation.holds}
    after = {period.budget_key: period for period in decision.periods}
    for budget, period in before.items():
        needed = needs(command, budget, cap)
        assert holds.get(budget.key, 0) == needed
        if budget.key in after:
            assert after[budget.key] == period._replace(reserved=period.reserved + needed)
        if budget.mode == "hard" and needed:
            assert period.settled + period.reserved + needed <= budget.limit + period.granted
        if budget.mode == "crossing" and budget.unit in ("usd", "tokens") and budget.key in holds:
            assert period.settled + period.reserved < budget.limit + period.granted


@PROOF
@given(reserves(), budgets())
def test_what_is_refused_says_truly_whether_waiting_can_help(
    command: Reserve, state: list[tuple[Budget, Period]]
) -> None:
    stuck = {period.key: period.reserved // 3 for _, period in state}
    outcome = decide(command, state, stuck).outcome
    if not isinstance(outcome, Refusal):
        return
    idle = [
        (budget, period if budget.unit == "requests" else period._replace(reserved=period.reserved // 3))
        for budget, period in state
    ]
    assert outcome.can_wait == isinstance(decide(command, idle).outcome, Reserved)


@PROOF
@given(reserves(), budgets())
def test_what_is_said_to_be_affordable_is_admitted(
    command: Reserve, state: list[tuple[Budget, Period]]
) -> None:
    outcome = decide(command, state).outcome
    if not isinstance(outcome, Refusal) or outcome.affordable_output_tokens is None:
        return
    cap = outcome.affordable_output_tokens
    smaller = Reserve("p", "r", command.accounts, command.amounts, 10, cap, cap)
    assert isinstance(decide(smaller, state).outcome, Reserved)
    larger = Reserve("p", "r", command.accounts, command.amounts, 10, cap + 1, cap + 1)
    assert isinstance(decide(larger, state).outcome, Refusal)


@PROOF
@given(reserves(), budgets(modes=["soft"]))
def test_soft_budgets_never_refuse(command: Reserve, state: list[tuple[Budget, Period]]) -> None:
    outcome = decide(command, state).outcome
    assert isinstance(outcome, Reserved)
    assert outcome.output_cap == command.wanted_output_tokens
