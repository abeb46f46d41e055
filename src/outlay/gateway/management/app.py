"""App: the management API as one ASGI app, built from the gateway's services."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from fastapi import Depends, FastAPI, Security
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from outlay import __version__
from outlay.errors import OutlayError
from outlay.gateway.failures import Failure, GatewayError, failure_of, internal_failure
from outlay.gateway.management.authorise import GuardedRoute, caller
from outlay.gateway.management.catalogue import Catalogue
from outlay.gateway.management.customers import add_customer_routes
from outlay.gateway.management.keys import add_key_routes
from outlay.gateway.management.spend import add_spend_routes
from outlay.gateway.management.team_members import add_member_routes
from outlay.gateway.management.teams import add_team_routes
from outlay.gateway.management.users import add_user_routes
from outlay.gateway.services import Services

_ROUTES: Final = (
    *(add_key_routes, add_user_routes, add_team_routes, add_member_routes, add_customer_routes),
    add_spend_routes,
)
_INVALID: Final = "invalid_request_error"


def make_management_app(services: Services) -> FastAPI:
    """Build the app. It serves root paths (`/key/generate` …), `/openapi.json` and `/docs`."""
    app = _blank_app()
    app.state.catalogue = Catalogue(services)
    app.router.routes.extend(_declared_routes())
    _answer_failures(app)
    return app


def _blank_app() -> FastAPI:
    return FastAPI(
        title="Outlay",
        version=__version__,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        redirect_slashes=False,
        dependencies=[Security(HTTPBearer(auto_error=False)), Depends(caller)],
    )


@cache
def _declared_routes() -> tuple[BaseRoute, ...]:
    """The routes, declared once a process: they know no services, and compiling their fields takes long."""
    app = _blank_app()
    own = len(app.router.routes)
    app.router.route_class = GuardedRoute
    for add_routes in _ROUTES:
        add_routes(app)
    return tuple(app.router.routes[own:])


def _answer_failures(app: FastAPI) -> None:
    app.add_exception_handler(OutlayError, _on_outlay_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_fault)


def _answer(failure: Failure) -> Response:
    return JSONResponse(failure.document, failure.status, dict(failure.headers))


async def _on_outlay_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, OutlayError)  # noqa: S101 # it is registered for these
    return _answer(failure_of(error))


async def _on_invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 # it is registered for these
    return _answer(failure_of(_invalid(error.errors()[0])))


async def _on_http(request: Request, error: Exception) -> Response:
    """What the router itself answers: 404 and 405."""
    assert isinstance(error, HTTPException)  # noqa: S101 # it is registered for these
    path = request.url.path[:200]
    type, code, message = {
        404: ("not_found", "not_found", f"There is no route {path}: see /docs."),
        405: (_INVALID, "method_not_allowed", f"{path} does not take {request.method}: see /docs."),
    }.get(error.status_code, (_INVALID, _INVALID, str(error.detail)))
    failure = GatewayError(error.status_code, type, message, error_code=code, headers=error.headers)
    return _answer(failure_of(failure))


async def _on_fault(_: Request, __: Exception) -> Response:
    return _answer(internal_failure())


def _invalid(problem: dict[str, Any]) -> GatewayError:
    """A field that is missing, unknown or of a wrong type. What was given may be secret."""
    field = ".".join(str(each)[:100] for each in problem["loc"][1:] if each != "[key]")
    what = {
        "missing": "is missing",
        "extra_forbidden": "is not a field of this request: leave it out",
    }.get(problem["type"], problem["msg"].removeprefix("Value error, "))
    if not field:  # what the whole body is not; it begins with the field's name
        return GatewayError(400, _INVALID, f"{what}.", param=_named(what))
    message = f"{field} {what}." if problem["type"] in ("missing", "extra_forbidden") else f"{field}: {what}."
    return GatewayError(400, _INVALID, message, param=field)


def _named(what: str) -> str | None:
    """The field that a message of ours begins with; pydantic's own begin with a capital."""
    first = what.partition(" ")[0]
    return first if first.isidentifier() and first.islower() else None
