"""The routes of keys: `/key/*`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI, Query

from outlay.errors import InvalidValueError
from outlay.gateway.directory import NoSuchAccountError, live
from outlay.gateway.keys import (
    NewKey,
    check_new_secret,
    delete_key,
    existing_key,
    key_id,
    key_of_alias,
    make_key,
    regenerate_key,
    update_key,
)
from outlay.gateway.management.authorise import Caller, TheCatalogue, by, owns_key, reads_all
from outlay.gateway.management.catalogue import Catalogue
from outlay.gateway.management.key_fields import GenerateKey, OneKey, RegenerateKey, SeveralKeys, UpdateKey
from outlay.gateway.management.key_rows import key_row, key_rows
from outlay.gateway.management.own_keys import (
    check_change,
    fields_of_own_key,
    managed_key,
    not_ones_own,
    readable_key,
)
from outlay.gateway.management.paging import PageNumber, PageSize, page_of
from outlay.gateway.management.spend_reset import check_reset, reset_spend, take_reset
from outlay.gateway.management.warnings import with_warnings
from outlay.gateway.principal import MASTER, Principal
from outlay.gateway.records import KeyRecord, key_account, record_of
from outlay.ledger.ledger import Ledger
from outlay.ledger.store import Reader

Row = dict[str, Any]


def add_key_routes(app: FastAPI) -> None:
    """Declare the routes."""
    app.post("/key/generate")(generate)
    app.post("/key/update")(update)
    app.get("/key/info")(info)
    app.get("/key/list")(list_keys)
    app.post("/key/delete")(delete)
    app.post("/key/block")(block)
    app.post("/key/unblock")(unblock)
    app.post("/key/regenerate")(regenerate)
    app.post("/key/{key}/regenerate")(regenerate_named)


def generate(body: GenerateKey, caller: Caller, catalogue: TheCatalogue) -> Row:
    """Make a key. Its secret is in `key`, this once."""
    with catalogue.changing() as ledger:
        row = made_key(ledger, catalogue, caller, body.stated(without=("key",)), secret=body.key)
    return with_warnings(catalogue, row, row)


def update(body: UpdateKey, caller: Caller, catalogue: TheCatalogue) -> Row:
    """Change some fields of a key. What it spent stays."""
    fields = body.stated(without=("key",))
    with catalogue.changing() as ledger:
        with ledger.read() as reader:
            alias = fields.pop("key_alias", None) if body.key is None else None
            named = _by_alias(reader, alias, caller) if body.key is None else key_id(body.key)
            id = managed_key(reader, caller, named).id
        _change(catalogue, id, fields, caller)
        row = {"key": body.key or id.partition(":")[2], **_row(ledger, id)}
    return with_warnings(catalogue, row, row)


def info(caller: Caller, catalogue: TheCatalogue, key: str | None = None) -> Row:
    """Show one key; without `key` the one that asks."""
    with catalogue.ledger.read() as reader:
        if key is None and caller.alias == MASTER and caller.is_admin:
            raise InvalidValueError("key: name one; the master key itself is not in the ledger")
        found = readable_key(reader, caller, caller.account if key is None else key_id(key))
        row = key_row(reader, found)
    return {"key": key or row["token"], "info": {name: row[name] for name in row if name != "token"}}


def list_keys(
    caller: Caller,
    catalogue: TheCatalogue,
    page: PageNumber = 1,
    size: PageSize = 10,
    user_id: str | None = None,
    team_id: str | None = None,
    organization_id: str | None = None,
    key_hash: str | None = None,
    key_alias: str | None = None,
    return_full_object: Annotated[bool, Query()] = False,
) -> Row:
    """List keys, the newest first: hashes, or with `return_full_object` rows. Deleted ones are not listed."""
    wanted = {
        "user_id": user_id,
        "team_id": team_id,
        "organization_id": organization_id,
        "key_alias": key_alias,
    }
    with catalogue.ledger.read() as reader:
        found = [
            (account, record)
            for account, record in live(reader, "key", KeyRecord)
            if all(value is None or getattr(record, name) == value for name, value in wanted.items())
            and key_hash in (None, account.id.partition(":")[2])
            and (reads_all(caller) or owns_key(caller, account.id, record))
        ]
        found.sort(key=lambda each: (-each[1].created_at, each[0].id))
        shown, place = page_of(found, page, size)
        hashes = [account.id.partition(":")[2] for account, _ in shown]
        keys: list[Any] = key_rows(reader, shown) if return_full_object else hashes
    return {
        "keys": keys,
        "total_count": place.total,
        "current_page": place.number,
        "total_pages": place.pages,
    }


def delete(body: SeveralKeys, caller: Caller, catalogue: TheCatalogue) -> Row:
    """End keys for good: all of them, or none if one is unknown."""
    if (body.keys is None) == (body.key_aliases is None):
        raise InvalidValueError("keys: name the keys to delete by keys, or by key_aliases")
    with catalogue.changing() as ledger:
        with ledger.read() as reader:
            named = [key_id(key) for key in body.keys or ()]
            named += [_by_alias(reader, alias, caller) for alias in body.key_aliases or ()]
            ids = [managed_key(reader, caller, each).id for each in named]
        for id in dict.fromkeys(ids):
            delete_key(ledger, id, by=by(caller))
    return {"deleted_keys": body.keys if body.keys is not None else body.key_aliases}


def block(body: OneKey, caller: Caller, catalogue: TheCatalogue) -> Row:
    """Block a key: its next request is refused."""
    return _put_blocked(body.key, caller, catalogue, is_blocked=True)


def unblock(body: OneKey, caller: Caller, catalogue: TheCatalogue) -> Row:
    """Let a blocked key call again."""
    return _put_blocked(body.key, caller, catalogue, is_blocked=False)


def regenerate(body: RegenerateKey, caller: Caller, catalogue: TheCatalogue) -> Row:
    """Give a key another secret, shown this once. The former opens nothing from then on; spend stays."""
    if body.key is None:
        raise InvalidValueError("key is missing: name the key, by its secret or its hash")
    return regenerate_named(body.key, body, caller, catalogue)


def regenerate_named(key: str, body: RegenerateKey, caller: Caller, catalogue: TheCatalogue) -> Row:
    """Give a key another secret, shown this once. The former opens nothing from then on; spend stays."""
    if body.key not in (None, key):
        raise InvalidValueError("key: the path names another key; leave it out of the body")
    fields = body.stated(without=("key", "new_key"))
    with catalogue.changing() as ledger:
        with ledger.read() as reader:
            id = managed_key(reader, caller, key_id(key)).id
            if body.new_key is not None:
                check_new_secret(reader, body.new_key)
        _check_not_master(catalogue, body.new_key)
        if fields:
            _change(catalogue, id, fields, caller)
        row = shown_once(ledger, regenerate_key(ledger, id, by=by(caller), secret=body.new_key))
    return with_warnings(catalogue, row, row)


def made_key(
    ledger: Ledger,
    catalogue: Catalogue,
    caller: Principal,
    fields: dict[str, Any],
    *,
    secret: str | None = None,
) -> Row:
    """Make a key for a caller, within `catalogue.changing`, and show it."""
    with ledger.read() as reader:
        fields = fields_of_own_key(reader, caller, fields)
    _check_not_master(catalogue, secret)
    take_reset(fields)  # a new key spent nothing
    made = make_key(ledger, fields, by=by(caller), zone=catalogue.zone, secret=secret, rules=catalogue.rules)
    return shown_once(ledger, made)


def shown_once(ledger: Ledger, made: NewKey) -> Row:
    """The answer that has a key's secret."""
    row = _row(ledger, made.account)
    return {"key": made.secret, "token_id": row["token"], **row}


