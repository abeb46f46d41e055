"""A model of the ledger to check the ledger against: its promises once more, in dictionaries and loops.

It shares the words (commands, outcomes) with the ledger and none of its rules. It knows no store, no batch
and no fault: whoever drives it says what was committed, in which order and at what time.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from outlay.domain.budgets import Budget
from outlay.domain.commands import (
    Command,
    FreeSlot,
    FreeSlots,
    Grant,
    Increase,
    PutAccount,
    PutBudget,
    Record,
    RemoveBudget,
    Reserve,
    Reset,
    Reverse,
    Settle,
    Void,
)
from outlay.domain.outcomes import Freed, Increased, Outcome, Posted, Put, Refusal, Reserved
from outlay.errors import OutlayError

Digest = tuple[Any, ...]
"""An answer in short: what kind, and what matters of it."""

Name = tuple[str, str]
"""A project and an id within it."""

DAY = 86_400_000_000
ENDLESS = 2**63 - 1
CONFLICT = ("error", "idempotency_conflict")
RESOLVED = ("error", "already_resolved")
UNKNOWN = ("error", "reservation_not_found")


@dataclass(eq=False)
class Slot:
    """One period."""

    start: int
    end: int
    granted: int = 0
    reserved: int = 0
    settled: int = 0
    overrun: int = 0


@dataclass(eq=False)
class Rule:
    """One generation of a budget, and its periods in order."""

    budget: Budget
    slots: list[Slot] = field(default_factory=list)


@dataclass(eq=False)
class Pending:
    """A pending reservation: the command, who pays, and what it holds where."""

    command: Reserve
    at: int
    cap: int | None
    accounts: list[str]
    usd: int
    tokens: int
    holds: list[tuple[Rule, Slot, int]]
    increases: dict[str, Increase] = field(default_factory=dict)
    is_freed: bool = False


@dataclass(eq=False)
class Done:
    """An entry that a repeat may meet: what it answered and what it posted (unit, slot, held, settled)."""

    kind: str
    digest: Digest
    command: Command | None
    at: int = 0
    reserve: Pending | None = None
    posts: list[tuple[str, Slot, int, int]] = field(default_factory=list)
    usd: int = 0
    tokens: int = 0
    accounts: list[str] = field(default_factory=list)


@dataclass
class Spent:
    """One line of the model's own journal: what an account's spend is made of."""

    project: str
    accounts: list[str]
    at: int
    provider: str | None
    model: str | None
    usd: int
    tokens: int
    requests: int


class Model:
    """What must be true after what was committed."""

    def __init__(self) -> None:
        self.parents: dict[Name, str | None] = {}
        self.blocked: set[Name] = set()
        self.in_force: dict[Name, Rule] = {}
        self.rules: list[Rule] = []
        self.pending: dict[Name, Pending] = {}
        self.done: dict[Name, Done] = {}
        self.completions: dict[Name, Digest] = {}
        self.spent: list[Spent] = []
        self.reset_at: dict[Name, int] = {}
        self.charged: dict[Name, int] = {}
        """What each reservation and record costs in the end, reversals aside, in nanos."""
        self.freed = 0
        """How many reservations gave back their slots."""

    @property
    def written(self) -> tuple[int, int, int]:
        """What differs whenever a transaction wrote to the journal or to a reservation."""
        return len(self.done), len(self.pending), self.freed

    def apply(self, command: Command, now: int) -> Digest:
        """Carry out a command at a time; say what must be answered."""
        method = getattr(self, f"_{type(command).__name__.lower()}")
        digest: Digest = method(command, now)
        return digest

    def expire(self, now: int) -> None:
        """Presume what is due."""
        for name, pending in list(self.pending.items()):
            if pending.at + pending.command.hold_micros <= now:
                self._end(name, "expire", None, now, pending.usd, pending.tokens, {})

    # Admission.

    def _reserve(self, command: Reserve, now: int) -> Digest:
        name = (command.project, command.id)
        if name in self.pending:
            first = self.pending[name]
            return ("reserved", first.cap, "pending") if is_repeat(first.command, command) else CONFLICT
        if name in self.done:
            done = self.done[name]
            if done.reserve is None or not is_repeat(done.reserve.command, command):
                return CONFLICT
            return ("reserved", done.reserve.cap, done.kind)
        accounts = self.lineage(command.project, command.accounts)
        for account in accounts:
            if (command.project, account) in self.blocked:
                return ("refused", "account_blocked", None, 0, 0, 0, 0, False)
        lines: list[tuple[Rule, Slot, int, int]] = []
        watching: list[tuple[Rule, Slot, int, int]] = []
        for rule in self._rules_of(command.project, accounts, command.provider, command.model):
            unit = rule.budget.unit
            if _lacks_bound(command, rule.budget):
                return ("refused", "cost_unbounded", None, 0, 0, 0, 0, False)
            fixed, each = command.amounts.get(unit, (1, 0) if unit in ("requests", "concurrency") else (0, 0))
            if unit == "requests" and command.attempt > 1:  # of one request, each further attempt is free
                fixed = int(rule.budget.account in command.attempt_accounts)
            is_unbounded = command.unbounded_reason is not None and unit in ("usd", "tokens")
            if fixed or each or is_unbounded:
                lines.append((rule, self.running(rule, now), fixed, each))
            elif unit == "usd":
                watching.append((rule, self.running(rule, now), 0, 0))
        cap = command.wanted_output_tokens
        if cap is not None:
            for rule, slot, fixed, each in lines:
                if each and rule.budget.mode == "hard":
                    while cap > 0 and fixed + cap * each > _room(rule, slot):
                        cap = min(cap - 1, (_room(rule, slot) - fixed) // each)
            cap = max(cap, command.least_output_tokens)
        tokens = cap or 0
        refused = [line for line in lines if not _fits(*line, tokens)]
        if refused:
            stuck = [line for line in refused if not self._may_fit(*line, tokens, is_over_known=False)]
            stuck = stuck or [line for line in refused if not self._may_fit(*line, tokens)]
            rule, slot, fixed, each = (stuck or refused)[0]
            return _refusal(rule, slot, fixed + each * tokens, can_wait=not stuck)
        holds = []
        for rule, slot, fixed, each in [*lines, *watching]:
            self._open(rule, slot)
            slot.reserved += fixed + each * tokens
            holds.append((rule, slot, fixed + each * tokens))
        usd, counted = (command.amounts.get(unit, (0, 0)) for unit in ("usd", "tokens"))
        self.pending[name] = Pending(
            command, now, cap, accounts, usd[0] + usd[1] * tokens, counted[0] + counted[1] * tokens, holds
        )
        return ("reserved", cap, "pending")

    def _increase(self, command: Increase, _now: int) -> Digest:
        pending = self.pending.get((command.project, command.reservation_id))
        if pending is None:
            return UNKNOWN
        if command.id in pending.increases:
            return ("increased",) if pending.increases[command.id] == command else CONFLICT
        for rule, slot, _ in pending.holds:
            more = command.amounts.get(rule.budget.unit, 0)
            if more and rule in self.in_force.values() and not _fits(rule, slot, more, 0, 0):
                return _refusal(
                    rule, slot, more, can_wait=self._may_fit(rule, slot, more, 0, 0, is_over_known=False)
                )
        for n, (rule, slot, held) in enumerate(pending.holds):
            more = command.amounts.get(rule.budget.unit, 0)
            slot.reserved += more
            pending.holds[n] = (rule, slot, held + more)
        pending.usd += command.amounts.get("usd", 0)
        pending.tokens += command.amounts.get("tokens", 0)
        pending.increases[command.id] = command
        return ("increased",)

    # Resolution.

    def _settle(self, command: Settle, now: int) -> Digest:
        name = (command.project, command.id)
        if name not in self.pending:
            return self._late(command, command.usd_nanos, command.tokens, now)
        if command.usd_nanos is None:
            return self._end(
                name, "expire", command, now, self.pending[name].usd, self.pending[name].tokens, {}
            )
        actual = {"usd": command.usd_nanos, "tokens": command.tokens}
        digest = self._end(name, "settle", command, now, command.usd_nanos, command.tokens, actual)
        self._complete(command.project, command.completion_key, digest)
        return digest

    def _void(self, command: Void, now: int) -> Digest:
        name = (command.project, command.id)
        if name not in self.pending:
            return self._late(command, 0, 0, now)
        actual = {"usd": 0, "tokens": 0} | ({"requests": 0} if command.reason == "never_sent" else {})
        return self._end(name, "void", command, now, 0, 0, actual)

    def _end(
        self,
        name: Name,
        kind: str,
        command: Command | None,
        now: int,
        usd: int,
        tokens: int,
        actual: dict[str, int],
    ) -> Digest:
        pending = self.pending.pop(name)
        digest = ("posted", name[1], kind, usd, tokens)
        done = Done(kind, digest, command, now, pending, [], usd, tokens, pending.accounts)
        for rule, slot, held in pending.holds:
            unit = rule.budget.unit
            settled = 0 if unit == "concurrency" else actual.get(unit, held)
            slot.reserved -= held
            slot.settled += settled
            slot.overrun += max(0, settled - held)
            done.posts.append((unit, slot, held, settled))
        self.done[name] = done
        self.charged[name] = usd
        never = isinstance(command, Void) and command.reason == "never_sent"
        self._spend(pending, usd, tokens, 0 if never else 1)
        return digest

    def _late(self, command: Settle | Void, usd: int | None, tokens: int, now: int) -> Digest:
        name = (command.project, command.id)
        done = self.done.get(name)
        if done is None:
            return UNKNOWN
        if done.command == command:
            return done.digest
        if done.kind != "expire" or done.reserve is None:
            return RESOLVED
        correction = self.done.get((command.project, f"{command.id}#correct"))
        if correction is not None:
            return correction.digest if correction.command == command else RESOLVED
        if (command.project, f"{command.id}#reverse") in self.done:
            return RESOLVED
        never = isinstance(command, Void) and command.reason == "never_sent"
        usd = done.usd if usd is None else usd
        actual = {"usd": usd, "tokens": tokens} | ({"requests": 0} if never else {})
        posts = []
        for unit, slot, held, presumed in done.posts:
            if unit in actual:
                slot.settled += actual[unit] - presumed
                slot.overrun += max(0, actual[unit] - held)
                posts.append((unit, slot, held, actual[unit] - presumed))
        digest = ("posted", f"{command.id}#correct", "correct", usd - done.usd, tokens - done.tokens)
        self.done[command.project, f"{command.id}#correct"] = Done(
            "correct", digest, command, now, None, posts, usd - done.usd, tokens - done.tokens
        )
        self.charged[name] = usd
        self._spend(done.reserve, usd - done.usd, tokens - done.tokens, -1 if never else 0)
        if isinstance(command, Settle):
            self._complete(command.project, command.completion_key, digest)
        return digest

    def _record(self, command: Record, now: int) -> Digest:
        name = (command.project, command.id)
        if name in self.done:
            return self.done[name].digest if self.done[name].command == command else CONFLICT
        if name in self.pending:
            return CONFLICT
        if (
            command.completion_key is not None
            and (command.project, command.completion_key) in self.completions
        ):
            return self.completions[command.project, command.completion_key]
        accounts = self.lineage(command.project, command.accounts)
        usd = command.usd_nanos or 0
        amounts = {"usd": usd, "tokens": command.tokens, "requests": command.requests}
        posts: list[tuple[str, Slot, int, int]] = []
        for rule in self._rules_of(command.project, accounts, command.provider, command.model):
            if rule.budget.unit != "concurrency":
                slot = self.running(rule, now)
                self._open(rule, slot)
                slot.settled += amounts[rule.budget.unit]
                posts.append((rule.budget.unit, slot, 0, amounts[rule.budget.unit]))
        digest = ("posted", command.id, "record", command.usd_nanos, command.tokens)
        self.done[name] = Done("record", digest, command, now, None, posts, usd, command.tokens, accounts)
        self.charged[name] = usd
        self.spent.append(
            Spent(command.project, accounts, now, command.provider, command.model, usd, command.tokens, 1)
        )
        self._complete(command.project, command.completion_key, digest)
        return digest

    def _reverse(self, command: Reverse, now: int) -> Digest:
        name = (command.project, command.charge_id)
        undone = (command.project, f"{command.charge_id}#reverse")
        if undone in self.done:
            return self.done[undone].digest if self.done[undone].command == command else CONFLICT
        charge = self.done.get(name)
        correction = self.done.get((command.project, f"{command.charge_id}#correct"))
        if charge is None or charge.kind not in ("settle", "expire", "record"):
            return UNKNOWN
        if correction is not None and isinstance(correction.command, Void):
            return UNKNOWN
        final: dict[tuple[str, Slot], list[int]] = {}
        for done in (charge, correction):
            for unit, slot, held, settled in () if done is None else done.posts:
                final.setdefault((unit, slot), [held, 0])[1] += settled
        for (_, slot), (held, settled) in final.items():
            slot.settled -= settled
            if charge.kind != "record":
                slot.overrun -= max(0, settled - held)
        usd = charge.usd + (correction.usd if correction else 0)
        tokens = charge.tokens + (correction.tokens if correction else 0)
        is_known = charge.digest[3] is not None
        digest = ("posted", undone[1], "reverse", -usd if is_known else None, -tokens)
        self.done[undone] = Done("reverse", digest, command, now)
        made = charge.reserve.command if charge.reserve is not None else charge.command
        assert isinstance(made, Reserve | Record)
        at = charge.reserve.at if charge.reserve is not None else charge.at
        self.spent.append(
            Spent(command.project, charge.accounts, at, made.provider, made.model, -usd, -tokens, -1)
        )
        return digest

    def _complete(self, project: str, key: str | None, digest: Digest) -> None:
        if key is not None:
            self.completions.setdefault((project, key), digest)

    def _spend(self, pending: Pending, usd: int, tokens: int, requests: int) -> None:
        made = pending.command
        self.spent.append(
            Spent(
                made.project, pending.accounts, pending.at, made.provider, made.model, usd, tokens, requests
            )
        )

    # Budgets.

    def _grant(self, command: Grant, now: int) -> Digest:
        name = (command.project, command.id)
        if name in self.done:
            return self.done[name].digest if self.done[name].command == command else CONFLICT
        if name in self.pending:
            return CONFLICT
        rule = self.in_force.get((command.project, command.budget_id))
        if rule is None:
            return ("error", "invalid_value")
        slot = self.running(rule, now)
        self._open(rule, slot)
        slot.granted += command.amount
        digest = ("posted", command.id, "grant", None, None)
        self.done[name] = Done("grant", digest, command, now)
        return digest

    def _reset(self, command: Reset, now: int) -> Digest:
        name = (command.project, command.id)
        if name in self.done:
            return self.done[name].digest if self.done[name].command == command else CONFLICT
        if name in self.pending:
            return CONFLICT
        rule = self.in_force.get((command.project, command.budget_id))
        if rule is None:
            return ("error", "invalid_value")
        old = self.running(rule, now)
        self._open(rule, old)
        start = now if now > old.start else old.start + 1
        rule.slots.append(Slot(start, max(old.end, start + 1)))
        old.end = start
        budget = (command.project, command.budget_id)
        self.reset_at[budget] = max(start, self.reset_at.get(budget, 0))
        digest = ("posted", command.id, "reset", None, None)
        self.done[name] = Done("reset", digest, command, now)
        return digest

    def _putaccount(self, command: PutAccount, _now: int) -> Digest:
        account = command.account
        name = (account.project, account.id)
        before = (self.parents.get(name, "?"), name in self.blocked)
        self.parents[name] = account.parent
        (self.blocked.add if account.status == "blocked" else self.blocked.discard)(name)
        return ("put", before != (account.parent, account.status == "blocked"))

    def _putbudget(self, command: PutBudget, now: int) -> Digest:
        wanted = command.budget
        name = (wanted.project, wanted.id)
        old = self.in_force.get(name)
        if old is not None and _rule_of(old.budget) == _rule_of(wanted):
            is_changed = (old.budget.limit, old.budget.mode) != (wanted.limit, wanted.mode)
            old.budget = wanted
            return ("put", is_changed)
        rule = Rule(wanted)
        self.rules.append(rule)
        self.in_force[name] = rule
        start, end = interval(wanted.window.text, now)
        slot = Slot(max(start, self.reset_at.get(name, 0)), end)
        slot.settled = self._spend_since(wanted, slot.start)
        if slot.settled:
            self._open(rule, slot)
        for pending in self.pending.values():
            made = pending.command
            if (
                made.project != wanted.project
                or wanted.account not in pending.accounts
                or pending.at < slot.start
                or not _counts(wanted, made.provider, made.model)
            ):
                continue
            amount = {"usd": pending.usd, "tokens": pending.tokens}.get(wanted.unit, 1)
            if wanted.unit == "concurrency" and pending.is_freed:
                amount = 0
            kept = []
            for held in pending.holds:
                if old is not None and held[0] is old:
                    held[1].reserved -= held[2]
                else:
                    kept.append(held)
            self._open(rule, slot)
            slot.reserved += amount
            pending.holds = [*kept, (rule, slot, amount)]
        return ("put", True)

    def _removebudget(self, command: RemoveBudget, _now: int) -> Digest:
        return ("put", self.in_force.pop((command.project, command.budget_id), None) is not None)

    def _freeslots(self, command: FreeSlots, _now: int) -> Digest:
        count = 0
        for (project, _), pending in self.pending.items():
            if project == command.project and pending.command.holder == command.holder:
                count += self._free(pending)
        return ("freed", count)

    def _freeslot(self, command: FreeSlot, _now: int) -> Digest:
        pending = self.pending.get((command.project, command.id))
        return ("freed", 0 if pending is None else int(self._free(pending)))

    def _free(self, pending: Pending) -> bool:
        self.freed += not pending.is_freed
        pending.is_freed = True
        slots = [held for held in pending.holds if held[0].budget.unit == "concurrency"]
        for held in slots:
            held[1].reserved -= held[2]
            pending.holds.remove(held)
        return any(amount for _, _, amount in slots)

    def _confirmclock(self, _command: Command, _now: int) -> Digest:
        return ("put", True)

    def _spend_since(self, budget: Budget, since: int) -> int:
        total = 0
        for spent in self.spent:
            if (
                spent.project == budget.project
                and spent.at >= since
                and budget.account in spent.accounts
                and _counts(budget, spent.provider, spent.model)
            ):
                total += {"usd": spent.usd, "tokens": spent.tokens, "requests": spent.requests}.get(
                    budget.unit, 0
                )
        return total

    def _rules_of(
        self, project: str, accounts: list[str], provider: str | None, model: str | None
    ) -> list[Rule]:
        found = []
        for account in accounts:
            mine = [
                (name, rule)
                for name, rule in self.in_force.items()
                if name[0] == project and rule.budget.account == account
            ]
            found += [rule for _, rule in sorted(mine, key=lambda each: each[0])]
        return [rule for rule in found if _counts(rule.budget, provider, model)]

    def lineage(self, project: str, accounts: tuple[str, ...]) -> list[str]:
        """Accounts and all above them, each once."""
        found: list[str] = []
        for account in accounts:
            above: str | None = account
            while above is not None and above not in found:
                found.append(above)
                above = self.parents.get((project, above))
        return found

    def running(self, rule: Rule, now: int) -> Slot:
        """The period that counts now; not among the rule's until something is in it."""
        if rule.slots and now < rule.slots[-1].end:
            return rule.slots[-1]
        start, end = interval(rule.budget.window.text, now)
        return Slot(max(start, rule.slots[-1].end) if rule.slots else start, end)

    def _may_fit(
        self, rule: Rule, slot: Slot, fixed: int, each: int, tokens: int, *, is_over_known: bool = True
    ) -> bool:
        """Whether it fits if all that runs comes to nothing: requests count, and what nobody knows."""
        if rule.budget.unit == "requests":
            return False
        over = 0
        if is_over_known:
            freed = (pending for pending in self.pending.values() if pending.is_freed)
            over = sum(amount for pending in freed for _, held, amount in pending.holds if held is slot)
        return _fits(rule, slot, fixed, each, tokens, coming=slot.reserved - over)

    def _open(self, rule: Rule, slot: Slot) -> None:
        if slot not in rule.slots:
            rule.slots.append(slot)


