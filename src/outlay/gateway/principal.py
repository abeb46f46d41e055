"""Principal: who calls, and on whose budgets."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Literal

Role = Literal["admin", "admin_viewer", "user", "caller", "management", "read_only"]
"""What a principal may do beyond calling models; see `authorise`.

`admin`: the master key, or a key of a `proxy_admin`; all. `admin_viewer`: reads all (a `proxy_admin_viewer`'s
key). `user`: an `internal_user`'s own key: reads and manages what is that user's. `caller`: a key without
such a user: calls models, and reads itself. `management`, `read_only`: LiteLLM's key types of these names, on
what is the key's own; they call no models.
"""

MASTER: Final = "master"


@dataclass(frozen=True, slots=True)
class Principal:
    """A key that is good, and what it belongs to, as of `version` of the catalogue.

    `accounts` are those to reserve on; the ledger adds those above them. Every one of `allowed` that is not
    empty must name a model that the key may use. `tags` count with every request of the key.
    """

    account: str
    accounts: tuple[str, ...]
    version: int
    role: Role
    alias: str | None = None
    user_id: str | None = None
    team_id: str | None = None
    organization_id: str | None = None
    allowed: tuple[frozenset[str], ...] = ()
    tags: tuple[str, ...] = ()
    expires_at: int | None = None
    allowed_routes: tuple[str, ...] = ()

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