def _change(catalogue: Catalogue, id: str, fields: Row, caller: Principal) -> None:
    """Change fields of a key, within `catalogue.changing`."""
    check_change(fields, caller)
    is_reset = take_reset(fields)
    if is_reset:
        with catalogue.ledger.read() as reader:
            check_reset(fields, record_of(existing_key(reader, id), KeyRecord))
    update_key(catalogue.ledger, id, fields, by=by(caller), zone=catalogue.zone, rules=catalogue.rules)
    if is_reset:
        reset_spend(catalogue, id, by=by(caller))


def _put_blocked(key: str, caller: Principal, catalogue: Catalogue, *, is_blocked: bool) -> Row:
    with catalogue.changing() as ledger:
        changed = update_key(ledger, key_id(key), {"blocked": is_blocked}, by=by(caller), zone=catalogue.zone)
        return _row(ledger, changed.id)


def _row(ledger: Ledger, id: str) -> Row:
    with ledger.read() as reader:
        return key_row(reader, existing_key(reader, id))


def _by_alias(reader: Reader, alias: str | None, caller: Principal) -> str:
    if alias is None:
        raise InvalidValueError("key is missing: name the key, by its secret, its hash or its key_alias")
    id = key_of_alias(reader, alias)
    if id is None and not reads_all(caller):
        raise not_ones_own()
    if id is None:
        raise NoSuchAccountError("key_alias", f"there is no key {alias!r}")
    return id


def _check_not_master(catalogue: Catalogue, secret: str | None) -> None:
    if secret is not None and key_account(secret) == key_account(catalogue.services.config.master_key):
        raise InvalidValueError("key: this secret was used before; take another, or have one made")
