"""Finding: from what a report wants of the journal to the conditions of a statement."""

from __future__ import annotations

from typing import Final

from outlay.ledger.store import EntryFilter
from outlay.stores.sqlite import rows, statements

Group = tuple[str, ...]

_UNINDEXED: Final = ("global", "provider:", "deployment:")
"""Accounts that nearly every block has: see migrations/0003."""
_MOST_QUICK: Final = 50
"""An expression of SQLite's may not be much longer than a thousand terms."""
_CONDITIONS: Final = {
    "project": "+project = :project",
    "model": "model = :model",
    "tag": "EXISTS (SELECT 1 FROM json_each(tags) WHERE value = :tag)",
    "source": "source = :source",
    "request_id": f"request_id IN ({statements.REQUESTS_NAMED})",
}
"""`+` keeps the planner from reading a whole project in the order of another index."""


def groups_of(wanted: EntryFilter) -> list[Group]:
    """The groups of accounts of which an entry must have one each."""
    return [*([] if wanted.account is None else [(wanted.account,)]), *wanted.any_of]


def indexed_group(wanted: EntryFilter) -> Group | None:
    """The first group whose blocks are known, if there is one, and if nothing else leads to few entries."""
    if wanted.project is None or wanted.request_id is not None:
        return None
    is_indexed = (each for each in groups_of(wanted) if not any(a.startswith(_UNINDEXED) for a in each))
    return next(is_indexed, None)


def entry_conditions(wanted: EntryFilter) -> tuple[list[str], dict[str, object]]:
    """Give the conditions of a filter, all but those of time, and their bindings."""
    bindings: dict[str, object] = {
        name: value for name in _CONDITIONS if (value := getattr(wanted, name)) is not None
    }
    conditions = [_CONDITIONS[name] for name in bindings]
    if wanted.kinds:
        conditions.append("kind IN (SELECT value FROM json_each(:kinds))")
        bindings["kinds"] = rows.json_text(wanted.kinds)
    for number, group in enumerate(groups_of(wanted)):
        conditions.append(_has_one(f"group_{number}", len(group)))
        bindings[f"group_{number}"] = rows.json_text(group)
        bindings |= {f"group_{number}_{n}": rows.json_text(each) for n, each in enumerate(group)}
    return conditions, bindings


def _has_one(name: str, count: int) -> str:
    """That an entry has one account of a group. A look at the text rules out nearly all that have not."""
    exact = statements.HAS_ACCOUNT.format(name=name)
    if not 0 < count <= _MOST_QUICK:
        return exact
    quick = " OR ".join(f"instr(accounts, :{name}_{n})" for n in range(count))
    return f"({quick}) AND {exact}"
