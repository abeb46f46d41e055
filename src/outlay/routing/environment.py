"""Environment routes: without a file, every model of every provider that the environment has a key for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

from outlay.providers.target import Target
from outlay.routing.deployments import Deployment, ModelGroup
from outlay.routing.served import Served, any_of
from outlay.routing.upstreams import Upstreams

MAX_CACHED: Final = 4096
"""Callers choose the names that are looked up: when so many are kept, all are dropped."""


class EnvironmentRoutes:
    """One deployment for each model of a provider whose key, or address, the environment has.

    A model is `provider/model`, or a bare name that is known by how it begins. Thread-safe.

    Raises:
        InvalidValueError: a key or an address in the environment cannot be used.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._upstreams = Upstreams(environ)
        self._names = self._upstreams.names()
        self._found: dict[str, ModelGroup] = {}

    @property
    def providers(self) -> tuple[str, ...]:
        """The ids of the providers whose models there are."""
        return self._upstreams.providers

    def find(self, model: str) -> ModelGroup | None:
        """The group of one deployment that serves the model, or None."""
        found = self._found.get(model)
        if found is not None:
            return found
        target = self._upstreams.locate(model)
        if target is None:
            return None
        name = self._upstreams.name_of(target)
        group = ModelGroup(name, (Deployment(deployment_id(target.provider.id, name), target),))
        if len(self._found) >= MAX_CACHED:
            self._found.clear()
        self._found[model] = group
        return group

    def served_models(self) -> list[Served]:
        """Whatever the providers have."""
        return any_of(self.providers)

    def names(self) -> list[str]:
        """The models that genai-prices lists and that are known to chat."""
        return list(self._names)


def deployment_id(*parts: str) -> str:
    """A short id made of what says which deployment it is, none of it secret."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def describe(target: Target) -> str:
    """A target in words that may be shown: whose model, and where."""
    return f"{target.provider.id}/{target.model} at {target.base_url}"
