"""Conformance: how reservations end, what is corrected later, and that each id counts once."""

from __future__ import annotations

from outlay.domain.commands import Amount, Grant, Increase, PutBudget, Record, Reset, Reverse, Void
from outlay.domain.outcomes import Posted, Put, Reserved
from outlay.domain.windows import SECOND
from outlay.errors import (
    AlreadyResolvedError,
    IdempotencyConflictError,
    InvalidAmountError,
    InvalidValueError,
    ReservationNotFoundError,
)
from outlay.testing.conformance.base import ANN, PROJECT, Bench, a_budget, a_record, a_reserve, a_settle


class Resolution(Bench):
    """Settle, void, expire, correct, record, grant, reverse; and repeats of each."""

    def test_a_settle_replaces_the_hold_by_the_actual_cost(self) -> None:
        self.put_budget(100)
        self.admit("r1", 40, provider="openai", model="gpt", request_id="q", price_version="v1", tags=("x",))
        entry = self.settle("r1", 25, tokens=12, usage={"input": 7, "output": 5}, price_version="v2")
        assert self.counters() == (0, 25)
        assert (entry.kind, entry.source, entry.usd_nanos, entry.tokens) == ("settle", "provider", 25, 12)
        assert (entry.provider, entry.model, entry.request_id) == ("openai", "gpt", "q")
        assert (entry.price_version, entry.tags, dict(entry.usage)) == (
            "v2",
            ("x",),
            {"input": 7, "output": 5},
        )
        assert self.pending() == []

    def test_more_than_was_held_is_an_overrun_and_never_cut(self) -> None:
        self.put_budget(100)
        self.admit("r1", 40)
        assert self.settle("r1", 140).posts[0].overrun == 100
        assert (self.period().settled, self.period().overrun) == (140, 100)

    def test_an_unknown_cost_is_charged_at_what_was_held_never_at_zero(self) -> None:
        self.put_budget(100)
        self.admit("r1", 40)
        entry = self.settle("r1", None, tokens=3)
        assert (entry.usd_nanos, entry.source) == (40, "presumed")
        assert self.counters() == (0, 40)
        assert self.do(a_settle("r1", None, tokens=3), Posted).is_replay
        assert len(self.entries()) == 1

    def test_a_cost_that_nobody_budgets_may_stay_unknown(self) -> None:
        self.do(a_reserve("r1", amounts={"tokens": Amount(9)}))
        assert self.settle("r1", None, tokens=3).usd_nanos is None

    def test_a_void_gives_everything_back_and_keeps_its_proof(self) -> None:
        self.put_budget(100)
        self.admit("r1", 40)
        entry = self.void("r1", "rejected")
        assert (entry.kind, entry.reason, entry.usd_nanos) == ("void", "rejected", 0)
        assert self.counters() == (0, 0)

    def test_an_expired_reservation_is_charged_whole_never_released(self) -> None:
        self.put_budget(100)
        self.admit("r1", 40)
        self.clock.advance(599)
        self.ledger.sweep()
        assert self.counters() == (40, 0)
        self.clock.advance(1)
        self.ledger.sweep()
        (entry,) = self.entries()
        assert (entry.kind, entry.source, entry.usd_nanos) == ("expire", "presumed", 40)
        assert self.counters() == (0, 40)

    def test_any_batch_expires_what_is_due_and_many_due_ones_take_several(self) -> None:
        self.put_budget(1000)
        self.ledger.batch(*(a_reserve(f"r{n}", 1) for n in range(150)))
        self.clock.advance(600)
        self.record("s1", 1)
        assert self.counters() == (50, 101)
        self.ledger.sweep()
        assert self.counters() == (0, 151)

    def test_a_late_settle_corrects_the_presumed_charge(self) -> None:
        self.put_budget(100)
        self.admit("r1", 40, price_version="v1")
        self.expire()
        entry = self.settle("r1", 15, tokens=4, completion_key="c1")
        assert (entry.id, entry.kind, entry.usd_nanos, entry.tokens) == ("r1#correct", "correct", -25, 3)
        assert (entry.source, entry.price_version) == ("provider", "v1")
        assert self.counters() == (0, 15)

    def test_a_late_settle_above_the_hold_is_an_overrun(self) -> None:
        self.put_budget(100)
        self.admit("r1", 40)
        self.expire()
        self.settle("r1", 55)
        assert (self.period().settled, self.period().overrun) == (55, 15)

    def test_a_late_settle_of_unknown_cost_keeps_the_presumed_one(self) -> None:
        self.put_budget(100)
        self.admit("r1", 40)
        self.expire()
        assert self.settle("r1", None).usd_nanos == 0
        assert self.counters() == (0, 40)

    def test_a_late_void_takes_the_presumed_charge_back(self) -> None:
        self.put_budget(100)
        self.put_budget(9, "requests", id="q")
        self.admit("r1", 40)
        self.expire()
        assert self.void("r1", "never_sent").reason == "never_sent"
        assert (self.counters(), self.counters("q")) == ((0, 0), (0, 0))

    def test_a_late_settle_posts_to_the_period_of_its_admission(self) -> None:
        self.put_budget(100, window="daily")
        self.at("2026-01-01T23:59:00+00:00")
        self.admit("r1", 40)
        self.expire()
        self.admit("r2", 10)
        self.settle("r1", 15)
        assert [(each.reserved, each.settled) for each in self.periods()] == [(0, 15), (10, 0)]

    def test_a_presumed_charge_takes_one_correction(self) -> None:
        self.admit("r1", 40)
        self.expire()
        first = self.settle("r1", 15)
        again = self.do(a_settle("r1", 15), Posted)
        assert again.is_replay
        assert again.entry.id == first.id
        assert isinstance(self.error(a_settle("r1", 16)), AlreadyResolvedError)
        assert isinstance(self.error(Void(PROJECT, "r1", "never_sent")), AlreadyResolvedError)

    def test_a_reservation_ends_once_and_a_repeat_hears_the_first_answer(self) -> None:
        self.put_budget(100)
        self.admit("r1", 40)
        self.settle("r1", 25)
        assert self.do(a_settle("r1", 25), Posted).is_replay
        assert isinstance(self.error(a_settle("r1", 24)), AlreadyResolvedError)
        assert isinstance(self.error(Void(PROJECT, "r1", "rejected")), AlreadyResolvedError)
        self.admit("r2", 40)
        self.void("r2")
        assert self.do(Void(PROJECT, "r2", "never_sent"), Posted).is_replay
        assert isinstance(self.error(a_settle("r2", 1)), AlreadyResolvedError)
        assert self.counters() == (0, 25)
        assert len(self.entries()) == 2

    def test_a_repeated_reserve_is_the_same_reservation_whatever_became_of_it(self) -> None:
        self.put_budget(100)
        first = self.admit("r1", 40, wanted_output_tokens=7)
        again = self.admit("r1", 40, wanted_output_tokens=7)
        assert (again.is_replay, again.state) == (True, "pending")
        assert (again.output_cap, again.expires_at) == (first.output_cap, first.expires_at)
        self.settle("r1", 40)
        again = self.admit("r1", 40, wanted_output_tokens=7)
        assert (again.is_replay, again.state, again.output_cap) == (True, "settle", 7)
        assert self.counters() == (0, 40)

    def test_the_same_id_with_other_content_is_a_conflict(self) -> None:
        self.put_budget(100)
        self.admit("r1", 40)
        assert isinstance(self.error(a_reserve("r1", 41)), IdempotencyConflictError)
        self.settle("r1", 40)
        assert isinstance(self.error(a_reserve("r1", 41)), IdempotencyConflictError)
        self.record("s1", 5)
        assert isinstance(self.error(a_record("s1", 6)), IdempotencyConflictError)
        assert isinstance(self.error(a_reserve("s1", 6)), IdempotencyConflictError)
        self.grant("g1", 5)
        assert isinstance(self.error(Grant(PROJECT, "g1", "b", 6, "test")), IdempotencyConflictError)
        assert isinstance(self.error(Reset(PROJECT, "g1", "b", "test")), IdempotencyConflictError)
        assert self.counters() == (0, 45)

    def test_nothing_may_take_the_id_of_a_pending_reservation(self) -> None:
        self.put_budget(100)
        self.admit("r1", 40)
        for command in (
            a_record("r1", 1),
            Grant(PROJECT, "r1", "b", 1, "test"),
            Reset(PROJECT, "r1", "b", "test"),
        ):
            assert isinstance(self.error(command), IdempotencyConflictError)
        self.expire()
        assert self.counters() == (0, 40)

    def test_a_pending_reservation_is_found_by_its_id_until_it_ends(self) -> None:
        self.put_budget(100)
        self.admit("r1", 40)
        self.admit("r2", 30)
        with self.ledger.store.read() as reader:
            (first, _) = reader.reservations()
            assert reader.reservation(PROJECT, "r1") == first
            assert reader.reservation("another project", "r1") is None
        self.settle("r1", 10)
        with self.ledger.store.read() as reader:
            assert reader.reservation(PROJECT, "r1") is None

    def test_ids_that_the_journal_makes_itself_are_refused(self) -> None:
        for id in ("r1#correct", "r1#reverse", "carry:1"):
            for command in (a_reserve(id), a_record(id), Grant(PROJECT, id, "b", 1, "test")):
                assert isinstance(self.error(command), InvalidValueError)

    def test_amounts_below_zero_are_refused(self) -> None:
        self.put_budget(100)
        self.admit("r1", 40)
        for command in (
            a_reserve("x", Amount(-1)),
            a_reserve("x", Amount(1, -1), wanted_output_tokens=1),
            a_reserve("x", Amount(0, 10**18), wanted_output_tokens=10),
            a_settle("r1", -1),
            a_settle("r1", 1, -1),
            a_record("x", -1),
            a_record("x", 1, requests=-1),
            Increase(PROJECT, "x", "r1", {"usd": -1}),
            Grant(PROJECT, "x", "b", -1, "test"),
            PutBudget(a_budget(-1)),
        ):
            assert isinstance(self.error(command), InvalidAmountError), command
        assert self.counters() == (40, 0)

    def test_a_repeated_increase_counts_once(self) -> None:
        self.put_budget(100)
        self.admit("r1", 40)
        self.increase("i1", "r1", usd=5)
        assert self.increase("i1", "r1", usd=5).is_replay
        assert isinstance(self.error(Increase(PROJECT, "i1", "r1", {"usd": 6})), IdempotencyConflictError)
        self.reopen()
        assert self.increase("i1", "r1", usd=5).is_replay
        assert self.counters() == (45, 0)

    def test_what_is_not_pending_cannot_be_increased(self) -> None:
        self.admit("r1", 40)
        self.settle("r1", 40)
        for id in ("r1", "nobody"):
            error = self.error(Increase(PROJECT, "i1", id, {"usd": 1}))
            assert isinstance(error, ReservationNotFoundError)

    def test_an_unknown_reservation_cannot_end(self) -> None:
        for command in (a_settle("nobody"), Void(PROJECT, "nobody", "never_sent")):
            assert isinstance(self.error(command), ReservationNotFoundError)

    def test_a_record_is_never_refused_and_a_repeat_counts_once(self) -> None:
        self.put_budget(10)
        self.put_budget(9, "tokens", id="t")
        self.put_budget(9, "requests", id="q")
        self.record("s1", 50, tokens=20, requests=2)
        assert self.record("s1", 50, tokens=20, requests=2).is_replay
        assert [self.counters(name) for name in "btq"] == [(0, 50), (0, 20), (0, 2)]
        self.refuse("r1", 1)

    def test_one_completion_is_recorded_once_whatever_the_id(self) -> None:
        self.put_budget(100)
        self.admit("r1", 40)
        self.settle("r1", 25, completion_key="chatcmpl-1")
        again = self.record("s1", 25, completion_key="chatcmpl-1")
        assert (again.is_replay, again.entry.id) == (True, "r1")
        self.record("s2", 5, completion_key="chatcmpl-2")
        assert self.record("s3", 5, completion_key="chatcmpl-2").entry.id == "s2"
        assert self.counters() == (0, 30)

    def test_one_completion_is_recorded_once_within_a_batch_too(self) -> None:
        self.put_budget(100)
        answers = self.ledger.batch(
            a_record("s1", 5, completion_key="c"), a_record("s2", 5, completion_key="c")
        )
        assert [answer.is_replay for answer in answers if isinstance(answer, Posted)] == [False, True]
        assert self.counters() == (0, 5)

    def test_a_settle_is_accepted_even_if_its_completion_was_charged_before(self) -> None:
        self.put_budget(100)
        self.record("s1", 5, completion_key="c")
        self.admit("r1", 40)
        assert self.settle("r1", 6, completion_key="c").completion_key is None
        assert self.do(a_settle("r1", 6, completion_key="c"), Posted).is_replay
        assert self.counters() == (0, 11)

    def test_a_grant_allows_more_in_the_running_period_only(self) -> None:
        self.put_budget(10, window="daily")
        self.admit("r1", 10)
        self.refuse("r2", 5)
        entry = self.grant("g1", 5)
        assert (entry.kind, entry.source, entry.detail["by"]) == ("grant", "manual", "test")
        assert self.do(Grant(PROJECT, "g1", "b", 5, "test"), Posted).is_replay
        self.admit("r2", 5)
        assert self.refuse("r3", 1).limit == 15
        self.clock.advance(86400)
        self.admit("r4", 10)
        self.refuse("r5", 1)

    def test_a_reverse_undoes_a_final_charge_by_a_new_entry(self) -> None:
        self.put_budget(100)
        self.admit("r1", 40)
        self.settle("r1", 55)
        entry = self.reverse("r1")
        assert (entry.id, entry.kind, entry.usd_nanos) == ("r1#reverse", "reverse", -55)
        assert (self.period().settled, self.period().overrun) == (0, 0)
        assert self.do(Reverse(PROJECT, "r1", "test"), Posted).is_replay
        assert isinstance(self.error(Reverse(PROJECT, "r1", "another")), IdempotencyConflictError)
        assert self.period().settled == 0

    def test_a_record_can_be_reversed(self) -> None:
        self.put_budget(100)
        self.record("s1", 7)
        self.reverse("s1")
        assert self.counters() == (0, 0)

    def test_a_reversed_presumed_charge_takes_its_correction_along(self) -> None:
        self.put_budget(100)
        self.admit("r1", 40)
        self.expire()
        self.settle("r1", 50)
        assert self.reverse("r1").usd_nanos == -50
        assert (self.period().settled, self.period().overrun) == (0, 0)

    def test_a_reversed_presumed_charge_is_not_corrected_any_more(self) -> None:
        self.put_budget(100)
        self.admit("r1", 40)
        self.expire()
        self.reverse("r1")
        assert isinstance(self.error(a_settle("r1", 50)), AlreadyResolvedError)
        assert self.counters() == (0, 0)

    def test_only_final_charges_can_be_reversed(self) -> None:
        self.put_budget(100)
        self.admit("r1", 40)
        self.admit("r2", 40)
        self.void("r2")
        self.grant("g1", 5)
        self.admit("r3", 40, hold_micros=1)
        self.clock.advance(1)
        self.void("r3")
        for id in ("r1", "r2", "r3", "g1", "nobody"):
            assert isinstance(self.error(Reverse(PROJECT, id, "test")), ReservationNotFoundError)

    def test_projects_do_not_see_each_other(self) -> None:
        self.put_budget(10)
        self.put_budget(1000, project="q")
        self.admit("r1", 10)
        self.do(a_reserve("r1", 500, project="q"), Reserved)
        assert (self.counters(), self.counters(project="q")) == ((10, 0), (500, 0))
        self.do(a_settle("r1", 400, project="q"))
        self.do(a_record("s1", 1, project="q", completion_key="c"), Posted)
        assert not self.record("s1", 1, completion_key="c").is_replay
        assert self.settle("r1", 9).usd_nanos == 9
        assert (self.counters(), self.counters(project="q")) == ((0, 10), (0, 401))
        assert isinstance(self.error(Reverse("r", "r1", "test")), ReservationNotFoundError)
        assert {entry.project for entry in self.entries(project="q")} == {"q"}

    def test_a_wrong_command_does_not_fail_its_batch(self) -> None:
        self.put_budget(10)
        answers = self.ledger.batch(a_settle("nobody"), a_reserve("r1", 10), a_reserve("r2", 1))
        kinds = [type(answer).__name__ for answer in answers]
        assert kinds == ["ReservationNotFoundError", "Reserved", "Refusal"]

    def test_a_duplicate_within_a_batch_is_a_repeat(self) -> None:
        self.put_budget(100)
        answers = self.ledger.batch(
            a_reserve("r1", 10), a_reserve("r1", 10), a_settle("r1", 9), a_settle("r1", 9), a_record("s1", 1)
        )
        assert [answer.is_replay for answer in answers if isinstance(answer, Reserved | Posted)] == [
            False,
            True,
            False,
            True,
            False,
        ]
        assert self.counters() == (0, 10)

    def test_everything_survives_a_crash(self) -> None:
        self.put_budget(100)
        self.admit("r1", 40)
        self.admit("r2", 30)
        self.settle("r1", 20)
        self.reopen()
        assert self.counters() == (30, 20)
        assert self.admit("r2", 30).is_replay
        assert self.do(a_settle("r1", 20), Posted).is_replay
        self.settle("r2", 30)
        self.refuse("r3", 51)
        self.admit("r3", 50)

    def test_the_journal_keeps_its_order(self) -> None:
        for n in range(5):
            self.do(Record(PROJECT, f"s{n}", (ANN,), n, model="m" if n % 2 else None, tags=(f"t{n}",)))
            self.clock.advance(1)
        entries = self.entries()
        assert [entry.id for entry in entries] == [f"s{n}" for n in range(5)]
        assert [entry.seq for entry in entries] == sorted({entry.seq for entry in entries})
        second = entries[1].at
        assert [entry.id for entry in self.entries(since=second, until=second + SECOND)] == ["s1"]
        assert [entry.id for entry in self.entries(model="m")] == ["s1", "s3"]
        assert [entry.id for entry in self.entries(tag="t4")] == ["s4"]
        assert self.entries(account="user:bob") == []

    def test_putting_what_is_there_already_changes_nothing(self) -> None:
        self.put_budget(100)
        assert not self.do(PutBudget(a_budget(100)), Put).is_changed
        assert self.do(PutBudget(a_budget(101)), Put).is_changed

    def expire(self) -> None:
        """Let every pending reservation run out."""
        self.clock.advance(601)
        self.ledger.sweep()

    def test_our_own_price_is_kept_beside_a_charge_and_their_difference_is_drift(self) -> None:
        self.put_budget(100)
        self.admit("r1", 40, provider="openrouter", model="m")
        entry = self.settle("r1", 25, priced_nanos=20)
        assert (entry.usd_nanos, entry.priced_nanos) == (25, 20)
        self.admit("r2", 10, provider="openrouter", model="m")
        assert self.settle("r2", 10).priced_nanos is None
        self.do(a_record("s1", 7, provider="xai", model="n", priced_nanos=9))
        self.admit("r3", 40, provider="openrouter", model="m")
        self.expire()
        self.settle("r3", 35, priced_nanos=31)
        drift = {each.model: each for each in self.drift()}
        assert drift["m"].charged_nanos - drift["m"].priced_nanos == (25 - 20) + (35 - 31)
        assert (drift["m"].calls, drift["n"][2:]) == (2, (1, 7, 9))
        self.reverse("r1")
        self.reverse("r3")
        (after,) = [each for each in self.drift() if each.model == "m"]
        assert (after.calls, after.charged_nanos - after.priced_nanos) == (0, 0)

    def test_a_repeat_may_state_another_price_of_our_own(self) -> None:
        self.admit("r1", 40)
        assert self.settle("r1", 25, priced_nanos=20).priced_nanos == 20
        assert self.settle("r1", 25, priced_nanos=21).priced_nanos == 20
        assert isinstance(self.error(a_settle("r1", 26, priced_nanos=20)), AlreadyResolvedError)
        self.admit("r2", 40)
        assert isinstance(self.error(a_settle("r2", 25, priced_nanos=-1)), InvalidAmountError)
