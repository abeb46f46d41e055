"""Conformance: what is admitted, what is refused, and with which facts."""

from __future__ import annotations

from datetime import datetime
from itertools import product
from typing import Any

from outlay.domain.budgets import MODES, UNITS, Mode, Unit
from outlay.domain.commands import Amount, FreeSlot, Increase, Probe, PutBudget, RemoveBudget, Void
from outlay.domain.outcomes import Freed, Possible, Refusal, Reserved, Stale
from outlay.domain.windows import to_micros
from outlay.testing.conformance.base import ANN, PROJECT, Bench, a_budget, a_reserve, a_settle


class Admission(Bench):
    """Reserve and increase, in every mode and unit."""

    def test_without_any_budget_everything_is_admitted(self) -> None:
        assert self.admit("r1", 10**12).remaining_nanos is None

    def test_a_hard_budget_admits_up_to_its_limit_and_no_further(self) -> None:
        self.put_budget(30)
        assert self.admit("r1", 20).remaining_nanos == 10
        assert self.admit("r2", 10).remaining_nanos == 0
        refusal = self.refuse("r3", 1)
        assert (refusal.budget_id, refusal.account) == ("b", "user:ann")
        assert (refusal.limit, refusal.settled, refusal.reserved, refusal.needed) == (30, 0, 30, 1)
        assert self.counters() == (30, 0)

    def test_a_refused_reserve_holds_nothing_and_may_be_tried_again_with_its_id(self) -> None:
        self.put_budget(10)
        self.admit("r1", 10)
        assert self.refuse("r2", 1).can_wait
        self.void("r1")
        self.admit("r2", 1)
        assert self.counters() == (1, 0)

    def test_waiting_helps_only_where_reservations_alone_stand_in_the_way(self) -> None:
        self.put_budget(10)
        self.record("s1", 6)
        self.admit("r1", 4)
        assert self.refuse("r2", 4).can_wait
        assert not self.refuse("r3", 5).can_wait

    def test_waiting_does_not_help_where_calls_that_are_over_hold_what_is_missing(self) -> None:
        self.put_budget(10)
        self.admit("over", 6)
        self.admit("runs", 3)
        assert self.refuse("r1", 5).can_wait
        self.do(FreeSlot(PROJECT, "over"))
        assert not self.refuse("r1", 5).can_wait
        assert self.refuse("r1", 4).can_wait
        self.settle("over", 1)
        assert self.refuse("r1", 7).can_wait

    def test_whether_waiting_helps_is_seen_within_a_batch_and_after_a_crash(self) -> None:
        self.put_budget(10)
        refused = self.ledger.batch(
            a_reserve("over", 6), a_reserve("r1", 5), FreeSlot(PROJECT, "over"), a_reserve("r2", 5)
        )
        self.reopen()
        refused += [self.refuse("r3", 5)]
        assert [each.can_wait for each in refused if isinstance(each, Refusal)] == [True, False, False]
        refused = self.ledger.batch(a_settle("over", 0), a_reserve("r4", 6), a_reserve("r5", 5))
        assert [each.can_wait for each in refused if isinstance(each, Refusal)] == [True]

    def test_no_waiting_for_others_gives_a_request_back(self) -> None:
        self.put_budget(1, "requests", "1m")
        self.admit("r1")
        refusal = self.refuse("r2")
        assert not refusal.can_wait
        assert refusal.resets_at is not None

    def test_the_budget_that_no_waiting_can_open_is_the_one_reported(self) -> None:
        self.put_budget(10, id="full")
        self.put_budget(5, "tokens", id="small")
        self.admit("r1", 10)
        refusal = self.do(a_reserve("r2", amounts={"usd": Amount(5), "tokens": Amount(6)}), Refusal)
        assert (refusal.budget_id, refusal.can_wait) == ("small", False)

    def test_all_budgets_hold_or_none(self) -> None:
        self.put_account("user:ann", parent="team:red")
        self.put_budget(100)
        self.put_budget(15, id="team", account="team:red")
        self.admit("r1", 10)
        assert self.refuse("r2", 10).budget_id == "team"
        assert (self.counters(), self.counters("team")) == ((10, 0), (10, 0))

    def test_every_account_above_pays_too(self) -> None:
        self.put_account("key:k", parent="user:ann")
        self.put_account("user:ann", parent="team:red")
        self.put_account("team:red", parent="organization:acme")
        for name, account in (("k", "key:k"), ("t", "team:red"), ("o", "organization:acme")):
            self.put_budget(50, id=name, account=account)
        self.admit("r1", 10, accounts=("key:k", "team:red"))
        self.settle("r1", 7)
        assert [self.counters(name) for name in "kto"] == [(0, 7)] * 3
        assert self.entries()[0].accounts == ("key:k", "user:ann", "team:red", "organization:acme")

    def test_a_new_parent_counts_from_the_next_reservation(self) -> None:
        self.put_account("user:ann", parent="team:red")
        self.put_account("team:red")
        self.put_budget(15, id="org", account="organization:acme")
        self.admit("r1", 10)
        self.put_account("team:red", parent="organization:acme")
        self.admit("r2", 10)
        self.refuse("r3", 10)
        assert self.counters("org") == (10, 0)

    def test_a_crossing_budget_admits_while_anything_is_left(self) -> None:
        self.put_budget(10, mode="crossing")
        self.admit("r1", 9)
        self.admit("r2", 100)
        assert self.refuse("r3", 1).can_wait
        self.settle("r1", 9)
        self.settle("r2", 1)
        refusal = self.refuse("r4", 1)
        assert not refusal.can_wait
        assert refusal.settled == 10

    def test_a_crossing_budget_of_requests_is_as_hard_as_any(self) -> None:
        self.put_budget(1, "requests", mode="crossing")
        self.admit("r1")
        self.refuse("r2")

    def test_a_soft_budget_never_refuses_but_alerts(self) -> None:
        self.put_budget(10, mode="soft", alert_percents=(50,))
        assert [alert.percent for alert in self.admit("r1", 6).alerts] == [50]
        assert [alert.percent for alert in self.admit("r2", 6).alerts] == [100]
        assert self.admit("r3", 6).alerts == ()
        assert self.counters() == (18, 0)

    def test_each_threshold_alerts_once(self) -> None:
        self.put_budget(100, alert_percents=(50, 80))
        assert self.admit("r1", 49).alerts == ()
        assert [alert.percent for alert in self.admit("r2", 40).alerts] == [50, 80]
        self.settle("r1", 49)
        assert self.admit("r3", 1).alerts == ()

    def test_tokens_are_counted_as_usd_is(self) -> None:
        self.put_budget(100, "tokens")
        self.do(a_reserve("r1", amounts={"usd": Amount(1), "tokens": Amount(60)}), Reserved)
        refusal = self.do(a_reserve("r2", amounts={"usd": Amount(1), "tokens": Amount(41)}), Refusal)
        assert (refusal.unit, refusal.needed) == ("tokens", 41)
        self.settle("r1", 1, tokens=30)
        assert self.counters() == (0, 30)

    def test_a_request_counts_once_whatever_its_outcome(self) -> None:
        self.put_budget(3, "requests")
        for name in ("settled", "failed", "never"):
            self.admit(name)
        self.refuse("r4")
        self.settle("settled")
        self.void("failed", "provider_error")
        self.void("never", "never_sent")
        assert self.counters() == (0, 2)

    def test_a_callers_requests_count_once_per_request_a_deployments_once_per_attempt(self) -> None:
        self.put_budget(5, "requests")
        self.put_budget(5, "requests", id="d", account="deployment:x")
        for attempt in (1, 2, 3):
            self.admit(f"r{attempt}", attempt=attempt, attempt_accounts=("deployment:x",), request_id="q")
            self.settle(f"r{attempt}")
        assert (self.counters(), self.counters("d")) == ((0, 1), (0, 3))

    def test_parallel_requests_take_slots_and_give_them_back(self) -> None:
        self.put_budget(2, "concurrency")
        self.admit("r1")
        self.admit("r2")
        assert self.refuse("r3").can_wait
        self.settle("r1")
        self.admit("r3")
        self.clock.advance(601)
        self.ledger.sweep()
        assert self.counters() == (0, 0)

    def test_a_call_that_is_over_gives_its_slot_back_on_all_accounts_and_keeps_its_money(self) -> None:
        self.put_account(ANN, parent="team:red")
        for account in (ANN, "team:red", "deployment:x"):
            self.put_budget(1, "concurrency", id=f"{account}/slots", account=account)
        self.put_budget(100)
        self.put_budget(5, "requests", id="q")
        self.put_budget(9, "tokens", id="t")
        self.admit("r1", 40, attempt_accounts=("deployment:x",))
        assert self.refuse("r2", attempt_accounts=("deployment:x",)).can_wait
        assert self.do(FreeSlot(PROJECT, "r1"), Freed).reservations == 1
        assert [self.counters(f"{each}/slots") for each in (ANN, "team:red", "deployment:x")] == [(0, 0)] * 3
        assert (self.counters(), self.counters("q"), self.counters("t")) == ((40, 0), (1, 0), (1, 0))
        self.admit("r2", attempt_accounts=("deployment:x",))
        self.clock.advance(601)
        self.ledger.sweep()
        assert (self.counters(), self.counters("q")) == ((0, 50), (0, 2))

    def test_a_slot_is_given_back_once_and_only_by_its_own_reservation(self) -> None:
        self.put_budget(2, "concurrency")
        self.admit("r1")
        self.admit("r2")
        assert self.do(FreeSlot(PROJECT, "r1"), Freed).reservations == 1
        self.reopen()
        assert self.do(FreeSlot(PROJECT, "r1"), Freed).reservations == 0
        assert self.counters() == (1, 0)
        self.settle("r1", 5)
        assert self.do(FreeSlot(PROJECT, "r1"), Freed).reservations == 0
        assert self.do(FreeSlot(PROJECT, "never"), Freed).reservations == 0
        assert self.do(FreeSlot("q", "r2"), Freed).reservations == 0
        assert self.counters() == (1, 0)

    def test_a_budget_made_later_does_not_count_a_slot_that_was_given_back(self) -> None:
        self.admit("r1")
        self.admit("r2")
        self.do(FreeSlot(PROJECT, "r1"), Freed)
        self.put_budget(5, "concurrency")
        assert self.counters() == (1, 0)

    def test_a_slot_is_given_back_in_the_batch_that_took_it(self) -> None:
        self.put_budget(1, "concurrency")
        answers = self.ledger.batch(a_reserve("r1"), FreeSlot(PROJECT, "r1"), a_reserve("r2"))
        assert [type(each) for each in answers] == [Reserved, Freed, Reserved]
        assert self.counters() == (1, 0)

    def test_a_probe_refuses_what_is_spent_and_holds_nothing(self) -> None:
        self.put_budget(10)
        probe = Probe(a_reserve("r1", 1, hold_micros=1))
        assert self.do(probe, Possible) == Possible()
        self.admit("r2", 10)
        self.do(probe, Possible)  # r2 may cost less
        self.settle("r2", 10)
        refusal = self.do(probe, Refusal)
        assert (refusal.limit, refusal.settled, refusal.reserved, refusal.can_wait) == (10, 10, 0, False)
        assert refusal == self.refuse("r3", 1)
        self.grant("g", 1)
        self.do(probe, Possible)
        assert (self.counters(), self.pending()) == ((0, 10), [])

    def test_a_probe_looks_at_every_budget_of_the_lineage_in_every_mode_and_unit(self) -> None:
        self.put_account(ANN, parent="team:red")
        modes: tuple[Mode, ...] = ("hard", "crossing")
        for mode, unit in product(modes, UNITS):
            budget = a_budget(0, unit, id=f"{mode} {unit}", account="team:red", mode=mode)
            self.do(PutBudget(budget, by="test"))
            refusal = self.do(Probe(a_reserve("r1", 1)), Refusal)
            assert (refusal.budget_id, refusal.account) == (budget.id, "team:red")
            self.do(RemoveBudget(PROJECT, budget.id))
        self.put_budget(0, mode="soft", account="team:red")
        self.do(Probe(a_reserve("r1", 1)), Possible)

    def test_a_probe_of_what_costs_nothing_is_possible_though_all_is_spent(self) -> None:
        self.put_budget(0)
        self.do(Probe(a_reserve("r1", 0)), Possible)

    def test_a_probe_tells_a_blocked_or_changed_account_and_a_price_that_is_unknown(self) -> None:
        self.put_budget(10)
        with self.ledger.store.read() as reader:
            version = reader.catalogue_version()
        assert (
            self.do(Probe(a_reserve("r1", amounts={"tokens": Amount(1)})), Refusal).reason == "price_unknown"
        )
        self.put_account(ANN, status="blocked")
        assert self.do(Probe(a_reserve("r1")), Refusal).reason == "account_blocked"
        self.do(Probe(a_reserve("r1", catalogue_version=version)), Stale)

    def test_a_probe_sees_what_came_before_it_in_its_batch(self) -> None:
        self.put_budget(10)
        answers = self.ledger.batch(a_reserve("r1", 10), a_settle("r1", 10), Probe(a_reserve("r2", 1)))
        assert isinstance(answers[-1], Refusal)

    def test_filters_narrow_a_budget_to_models_and_providers(self) -> None:
        self.put_budget(10, id="m", models=("gpt", "claude"))
        self.put_budget(10, id="p", providers=("openai",))
        self.admit("r1", 10, model="gpt", provider="openai")
        assert self.refuse("r2", 1, model="gpt", provider="azure").budget_id == "m"
        assert self.refuse("r3", 1, model="other", provider="openai").budget_id == "p"
        self.admit("r4", 99, model="other", provider="azure")
        self.admit("r5", 99)
        assert (self.counters("m"), self.counters("p")) == ((10, 0), (10, 0))

    def test_a_usd_budget_refuses_what_has_no_price(self) -> None:
        self.put_budget(10, mode="soft")
        assert self.do(a_reserve("r1", amounts={"tokens": Amount(1)}), Refusal).reason == "price_unknown"

    def test_all_but_soft_budgets_refuse_what_has_no_bound(self) -> None:
        self.put_budget(10, mode="soft")
        self.put_budget(10, "requests", id="rpm")
        self.admit("r1", 5, unbounded_reason="n is not known")
        for n, mode in enumerate(("hard", "crossing")):
            self.put_budget(10, mode=mode)
            refusal = self.refuse(f"x{n}", 1, unbounded_reason="n is not known")
            assert (refusal.reason, refusal.detail) == ("cost_unbounded", "n is not known")

    def test_only_hard_budgets_of_usd_and_tokens_refuse_what_has_no_proven_bound(self) -> None:
        self.put_budget(10, "requests", id="rpm")
        units: tuple[Unit, ...] = ("usd", "tokens")
        for n, (unit, mode) in enumerate(product(units, MODES)):
            self.put_budget(1000, unit, id=f"b{n}", mode=mode)
            reserve = a_reserve(f"r{n}", 5, unproven_reason="foo is not known")
            if mode != "hard":
                self.do(reserve, Reserved)
                continue
            refusal = self.do(reserve, Refusal)
            assert (refusal.reason, refusal.detail) == ("cost_unbounded", "foo is not known")
            assert refusal.budget_id == f"b{n}"
            self.do(RemoveBudget(PROJECT, f"b{n}"))

    def test_a_free_model_needs_a_bound_of_its_tokens_only(self) -> None:
        self.put_budget(10)
        amounts = {"usd": Amount(0), "tokens": Amount(1)}
        for n, why in enumerate(("unbounded_reason", "unproven_reason")):
            fields: dict[str, Any] = {"amounts": amounts, "is_free": True, why: "nobody knows"}
            self.put_budget(10, "tokens", id="t", mode="soft")
            self.admit(f"r{n}", **fields)
            self.put_budget(10, "tokens", id="t")
            refusal = self.refuse(f"x{n}", **fields)
            assert (refusal.reason, refusal.budget_id) == ("cost_unbounded", "t")

    def test_the_output_cap_is_clamped_to_what_every_hard_budget_affords(self) -> None:
        self.put_budget(100)
        self.put_budget(40, "tokens", id="t")
        reserve = a_reserve(
            "r1",
            amounts={"usd": Amount(10, 3), "tokens": Amount(5, 1)},
            wanted_output_tokens=1000,
            least_output_tokens=1,
        )
        assert self.do(reserve, Reserved).output_cap == 30  # (100 - 10) // 3, and 40 - 5 would be 35
        assert (self.counters(), self.counters("t")) == ((100, 0), (35, 0))

    def test_below_the_least_output_it_is_refused_and_says_what_would_fit(self) -> None:
        self.put_budget(100)
        amounts = {"usd": Amount(10, 3), "tokens": Amount(1)}
        refusal = self.do(
            a_reserve("r1", amounts=amounts, wanted_output_tokens=50, least_output_tokens=31), Refusal
        )
        assert refusal.affordable_output_tokens == 30
        assert refusal.needed == 10 + 3 * 31

    def test_the_refusal_says_when_the_period_ends(self) -> None:
        self.put_budget(0, window="daily", zone="Asia/Tokyo")
        assert self.refuse("r1", 1).resets_at == to_micros(datetime.fromisoformat("2026-01-01T15:00Z"))

    def test_a_raised_limit_acts_at_once(self) -> None:
        self.put_budget(10)
        self.admit("r1", 10)
        self.refuse("r2", 10)
        self.put_budget(20)
        self.admit("r2", 10)

    def test_a_limit_lowered_below_what_is_spent_admits_nothing_and_cancels_nothing(self) -> None:
        self.put_budget(100)
        self.admit("r1", 60)
        self.put_budget(10)
        self.refuse("r2", 1)
        self.settle("r1", 60)
        assert self.counters() == (0, 60)
        assert self.refuse("r3", 1).limit == 10

    def test_a_removed_budget_refuses_nothing_any_more(self) -> None:
        self.put_budget(10)
        self.admit("r1", 10)
        self.do(RemoveBudget(PROJECT, "b", "test"))
        self.admit("r2", 99)
        self.settle("r1", 10)
        self.settle("r2", 99)

    def test_a_blocked_account_is_refused_and_so_is_everyone_below_it(self) -> None:
        self.put_account("user:ann", parent="team:red")
        self.put_account("team:red", status="blocked")
        refusal = self.refuse("r1")
        assert (refusal.reason, refusal.account) == ("account_blocked", "team:red")
        self.put_account("team:red")
        self.admit("r1")

    def test_a_blocked_account_still_pays_for_what_was_sent(self) -> None:
        self.put_budget(10)
        self.admit("r1")
        self.put_account("user:ann", status="blocked")
        self.settle("r1", 8)
        self.record("s1", 1)
        assert self.counters() == (0, 9)

    def test_a_caller_that_read_its_accounts_before_they_changed_is_stale(self) -> None:
        self.put_account("user:ann")
        self.admit("r1", catalogue_version=1)
        self.put_account("user:ann", name="Ann")
        self.put_account("user:bob")
        assert self.do(a_reserve("r2", catalogue_version=1), Stale).account == "user:ann"
        self.admit("r3", catalogue_version=2)
        self.admit("r4")

    def test_an_increase_holds_more_on_all_budgets_or_none(self) -> None:
        self.put_budget(20)
        self.put_budget(10, "tokens", id="t")
        self.do(a_reserve("r1", amounts={"usd": Amount(10), "tokens": Amount(8)}))
        self.increase("i1", "r1", usd=5, tokens=2)
        refusal = self.do(_increase("i2", "r1", usd=5, tokens=1), Refusal)
        assert refusal.budget_id == "t"
        assert (self.counters(), self.counters("t")) == ((15, 0), (10, 0))
        assert self.settle("r1", 15, tokens=10).posts[0].held == 15

    def test_a_reservation_can_be_made_increased_and_settled_in_one_batch(self) -> None:
        self.put_budget(20)
        answers = self.ledger.batch(
            a_reserve("r1", 10), _increase("i1", "r1", usd=5), a_settle("r1", 14), a_reserve("r2", 7)
        )
        assert [type(answer).__name__ for answer in answers] == ["Reserved", "Increased", "Posted", "Refusal"]
        assert self.counters() == (0, 14)

    def test_a_batch_is_decided_in_the_order_it_came(self) -> None:
        self.put_budget(10)
        answers = self.ledger.batch(
            a_reserve("r1", 10), a_reserve("r2", 10), Void(PROJECT, "r1", "never_sent"), a_reserve("r3", 10)
        )
        assert [type(answer).__name__ for answer in answers] == ["Reserved", "Refusal", "Posted", "Reserved"]

    def test_catalogue_changes_act_in_their_place_in_a_batch(self) -> None:
        self.put_budget(10)
        self.admit("r0", 10)
        answers = self.ledger.batch(
            a_reserve("r1", 10),
            PutBudget(a_budget(20)),
            a_reserve("r2", 10),
            a_settle("r0", 10),
            _increase("i1", "r2", usd=1),
            PutBudget(a_budget(21)),
            _increase("i1", "r2", usd=1),
        )
        names = ["Refusal", "Put", "Reserved", "Posted", "Refusal", "Put", "Increased"]
        assert [type(answer).__name__ for answer in answers] == names, answers
        assert self.ledger.writer.failed_batches == 0

    def test_a_batch_that_follows_another_processs_change_needs_no_second_try(self) -> None:
        self.put_account("user:ann", parent="team:red")
        self.put_budget(50, id="team", account="team:red")
        self.admit("r1")
        self.put_account("team:red", parent="global")
        self.put_budget(60, id="all", account="global")
        self.ledger.batch(a_reserve("r2"), _increase("i1", "r2", usd=1))
        assert self.ledger.writer.failed_batches == 0
        assert self.counters("all") == (11, 0)

    def test_each_unit_may_be_limited_on_one_account(self) -> None:
        limits: dict[Unit, int] = {"usd": 100, "tokens": 100, "requests": 1, "concurrency": 1}
        for unit, limit in limits.items():
            self.put_budget(limit, unit, id=unit)
        self.admit("r1")
        assert {unit: self.counters(unit) for unit in limits} == {
            "usd": (10, 0),
            "tokens": (1, 0),
            "requests": (1, 0),
            "concurrency": (1, 0),
        }
        self.settle("r1", 9, tokens=2)
        assert {unit: self.counters(unit) for unit in limits} == {
            "usd": (0, 9),
            "tokens": (0, 2),
            "requests": (0, 1),
            "concurrency": (0, 0),
        }

    def test_a_parked_reserve_is_admitted_as_soon_as_there_is_room(self) -> None:
        self.put_budget(10, mode="crossing")
        self.admit("r1", 10)
        job = self.ledger.park(a_reserve("r2", 5), patience_until=float("inf"))
        assert not job.wait(0)
        self.settle("r1", 9)
        self.ledger.sweep()
        assert job.wait(0)
        assert isinstance(job.outcome, Reserved)

    def test_a_parked_reserve_is_refused_once_waiting_cannot_help(self) -> None:
        self.put_budget(10, mode="crossing")
        self.admit("r1", 10)
        job = self.ledger.park(a_reserve("r2", 5), patience_until=float("inf"))
        self.settle("r1", 10)
        self.ledger.sweep()
        assert job.wait(0)
        assert isinstance(job.outcome, Refusal)

    def test_a_reserve_without_patience_is_refused_at_once(self) -> None:
        self.put_budget(10)
        self.admit("r1", 10)
        assert self.ledger.park(a_reserve("r2", 5), patience_until=0.0).wait(0)


def _increase(id: str, of: str, **amounts: int) -> Increase:
    return Increase(PROJECT, id, of, amounts)
