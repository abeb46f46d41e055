"""Served models: the names by which requests count, so that a budget that none of them meets can be told.

A budget knows a model by its public name, with its provider in front or without it, or by an alias.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from outlay.routing.listed import listed_models, spelled

STAR: Final = "*"
_TUNED: Final = "ft:"
"""How OpenAI's names of models begin that somebody tuned: nobody else lists them."""


class Served(NamedTuple):
    """A public name and the ids of the providers that serve it; with `is_wildcard` whatever its star fits."""

    name: str
    providers: tuple[str, ...]
    is_wildcard: bool = False


def any_of(providers: Iterable[str]) -> list[Served]:
    """Whatever these providers have."""
    return [Served(f"{id}/{STAR}", (id,), is_wildcard=True) for id in providers]


def unserved(served: Sequence[Served], names: Iterable[str]) -> list[str]:
    """Say of each name that no request is counted by, why a budget of it would bind nothing."""
    return [why for name in dict.fromkeys(names) if (why := _why_not(served, name)) is not None]


def _why_not(served: Sequence[Served], name: str) -> str | None:
    fillings = [found for each in served for found in _matches(each, name)]
    if not fillings:
        return f"no model of the gateway is called {name!r}, so no request counts: see GET /v1/models"
    if not any(_is_known(provider, model) for provider, model in fillings):
        return (
            f"{name!r} is no known model of {fillings[0][0]}, to which a wildcard leads: if the name is "
            "wrong, no request counts"
        )
    return None


def _matches(served: Served, name: str) -> list[tuple[str, str | None]]:
    """The providers for which the name is this one, each with the model that the star stands for."""
    found: list[tuple[str, str | None]] = []
    for provider in served.providers:
        for spelling in (name, f"{provider}/{name}", name.removeprefix(f"{provider}/")):
            if spelling.lower() == served.name.lower():
                found.append((provider, None))
            elif served.is_wildcard and (filling := _filling(served.name, spelling)):
                found.append((provider, filling.removeprefix(f"{provider}/")))
    return found


def _filling(pattern: str, name: str) -> str | None:
    before, _, after = pattern.lower().partition(STAR)
    is_match = name.lower().startswith(before) and name.lower().endswith(after)
    return name[len(before) : len(name) - len(after)] if is_match else None


def _is_known(provider: str, model: str | None) -> bool:
    """Whether a wildcard's model may exist: of a provider whose models nobody lists, any may."""
    if model is None or model.startswith(_TUNED) or not listed_models(provider):
        return True
    return spelled(provider, model) is not None
