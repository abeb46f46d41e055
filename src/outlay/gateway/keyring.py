"""Keyring: from a secret to the principal it stands for.

A principal that was read once is kept, with the version of the catalogue it was read at: the reservation
carries that version, and the ledger calls it stale when the key or anything above it changed since. What
reserves nothing asks for a fresh one.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Final

from outlay.domain.accounts import Account
from outlay.gateway.config import PROJECT
from outlay.gateway.directory import key_opened_by
from outlay.gateway.failures import GatewayError
from outlay.gateway.principal import Principal, Role
from outlay.gateway.records import (
    KeyRecord,
    MemberRecord,
    R,
    TeamRecord,
    UserRecord,
    member_account,
    record_of,
)
from outlay.ledger.clock import Clock
from outlay.ledger.ledger import Ledger
from outlay.ledger.store import Reader

_MOST_KEPT: Final = 10_000
_LONGEST_SECRET: Final = 512
_ROLES: Final[Mapping[str, Role]] = {
    "proxy_admin": "admin",
    "proxy_admin_viewer": "admin_viewer",
    "internal_user": "user",
    "internal_user_viewer": "read_only",
}


class Keyring:
    """Knows the keys. Not a cache to go stale: see the module."""

    def __init__(
        self, ledger: Ledger, clock: Clock, *, master_key: str, is_user_budget_on_team_keys: bool = False
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._master = hashlib.sha256(master_key.encode()).digest() if master_key else b""
        self._is_user_on_team_keys = is_user_budget_on_team_keys
        self._kept: dict[str, Principal] = {}

    def authenticate(self, headers: Mapping[bytes, bytes], *, is_fresh: bool = True) -> Principal:
        """Find whose key the headers carry: `Authorization: Bearer`, `x-api-key` or `x-litellm-api-key`.

        `is_fresh=False` may give a principal read earlier, for callers that reserve at its `version`.

        Raises:
            GatewayError: 401, the same whatever is wrong.
            StoreError: the database cannot be read.
        """
        secret = _secret(headers)
        if secret is None:
            raise unauthenticated()
        digest = hashlib.sha256(secret).digest()
        account = f"key:{digest.hex()}"
        if self._master and hmac.compare_digest(digest, self._master):
            return Principal(account, (account,), 2**62, "admin", alias="master")
        if not is_fresh and (kept := self._kept.get(account)) is not None and self._is_good(kept):
            return kept
        return self.read(account)

    def read(self, account: str) -> Principal:
        """Read anew the principal that a secret's account opens. Raises as `authenticate` does."""
        self._kept.pop(account, None)
        with self._ledger.read() as reader:
            principal = self._principal(reader, account)
        if len(self._kept) >= _MOST_KEPT:
            self._kept.clear()
        self._kept[account] = principal
        return self._unexpired(principal)

    def _is_good(self, kept: Principal) -> bool:
        """Whether it did not expire, and the ledger would tell of a change, or there was none.

        It tells of those of the accounts it reserves on: a user is not above a team's key.
        """
        if self._is_expired(kept):
            return False
        if kept.team_id is None or kept.user_id is None or self._is_user_on_team_keys:
            return True
        with self._ledger.read() as reader:
            return reader.catalogue_version() == kept.version

    def _unexpired(self, principal: Principal) -> Principal:
        if self._is_expired(principal):
            raise unauthenticated()
        return principal

    def _is_expired(self, principal: Principal) -> bool:
        return principal.expires_at is not None and self._clock.wall() >= principal.expires_at

    def _principal(self, reader: Reader, account: str) -> Principal:
        version = reader.catalogue_version()
        found = _usable(key_opened_by(reader, account))
        account, key = found.id, record_of(found, KeyRecord)
        team_id, user_id = key.team_id, key.user_id
        member_id = member_account(team_id, user_id) if team_id and user_id else ""
        ids = [
            each for each in (team_id and f"team:{team_id}", user_id and f"user:{user_id}", member_id) if each
        ]
        above = reader.accounts_by_id(PROJECT, ids)
        team = _record(above, f"team:{team_id}", TeamRecord)
        user = _record(above, f"user:{user_id}", UserRecord)
        member = _record(above, member_id, MemberRecord)
        accounts = [account, *([member_id] if member_id else [])]
        if user_id and team_id and self._is_user_on_team_keys:
            accounts.append(f"user:{user_id}")
        if key.organization_id:
            accounts.append(f"organization:{key.organization_id}")
        lists: list[tuple[str, tuple[str, ...]]] = [
            ("key", key.models),
            ("team", () if team is None else team.models),
            ("team", () if member is None else member.models),
        ]
        if user is not None and not team_id:
            lists.append(("user", user.models))
        return Principal(
            account,
            tuple(accounts),
            version,
            _role(key, user),
            key.key_alias,
            user_id,
            team_id,
            key.organization_id or (None if team is None else team.organization_id),
            tuple((kind, frozenset(names)) for kind, names in lists if names),
            tuple(dict.fromkeys((*key.tags, *(() if team is None else team.tags)))),
            key.expires_at,
            key.allowed_routes,
        )


def unauthenticated() -> GatewayError:
    """The one answer to whatever is wrong with a key."""
    return GatewayError(
        401,
        "auth_error",
        "No valid API key: send one as `Authorization: Bearer KEY` (or `x-api-key`). "
        "It may be unknown, expired, blocked or deleted.",
        error_code="invalid_api_key",
    )


def _secret(headers: Mapping[bytes, bytes]) -> bytes | None:
    given = headers.get(b"authorization")
    if given is not None:
        scheme, _, secret = given.partition(b" ")
        secret = secret.strip() if scheme.lower() == b"bearer" else b""
    else:
        secret = b""
    secret = (
        secret or headers.get(b"x-api-key", b"").strip() or headers.get(b"x-litellm-api-key", b"").strip()
    )
    secret = secret.removeprefix(b"Bearer ")
    return secret if 0 < len(secret) <= _LONGEST_SECRET else None


def _usable(account: Account | None) -> Account:
    if account is None or account.status != "active":
        raise unauthenticated()
    return account


def _record(above: Mapping[str, Account], id: str, kind: type[R]) -> R | None:
    """The record of an account above the key; one that was never made says nothing."""
    account = above.get(id)
    return None if account is None else record_of(_usable(account), kind)


def _role(key: KeyRecord, user: UserRecord | None) -> Role:
    if key.key_type in ("management", "read_only"):
        return "management" if key.key_type == "management" else "read_only"
    if key.key_type == "llm_api" or user is None:
        return "caller"
    return _ROLES.get(user.user_role, "caller")
