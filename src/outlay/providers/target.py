"""Target: where a model's requests go, and with which credential."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from outlay.errors import InvalidValueError, ProviderAuthError
from outlay.pricing.dimensions import PROCESSING_REGION
from outlay.pricing.names import is_priced_provider, priced_family
from outlay.providers.catalogue import (
    PROVIDERS,
    Endpoint,
    Provider,
    known_provider,
    provider_named,
    provider_of_family,
)
from outlay.providers.hosts import is_own_host

_NOTHING: Final[Mapping[str, str]] = {}
_REGIONAL: Final[Mapping[str, str]] = {PROCESSING_REGION: "regional"}
_OPENAI_REASONING = re.compile(r"(o\d|gpt-[5-9])", re.IGNORECASE)
_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f-\xa0]")


@dataclass(frozen=True, slots=True)
class Target:
    """A provider, the model's name as that provider knows it, a base URL without a slash at its end, and a
    credential ("" for none), which no repr shows.
    """

    provider: Provider
    model: str
    base_url: str
    credential: str = field(default="", repr=False)

    @property
    def is_own_host(self) -> bool:
        """Whether the address is the provider's own, or one of its regions', and no relay's."""
        return is_own_host(self.base_url, self.provider.base_url)

    @property
    def asked(self) -> Mapping[str, str]:
        """What the address itself asks for, by dimension: OpenAI's regional hosts process in their region."""
        if self.provider.id != "openai" or self.base_url == self.provider.base_url or not self.is_own_host:
            return _NOTHING
        is_regional = urlsplit(self.base_url).hostname != urlsplit(self.provider.base_url).hostname
        return _REGIONAL if is_regional else _NOTHING

    def takes_standard_tier(self, endpoint: Endpoint) -> bool:
        """Whether the standard service tier can be asked for where a project's setting may be dearer.

        https://developers.openai.com/api/docs/guides/fast-mode ("Configuring Fast mode")
        """
        return self.provider.id == "openai" and endpoint in ("chat", "responses") and self.is_own_host

    def cap_field(self, endpoint: Endpoint) -> str:
        """The name of the parameter that caps the output at this endpoint.

        A server other than OpenAI's own behind OpenAI's name is asked by `max_tokens`, which all know; one
        that ignored the newer name would have no bound. OpenAI's reasoning models take only the newer.
        """
        if endpoint == "responses":
            return "max_output_tokens"
        if endpoint != "chat":
            return "max_tokens"
        if self.provider.id == "openai" and self.base_url != self.provider.base_url:
            is_reasoning = _OPENAI_REASONING.match(self.model) is not None
            return "max_completion_tokens" if is_reasoning else "max_tokens"
        return self.provider.quirks.chat_cap_field


def resolve(
    model: str,
    *,
    api_key: str | None = None,
    api_base: str | None = None,
    provider: str | Provider | None = None,
    environ: Mapping[str, str] | None = None,
) -> Target:
    """Find out where a model lives.

    `model` is `provider/model` (the rest may hold more slashes), or a bare name, which is known by how it
    begins and is OpenAI's otherwise. With `api_base` an unknown part before a slash belongs to the model's
    name, and the server is taken to speak OpenAI's wire; it is never sent another provider's key.

    Args:
        model: as the caller names it.
        api_key: the credential; else the provider's variable in the environment.
        api_base: the base URL; else the provider's variable, else its own.
        provider: an id or a Provider, when the model's name does not say it.
        environ: the environment; `os.environ` by default.

    Raises:
        InvalidValueError: the model, the provider or the base URL cannot be used.
        ProviderAuthError: the provider wants a key and there is none; the message names the variable.
    """
    environ = os.environ if environ is None else environ
    if not isinstance(model, str) or not model or _UNPRINTABLE.search(model):
        raise InvalidValueError(f"model {model!r}: give the name of a model, such as 'gpt-4o'.")
    found, name = _provider_and_name(model, provider, has_base=bool(api_base), environ=environ)
    base_url = _base_url(found, api_base, environ)
    return Target(found, name, base_url, _credential(found, api_key, environ))


