"""Access: which role may call which route. What is not in this table is denied to everybody."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, get_args

from outlay.gateway.principal import Role

Roles = frozenset[Role]

EVERYBODY: Final[Roles] = frozenset(get_args(Role))
ADMIN: Final[Roles] = frozenset({"admin"})
READS_ALL: Final[Roles] = frozenset({"admin", "admin_viewer"})
"""Who sees what belongs to others."""
OWNERS: Final[Roles] = frozenset({"user", "management", "read_only"})
"""Who sees what belongs to the key's user; the other roles see the key itself at most."""
MANAGES_OWN: Final[Roles] = frozenset({"admin", "user", "management"})
READS_OWN: Final[Roles] = READS_ALL | OWNERS

_CUSTOMERS: Final[Mapping[str, Roles]] = {
    f"{method} /{name}/{verb}": roles
    for name in ("customer", "end_user")
    for method, verb, roles in (
        ("POST", "new", ADMIN),
        ("GET", "info", READS_ALL),
        ("GET", "list", READS_ALL),
        ("POST", "update", ADMIN),
        ("POST", "delete", ADMIN),
        ("POST", "block", ADMIN),
        ("POST", "unblock", ADMIN),
    )
}

ACCESS: Final[Mapping[str, Roles]] = {
    "POST /key/generate": MANAGES_OWN,
    "POST /key/update": MANAGES_OWN,
    "GET /key/info": EVERYBODY,
    "GET /key/list": READS_OWN,
    "POST /key/delete": MANAGES_OWN,
    "POST /key/block": ADMIN,
    "POST /key/unblock": ADMIN,
    "POST /key/regenerate": MANAGES_OWN,
    "POST /key/{key}/regenerate": MANAGES_OWN,
    "POST /user/new": ADMIN,
    "GET /user/info": READS_OWN,
    "GET /user/list": READS_ALL,
    "POST /user/update": ADMIN,
    "POST /user/delete": ADMIN,
    "POST /team/new": ADMIN,
    "GET /team/info": READS_OWN,
    "GET /team/list": READS_OWN,
    "POST /team/update": ADMIN,
    "POST /team/delete": ADMIN,
    "POST /team/block": ADMIN,
    "POST /team/unblock": ADMIN,
    "POST /team/member_add": ADMIN,
    "POST /team/member_update": ADMIN,
    "POST /team/member_delete": ADMIN,
    **_CUSTOMERS,
    "GET /spend/logs": EVERYBODY,
    "GET /v1/entries": EVERYBODY,
    "GET /v1/balances": EVERYBODY,
}
"""`METHOD PATH` as the route is declared. Roles with less than `READS_ALL` see what is their own."""
