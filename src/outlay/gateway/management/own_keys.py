"""Own keys: what users may do with theirs. Only an administrator ever widens a limit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from outlay.domain.accounts import Account
from outlay.gateway.config import PROJECT
from outlay.gateway.directory import NoSuchAccountError, find_account, find_record
from outlay.gateway.failures import GatewayError
from outlay.gateway.keys import existing_key
from outlay.gateway.management.authorise import forbidden, owns_key, reads_all
from outlay.gateway.principal import Principal
from outlay.gateway.records import KeyRecord, UserRecord, record_of
from outlay.ledger.store import Reader

_CHANGEABLE: Final = frozenset({"key_alias", "metadata"})


def fields_of_own_key(reader: Reader, caller: Principal, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Give the fields of a key that a caller makes: an administrator's as they are, a user's with its id.

    A user's own budget holds above all its keys. A key with limits of its own must not make one without.

    Raises:
        GatewayError: 403; it would belong to somebody else, or the caller's key is limited.
    """
    if caller.is_admin:
        return dict(fields)
    if caller.user_id is None:
        raise forbidden("This key belongs to no user, so it makes no keys: ask an administrator.")
    if is_limited(reader, caller):
        raise forbidden("This key has limits of its own, so it makes no keys: ask an administrator.")
    for name in ("team_id", "organization_id"):
        if fields.get(name) is not None:
            raise forbidden(f"Only an administrator makes keys with {name}.", name)
    if not _is_within(reader, caller, fields.get("key_type") or "default"):
        raise forbidden("Only an administrator makes keys that may do more than this one.", "key_type")
    if fields.get("user_id") not in (None, caller.user_id):
        raise forbidden("Only an administrator makes keys with another user_id.", "user_id")
    return {**fields, "user_id": caller.user_id}


def check_change(fields: Mapping[str, Any], caller: Principal) -> None:
    """Check that a caller may change these fields of a key that it manages.

    Raises:
        GatewayError: 403; it is no administrator, and a field could widen what the key may do.
    """
    for name in fields.keys() - _CHANGEABLE:
        if not caller.is_admin:
            raise forbidden(f"Only an administrator changes {name} of a key.", name)


def managed_key(reader: Reader, caller: Principal, id: str) -> Account:
    """Find a key that a caller may change: an administrator any, a key itself, an unlimited one its user's.

    Raises:
        GatewayError: 404; 403 for one that is not the caller's, or is unknown to it.
    """
    if caller.is_admin:
        return existing_key(reader, id)
    key = readable_key(reader, caller, id)
    if key.id != caller.account and is_limited(reader, caller):
        raise forbidden("This key has limits of its own, so it changes no other key.", "key")
    if key.id != caller.account and not _is_within(reader, caller, record_of(key, KeyRecord).key_type):
        raise forbidden("This key changes no key that may do more than itself.", "key")
    return key


def readable_key(reader: Reader, caller: Principal, id: str) -> Account:
    """Find a key that a caller may see.

    Raises:
        GatewayError: 404; 403 for one that is not the caller's, or is unknown to it.
    """
    if reads_all(caller):
        return existing_key(reader, id)
    key = _known_key(reader, id)
    if key is None or not owns_key(caller, key.id, record_of(key, KeyRecord)):
        raise not_ones_own()
    return key


def not_ones_own() -> GatewayError:
    """The one answer to whoever asks for a key of another's, whether there is one or not."""
    return forbidden("This key may see no other key than its own.", "key")


def is_limited(reader: Reader, caller: Principal) -> bool:
    """Whether a key is limited by more than its user's limits."""
    account = find_account(reader, caller.account)
    if account is None:
        return True
    key = record_of(account, KeyRecord)
    if key.models or key.allowed_routes or key.tags or key.expires_at is not None:
        return True
    if key.team_id is not None or key.organization_id is not None:
        return True
    return any(budget.mode != "soft" for budget in reader.budgets(PROJECT, account.id))


def _is_within(reader: Reader, caller: Principal, key_type: str) -> bool:
    """Whether a key of this type and the caller's user may do no more than the caller, an `admin`'s say."""
    if caller.user_id is None or caller.role == "user" or key_type != "default":
        return True
    user = find_record(reader, f"user:{caller.user_id}", UserRecord)
    return user is None or user.user_role not in ("proxy_admin", "proxy_admin_viewer")


def _known_key(reader: Reader, id: str) -> Account | None:
    try:
        return existing_key(reader, id)
    except NoSuchAccountError:
        return None
