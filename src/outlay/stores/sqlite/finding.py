"""Finding: from what a report wants of the journal to the conditions of a statement."""

from __future__ import annotations

from typing import Final

from outlay.ledger.store import EntryFilter
from outlay.stores.sqlite import rows, statements

Group = tuple[str, ...]

_UNINDEXED: Final = ("global", "provider:", "deployment:")
"""Accounts that nearly every entry has, or very many: an index by them would cost more than it saves."""
_ACCOUNT: Final = (
    "EXISTS (SELECT 1 FROM json_each(accounts) WHERE value IN (SELECT value FROM json_each(:{name})))"
)
_CONDITIONS: Final = {
    "project": "project = :project",
    "model": "model = :model",
    "tag": "EXISTS (SELECT 1 FROM json_each(tags) WHERE value = :tag)",
    "source": "source = :source",
    "since": f"{{seq}} >= {statements.SEQ_SINCE}",
    "until": f"{{seq}} < {statements.SEQ_UNTIL}",
    "request_id": "request_id = :request_id",
}


def split_groups(wanted: EntryFilter) -> tuple[Group, list[Group]]:
    """Give the group of accounts that the index can find (empty if it can find none), and the others."""
    groups = [*([] if wanted.account is None else [(wanted.account,)]), *wanted.any_of]
    for number, group in enumerate(groups):
        if wanted.project is not None and not any(each.startswith(_UNINDEXED) for each in group):
            return group, groups[:number] + groups[number + 1 :]
    return (), groups


def entry_conditions(
    wanted: EntryFilter, groups: list[Group], *, seq: str
) -> tuple[list[str], dict[str, object]]:
    """Give the conditions of a filter, those of `groups` among them, and their bindings.

    `seq` is what the statement calls an entry's number.
    """
    bindings: dict[str, object] = {
        name: value for name in _CONDITIONS if (value := getattr(wanted, name)) is not None
    }
    conditions = [_CONDITIONS[name].format(seq=seq) for name in bindings]
    if wanted.kinds:
        conditions.append("kind IN (SELECT value FROM json_each(:kinds))")
        bindings["kinds"] = rows.json_text(wanted.kinds)
    for number, group in enumerate(groups):
        conditions.append(_ACCOUNT.format(name=f"group_{number}"))
        bindings[f"group_{number}"] = rows.json_text(group)
    return conditions, bindings
