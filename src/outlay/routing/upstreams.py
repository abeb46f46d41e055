"""Upstreams: the providers that the environment has a key or an address for, and the names of their models.

A model has one public name however a caller writes it: small letters, or as genai-prices writes it; without
its provider where the bare name leads to the same provider, and as `provider/model` elsewhere. Budgets and
allow-lists of a model go by that name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from outlay.errors import InvalidValueError, ProviderAuthError
from outlay.providers.catalogue import PROVIDERS, Provider
from outlay.providers.target import Target, resolve
from outlay.routing.listed import chat_models, spelled

MAX_MODEL_LENGTH: Final = 256


class Upstreams:
    """What the environment says, as it was when this was made.

    Raises:
        InvalidValueError: a key or an address in the environment cannot be used; the message names it.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ: Final = dict(environ)
        self._targets = {
            provider.id: resolve(f"{provider.id}/any", environ=self.environ)
            for provider in PROVIDERS.values()
            if self._is_configured(provider)
        }

    def locate(self, model: str) -> Target | None:
        """Where a model is that a caller named, if the environment has its provider."""
        if not is_plain(model):
            return None
        try:
            target = resolve(model, environ=self.environ)
        except (InvalidValueError, ProviderAuthError):
            return None
        known = self._targets.get(target.provider.id)
        return as_listed(replace(known, model=target.model)) if known and is_plain(target.model) else None

    def name_of(self, target: Target) -> str:
        """The public name of a provider's model."""
        provider = target.provider.id
        model = spelled(provider, target.model) or target.model.lower()
        try:
            bare = resolve(model, environ=self.environ)
        except (InvalidValueError, ProviderAuthError):
            return f"{provider}/{model}"
        is_same = (bare.provider.id, bare.model) == (provider, model)
        return model if is_same else f"{provider}/{model}"

    def names(self) -> list[str]:
        """The public names of the models that are known to chat, provider by provider."""
        return [
            self.name_of(replace(target, model=model))
            for provider, target in self._targets.items()
            for model in chat_models(provider)
        ]

    @property
    def providers(self) -> tuple[str, ...]:
        """The ids of the providers that the environment has."""
        return tuple(self._targets)

    def _is_configured(self, provider: Provider) -> bool:
        names = provider.key_env if provider.requires_key else provider.base_env
        return any(self.environ.get(name, "").strip() for name in names)


def is_plain(model: str) -> bool:
    """Whether this can be the name of a provider's model: visible ASCII, no slash at its ends."""
    return (
        0 < len(model) <= MAX_MODEL_LENGTH
        and model.isascii()
        and model.isprintable()
        and " " not in model
        and not model.startswith("/")
        and not model.endswith("/")
    )


def as_listed(target: Target) -> Target:
    """The target with the model written as its provider writes it, if that is known."""
    if target.base_url != target.provider.base_url:
        return target  # another server behind the provider's name has names of its own
    return replace(target, model=spelled(target.provider.id, target.model) or target.model)
