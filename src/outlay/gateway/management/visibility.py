"""Visibility: whose entries and balances a principal sees that does not see all."""

from __future__ import annotations

from outlay.gateway.config import PROJECT
from outlay.gateway.directory import live, teams_of
from outlay.gateway.management.access import OWNERS
from outlay.gateway.management.authorise import own_accounts, owns_key, reads_all
from outlay.gateway.principal import Principal
from outlay.gateway.records import KeyRecord, member_account
from outlay.ledger.store import EntryFilter, Reader

Group = tuple[str, ...]

_RANKS = ("key", "member", "user", "customer", "tag", "team", "organization")
"""Kinds of accounts, those that fewest entries have first."""


def accounts_of_user(reader: Reader, user_id: str) -> Group:
    """All accounts of a user: their own, and what they are in each team that they are in."""
    members = (member_account(team_id, user_id) for team_id in teams_of(reader, user_id))
    return (f"user:{user_id}", *members)


def seen_accounts(reader: Reader, principal: Principal) -> Group | None:
    """The accounts of which an entry must have one so that the principal sees it; None for all entries."""
    if reads_all(principal):
        return None
    own = own_accounts(principal)
    if f"user:{principal.user_id}" in own and principal.user_id is not None:
        own |= {*accounts_of_user(reader, principal.user_id)}
    return tuple(sorted(own))


def accounts_with_balances(reader: Reader, principal: Principal) -> Group | None:
    """The accounts whose balances a principal sees: as for entries, and each key of its user. None: all."""
    seen = seen_accounts(reader, principal)
    if seen is None or principal.role not in OWNERS or principal.user_id is None:
        return seen
    keys = {id for (id, record) in _keys(reader) if owns_key(principal, id, record)}
    return tuple(sorted(keys.union(seen)))


def filter_for(reader: Reader, principal: Principal, wanted: list[Group], **others: object) -> EntryFilter:
    """A filter of the gateway's entries: those with one account of each group that the principal sees."""
    seen = seen_accounts(reader, principal)
    groups = sorted([*wanted, *([] if seen is None else [seen])], key=_rank)
    return EntryFilter(PROJECT, any_of=tuple(groups), **others)  # type: ignore[arg-type] # fields of EntryFilter


def _keys(reader: Reader) -> list[tuple[str, KeyRecord]]:
    return [(account.id, record) for account, record in live(reader, "key", KeyRecord)]


def _rank(group: Group) -> int:
    kinds = [account.partition(":")[0] for account in group]
    return max(_RANKS.index(kind) if kind in _RANKS else len(_RANKS) for kind in kinds)
