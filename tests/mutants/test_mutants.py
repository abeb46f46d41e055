"""Mutants: for each invariant of the ledger, a defect put in on purpose, which the simulator must find.

A suite that stays green when a guard is taken out does not guard it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from outlay.domain import decide, resolve, slots
from outlay.domain.budgets import Period, PeriodKey
from outlay.domain.commands import Settle
from outlay.domain.decide import Decision
from outlay.domain.entries import Entry
from outlay.domain.reservations import Hold, Reservation
from outlay.ledger import books, clock
from outlay.ledger.books import Books
from outlay.ledger.clock import Clock
from outlay.ledger.store import ClockState, Ref
from outlay.ledger.writer import Job, LedgerWriter
from outlay.stores import memory
from outlay.stores.memory import MemoryTransaction
from outlay.testing.simulator import SimulationError, simulate

pytestmark = pytest.mark.once("the ledger's rules, the same on every Python")

Patch = Callable[[pytest.MonkeyPatch], None]

SEEDS = range(1, 25)
"""All in memory. Most mutants die under the first ones."""

STEPS = 200


def limits_are_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decide, "_admits", lambda line, output_tokens: True)


def a_limit_admits_one_too_many(patch: pytest.MonkeyPatch) -> None:
    original = decide._admits

    def admits(line: decide.Line, output_tokens: int) -> bool:
        return original(line._replace(room=line.room + 1), output_tokens)

    patch.setattr(decide, "_admits", admits)


def crossing_ignores_what_is_reserved(patch: pytest.MonkeyPatch) -> None:
    original = decide._admits

    def admits(line: decide.Line, output_tokens: int) -> bool:
        if line.budget.mode == "crossing":
            line = line._replace(room=line.room + line.period.reserved)
        return original(line, output_tokens)

    patch.setattr(decide, "_admits", admits)


def only_the_first_budget_is_asked(patch: pytest.MonkeyPatch) -> None:
    original = decide._lines

    def lines(*arguments: Any) -> Any:
        found, watching, refusal = original(*arguments)
        return found[:1], watching, refusal

    patch.setattr(decide, "_lines", lines)


def a_bound_that_nobody_proved_passes(patch: pytest.MonkeyPatch) -> None:
    original = decide._lacks_bound
    patch.setattr(
        decide,
        "_lacks_bound",
        lambda command, budget: original(replace(command, unproven_reason=None), budget),
    )


def an_increase_is_not_checked(patch: pytest.MonkeyPatch) -> None:
    original = decide.decide_increase

    def decide_increase(command: Any, reservation: Any, _budgets: Any, *rest: Any) -> Decision:
        return original(command, reservation, {}, *rest)

    patch.setattr(books, "decide_increase", decide_increase)


def a_settle_keeps_its_hold(patch: pytest.MonkeyPatch) -> None:
    original = resolve._move

    def move(holds: Sequence[Hold], actual: Any, periods: Any) -> Any:
        posts, changed = original(holds, actual, periods)
        kept = [
            period._replace(reserved=period.reserved + hold.amount)
            for hold, period in zip(holds, changed, strict=False)
        ]
        return posts, kept

    patch.setattr(resolve, "_move", move)


def a_record_is_not_in_the_journal(patch: pytest.MonkeyPatch) -> None:
    original = resolve.decide_record

    def decide_record(*arguments: Any) -> Decision:
        return original(*arguments)._replace(entry=None)

    patch.setattr(books, "decide_record", decide_record)


def a_correction_gets_a_new_id_each_time(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(resolve, "correction_id", lambda id: f"{id}#correct{uuid4()}")


def a_reservation_stays_pending_when_it_ends(patch: pytest.MonkeyPatch) -> None:
    original = Books._apply

    def apply(self: Books, decision: Decision) -> None:
        original(self, decision._replace(resolved_id=None))

    patch.setattr(Books, "_apply", apply)


def a_repeated_reserve_is_a_new_one(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(books, "repeat_reserve", lambda *_: None)


def callers_hear_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    original = LedgerWriter._try

    def attempt(self: LedgerWriter, batch: Sequence[Job], *, is_last: bool = False) -> bool:
        try:
            self._transact(batch)
        except OSError:
            self._books.forget()
            return all(job.outcome or job.error for job in batch) or original(self, batch, is_last=is_last)
        except Exception:  # noqa: BLE001 # as the original
            return original(self, batch, is_last=is_last)
        return True

    patch.setattr(LedgerWriter, "_try", attempt)


def expiry_releases(patch: pytest.MonkeyPatch) -> None:
    original = resolve.decide_expire

    def decide_expire(reservation: Reservation, periods: Any, now: int) -> Decision:
        _, changed = resolve._move(reservation.holds, {"usd": 0, "tokens": 0}, periods)
        return original(reservation, periods, now)._replace(periods=changed)

    patch.setattr(books, "decide_expire", decide_expire)


def a_void_counts_as_never_sent(patch: pytest.MonkeyPatch) -> None:
    original = resolve.decide_void

    def decide_void(command: Any, *rest: Any) -> Decision:
        return original(replace(command, reason="never_sent"), *rest)

    patch.setattr(books, "decide_void", decide_void)


def a_failed_transaction_stays_half_done(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(MemoryTransaction, "undo", lambda self: None)


def counters_are_clamped(patch: pytest.MonkeyPatch) -> None:
    original = resolve._move

    def move(holds: Sequence[Hold], actual: Any, periods: Any) -> Any:
        posts, changed = original(holds, actual, periods)
        return posts, [
            period._replace(reserved=max(0, period.reserved - hold.amount))
            for hold, period in zip(holds, changed, strict=False)
        ]

    patch.setattr(resolve, "_move", move)


def a_settle_posts_to_the_newest_period(patch: pytest.MonkeyPatch) -> None:
    original = resolve._move

    def move(holds: Sequence[Hold], actual: Any, periods: dict[PeriodKey, Period]) -> Any:
        moved = [
            hold._replace(starts_at=max(key[1] for key in periods if key[0] == hold[0])) for hold in holds
        ]
        return original(moved, actual, periods)

    patch.setattr(resolve, "_move", move)


def windows_follow_a_clock_that_is_set_back(patch: pytest.MonkeyPatch) -> None:
    original = clock.read_clock

    def read_clock(source: Clock, last: ClockState) -> tuple[int, ClockState]:
        return original(source, replace(last, newest_at=0))

    patch.setattr(memory, "read_clock", read_clock)


def a_forward_jump_is_believed_at_once(patch: pytest.MonkeyPatch) -> None:
    original = clock.read_clock

    def read_clock(source: Clock, last: ClockState) -> tuple[int, ClockState]:
        return original(source, replace(last, boot_id=""))

    patch.setattr(memory, "read_clock", read_clock)


def an_old_period_passes_for_the_newest(patch: pytest.MonkeyPatch) -> None:
    def follow(self: Books, period: Period) -> None:
        self._newest[period.budget_key] = period

    patch.setattr(Books, "_follow_newest", follow)


def what_is_above_the_hold_is_cut(patch: pytest.MonkeyPatch) -> None:
    original = resolve.decide_settle

    def decide_settle(command: Settle, reservation: Reservation, *rest: Any) -> Decision:
        if command.usd_nanos is not None:
            command = replace(command, usd_nanos=min(command.usd_nanos, reservation.amounts["usd"]))
        return original(command, reservation, *rest)

    patch.setattr(books, "decide_settle", decide_settle)


def an_overrun_is_not_noted(patch: pytest.MonkeyPatch) -> None:
    original = resolve._move

    def move(holds: Sequence[Hold], actual: Any, periods: Any) -> Any:
        posts, changed = original(holds, actual, periods)
        silent = [period._replace(overrun=periods[period.key].overrun) for period in changed]
        return tuple(post._replace(overrun=0) for post in posts), silent

    patch.setattr(resolve, "_move", move)


def budgets_of_other_projects_count_too(patch: pytest.MonkeyPatch) -> None:
    original = MemoryTransaction.budgets

    def budgets(self: MemoryTransaction, refs: Any) -> Any:
        found = original(self, [Ref(project, ref.id) for ref in refs for project in ("p", "q")])
        return {ref: found[Ref("p", ref.id)] + found[Ref("q", ref.id)] for ref in refs}

    patch.setattr(MemoryTransaction, "budgets", budgets)


def ids_of_other_projects_are_taken(patch: pytest.MonkeyPatch) -> None:
    original = MemoryTransaction.entries

    def entries(self: MemoryTransaction, refs: Any) -> dict[Ref, Entry]:
        found = original(self, [Ref(project, ref.id) for ref in refs for project in ("p", "q")])
        return {
            ref: entry for ref in refs for project in ("p", "q") if (entry := found.get(Ref(project, ref.id)))
        }

    patch.setattr(MemoryTransaction, "entries", entries)


def a_correction_rewrites_the_presumed_entry(patch: pytest.MonkeyPatch) -> None:
    original = MemoryTransaction._append

    def append(self: MemoryTransaction, entry: Entry) -> None:
        if entry.kind == "correct":
            ref = Ref(entry.project, entry.reservation_id or "")
            self._set(self._tables.entries, ref, entry._replace(id=ref.id, kind="expire"))
        else:
            original(self, entry)

    patch.setattr(MemoryTransaction, "_append", append)


def the_journal_forgets(patch: pytest.MonkeyPatch) -> None:
    original = MemoryTransaction._append

    def append(self: MemoryTransaction, entry: Entry) -> None:
        self._tables.max_entries = 20
        original(self, entry)

    patch.setattr(MemoryTransaction, "_append", append)


def an_unknown_cost_is_zero(patch: pytest.MonkeyPatch) -> None:
    original = resolve.decide_settle

    def decide_settle(command: Settle, *rest: Any) -> Decision:
        return original(replace(command, usd_nanos=command.usd_nanos or 0), *rest)

    patch.setattr(books, "decide_settle", decide_settle)


def a_charge_does_not_say_its_price_version(patch: pytest.MonkeyPatch) -> None:
    original = resolve.decide_settle

    def decide_settle(command: Settle, reservation: Reservation, *rest: Any) -> Decision:
        return original(command, reservation._replace(price_version=None), *rest)

    patch.setattr(books, "decide_settle", decide_settle)


def nothing_ever_expires(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Books, "_expire", lambda self: None)


def a_late_settle_is_dropped(patch: pytest.MonkeyPatch) -> None:
    original = resolve.decide_late

    def decide_late(*arguments: Any) -> Decision:
        return original(*arguments)._replace(periods=(), entry=None)

    patch.setattr(books, "decide_late", decide_late)


def a_new_rule_forgets_what_is_held(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(MemoryTransaction, "pending_of", lambda self, ref: [])


def a_new_rule_forgets_what_was_spent(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(memory, "spent", lambda entry, unit: 0)


def a_freed_slot_takes_the_money_along(patch: pytest.MonkeyPatch) -> None:
    original = slots.decide_free

    def decide_free(reservation: Reservation, periods: Any) -> Decision:
        decision = original(reservation, periods)
        _, changed = resolve._move(reservation.holds, {"usd": 0, "tokens": 0, "requests": 0}, periods)
        freed = decision.reservation
        assert freed is not None
        return decision._replace(periods=changed, reservation=freed._replace(holds=()))

    patch.setattr(books, "decide_free", decide_free)


def a_slot_is_given_back_again_when_the_reservation_ends(patch: pytest.MonkeyPatch) -> None:
    original = slots.decide_free

    def decide_free(reservation: Reservation, periods: Any) -> Decision:
        return original(reservation, periods)._replace(reservation=reservation)

    patch.setattr(books, "decide_free", decide_free)


def another_nodes_writes_go_unnoticed(patch: pytest.MonkeyPatch) -> None:
    original: Any = Books._forget_state
    patch.setattr(
        Books, "_forget_state", lambda self: original(self) if not hasattr(self, "_newest") else None
    )


MUTANTS: dict[Patch, int] = {
    limits_are_not_looked_at: 1,
    a_limit_admits_one_too_many: 1,
    crossing_ignores_what_is_reserved: 1,
    only_the_first_budget_is_asked: 1,
    a_bound_that_nobody_proved_passes: 1,
    an_increase_is_not_checked: 1,
    another_nodes_writes_go_unnoticed: 1,
    a_new_rule_forgets_what_is_held: 1,
    a_new_rule_forgets_what_was_spent: 1,
    a_settle_keeps_its_hold: 2,
    a_record_is_not_in_the_journal: 2,
    an_old_period_passes_for_the_newest: 2,
    a_correction_gets_a_new_id_each_time: 3,
    a_reservation_stays_pending_when_it_ends: 3,
    a_repeated_reserve_is_a_new_one: 3,
    callers_hear_before_the_commit: 4,
    expiry_releases: 5,
    a_void_counts_as_never_sent: 5,
    a_late_settle_is_dropped: 5,
    a_freed_slot_takes_the_money_along: 5,
    a_failed_transaction_stays_half_done: 6,
    counters_are_clamped: 7,
    a_slot_is_given_back_again_when_the_reservation_ends: 7,
    a_settle_posts_to_the_newest_period: 8,
    windows_follow_a_clock_that_is_set_back: 9,
    a_forward_jump_is_believed_at_once: 9,
    what_is_above_the_hold_is_cut: 10,
    an_overrun_is_not_noted: 10,
    budgets_of_other_projects_count_too: 11,
    ids_of_other_projects_are_taken: 11,
    a_correction_rewrites_the_presumed_entry: 12,
    the_journal_forgets: 12,
    an_unknown_cost_is_zero: 13,
    a_charge_does_not_say_its_price_version: 13,
    nothing_ever_expires: 14,
}


@pytest.mark.parametrize(
    "mutant", [pytest.param(each, id=f"{number}-{each.__name__}") for each, number in MUTANTS.items()]
)
def test_the_simulator_finds_that(mutant: Patch, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant(monkeypatch)
    with pytest.raises(SimulationError) as caught:
        _simulate_all()
    cause: BaseException | None = caught.value
    while cause is not None:  # it is found because it is wrong, not because it is no mutant any more
        assert not isinstance(cause, TypeError | AttributeError | NameError | KeyError | RecursionError)
        cause = cause.__cause__


def _simulate_all() -> None:
    for seed in SEEDS:
        simulate(seed, STEPS)


def test_there_is_a_mutant_for_every_invariant_that_a_simulation_can_show() -> None:
    assert {*MUTANTS.values()} >= {*range(1, 15)}
