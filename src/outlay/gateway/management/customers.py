"""The routes of customers, whom callers serve and name in `user`: `/customer/*`, and `/end_user/*` alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

from fastapi import FastAPI, Query

from outlay.domain.accounts import Account
from outlay.gateway.accounts import delete_account, make_account, update_account
from outlay.gateway.directory import existing, live
from outlay.gateway.management.authorise import Caller, TheCatalogue, by
from outlay.gateway.management.catalogue import Catalogue
from outlay.gateway.management.fields import UNSERVED_LIMITS, Fields, LimitFields
from outlay.gateway.management.figures import Figures, figures_of, limits_row
from outlay.gateway.management.spend_reset import check_new_reset, check_reset, reset_spend, take_reset
from outlay.gateway.management.warnings import with_warnings
from outlay.gateway.principal import Principal
from outlay.gateway.records import CustomerRecord, check_id, record_of
from outlay.ledger.store import Reader

Row = dict[str, Any]
_BUDGET: Final = (
    *("max_budget", "soft_budget", "budget_duration", "budget_reset_at", "rpm_limit", "tpm_limit"),
    *("max_parallel_requests", "model_max_budget"),
)


class CustomerFields(LimitFields):
    """What a customer may have. Any caller's requests that name the customer count."""

    UNSERVED = UNSERVED_LIMITS | {"models", "tags", "allowed_model_region", "default_model"}
    user_id: str
    alias: str | None = None


class SeveralCustomers(Fields):
    """Customers by their ids."""

    user_ids: list[str]


def add_customer_routes(app: FastAPI) -> None:
    """Declare the routes, under both of LiteLLM's names."""
    for name in ("customer", "end_user"):
        app.post(f"/{name}/new", operation_id=f"new_{name}")(new)
        app.get(f"/{name}/info", operation_id=f"info_{name}")(info)
        app.get(f"/{name}/list", operation_id=f"list_{name}")(list_customers)
        app.post(f"/{name}/update", operation_id=f"update_{name}")(update)
        app.post(f"/{name}/delete", operation_id=f"delete_{name}")(delete)
        app.post(f"/{name}/block", operation_id=f"block_{name}")(block)
        app.post(f"/{name}/unblock", operation_id=f"unblock_{name}")(unblock)


def new(body: CustomerFields, caller: Caller, catalogue: TheCatalogue) -> Row:
    """Make a customer with limits. A customer without any needs not be made."""
    id = _account(body.user_id)
    fields = body.stated(without=("user_id",))
    is_reset = take_reset(fields)
    with catalogue.changing() as ledger:
        if is_reset:
            check_new_reset(fields, catalogue, id)
        blank = CustomerRecord()
        make_account(ledger, id, blank, fields, by=by(caller), zone=catalogue.zone, field="user_id")
        if is_reset:
            reset_spend(catalogue, id, by=by(caller), is_new=True)
        with ledger.read() as reader:
            row = _row_of(reader, id)
    return with_warnings(catalogue, row, row)


def info(catalogue: TheCatalogue, end_user_id: Annotated[str, Query()]) -> Row:
    """Show one customer."""
    with catalogue.ledger.read() as reader:
        return _row_of(reader, _account(end_user_id, "end_user_id"), "end_user_id")


def list_customers(catalogue: TheCatalogue) -> list[Row]:
    """List the customers that were made, by id."""
    with catalogue.ledger.read() as reader:
        return _rows(reader, list(live(reader, "customer", CustomerRecord)))


def update(body: CustomerFields, caller: Caller, catalogue: TheCatalogue) -> Row:
    """Change some fields of a customer. What was spent stays."""
    return _change(body.user_id, body.stated(without=("user_id",)), caller, catalogue)


def delete(body: SeveralCustomers, caller: Caller, catalogue: TheCatalogue) -> Row:
    """End customers: all of them, or none if one is unknown. Requests that name one are refused."""
    ids = list(dict.fromkeys(_account(each, "user_ids") for each in body.user_ids))
    with catalogue.changing() as ledger:
        with ledger.read() as reader:
            for id in ids:
                existing(reader, id, "user_ids")
        for id in ids:
            delete_account(ledger, id, CustomerRecord, by=by(caller), field="user_ids")
    return {"deleted_customers": len(ids), "message": f"Deleted {', '.join(body.user_ids)}."}


def block(body: SeveralCustomers, caller: Caller, catalogue: TheCatalogue) -> Row:
    """Block customers: the next request that names one is refused. Unknown ones are made, blocked."""
    return _put_blocked(body, caller, catalogue, is_blocked=True)


def unblock(body: SeveralCustomers, caller: Caller, catalogue: TheCatalogue) -> Row:
    """Serve blocked customers again."""
    return _put_blocked(body, caller, catalogue, is_blocked=False)


def _account(given: str, field: str = "user_id") -> str:
    return f"customer:{check_id(given, field)}"


def _change(user_id: str, fields: Row, caller: Principal, catalogue: Catalogue) -> Row:
    id, is_reset = _account(user_id), take_reset(fields)
    with catalogue.changing() as ledger:
        if is_reset:
            with ledger.read() as reader:
                check_reset(fields, record_of(existing(reader, id, "user_id"), CustomerRecord))
        update_account(
            ledger, id, CustomerRecord, fields, by=by(caller), zone=catalogue.zone, field="user_id"
        )
        if is_reset:
            reset_spend(catalogue, id, by=by(caller))
        with ledger.read() as reader:
            row = _row_of(reader, id)
    return with_warnings(catalogue, row, row)


def _put_blocked(body: SeveralCustomers, caller: Principal, catalogue: Catalogue, *, is_blocked: bool) -> Row:
    ids = list(dict.fromkeys(_account(each, "user_ids") for each in body.user_ids))
    changed_by, zone, fields = by(caller), catalogue.zone, {"blocked": is_blocked}
    with catalogue.changing() as ledger:
        with ledger.read() as reader:
            known = {account.id for account, _ in live(reader, "customer", CustomerRecord)}
        for id in ids:
            if id in known:
                update_account(ledger, id, CustomerRecord, fields, by=changed_by, zone=zone, field="user_ids")
            else:
                make_account(ledger, id, CustomerRecord(), fields, by=changed_by, zone=zone, field="user_ids")
        with ledger.read() as reader:
            return {"blocked_users" if is_blocked else "unblocked_users": [_row_of(reader, id) for id in ids]}


def _row_of(reader: Reader, id: str, field: str = "user_id") -> Row:
    account = existing(reader, id, field)
    return _rows(reader, [(account, record_of(account, CustomerRecord))])[0]


def _rows(reader: Reader, found: Sequence[tuple[Account, CustomerRecord]]) -> list[Row]:
    figures = figures_of(reader, found)
    return [_row(account, record, figures[account.id]) for account, record in found]


def _row(account: Account, record: CustomerRecord, figures: Figures) -> Row:
    limits = limits_row(record, figures, is_blocked=account.status == "blocked")
    return {
        "user_id": account.id.partition(":")[2],
        "alias": record.alias,
        "allowed_model_region": None,
        "default_model": None,
        "budget_id": None,
        **{name: value for name, value in limits.items() if name not in ("models", "tags")},
        "litellm_budget_table": {name: limits[name] for name in _BUDGET},
    }
