"""What must be true of one entry of the journal, whatever the counters say.

Written against the ledger's promises, not against the code that makes entries: nothing here is shared with
the decisions it checks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Final, NamedTuple

from outlay.domain.budgets import PeriodKey
from outlay.domain.entries import Entry, Post

Find = Callable[[str], Entry | None]
"""Finds another entry of the same project by its id."""

_PROOFS: Final = ("never_sent", "rejected", "provider_error")
_PRICED: Final = ("settle", "record", "correct", "reverse")
_CORRECTION: Final = "#correct"
_REVERSAL: Final = "#reverse"


class Problem(NamedTuple):
    """Which invariant an entry breaks, and how."""

    invariant: int
    message: str


def check_entry(entry: Entry, find: Find, rows: Collection[PeriodKey]) -> Iterator[Problem]:
    """Check an entry by itself and against those it refers to. `rows` are the periods that have a row."""
    keys = [post.period_key for post in entry.posts]
    if len(set(keys)) < len(keys):
        yield Problem(6, "posts to one period twice")
    if entry.priced_nanos is not None and (entry.kind not in _PRICED or entry.usd_nanos is None):
        yield Problem(13, f"has a price of our own beside no charge (kind {entry.kind!r})")
    if entry.kind in ("settle", "void", "expire"):
        yield from _check_resolution(entry)
    elif entry.kind == "correct":
        yield from _check_correction(entry, find, rows)
    elif entry.kind == "reverse":
        yield from _check_reversal(entry, find)
    elif entry.kind == "record":
        yield from _check_record(entry)
    else:
        yield from _check_adjustment(entry)


def _check_resolution(entry: Entry) -> Iterator[Problem]:
    if entry.kind == "void" and entry.reason not in _PROOFS:
        yield Problem(5, f"is a void without proof that nothing was billed (reason {entry.reason!r})")
    if entry.kind == "expire" and entry.source != "presumed":
        yield Problem(5, f"presumes a charge, but its source says {entry.source!r}")
    if entry.source is None:
        yield Problem(13, "does not say where its amount is from (no source)")
    for unit in ("usd", "tokens"):
        held = {post.held for post in entry.posts if post.unit == unit}
        if len(held) > 1:
            yield Problem(6, f"ends holds of different amounts of {unit} on its budgets: {sorted(held)}")
    for post in entry.posts:
        if post.held < 0 or post.settled < 0 or post.granted:
            yield Problem(7, f"posts a negative hold or charge, or a grant: {_text(post)}")
        if post.unit == "usd" and post.held and entry.usd_nanos is None:
            yield Problem(13, "has no cost although usd was held")
        wanted = _charged(entry, post)
        if post.settled != wanted:
            yield Problem(5, f"settles {post.settled} {post.unit} where its own amount is {wanted}")
        yield from _check_overrun(post, post.settled)


def _charged(entry: Entry, post: Post) -> int:
    """What a resolution must settle in the place of one hold."""
    if post.unit == "concurrency" or (entry.kind == "void" and post.unit in ("usd", "tokens")):
        return 0
    if post.unit == "requests":
        return 0 if entry.kind == "void" and entry.reason == "never_sent" else post.held
    if entry.kind == "expire":
        return post.held
    return (entry.usd_nanos if post.unit == "usd" else entry.tokens) or 0


def _check_overrun(post: Post, settled: int) -> Iterator[Problem]:
    wanted = max(0, settled - post.held)
    if post.overrun != wanted:
        yield Problem(10, f"settles {settled} of {post.held} held, with an overrun of {post.overrun}")


def _check_correction(entry: Entry, find: Find, rows: Collection[PeriodKey]) -> Iterator[Problem]:
    expired = find(entry.id.removesuffix(_CORRECTION)) if entry.id.endswith(_CORRECTION) else None
    if expired is None or expired.kind != "expire" or expired.seq > entry.seq:
        yield Problem(3, "corrects what is no presumed charge before it")
        return
    if entry.reason is not None and entry.reason not in _PROOFS:
        yield Problem(5, f"voids a presumed charge without proof (reason {entry.reason!r})")
    presumed = {post.period_key: post for post in expired.posts}
    for post in entry.posts:
        first = presumed.pop(post.period_key, None)
        if first is None or (first.unit, first.held) != (post.unit, post.held):
            yield Problem(6, f"corrects a period that the presumed charge did not post to: {_text(post)}")
            continue
        settled, wanted = first.settled + post.settled, _corrected(entry, expired, first)
        if settled != wanted or post.granted:
            yield Problem(5, f"corrects to {settled} {post.unit} where its own amount is {wanted}")
        yield from _check_overrun(post, settled)
    for key, post in presumed.items():
        if key in rows and _corrected(entry, expired, post) != post.settled:
            yield Problem(6, f"leaves a period of the presumed charge as it was: {_text(post)}")


def _corrected(entry: Entry, expired: Entry, first: Post) -> int:
    """What a corrected charge must come to in one period."""
    if first.unit == "usd":
        return 0 if entry.usd_nanos is None else entry.usd_nanos + (expired.usd_nanos or 0)
    if first.unit == "tokens":
        return (entry.tokens or 0) + (expired.tokens or 0)
    return 0 if first.unit == "concurrency" or entry.reason == "never_sent" else first.settled


def _check_reversal(entry: Entry, find: Find) -> Iterator[Problem]:
    charge_id = entry.id.removesuffix(_REVERSAL) if entry.id.endswith(_REVERSAL) else ""
    charge, correction = find(charge_id), find(charge_id + _CORRECTION)
    if charge is None or charge.kind not in ("settle", "expire", "record") or charge.seq > entry.seq:
        yield Problem(3, "reverses what is no charge before it")
        return
    if correction is not None and correction.seq > entry.seq:
        yield Problem(3, "reverses a presumed charge that was corrected after it")
        return
    left: dict[PeriodKey, list[int]] = {}
    for each in (charge, correction, entry):
        for post in () if each is None else each.posts:
            sums = left.setdefault(post.period_key, [0, 0])
            sums[0] += post.settled
            sums[1] += post.overrun
    for key, (settled, overrun) in left.items():
        if settled or overrun:
            yield Problem(5, f"leaves {settled} settled and {overrun} overrun in budget {key[0]}")


def _check_record(entry: Entry) -> Iterator[Problem]:
    for post in entry.posts:
        wanted = {"usd": entry.usd_nanos or 0, "tokens": entry.tokens or 0}.get(post.unit, post.settled)
        if post.settled != wanted:
            yield Problem(5, f"settles {post.settled} {post.unit} where its own amount is {wanted}")
        if post.held or post.overrun or post.granted or post.settled < 0:
            yield Problem(2, f"posts more than spend: {_text(post)}")
    if entry.source is None:
        yield Problem(13, "does not say where its amount is from (no source)")


def _check_adjustment(entry: Entry) -> Iterator[Problem]:
    """A grant only grants, a reset changes no counter, a carried sum only settles."""
    for post in entry.posts:
        granted = post.granted if entry.kind == "grant" else 0
        settled = post.settled if entry.kind == "carry" else 0
        plain = (0, settled, 0, granted)
        if plain != (post.held, post.settled, post.overrun, post.granted) or settled < 0 or granted < 0:
            yield Problem(2, f"changes counters that a {entry.kind} does not: {_text(post)}")


def _text(post: Post) -> str:
    return (
        f"budget {post.budget_key}, held {post.held}, settled {post.settled}, overrun {post.overrun}, "
        f"granted {post.granted} {post.unit}"
    )
