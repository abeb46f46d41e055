"""Keys: callers' secrets, made, changed, blocked and deleted. Only a secret's hash is ever stored."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from outlay.domain.accounts import Account, check_name
from outlay.domain.commands import PutAccount
from outlay.errors import InvalidValueError
from outlay.gateway.budgeting import budgets_of, end_budgets, put_limits
from outlay.gateway.directory import (
    NoSuchAccountError,
    existing,
    find_account,
    key_named,
    live,
)
from outlay.gateway.key_rules import KeyRules, expiry_of
from outlay.gateway.members import ensure_member
from outlay.gateway.principal import MASTER
from outlay.gateway.records import (
    KeyRecord,
    check_id,
    folded,
    gateway_account,
    key_account,
    record_of,
    with_fields,
)
from outlay.ledger.ledger import Ledger
from outlay.ledger.store import Reader

KEY_TYPES: Final = ("default", "llm_api", "management", "read_only")

_RANDOM_BYTES: Final = 32
_SECRET: Final = re.compile(r"sk-[\x21-\x7e]{16,253}")
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_NO_RULES: Final = KeyRules()


class NewKey(NamedTuple):
    """A key that was made. `secret` is shown once and known to nobody afterwards."""

    secret: str
    account: str
    record: KeyRecord

    def __repr__(self) -> str:
        return f"NewKey({self.account})"


def make_key(
    ledger: Ledger,
    fields: Mapping[str, Any],
    *,
    by: str,
    zone: str = "UTC",
    secret: str | None = None,
    rules: KeyRules = _NO_RULES,
) -> NewKey:
    """Make a key with limits.

    `fields` are `KeyRecord`'s, and `duration` (until it expires) and `blocked`. `secret` is the caller's own
    (`sk-` and at least 16 characters), else one with 256 random bits is made. `zone` is where days and
    months of its budgets begin.

    Raises:
        InvalidValueError: a field, the secret, or an alias that another key has; nothing is made.
    """
    fields = rules.fill(fields)
    rules.check(fields)
    secret = _secret(secret)
    id = key_account(secret)
    is_blocked = fields.pop("blocked", None) is True
    with ledger.read() as reader:
        check_new_secret(reader, secret)
        made = {"key_name": _shown(secret), "created_at": reader.now(), "created_by": by}
        record = _changed(reader, KeyRecord(), {**fields, **made}, id=id, by=by)
    account = gateway_account(id, record, parent=_parent(record), is_blocked=is_blocked)
    _put(ledger, account, record, by=by, zone=zone)
    return NewKey(secret, id, record)


def check_new_key(reader: Reader, fields: Mapping[str, Any], *, zone: str, rules: KeyRules) -> None:
    """Check what `make_key` checks, and make nothing: for whoever makes something else first.

    Raises:
        InvalidValueError: as `make_key`.
    """
    filled = rules.fill(fields)
    rules.check(filled)
    filled.pop("blocked", None)
    record = _changed(reader, KeyRecord(), filled, id="key:new", by="")
    budgets_of("key:new", record, zone=zone, at=record.created_at)


def update_key(
    ledger: Ledger,
    id: str,
    fields: Mapping[str, Any],
    *,
    by: str,
    zone: str = "UTC",
    rules: KeyRules = _NO_RULES,
) -> Account:
    """Change some fields of a key (None clears one); its secret and its spend stay.

    Raises:
        InvalidValueError: as `make_key`, or there is no such key.
    """
    rules.check(fields)
    fields = dict(fields)
    blocked = fields.pop("blocked", None)
    with ledger.read() as reader:
        before = existing_key(reader, id)
        record = _changed(reader, record_of(before, KeyRecord), fields, id=before.id, by=by)
    is_blocked = before.status == "blocked" if blocked is None else blocked is True
    account = gateway_account(before.id, record, parent=_parent(record), is_blocked=is_blocked)
    _put(ledger, account, record, by=by, zone=zone)
    return account


def regenerate_key(ledger: Ledger, id: str, *, by: str, secret: str | None = None) -> NewKey:
    """Give a key another secret; the former opens nothing from then on. Its account and its spend stay.

    Raises:
        InvalidValueError: as `make_key`, or there is no such key.
    """
    secret = _secret(secret)
    opener = key_account(secret)
    with ledger.read() as reader:
        check_new_secret(reader, secret)
        before, at = existing_key(reader, id), reader.now()
    changes = {"key_name": _shown(secret), "opened_by": opener, "updated_at": at, "updated_by": by}
    record = with_fields(record_of(before, KeyRecord), changes)
    stand_in = KeyRecord(stands_for=before.id, is_deleted=True, created_at=at, created_by=by)
    # The stand-in first: until the key names it, it opens nothing, and the former secret still does.
    ledger.execute(PutAccount(gateway_account(opener, stand_in)))
    is_blocked = before.status == "blocked"
    ledger.execute(
        PutAccount(gateway_account(before.id, record, parent=before.parent, is_blocked=is_blocked))
    )
    return NewKey(secret, before.id, record)


def delete_key(ledger: Ledger, id: str, *, by: str) -> None:
    """End a key for good. Its journal stays, and its secret cannot be made again.

    Raises:
        InvalidValueError: there is no such key.
    """
    with ledger.read() as reader:
        key, at = existing_key(reader, id), reader.now()
    gone = with_fields(record_of(key, KeyRecord), {"is_deleted": True, "updated_at": at, "updated_by": by})
    ledger.execute(PutAccount(gateway_account(key.id, gone, parent=key.parent)))
    end_budgets(ledger, key.id, by=by)


def check_new_secret(reader: Reader, secret: str) -> None:
    """Check that a secret can be a key's, and was no key's before.

    Raises:
        InvalidValueError: it cannot, or was.
    """
    if find_account(reader, key_account(_secret(secret))) is not None:
        raise InvalidValueError("key: this secret was used before; take another, or have one made")


def existing_key(reader: Reader, id: str) -> Account:
    """Find a key that is not deleted, by its own account or that of any secret it had.

    Raises:
        NoSuchAccountError: there is none.
    """
    account = key_named(reader, id)
    if account is None or account.detail.get("is_deleted"):
        raise NoSuchAccountError("key", "there is no such key")
    return account


def is_hash(text: str) -> bool:
    """Whether a text may be a key's hash."""
    return _HASH.fullmatch(text) is not None


