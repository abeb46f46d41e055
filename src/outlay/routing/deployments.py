"""Deployments and model groups: one upstream each, and the public name that one or more of them serve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple, Protocol

from outlay.pricing.dimensions import folded
from outlay.providers.target import Target, split_model
from outlay.providers.transport import Timeouts
from outlay.routing.served import Served


@dataclass(frozen=True, slots=True)
class Deployment:
    """One upstream: a provider's model with a credential.

    `id` is stable over restarts and holds no secret. `own_price` are its own price fields (LiteLLM's
    names), empty for the price book's. `base_model` is the model whose price and limits count, as
    `provider/model`, where the upstream's own name does not tell; empty for the target's. `weight` is its
    share of the group's requests. `allowed_request_fields` are unknown fields that its operator vouches for,
    `settings` fields that its requests get where they have none of their own: `service_tier`, `speed`,
    `inference_geo`.
    """

    id: str
    target: Target
    own_price: Mapping[str, Any] = field(default_factory=dict)
    weight: float = 1.0
    timeouts: Timeouts | None = None
    base_model: str = ""
    allowed_request_fields: frozenset[str] = frozenset()
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def asked(self) -> dict[str, str]:
        """What its address and its settings ask for, by dimension of a price."""
        return {**self.target.asked, **folded(self.settings)}

    @property
    def priced_as(self) -> tuple[str, str]:
        """The provider's id and the model's name by which the price book knows it."""
        return (
            split_model(self.base_model) if self.base_model else (self.target.provider.id, self.target.model)
        )


class ModelGroup(NamedTuple):
    """A public model name, the one that budgets and allow-lists know, and those that serve it.

    `aliases` are other names that lead to it; budgets may know it by them too.
    """

    name: str
    deployments: Sequence[Deployment]
    aliases: tuple[str, ...] = ()


class Routes(Protocol):
    """Which models there are. Immutable, quick, never blocks."""

    def find(self, model: str) -> ModelGroup | None:
        """The group that serves the model a caller named (an alias, a wildcard's model), or None."""

    def names(self) -> list[str]:
        """The public names that can be listed, in order."""

    def served_models(self) -> list[Served]:
        """The names by which requests count, with the providers that serve them."""

    @property
    def providers(self) -> tuple[str, ...]:
        """The ids of the providers that a request may reach."""


def choose(group: ModelGroup, random: Random) -> Deployment:
    """Pick one of a group's deployments by their weights; all alike if no weight is above 0."""
    deployments = group.deployments
    if len(deployments) == 1:
        return deployments[0]
    total = sum(deployment.weight for deployment in deployments)
    if total <= 0:
        return deployments[random.randrange(len(deployments))]
    left = random.random() * total
    for deployment in deployments:
        left -= deployment.weight
        if left < 0:
            return deployment
    return next(each for each in reversed(deployments) if each.weight > 0)  # a sum of floats fell short
