"""Accounts: the nodes that spend. A user, a key, a team, a tag … each has a kind and maybe a parent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from outlay.errors import InvalidValueError

AccountStatus = Literal["active", "blocked"]

KINDS: Final = frozenset(
    {
        "global",
        "organization",
        "team",
        "member",
        "user",
        "key",
        "customer",
        "tag",
        "provider",
        "deployment",
    }
)
MAX_NAME_LENGTH: Final = 512


@dataclass(frozen=True, slots=True)
class Account:
    """A node that spends. `id` is `kind:name` (or just `global`); `parent` is the id of the account above.

    `detail` holds JSON values that whoever made the account knows the meaning of; the ledger only keeps it.
    """

    project: str
    id: str
    parent: str | None = None
    name: str | None = None
    status: AccountStatus = "active"
    detail: Mapping[str, object] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The part of the id before the colon."""
        return self.id.partition(":")[0]


def check_name(value: object, field: str) -> str:
    """Check a project's, user's or account's name as somebody gave it.

    Raises:
        InvalidValueError: not a string, empty, too long, or with control characters or lone surrogates.
    """
    if not isinstance(value, str):
        raise InvalidValueError(f"{field} must be a string, not {value!r}")
    if not value or len(value) > MAX_NAME_LENGTH:
        raise InvalidValueError(f"{field} must have 1 to {MAX_NAME_LENGTH} characters, but has {len(value)}")
    if value.isprintable():  # nearly always, and quick to see
        return value
    if any(ord(character) < 32 or 0xD800 <= ord(character) <= 0xDFFF for character in value):
        raise InvalidValueError(f"{field} must not contain control characters or lone surrogates: {value!r}")
    return value


def check_account_id(value: object, field: str = "account") -> str:
    """Check an account id: `global`, or one of the kinds, a colon, and a name.

    Raises:
        InvalidValueError: anything else.
    """
    text = check_name(value, field)
    kind, colon, name = text.partition(":")
    if kind not in KINDS or (kind == "global") != (not colon) or (colon and not name):
        kinds = ", ".join(sorted(KINDS - {"global"}))
        raise InvalidValueError(f"{field} must be `global` or `KIND:NAME` with KIND of {kinds}; not {text!r}")
    return text
