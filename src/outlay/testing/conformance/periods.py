"""Conformance: windows, roll-over, new rules for old budgets, and clocks that misbehave."""

from __future__ import annotations

from datetime import timedelta

from outlay.domain.commands import Amount, ConfirmClock, Increase, PutBudget, Reset
from outlay.domain.outcomes import Posted, Put, Reserved
from outlay.domain.windows import NEVER, SECOND
from outlay.errors import ClockError, InvalidValueError
from outlay.testing.conformance.base import PROJECT, Bench, a_budget, a_record, a_reserve, a_settle

ROLLING = ("30s", "90m", "36h", "2d", "1w", "1mo", "1y", "daily", "weekly", "monthly", "quarterly", "yearly")


class Periods(Bench):
    """What belongs to which period, whatever happens to the window or the clock."""

    def test_every_window_opens_a_new_period_when_the_old_one_ends_and_not_before(self) -> None:
        for n, window in enumerate(ROLLING):
            account = f"user:{n}"
            self.put_budget(10, window=window, id=window, account=account)
            self.do(a_record(f"s{n}", 10, accounts=(account,)))
            self.clock.advance((self.period(window).ends_at - 1 - self.clock.wall()) / SECOND)
            self.refuse(f"before {n}", accounts=(account,))
            self.clock.advance(1 / SECOND)
            self.admit(f"after {n}", accounts=(account,))

    def test_a_total_window_never_ends(self) -> None:
        self.put_budget(10)
        self.record("s1", 10)
        self.clock.advance(3650 * 86400)
        assert self.refuse("r1", 1).resets_at is None
        assert self.period().ends_at == NEVER

    def test_a_reservation_settles_into_the_period_it_was_admitted_to(self) -> None:
        self.put_budget(10, window="daily")
        self.at("2026-01-01T23:59:00+00:00")
        self.admit("r1", 10)
        self.clock.advance(120)
        self.admit("r2", 10)
        self.settle("r1", 8)
        self.settle("r2", 9)
        assert [(each.reserved, each.settled) for each in self.periods()] == [(0, 8), (0, 9)]

    def test_an_increase_after_roll_over_holds_in_the_old_period(self) -> None:
        self.put_budget(10, window="daily")
        self.at("2026-01-01T23:59:00+00:00")
        self.admit("r1", 8)
        self.clock.advance(120)
        self.admit("r2", 10)
        self.increase("i1", "r1", usd=2)
        assert [each.reserved for each in self.periods()] == [10, 10]

    def test_settling_an_old_period_first_after_a_crash_leaves_the_running_one_alone(self) -> None:
        self.put_budget(10, window="daily")
        self.at("2026-01-01T23:59:00+00:00")
        self.admit("r1", 10)
        self.clock.advance(120)
        self.admit("r2", 10)
        self.reopen()
        self.settle("r1", 8)
        self.refuse("r3", 1)
        assert self.counters() == (10, 0)

    def test_the_same_within_one_batch(self) -> None:
        self.put_budget(10, window="daily")
        self.at("2026-01-01T23:59:00+00:00")
        self.admit("r1", 10)
        self.clock.advance(120)
        self.admit("r2", 6)
        self.reopen()
        self.ledger.batch(a_settle("r1", 8), a_settle("r2", 5), a_reserve("r3", 5), a_reserve("r4", 1))
        assert self.counters() == (5, 5)

    def test_closed_short_periods_are_pruned_but_not_while_something_is_held_there(self) -> None:
        self.put_budget(10, "requests", window="1m")
        self.admit("r1")
        self.clock.advance(60)
        self.admit("r2")
        assert len(self.periods()) == 2
        self.settle("r1")
        self.settle("r2")
        self.clock.advance(60)
        self.admit("r3")
        assert len(self.periods()) == 1

    def test_a_hold_of_nothing_settles_even_after_its_period_was_pruned(self) -> None:
        self.put_budget(10, "tokens", window="1m")
        reserve = a_reserve("r1", amounts={"tokens": Amount(0, 5)}, wanted_output_tokens=0)
        self.do(reserve, Reserved)
        self.clock.advance(60)
        self.do(a_reserve("r2", amounts={"tokens": Amount(1)}), Reserved)
        self.reopen()
        assert self.settle("r1", None, tokens=3).tokens == 3

    def test_a_late_settle_into_a_pruned_period_is_still_in_the_journal(self) -> None:
        self.put_budget(10, "tokens", window="1m")
        self.do(a_reserve("r1", amounts={"tokens": Amount(5)}))
        self.clock.advance(700)
        self.ledger.sweep()
        self.do(a_reserve("r2", amounts={"tokens": Amount(5)}))
        self.reopen()
        assert self.settle("r1", None, tokens=3).tokens == -2
        assert self.counters() == (5, 0)

    def test_a_reset_by_hand_opens_a_period_with_the_same_end(self) -> None:
        self.put_budget(10, window="daily")
        self.admit("r1", 4)
        self.admit("r2", 6)
        self.settle("r1", 4)
        self.clock.advance(3600)
        before = self.period()
        entry = self.reset("x1")
        assert (entry.kind, entry.detail["by"]) == ("reset", "test")
        after = self.period()
        assert (after.starts_at, after.ends_at) == (self.clock.wall(), before.ends_at)
        self.admit("r3", 10)
        self.settle("r2", 5)
        assert [(each.reserved, each.settled) for each in self.periods()] == [(0, 9), (10, 0)]
        assert self.do(_reset("x1"), Posted).is_replay
        assert len(self.periods()) == 2

    def test_two_resets_in_one_moment_open_two_periods(self) -> None:
        self.put_budget(10, window="daily")
        self.record("s1", 9)
        self.reset("x1")
        self.record("s2", 8)
        self.reset("x2")
        self.admit("r1", 10)
        assert [each.settled for each in self.periods()] == [9, 8, 0]

    def test_only_known_budgets_can_be_granted_or_reset(self) -> None:
        assert isinstance(self.error(_reset("x1")), InvalidValueError)

    # A new rule for an old budget.

    def test_a_new_window_carries_what_the_journal_says_and_what_is_held(self) -> None:
        self.put_budget(100, window="daily", is_by_model=True)
        self.at("2026-01-10T12:00:00+00:00")
        self.record("s1", 30, model="m")
        self.clock.advance(86400)
        self.record("s2", 5, model="n")
        self.admit("r1", 20)
        assert self.do(PutBudget(a_budget(100, window="monthly", is_by_model=True)), Put).is_changed
        assert self.counters() == (20, 35)
        self.refuse("r2", 46)
        self.settle("r1", 25)
        assert (self.period().settled, self.period().overrun) == (60, 5)
        carried = self.entries(kinds=("carry",))
        assert [entry.posts[0].settled for entry in carried] == [35]
        period = self.period()
        with self.ledger.store.read() as reader:
            assert reader.model_totals(period.budget_key, period.starts_at) == {"m": 30, "n": 5}

    def test_a_shorter_window_leaves_behind_what_was_before_it(self) -> None:
        self.put_budget(100, window="monthly")
        self.record("s1", 30)
        self.admit("r1", 20, hold_micros=9 * 86400 * SECOND)
        self.clock.advance(2 * 86400)
        self.record("s2", 5)
        self.put_budget(100, window="daily")
        assert self.counters() == (0, 5)
        self.settle("r1", 20)
        assert self.counters() == (0, 5)

    def test_a_budget_put_on_an_account_with_a_history_starts_with_it(self) -> None:
        self.record("s1", 30)
        self.admit("r1", 20)
        self.put_budget(60)
        assert self.counters() == (20, 30)
        self.refuse("r2", 11)
        self.void("r1")
        self.admit("r2", 30)

    def test_a_new_filter_counts_only_what_it_lets_through(self) -> None:
        self.put_budget(100)
        self.record("s1", 30, model="m", provider="x")
        self.record("s2", 5, model="n", provider="x")
        self.admit("r1", 20, model="m", provider="x")
        self.admit("r2", 7, model="n", provider="x")
        self.put_budget(100, models=("m",))
        assert self.counters() == (20, 30)
        self.settle("r2", 7)
        self.settle("r1", 20)
        assert self.counters() == (0, 50)

    def test_a_new_rule_after_a_reset_counts_from_the_reset(self) -> None:
        self.put_budget(100, window="daily")
        self.record("s1", 30)
        self.clock.advance(60)
        self.reset("x1")
        self.record("s2", 5)
        self.put_budget(100, window="monthly")
        assert self.counters() == (0, 5)

    def test_a_reservation_that_moved_to_a_new_rule_expires_there(self) -> None:
        self.put_budget(100, window="daily")
        self.admit("r1", 20)
        self.put_budget(100, window="monthly")
        self.reopen()
        self.clock.advance(601)
        self.ledger.sweep()
        assert self.counters() == (0, 20)
        assert [(each.reserved, each.settled) for each in self.periods()] == [(0, 0), (0, 20)]

    def test_requests_and_slots_move_to_a_new_rule_too(self) -> None:
        self.put_budget(9, "requests", window="daily", id="q")
        self.put_budget(9, "concurrency", id="c")
        self.admit("r1")
        self.put_budget(9, "requests", window="weekly", id="q")
        self.put_budget(9, "concurrency", id="c", providers=("x",))
        self.put_budget(9, "concurrency", id="c")
        assert (self.counters("q"), self.counters("c")) == ((1, 0), (1, 0))
        self.settle("r1")
        assert (self.counters("q"), self.counters("c")) == ((0, 1), (0, 0))

    def test_requests_that_ended_in_every_way_are_carried_as_they_counted(self) -> None:
        self.put_budget(9, "requests", window="daily")
        for name in ("settled", "failed", "rejected", "never", "late"):
            self.admit(name)
        self.settle("settled")
        self.void("failed", "provider_error")
        self.void("rejected", "rejected")
        self.void("never", "never_sent")
        self.record("s1", 1)
        self.clock.advance(601)
        self.ledger.sweep()
        self.void("late", "never_sent")
        assert self.counters() == (0, 4)
        self.put_budget(9, "requests", window="monthly")
        assert self.counters() == (0, 4)

    def test_a_budget_moved_to_another_account_counts_that_accounts_spend(self) -> None:
        self.put_budget(100)
        self.admit("r1", 20)
        self.admit("r2", 7, accounts=("user:bob",))
        self.record("s2", 5, accounts=("user:bob",))
        self.put_budget(100, account="user:bob")
        assert self.counters() == (7, 5)
        self.settle("r1", 20)
        self.settle("r2", 6)
        assert self.counters() == (0, 11)

    def test_a_concurrency_budget_has_no_other_window(self) -> None:
        assert isinstance(self.error(PutBudget(a_budget(1, "concurrency", "daily"))), InvalidValueError)

    # Clocks.

    def test_a_clock_set_back_opens_no_old_period(self) -> None:
        self.put_budget(10, window="daily")
        self.record("s1", 10)
        self.at("2026-01-02T00:00:10+00:00")
        self.record("s2", 6)
        self.clock.jump(timedelta(hours=-2))
        self.refuse("r1", 5)
        self.record("s3", 1)
        assert [each.settled for each in self.periods()] == [10, 7]
        assert [entry.at for entry in self.entries()] == sorted(entry.at for entry in self.entries())

    def test_a_clock_far_behind_admits_nothing_but_still_records(self) -> None:
        self.put_budget(10)
        self.admit("r1", 5)
        self.clock.jump(timedelta(days=-2))
        assert isinstance(self.error(a_reserve("r2", 1)), ClockError)
        self.settle("r1", 5)
        self.record("s1", 1)
        assert self.counters() == (0, 6)
        self.clock.jump(timedelta(days=2))
        self.admit("r3", 1)

    def test_a_clock_that_was_behind_is_believed_as_soon_as_it_is_right_again(self) -> None:
        self.put_budget(10, window="daily")
        self.admit("r1", 10)
        self.clock.jump(timedelta(hours=-3))
        self.record("s1", 1)
        self.clock.advance(600)
        self.record("s2", 1)
        self.clock.jump(timedelta(hours=3))
        self.at("2026-01-02T00:00:00+00:00")
        self.admit("r2", 10)

    def test_a_clock_that_was_behind_and_then_jumps_too_far_opens_no_new_period(self) -> None:
        self.put_budget(10, window="daily")
        self.admit("r1", 10)
        self.clock.jump(timedelta(hours=-3))
        self.record("s1", 1)
        self.clock.jump(timedelta(days=1, hours=3))
        self.refuse("r2", 1)
        assert len(self.periods()) == 1

    def test_a_small_step_forward_is_believed(self) -> None:
        self.put_budget(10, window="1m")
        self.admit("r1", 10)
        self.clock.jump(60)
        self.admit("r2", 10)

    def test_a_clock_that_jumps_forward_opens_no_new_period(self) -> None:
        self.put_budget(10, window="daily")
        self.admit("r1", 10)
        self.clock.jump(timedelta(days=1))
        self.refuse("r2", 1)
        self.clock.advance(590)
        self.refuse("r3", 1)
        assert len(self.periods()) == 1

    def test_a_forward_jump_that_lasts_is_believed_even_if_all_is_refused_meanwhile(self) -> None:
        self.put_budget(10, window="daily")
        self.admit("r1", 10)
        self.clock.jump(timedelta(days=1))
        self.refuse("r2", 1)
        self.clock.advance(601)
        self.admit("r3", 1)
        assert len(self.periods()) == 2

    def test_an_operator_can_confirm_a_forward_jump(self) -> None:
        self.put_budget(10, window="daily")
        self.admit("r1", 10)
        self.clock.jump(timedelta(days=1))
        self.refuse("r2", 1)
        self.do(ConfirmClock("test"))
        self.admit("r3", 1)

    def test_a_forward_jump_that_is_taken_back_leaves_no_trace(self) -> None:
        self.put_budget(10, window="daily")
        self.admit("r1", 10)
        self.clock.jump(timedelta(days=1))
        self.refuse("r2", 1)
        self.clock.jump(timedelta(days=-1))
        self.refuse("r3", 1)
        self.at("2026-01-02T00:00:00+00:00")
        self.admit("r4", 1)

    def test_a_suspended_jump_outlives_a_crash(self) -> None:
        self.put_budget(10, window="daily")
        self.admit("r1", 10)
        self.clock.jump(timedelta(days=1))
        self.refuse("r2", 1)
        self.reopen()
        self.refuse("r3", 1)
        self.clock.advance(601)
        self.reopen()
        self.admit("r4", 1)

    def test_an_impossible_clock_is_an_error_and_changes_nothing(self) -> None:
        self.put_budget(10)
        self.clock.jump(timedelta(days=-365 * 80))
        assert isinstance(self.error(a_reserve("r1", 1)), ClockError)
        self.clock.jump(timedelta(days=365 * 80))
        self.admit("r1", 1)

    def test_an_increase_is_one_decision_for_all_its_periods(self) -> None:
        self.put_budget(10, window="daily", id="d")
        self.put_budget(100, id="t")
        self.admit("r1", 8)
        self.do(Increase(PROJECT, "i1", "r1", {"usd": 3}))
        assert (self.counters("d"), self.counters("t")) == ((8, 0), (8, 0))


def _reset(id: str) -> Reset:
    return Reset(PROJECT, id, "b", "test")