def key_id(given: object) -> str:
    """Give a key's account from what somebody names it by: its secret, or its hash.

    Raises:
        InvalidValueError: it is neither text of a key nor a hash.
    """
    text = check_name(given, "key")
    return f"key:{text}" if is_hash(text) else key_account(text)


def key_of_alias(reader: Reader, alias: str) -> str | None:
    """Find the key that has an alias, or one that looks the same; a key with the very alias goes first."""
    wanted = folded(alias)
    found = {
        record.key_alias: account.id
        for account, record in live(reader, "key", KeyRecord)
        if record.key_alias is not None and folded(record.key_alias) == wanted
    }
    return found.get(alias) or next(iter(found.values()), None)


def _changed(reader: Reader, before: KeyRecord, fields: Mapping[str, Any], *, id: str, by: str) -> KeyRecord:
    fields = dict(fields)
    at = reader.now()
    if "duration" in fields:
        fields["expires_at"] = expiry_of(fields.pop("duration"), at)
    record = with_fields(before, {**fields, "updated_at": at, "updated_by": by})
    _check_record(record)
    if record.key_alias is not None and record.key_alias != before.key_alias:
        holder = key_of_alias(reader, record.key_alias)
        if holder not in (None, id):
            raise InvalidValueError(
                f"key_alias {record.key_alias!r} is in use, or looks like one that is: take another"
            )
    if record.team_id is not None:
        existing(reader, f"team:{record.team_id}", "team_id")
    return record


def _put(ledger: Ledger, account: Account, record: KeyRecord, *, by: str, zone: str) -> None:
    budgets_of(account.id, record, zone=zone, at=record.created_at)  # what is wrong must change nothing
    if record.team_id is not None and record.user_id is not None:
        ensure_member(ledger, record.team_id, record.user_id, by=by, zone=zone)
    put_limits(ledger, account, record, zone=zone, by=by)


def _check_record(record: KeyRecord) -> None:
    if record.key_type not in KEY_TYPES:
        raise InvalidValueError(f"key_type must be one of {', '.join(KEY_TYPES)}, not {record.key_type!r}")
    if record.key_alias is not None:
        check_name(record.key_alias, "key_alias")
        check_name(folded(record.key_alias), "key_alias")  # blanks alone are no name
        if folded(record.key_alias).casefold() == MASTER:
            raise InvalidValueError(
                f"key_alias must not be {MASTER!r}: logs and records call the master key so"
            )
    for field in ("user_id", "team_id", "organization_id"):
        if getattr(record, field) is not None:
            check_id(getattr(record, field), field)
    for route in record.allowed_routes:
        check_name(route, "allowed_routes")


def _parent(record: KeyRecord) -> str | None:
    if record.team_id is not None:
        return f"team:{record.team_id}"
    return None if record.user_id is None else f"user:{record.user_id}"


def _secret(given: object) -> str:
    if given is None:
        return f"sk-{secrets.token_urlsafe(_RANDOM_BYTES)}"
    if not isinstance(given, str) or not _SECRET.fullmatch(given):
        raise InvalidValueError(
            "key must be sk- and 16 to 253 visible ASCII characters (or null to have one made)"
        )
    return given


def _shown(secret: str) -> str:
    return f"sk-...{secret[-4:]}"
