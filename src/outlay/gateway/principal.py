"""Principal: who calls, and on whose budgets."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from outlay.gateway.records import member_account

Role = Literal["admin", "admin_viewer", "user", "caller", "management", "read_only"]
"""What a principal may do beyond calling models; see `authorise`.

`admin`: the master key, or a key of a `proxy_admin`; all. `admin_viewer`: reads all (a `proxy_admin_viewer`'s
key). `user`: an `internal_user`'s own key: reads and manages what is that user's. `caller`: a key without
such a user: calls models, and reads itself. `management`, `read_only`: LiteLLM's key types of these names, on
what is the key's own; they call no models.
"""

MASTER: Final = "master"
AllowList = tuple[str, frozenset[str]]
"""Whose list of models (`key`, `team`, `user`), and the names that stand there."""
_READS_ALL: Final = frozenset({"admin", "admin_viewer"})


@dataclass(frozen=True, slots=True)
class Principal:
    """A key that is good, and what it belongs to, as of `version` of the catalogue.

    `accounts` are those to reserve on; the ledger adds those above them. Every one of `allowed` must name a
    model that the key may use. `tags` count with every request of the key.
    """

    account: str
    accounts: tuple[str, ...]
    version: int
    role: Role
    alias: str | None = None
    user_id: str | None = None
    team_id: str | None = None
    organization_id: str | None = None
    allowed: tuple[AllowList, ...] = ()
    tags: tuple[str, ...] = ()
    expires_at: int | None = None
    allowed_routes: tuple[str, ...] = ()
    own_accounts: frozenset[str] | None = field(init=False)
    """The accounts whose balances a refusal may tell: the key's, its user's, the membership's and the team's.
    None for all."""

    def __post_init__(self) -> None:
        own = None if self.role in _READS_ALL else frozenset(self._own())
        object.__setattr__(self, "own_accounts", own)

    def _own(self) -> Iterator[str]:
        yield self.account
        if self.user_id is not None:
            yield f"user:{self.user_id}"
        if self.team_id is not None:
            yield f"team:{self.team_id}"
            if self.user_id is not None:
                yield member_account(self.team_id, self.user_id)

    def owns(self, account: str) -> bool:
        """Whether a refusal may tell this account's balance."""
        return self.own_accounts is None or account in self.own_accounts

    @property
    def is_admin(self) -> bool:
        """Whether it may do anything."""
        return self.role == "admin"

    def may_call(self, paths: Collection[str], groups: Collection[str]) -> bool:
        """Whether the key's `allowed_routes`, if it has any, name a route.

        By one of its `paths`, by how one begins (`/key/*`), or by LiteLLM's name for a group of routes.
        """
        return not self.allowed_routes or any(
            each in groups
            or each in paths
            or (each.endswith("/*") and any(path.startswith(each[:-1]) for path in paths))
            for each in self.allowed_routes
        )

    @property
    def token(self) -> str:
        """The key's hash, as LiteLLM shows keys."""
        return self.account.partition(":")[2]