def digest_of(answer: Outcome | OutlayError) -> Digest:
    """An answer of the ledger in short, to be compared with the model's."""
    if isinstance(answer, OutlayError):
        return ("error", answer.code)
    if isinstance(answer, Reserved):
        return ("reserved", answer.output_cap, answer.state)
    if isinstance(answer, Refusal):
        if answer.reason != "budget_exceeded":
            return ("refused", answer.reason, None, 0, 0, 0, 0, False)
        facts = (answer.limit, answer.settled, answer.reserved, answer.needed, answer.can_wait)
        return ("refused", answer.reason, answer.budget_id, *facts)
    if isinstance(answer, Posted):
        return ("posted", answer.entry.id, answer.entry.kind, answer.entry.usd_nanos, answer.entry.tokens)
    if isinstance(answer, Freed):
        return ("freed", answer.reservations)
    if isinstance(answer, Increased):
        return ("increased",)
    return ("put", answer.is_changed) if isinstance(answer, Put) else ("stale",)


def is_repeat(first: Reserve, again: Reserve) -> bool:
    """Whether a reserve asks for the same, whoever asks."""
    return replace(first, holder=None) == replace(again, holder=None)


def interval(window: str, now: int) -> tuple[int, int]:
    """The interval of a window anchored at the epoch, in UTC, that holds `now`."""
    lengths = {"1m": 60_000_000, "30s": 30_000_000, "1h": DAY // 24, "36h": DAY // 2 * 3, "daily": DAY}
    if window == "total":
        return 0, ENDLESS
    if window == "monthly":
        at = datetime.fromtimestamp(now // 1_000_000, UTC)
        first = datetime(at.year, at.month, 1, tzinfo=UTC)
        following = datetime(at.year + at.month // 12, at.month % 12 + 1, 1, tzinfo=UTC)
        return int(first.timestamp()) * 1_000_000, int(following.timestamp()) * 1_000_000
    start = now // lengths[window] * lengths[window]
    return start, start + lengths[window]


def _room(rule: Rule, slot: Slot) -> int:
    return rule.budget.limit + slot.granted - slot.settled - slot.reserved


def _fits(rule: Rule, slot: Slot, fixed: int, each: int, tokens: int, *, coming: int = 0) -> bool:
    room = _room(rule, slot) + coming
    if rule.budget.mode == "soft":
        return True
    if rule.budget.mode == "crossing" and rule.budget.unit in ("usd", "tokens"):
        return room > 0
    return fixed + each * tokens <= room


def _lacks_bound(command: Reserve, budget: Budget) -> bool:
    refusing = {"hard"} if command.unproven_reason else set()
    refusing |= {"hard", "crossing"} if command.unbounded_reason else set()
    units = {"tokens"} if command.is_free else {"tokens", "usd"}
    return budget.mode in refusing and budget.unit in units


def _refusal(rule: Rule, slot: Slot, needed: int, *, can_wait: bool) -> Digest:
    limit = rule.budget.limit + slot.granted
    facts = (limit, slot.settled, slot.reserved, needed, can_wait)
    return ("refused", "budget_exceeded", rule.budget.id, *facts)


def _counts(budget: Budget, provider: str | None, model: str | None) -> bool:
    prefix = f"{provider}/" if provider else ""
    bare = {name.lower().removeprefix(prefix) for name in budget.models}
    is_counted = (model or "").lower().removeprefix(prefix) in bare if bare else True
    return is_counted and (provider in budget.providers if budget.providers else True)


def _rule_of(budget: Budget) -> tuple[object, ...]:
    return (budget.account, budget.unit, budget.window, budget.models, budget.providers)
