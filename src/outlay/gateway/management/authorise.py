"""Authorise: may this principal call this route? It is decided on the route that matched, never on the path.

Every route is a `GuardedRoute`; a handler asks for its `Caller`, and whether something is the caller's own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Final

from fastapi import Depends
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from outlay.gateway.failures import GatewayError
from outlay.gateway.management.access import ACCESS, OWNERS, READS_ALL
from outlay.gateway.management.catalogue import Catalogue
from outlay.gateway.management.json_body import with_json
from outlay.gateway.principal import MASTER, Principal
from outlay.gateway.records import KeyRecord
from outlay.gateway.single_headers import refusal_of_doubled

_ALL_MANAGEMENT: Final = frozenset({"management_routes"})
"""LiteLLM's name for whatever manages."""

BARRIER_SECONDS: Final = 1.0
"""How long a request waits for what this process has still to write, so that it sees what was charged."""

log = logging.getLogger("outlay")


def authorise(request: Request, path: str) -> Principal:
    """Find who calls the route declared as `path`, and whether they may. It blocks: the database is read.

    Raises:
        GatewayError: 401; 400 for a header that stands twice; 403 for a role, or a key with
            `allowed_routes`, that may not call it.
    """
    catalogue: Catalogue = request.app.state.catalogue
    headers = request.scope["headers"]
    if (refusal := refusal_of_doubled(headers)) is not None:
        raise refusal
    principal = catalogue.services.keyring.authenticate(dict(headers))
    if principal.role not in ACCESS.get(f"{request.method} {path}", frozenset()):
        raise forbidden(f"This key may not call {path}: ask an administrator.")
    if not principal.may_call((path,), _ALL_MANAGEMENT):
        raise forbidden(f"The allowed_routes of this key do not include {path}.")
    request.state.principal = principal
    return principal


def caller(request: Request) -> Principal:
    """The principal of a request; a route that is not guarded is authorised here."""
    found: Principal | None = getattr(request.state, "principal", None)
    return authorise(request, request.scope["route"].path) if found is None else found


def catalogue_of(request: Request) -> Catalogue:
    """The catalogue of the app that serves a request."""
    catalogue: Catalogue = request.app.state.catalogue
    return catalogue


Caller = Annotated[Principal, Depends(caller)]
TheCatalogue = Annotated[Catalogue, Depends(catalogue_of)]


class GuardedRoute(APIRoute):
    """A route that first authorises, and then takes only what it knows, its JSON read strictly."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the route's handler."""
        handle = super().get_route_handler()
        known = frozenset(field.alias for field in self.dependant.query_params)

        async def guarded(request: Request) -> Response:
            await run_in_threadpool(authorise, request, self.path)
            _check_query(request, known)
            await catalogue_of(request).ledger.catch_up(BARRIER_SECONDS)
            answer = await handle(request if self.body_field is None else await with_json(request))
            if request.method != "GET":
                fields = {"route": self.path, "by": by(request.state.principal), "status": answer.status_code}
                log.info("change", extra={"fields": fields})  # never the URL, which may hold a secret
            return answer

        return guarded


def reads_all(principal: Principal) -> bool:
    """Whether the principal sees what belongs to others."""
    return principal.role in READS_ALL


def own_accounts(principal: Principal) -> frozenset[str]:
    """The accounts whose spend a principal sees that does not see all: its key, and its user."""
    if principal.role in OWNERS and principal.user_id is not None:
        return frozenset({principal.account, f"user:{principal.user_id}"})
    return frozenset({principal.account})


def owns_key(principal: Principal, account: str, record: KeyRecord) -> bool:
    """Whether a key is the principal's own: itself, or one of the same user."""
    if account == principal.account:
        return True
    return principal.role in OWNERS and record.user_id is not None and record.user_id == principal.user_id


def by(caller: Principal) -> str:
    """Who changes something, for the records: the master key, a user, or a key."""
    if caller.is_admin and caller.alias == MASTER:
        return MASTER
    return caller.user_id or caller.account


def forbidden(message: str, param: str | None = None) -> GatewayError:
    """A request that its principal may not make."""
    return GatewayError(403, "permission_error", message, param=param, error_code="not_allowed")


def _check_query(request: Request, known: frozenset[str]) -> None:
    """A filter that is unknown here would show more than was asked for, so it is refused."""
    seen: set[str] = set()
    for name, _ in request.query_params.multi_items():
        problem = (
            "stands twice"
            if name in seen
            else "is not a parameter of this route"
            if name not in known
            else ""
        )
        if problem:
            message = f"{name[:100]} {problem}: leave it out."
            raise GatewayError(400, "invalid_request_error", message, param=name[:100])
        seen.add(name)
