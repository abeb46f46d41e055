"""Views: what there is to see beside the calls: the models, the metrics, and whether the gateway is well."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from outlay.errors import OutlayError, StoreError
from outlay.gateway.entitle import denied_by
from outlay.gateway.failures import GatewayError, failure_of
from outlay.gateway.metrics import CONTENT_TYPE
from outlay.gateway.principal import Principal
from outlay.gateway.services import Services
from outlay.gateway.single_headers import refusal_of_doubled

log = logging.getLogger("outlay")

_CREATED: Final = 1_677_610_602
"""The moment that LiteLLM gives for every model; nobody knows a better one."""
_SCRAPERS: Final = frozenset({"admin", "admin_viewer"})

View = Callable[[Request], Awaitable[Response]]


def view_routes(services: Services, posted: Sequence[str]) -> list[Route]:
    """Make the routes. Health is open to all; the metrics are an administrator's, the models any key's.

    A method that a path does not take is told so, at those of `posted` too, where calls are posted.
    """

    async def alive(_: Request) -> Response:
        return JSONResponse("I'm alive!")

    async def ready(_: Request) -> Response:
        return await _readiness(services)

    async def metrics(request: Request) -> Response:
        if _principal(services, request).role not in _SCRAPERS:
            raise GatewayError(403, "permission_error", "The metrics are for administrators' keys.")
        return Response(services.metrics.render(), media_type=CONTENT_TYPE)

    async def models(request: Request) -> Response:
        return JSONResponse(_list(services, _principal(services, request)))

    async def model(request: Request) -> Response:
        name = request.path_params["model"]
        found = [
            each for each in _list(services, _principal(services, request))["data"] if each["id"] == name
        ]
        if not found:
            raise GatewayError(
                404, "model_not_found", f"There is no model {name[:200]!r} for this key.", param="model"
            )
        return JSONResponse(found[0])

    async def untaken(request: Request) -> Response:
        path, allowed = request.url.path, "POST" if request.url.path in posted else "GET"
        raise GatewayError(
            405,
            "invalid_request_error",
            f"{path[:200]} takes {allowed}, not {request.method}.",
            error_code="method_not_allowed",
            headers={"allow": allowed},
        )

    views: list[tuple[str, View]] = [
        ("/health/liveliness", alive),
        ("/health/liveness", alive),
        ("/health/readiness", ready),
        ("/metrics", metrics),
        ("/v1/models", models),
        ("/models", models),
        ("/v1/models/{model:path}", model),
        ("/models/{model:path}", model),
    ]
    routes = [Route(path, _answered(view), methods=["GET"]) for path, view in views]
    paths = [*posted, *(path for path, _ in views)]
    return [*routes, *(Route(path, _answered(untaken), methods=[]) for path in paths)]  # []: whatever else


def _answered(view: View) -> View:
    """The view, with its errors as answers."""

    async def answered(request: Request) -> Response:
        try:
            return await view(request)
        except OutlayError as error:
            failure = failure_of(error)
            return JSONResponse(failure.document, failure.status, dict(failure.headers))

    return answered


def _principal(services: Services, request: Request) -> Principal:
    headers = request.headers.raw
    if (refusal := refusal_of_doubled(headers)) is not None:
        raise refusal
    return services.keyring.authenticate(dict(headers))


async def _readiness(services: Services) -> Response:
    if services.running.is_stopping:
        return JSONResponse({"status": "shutting down", "db": "connected"}, 503)
    try:
        await asyncio.to_thread(_look, services)
    except StoreError as error:
        log.warning("not ready: %s", error)
        return JSONResponse({"status": "unhealthy", "db": "Not connected"}, 503)
    return JSONResponse({"status": "healthy", "db": "connected"})


def _look(services: Services) -> None:
    with services.ledger.read() as reader:
        reader.catalogue_version()


def _list(services: Services, principal: Principal) -> dict[str, Any]:
    """The models that a key may use, in OpenAI's shape and Anthropic's at once."""
    routes = services.config.routes
    names = [name for name in routes.names() if denied_by(principal, name, routes) is None]
    created_at = datetime.fromtimestamp(_CREATED, UTC).isoformat()
    data = [
        {
            "id": name,
            "object": "model",
            "created": _CREATED,
            "owned_by": _owner(services, name),
            "type": "model",
            "display_name": name,
            "created_at": created_at,
        }
        for name in names
    ]
    ends = {"first_id": names[0], "last_id": names[-1]} if names else {"first_id": None, "last_id": None}
    return {"object": "list", "data": data, "has_more": False, **ends}


def _owner(services: Services, name: str) -> str:
    group = services.config.routes.find(name)
    return group.deployments[0].target.provider.id if group and group.deployments else "outlay"
