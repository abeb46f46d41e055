"""The decisions that are never refused: settle, void, expire, record, grant, reverse, reset.

Pure, as decide.py. Each resolution posts to the periods that the reservation was admitted to, whatever the
time is now.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from outlay.domain.budgets import Budget, Period, PeriodKey, running_period
from outlay.domain.commands import Grant, Record, Reset, Reverse, Settle, Void
from outlay.domain.decide import Decision, crossed
from outlay.domain.entries import Entry, EntryKind, Post, Source, correction_id, reversal_id
from outlay.domain.outcomes import Posted
from outlay.domain.reservations import Hold, Reservation
from outlay.errors import AlreadyResolvedError, IdempotencyConflictError, ReservationNotFoundError

Periods = Mapping[PeriodKey, Period]

_EMPTY: dict[str, Any] = {}


def decide_settle(
    command: Settle, reservation: Reservation, periods: Periods, now: int, fingerprint: bytes
) -> Decision:
    """Replace the hold by the actual cost; what is above the hold counts as overrun too.

    An unknown cost where usd was held is presumed to be the hold: an unknown price is never 0.
    """
    if command.usd_nanos is None and "usd" in reservation.amounts:
        return decide_expire(reservation, periods, now, command, fingerprint)
    usd = command.usd_nanos
    posts, changed = _move(reservation.holds, {"usd": usd or 0, "tokens": command.tokens}, periods)
    entry = _resolution(
        reservation,
        "settle",
        now,
        posts,
        usd,
        command.tokens,
        command.source,
        fingerprint,
        usage=command.usage,
        price_version=command.price_version,
        completion_key=command.completion_key,
        detail=command.detail,
        priced_nanos=command.priced_nanos,
    )
    return Decision(Posted(entry), changed, None, reservation.id, entry)


def decide_void(
    command: Void, reservation: Reservation, periods: Periods, now: int, fingerprint: bytes
) -> Decision:
    """End the reservation without a charge. A request that the provider saw still counts as a request."""
    actual = {"usd": 0, "tokens": 0}
    if command.reason == "never_sent":
        actual["requests"] = 0
    posts, changed = _move(reservation.holds, actual, periods)
    entry = _resolution(
        reservation,
        "void",
        now,
        posts,
        0,
        0,
        "manual",
        fingerprint,
        reason=command.reason,
        detail=command.detail,
    )
    return Decision(Posted(entry), changed, None, reservation.id, entry)


def decide_expire(
    reservation: Reservation,
    periods: Periods,
    now: int,
    command: Settle | None = None,
    fingerprint: bytes = b"",
) -> Decision:
    """Presume that the whole hold was billed: nobody said what it cost in time, or `command` cannot say."""
    posts, changed = _move(reservation.holds, {}, periods)
    amounts = reservation.amounts
    entry = _resolution(
        reservation,
        "expire",
        now,
        posts,
        amounts.get("usd"),
        amounts.get("tokens"),
        "presumed",
        fingerprint,
        usage=_EMPTY if command is None else command.usage,
        detail=_EMPTY if command is None else command.detail,
    )
    return Decision(Posted(entry), changed, None, reservation.id, entry)


def decide_late(
    command: Settle | Void,
    expired: Entry,
    correction: Entry | None,
    reversal: Entry | None,
    periods: Periods,
    now: int,
    fingerprint: bytes,
) -> Decision:
    """Correct a presumed charge by what became known, in the periods it was presumed in. Once.

    Raises:
        AlreadyResolvedError: the charge was corrected or reversed before, in another way.
    """
    if correction is not None:
        if correction.fingerprint != fingerprint:
            raise AlreadyResolvedError(_twice(expired.id, "corrected"))
        return Decision(Posted(correction, is_replay=True))
    if reversal is not None:
        raise AlreadyResolvedError(_twice(expired.id, "reversed"))
    if isinstance(command, Settle):
        usd = expired.usd_nanos if command.usd_nanos is None else command.usd_nanos
        tokens, usage, source, reason = command.tokens, command.usage, command.source, None
        completion_key, version = command.completion_key, command.price_version
        priced = None if usd is None else command.priced_nanos
    else:
        usd, tokens, usage, source, reason = 0, 0, {}, "manual", command.reason
        completion_key, version, priced = None, None, None
    actual = {"usd": usd or 0, "tokens": tokens}
    if reason == "never_sent":
        actual["requests"] = 0
    posts, changed = [], []
    for post in expired.posts:
        period = periods.get(post.period_key)
        settled = actual.get(post.unit)
        if period is None or settled is None:
            continue
        more, overrun = settled - post.settled, max(0, settled - post.held)
        posts.append(Post(post.budget_key, post.starts_at, post.unit, post.held, more, overrun, 0))
        changed.append(period._replace(settled=period.settled + more, overrun=period.overrun + overrun))
    entry = expired._replace(
        id=correction_id(expired.id),
        kind="correct",
        at=now,
        posts=tuple(posts),
        usd_nanos=None if usd is None else usd - (expired.usd_nanos or 0),
        tokens=tokens - (expired.tokens or 0),
        usage=usage,
        source=source,
        reason=reason,
        price_version=version or expired.price_version,
        detail={**command.detail, "actual_usd_nanos": usd, "actual_tokens": tokens},
        completion_key=completion_key,
        fingerprint=fingerprint,
        priced_nanos=None if priced is None else priced - (expired.usd_nanos or 0),
        seq=0,
    )
    return Decision(Posted(entry), changed, entry=entry)


def repeat_resolution(ended: Entry, fingerprint: bytes) -> Posted:
    """Answer a repeated settle or void as the first time.

    Raises:
        AlreadyResolvedError: the reservation ended in another way.
    """
    if ended.fingerprint != fingerprint:
        done = {"settle": "settled", "void": "voided"}.get(ended.kind, "used for another command")
        raise AlreadyResolvedError(_twice(ended.id, done))
    return Posted(ended, is_replay=True)


def decide_record(
    command: Record,
    accounts: tuple[str, ...],
    budgets: Sequence[Budget],
    newest: Mapping[int, Period | None],
    now: int,
    fingerprint: bytes,
) -> Decision:
    """Charge spend that already happened to the running periods. Never refused."""
    posts, changed, alerts = [], [], []
    spent = {"usd": command.usd_nanos or 0, "tokens": command.tokens, "requests": command.requests}
    for budget in budgets:
        amount = spent.get(budget.unit, 0)
        if not budget.applies_to(command.provider, command.model) or budget.unit == "concurrency":
            continue
        period = running_period(budget, newest.get(budget.key), now)
        after = period._replace(settled=period.settled + amount)
        posts.append(Post(budget.key, period.starts_at, budget.unit, 0, amount, 0, 0))
        changed.append(after)
        if budget.alert_percents or budget.mode == "soft":
            alerts += crossed(budget, period, after)
    entry = Entry(
        command.project,
        command.id,
        "record",
        now,
        now,
        accounts,
        tuple(posts),
        command.usd_nanos,
        command.tokens,
        command.usage,
        command.source,
        command.provider,
        command.model,
        command.price_version,
        command.request_id,
        tags=command.tags,
        detail=command.detail,
        completion_key=command.completion_key,
        fingerprint=fingerprint,
        priced_nanos=command.priced_nanos,
    )
    return Decision(Posted(entry, alerts=tuple(alerts)), changed, entry=entry)


def repeat_entry(entry: Entry, kind: EntryKind, fingerprint: bytes) -> Posted:
    """Answer a repeated record, grant, reverse or reset as the first time.

    Raises:
        IdempotencyConflictError: the id was used with other content.
    """
    if entry.kind != kind or entry.fingerprint != fingerprint:
        raise IdempotencyConflictError(
            f"the id {entry.id!r} was used before with other content: use a new id for a new command"
        )
    return Posted(entry, is_replay=True)


def decide_grant(
    command: Grant, budget: Budget, newest: Period | None, now: int, fingerprint: bytes
) -> Decision:
    """Allow more in the running period."""
    period = running_period(budget, newest, now)
    entry = Entry(
        command.project,
        command.id,
        "grant",
        now,
        now,
        (budget.account,),
        (Post(budget.key, period.starts_at, budget.unit, 0, 0, 0, command.amount),),
        source="manual",
        detail={"by": command.by},
        fingerprint=fingerprint,
    )
    granted = period._replace(granted=period.granted + command.amount)
    return Decision(Posted(entry), (granted,), entry=entry)


def decide_reset(
    command: Reset, budget: Budget, newest: Period | None, now: int, fingerprint: bytes
) -> Decision:
    """End the running period now and open the next one with the same end. No counter is edited."""
    period = running_period(budget, newest, now)
    starts_at = max(now, period.starts_at + 1)
    entry = Entry(
        command.project,
        command.id,
        "reset",
        now,
        now,
        (budget.account,),
        tuple(Post(budget.key, start, budget.unit, 0, 0, 0, 0) for start in (period.starts_at, starts_at)),
        source="manual",
        detail={"by": command.by},
        fingerprint=fingerprint,
    )
    ended = period._replace(ends_at=starts_at)
    opened = Period(budget.key, starts_at, max(period.ends_at, starts_at + 1))
    return Decision(Posted(entry), (ended, opened), entry=entry)


def decide_reverse(
    command: Reverse,
    charge: Entry | None,
    correction: Entry | None,
    periods: Periods,
    now: int,
    fingerprint: bytes,
) -> Decision:
    """Undo a final charge, its correction included, in the periods it posted to.

    Raises:
        ReservationNotFoundError: no settled, presumed or recorded charge has this id.
    """
    is_voided = correction is not None and correction.reason is not None
    if charge is None or charge.kind not in ("settle", "expire", "record") or is_voided:
        raise ReservationNotFoundError(
            f"no final charge has the id {command.charge_id!r}: only settled, presumed and recorded ones "
            "can be reversed (a pending reservation is settled or voided)"
        )
    entries = [charge] if correction is None else [charge, correction]
    net: dict[PeriodKey, Post] = {}
    for post in (post for entry in entries for post in entry.posts):
        key = post.period_key
        undone = net.get(key, Post(*key, post.unit, 0, 0, 0, 0))
        net[key] = undone._replace(
            settled=undone.settled - post.settled, overrun=undone.overrun - post.overrun
        )
    posts = tuple(net.values())
    changed = [
        period._replace(settled=period.settled + post.settled, overrun=period.overrun + post.overrun)
        for post in posts
        if (period := periods.get(post.period_key)) is not None
    ]
    known = [entry.usd_nanos for entry in entries if entry.usd_nanos is not None]
    entry = charge._replace(
        id=reversal_id(charge.id),
        kind="reverse",
        at=now,
        posts=posts,
        usd_nanos=-sum(known) if known else None,
        tokens=-sum(entry.tokens or 0 for entry in entries),
        usage={},
        source="manual",
        reason=command.reason or None,
        detail={"by": command.by},
        completion_key=None,
        fingerprint=fingerprint,
        priced_nanos=_unpriced(charge, correction),
        seq=0,
    )
    return Decision(Posted(entry), changed, entry=entry)


def _unpriced(charge: Entry, correction: Entry | None) -> int | None:
    """What a reversal takes back of our own price; a correction's is its difference to what was presumed."""
    if correction is None or correction.priced_nanos is None:
        return None if charge.priced_nanos is None else -charge.priced_nanos
    return -(correction.priced_nanos + (charge.usd_nanos or 0))


