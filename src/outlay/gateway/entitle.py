"""Entitle: may this key use the model, and is there such a model?"""

from __future__ import annotations

from typing import Final

from outlay.gateway.authenticate import authenticate
from outlay.gateway.exchange import Exchange
from outlay.gateway.failures import GatewayError
from outlay.gateway.principal import Principal
from outlay.routing.deployments import Routes

_ALL: Final = frozenset({"*", "all-proxy-models", "all-team-models"})


def entitle(exchange: Exchange) -> None:
    """Check the key's allow-lists, and find the model group.

    The lists come first: whoever has one learns nothing of the models that it does not name.

    Raises:
        GatewayError: 403 `key_model_access_denied`, `team_…` or `user_…`; 404 `model_not_found`.
    """
    asked, routes = exchange.body["model"], exchange.services.config.routes
    group = routes.find(asked)
    name = asked if group is None else group.name
    if denied_by(exchange.who, name, routes) is not None:
        authenticate(exchange, is_fresh=True)  # it may be news
        owner = denied_by(exchange.who, name, routes)
        if owner is not None:
            raise GatewayError(
                403,
                f"{owner}_model_access_denied",
                f"This key may not use {asked[:200]!r}{_WHOSE[owner]}: see GET /v1/models for those it may.",
                param="model",
            )
    if group is None:
        raise GatewayError(
            404,
            "model_not_found",
            f"There is no model {asked[:200]!r} here: see GET /v1/models, or ask the operator to add it.",
            param="model",
        )
    exchange.group = group


_WHOSE: Final = {
    "key": "",
    "team": ", which the models of its team do not name",
    "user": ", which the models of its user do not name",
}


def denied_by(principal: Principal, model: str, routes: Routes) -> str | None:
    """Whose list does not name the model, by whatever name the list knows it; None if all do."""
    for owner, names in principal.allowed:
        if model not in names and not _is_listed(model, names, routes):
            return owner
    return None


def _is_listed(model: str, names: frozenset[str], routes: Routes) -> bool:
    for name in names:
        if name in _ALL:
            return True
        if name.endswith("/*") and model.startswith(name[:-1]):
            return True
        group = routes.find(name)
        if group is not None and group.name == model:
            return True
    return False
