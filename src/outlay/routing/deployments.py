"""Deployments and model groups: one upstream each, and the public name that one or more of them serve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from outlay.providers.target import Target
from outlay.providers.transport import Timeouts


@dataclass(frozen=True, slots=True)
class Deployment:
    """One upstream: a provider's model with a credential.

    `id` is stable over restarts and holds no secret. `own_price` are its own price fields (LiteLLM's
    names), empty for the price book's. `weight` is its share of the group's requests.
    """

    id: str
    target: Target
    own_price: Mapping[str, Any] = field(default_factory=dict)
    weight: float = 1.0
    timeouts: Timeouts | None = None


class ModelGroup(NamedTuple):
    """A public model name, the one that budgets and allow-lists know, and those that serve it."""

    name: str
    deployments: Sequence[Deployment]


class Routes(Protocol):
    """Which models there are. Immutable, quick, never blocks."""

    def find(self, model: str) -> ModelGroup | None:
        """The group that serves the model a caller named (an alias, a wildcard's model), or None."""

    def names(self) -> list[str]:
        """The public names that can be listed, in order."""