def split_model(model: str) -> tuple[str, str]:
    """Whose a model is by its name alone, and what that provider calls it, for its price: no key, no address.

    `provider/model` or a bare name, as for `resolve`; a part before a slash that is no provider belongs to
    the model's name.

    Raises:
        InvalidValueError: the model is no text, or empty.
    """
    if not isinstance(model, str) or not model:
        raise InvalidValueError(f"model {model!r}: give the name of a model, such as 'gpt-4o'.")
    prefix, _, rest = model.partition("/")
    named = provider_named(prefix) if rest else None
    if named is not None:
        return named.id, rest
    if rest and is_priced_provider(prefix):
        return prefix.lower(), rest
    return priced_family(model) or provider_of_family(model).id, model


def _provider_and_name(
    model: str, provider: str | Provider | None, *, has_base: bool, environ: Mapping[str, str]
) -> tuple[Provider, str]:
    prefix, slash, rest = model.partition("/")
    named = provider_named(prefix) if slash else None
    if provider is not None:
        if not isinstance(provider, str | Provider):
            raise InvalidValueError(f"custom_llm_provider must be the name of a provider, not {provider!r}")
        chosen = provider if isinstance(provider, Provider) else known_provider(provider)
        return chosen, rest if rest and named is chosen else model
    if not slash:
        return provider_of_family(model), model
    if named is not None:
        if not rest:
            raise InvalidValueError(f"model {model!r}: name a model after the slash.")
        return named, rest
    if has_base:
        return PROVIDERS["openai_compatible"], model
    if _first_set(PROVIDERS["openai"].base_env, environ):
        return PROVIDERS["openai"], model  # that server and its key were set together
    return known_provider(prefix), model


def _credential(provider: Provider, api_key: str | None, environ: Mapping[str, str]) -> str:
    if not isinstance(api_key, str | None):
        raise InvalidValueError(f"api_key must be text, not {type(api_key).__name__}")
    key = (api_key or _first_set(provider.key_env, environ) or "").strip()
    if not key and provider.requires_key:
        names = " or ".join(provider.key_env)
        raise ProviderAuthError(f"There is no API key for {provider.name}: set {names}, or pass api_key.")
    if _UNPRINTABLE.search(key) or not key.isascii():
        raise InvalidValueError(
            f"The API key for {provider.name} has a space, a line break or a foreign letter: copy it again."
        )
    return key


def _base_url(provider: Provider, api_base: str | None, environ: Mapping[str, str]) -> str:
    given = api_base or _first_set(provider.base_env, environ) or provider.base_url
    if not given:
        raise InvalidValueError("An OpenAI-compatible server has no address of its own: pass api_base.")
    if api_base is None and "://" not in given:
        given = f"http://{given}"  # OLLAMA_HOST is written without a scheme
    return checked_base_url(given, default_path=provider.base_path)


def checked_base_url(url: str, *, default_path: str = "") -> str:
    """Check a base URL and take the slash off its end.

    Raises:
        InvalidValueError: it is not http(s), or holds a user name, a query or unprintable characters.
    """
    advice = "give something like 'https://api.example.com/v1'."
    if not isinstance(url, str) or _UNPRINTABLE.search(url):
        raise InvalidValueError(f"api_base has a space, a line break or an unprintable character: {advice}")
    try:
        parts = urlsplit(url)
        has_port = parts.port is None or parts.port > 0
    except ValueError as error:
        raise InvalidValueError(f"api_base is not a URL ({error}): {advice}") from error
    if parts.username is not None or parts.password is not None:
        raise InvalidValueError("api_base holds a user name or a password: pass api_key instead.")
    if parts.scheme not in {"http", "https"} or not parts.hostname or not has_port:
        raise InvalidValueError(f"api_base {url!r} is not an http or https URL: {advice}")
    if "?" in url or "#" in url:
        raise InvalidValueError(f"api_base has a query or a fragment, which would be lost: {advice}")
    path = parts.path.rstrip("/") or default_path
    return f"{parts.scheme}://{parts.netloc}{path}"


def _first_set(names: tuple[str, ...], environ: Mapping[str, str]) -> str | None:
    return next((environ[name].strip() for name in names if environ.get(name, "").strip()), None)
