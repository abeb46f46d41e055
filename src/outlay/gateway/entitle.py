"""Entitle: is there such a model, and may this key use it?"""

from __future__ import annotations

from outlay.gateway.authenticate import authenticate
from outlay.gateway.exchange import Exchange
from outlay.gateway.failures import GatewayError
from outlay.gateway.principal import Principal
from outlay.routing.deployments import Routes


def entitle(exchange: Exchange) -> None:
    """Find the model group, and check the key's allow-lists.

    Raises:
        GatewayError: 404 `model_not_found`, 403 `model_access_denied`.
    """
    asked, routes = exchange.body["model"], exchange.services.config.routes
    group = routes.find(asked)
    if group is None:
        raise GatewayError(
            404,
            "model_not_found",
            f"There is no model {asked[:200]!r} here: see GET /v1/models, or ask the operator to add it.",
            param="model",
        )
    if not may_use(exchange.who, group.name, routes):
        authenticate(exchange, is_fresh=True)  # it may be news
        if not may_use(exchange.who, group.name, routes):
            raise GatewayError(
                403,
                "model_access_denied",
                f"This key may not use {group.name!r}: see GET /v1/models for those it may.",
                param="model",
            )
    exchange.group = group


def may_use(principal: Principal, model: str, routes: Routes) -> bool:
    """Whether every allow-list of the principal names the model, by whatever name the list knows it."""
    return all(model in names or _is_listed(model, names, routes) for names in principal.allowed)


def _is_listed(model: str, names: frozenset[str], routes: Routes) -> bool:
    for name in names:
        if name in ("*", "all-proxy-models", "all-team-models"):
            return True
        if name.endswith("/*") and model.startswith(name[:-1]):
            return True
        group = routes.find(name)
        if group is not None and group.name == model:
            return True
    return False