def _move(
    holds: Sequence[Hold], actual: Mapping[str, int], periods: Periods
) -> tuple[tuple[Post, ...], list[Period]]:
    """Move each hold to settled. A unit without an actual amount settles at its hold; concurrency at 0.

    A short period that is closed and holds nothing may be gone: a hold of 0 keeps no row.
    """
    posts, changed = [], []
    for key, starts_at, unit, held in holds:
        settled = 0 if unit == "concurrency" else actual.get(unit, held)
        overrun = settled - held if settled > held else 0
        posts.append(Post(key, starts_at, unit, held, settled, overrun, 0))
        period = periods.get((key, starts_at))
        if period is None:
            continue
        changed.append(
            Period(
                key,
                starts_at,
                period.ends_at,
                period.granted,
                period.reserved - held,
                period.settled + settled,
                period.overrun + overrun,
            )
        )
    return tuple(posts), changed


def _resolution(
    reservation: Reservation,
    kind: EntryKind,
    now: int,
    posts: tuple[Post, ...],
    usd_nanos: int | None,
    tokens: int | None,
    source: Source,
    fingerprint: bytes,
    *,
    usage: Mapping[str, int] = _EMPTY,
    price_version: str | None = None,
    reason: str | None = None,
    completion_key: str | None = None,
    detail: Mapping[str, object] = _EMPTY,
    priced_nanos: int | None = None,
) -> Entry:
    """The entry that ends a reservation."""
    return Entry(
        reservation.project,
        reservation.id,
        kind,
        now,
        reservation.reserved_at,
        reservation.accounts,
        posts,
        usd_nanos,
        tokens,
        usage,
        source,
        reservation.provider,
        reservation.model,
        price_version or reservation.price_version,
        reservation.request_id,
        reservation.attempt,
        reservation.output_cap,
        reservation.tags,
        reason,
        detail,
        completion_key,
        fingerprint,
        reservation.fingerprint,
        priced_nanos,
    )


def _twice(id: str, done: str) -> str:
    return f"{id!r} was {done} before, with other content; the first end stands"
