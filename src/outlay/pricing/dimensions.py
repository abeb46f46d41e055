"""Dimensions: what changes the rates of a call, in one table that the bound and the charge both go through.

    possible(asked, price, provider)          what the bound must cover: all that can be served
    served(asked, answered, price)            what the charge counts: what was served, as far as is known

A dimension is asked for in a request's body, and answered at the top of an answer or in its usage. Where the
answer is silent, what was asked counts; a value that the price does not know counts as the dearest it knows.
The kinds of tokens and of tool calls (cache reads and writes by lifetime, long contexts, reasoning, audio,
images, searches) are units of the price itself (see `units`), the time of day is one of `PriceBook.price`'s
arguments; both are counted by `Price.cost` and bounded by `Price.bound_rates` and `Price.bound_fee`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

from outlay.errors import CostUnboundedError, InvalidValueError
from outlay.pricing.price import NO_CHOICES, Choice, Price


@dataclass(frozen=True, slots=True)
class Dimension:
    """One way in which a call can cost more or less.

    `path` is where a request asks for it, and its last name is the one that an answer has. `standard` are the
    values at the standard price, `cheaper` those that no provider sells above it, `open` those that leave the
    choice to the provider. `open_providers` may serve any value where nobody asked (genai-prices' ids).
    `is_binding` says that what is asked is what is served. One with a `tool_prefix` is asked for by a tool
    whose type begins so.
    """

    path: tuple[str, ...]
    tool_prefix: str = ""
    standard: frozenset[str] = frozenset()
    cheaper: frozenset[str] = frozenset()
    open: frozenset[str] = frozenset()
    open_providers: frozenset[str] = frozenset()
    is_binding: bool = False

    @property
    def name(self) -> str:
        """What an answer calls it."""
        return self.path[-1]

    def possible(self, asked: str | None, price: Price, provider: str) -> frozenset[str]:
        """The values that can be served, without the standard one, which always can.

        Raises:
            CostUnboundedError: the price has no rate for what is asked.
        """
        known = price.values.get(self.name, _NONE)
        if asked is None:
            return known if provider in self.open_providers else _NONE
        if asked in known and asked not in self.standard:
            return frozenset((asked,))
        if asked in self.open:
            return known
        if asked in self.standard or asked in self.cheaper or price.is_free:
            return _NONE
        if self.is_binding:
            return known
        why = f"the model's price has no rate for {asked[:40]!r}; one can be stated with the price"
        raise CostUnboundedError.of(".".join(self.path), why)

    def served(self, asked: str | None, answered: str | None, price: Price) -> frozenset[str]:
        """The values that may have been served; "" is the standard one."""
        known = price.values.get(self.name, _NONE)
        said = answered if answered is not None and answered not in self.open else asked
        if said is None or said in self.standard:
            return _STANDARD
        if said in known:
            return frozenset((said,))
        return _STANDARD if said in self.cheaper else known | _STANDARD

    def is_known(self, answered: str, price: Price) -> bool:
        """Whether it is known what this value costs."""
        known = price.values.get(self.name, _NONE)
        return any(answered in values for values in (known, self.open, self.standard, self.cheaper))


PROCESSING_REGION: Final = "processing_region"
"""OpenAI's regional hosts, as `regional`; where a region costs no more, it has no value in the price."""
_NONE: Final[frozenset[str]] = frozenset()
_STANDARD: Final = frozenset(("",))

DIMENSIONS: Final = (
    # https://developers.openai.com/api/docs/guides/fast-mode: a project's setting can make `priority` the
    # default. https://console.groq.com/docs/service-tiers, https://platform.claude.com/docs/en/api/service-tiers
    Dimension(
        ("service_tier",),
        standard=frozenset(("default", "standard", "standard_only", "on_demand")),
        cheaper=frozenset(("flex", "batch", "scale")),
        open=frozenset(("auto",)),
        open_providers=frozenset(("openai", "azure")),
    ),
    # https://platform.claude.com/docs/en/build-with-claude/fast-mode
    Dimension(("speed",), standard=frozenset(("standard",))),
    # https://platform.claude.com/docs/en/manage-claude/data-residency: a workspace has a default
    Dimension(
        ("inference_geo",),
        standard=frozenset(("global", "not_available")),
        open_providers=frozenset(("anthropic",)),
    ),
    # https://developers.openai.com/api/docs/pricing ("Regional processing"): asked for by the host alone
    Dimension((PROCESSING_REGION,), cheaper=frozenset(("regional",))),
    # https://docs.perplexity.ai/getting-started/pricing: the fee of a request goes by it
    Dimension(("web_search_options", "search_context_size"), is_binding=True),
    # https://developers.openai.com/api/docs/pricing ("Web search"): the preview tool has a price of its own
    Dimension(("tools", "web_search_tool"), tool_prefix="web_search_preview", is_binding=True),
)
"""Every dimension. A new one also needs an example in `tests/pricing/test_dimensions.py`."""

ANSWERED: Final = frozenset(dimension.name for dimension in DIMENSIONS)
"""What an answer may say about how it was served, at its top or in its usage."""
_ASKED_IN: Final = frozenset(dimension.path[0] for dimension in DIMENSIONS)


def asked_of(body: Mapping[str, Any]) -> dict[str, str]:
    """What a request asks for, in lower case, by dimension.

    Raises:
        InvalidValueError: a field that says it is no text.
    """
    asked: dict[str, str] = {}
    if _ASKED_IN.isdisjoint(body):
        return asked
    for dimension in DIMENSIONS:
        value: Any = body.get(dimension.path[0])
        if value is None:
            continue
        if dimension.tool_prefix:
            if _has_tool(value, dimension.tool_prefix):
                asked[dimension.name] = "preview"
            continue
        for key in dimension.path[1:]:
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is None:
            continue
        if not isinstance(value, str):
            field = ".".join(dimension.path)
            raise InvalidValueError(f"{field} must be text, not {type(value).__name__}")
        if value.strip():
            asked[dimension.name] = value.strip().lower()
    return asked


def folded(settings: Mapping[str, str]) -> dict[str, str]:
    """Values of dimensions as an answer's are compared: in lower case."""
    return {name: value.strip().lower() for name, value in settings.items()}


def _has_tool(tools: object, prefix: str) -> bool:
    return isinstance(tools, list) and any(
        isinstance(tool, Mapping) and str(tool.get("type")).startswith(prefix) for tool in tools
    )


def possible(asked: Mapping[str, str], price: Price, provider: str) -> frozenset[Choice]:
    """Give every choice that can be served to who asks so, for `Price.bound_rates`.

    Args:
        asked: see `asked_of`.
        price: the standard price.
        provider: genai-prices' id of who serves it.

    Raises:
        CostUnboundedError: the price has no rate for what is asked.
    """
    if not asked and not price.values:
        return NO_CHOICES
    return frozenset(
        (dimension.name, value)
        for dimension in DIMENSIONS
        if dimension.name in asked or dimension.name in price.values
        for value in dimension.possible(asked.get(dimension.name), price, provider)
    )


def served(asked: Mapping[str, str], answered: Mapping[str, str], price: Price) -> Iterator[dict[str, str]]:
    """Give what may have been served, as `choices` of `PriceBook.price`: one mapping, or all that may be.

    Args:
        asked: see `asked_of`.
        answered: what the answer says, in lower case, by dimension.
        price: the standard price.
    """
    names, values = [], []
    for dimension in DIMENSIONS:
        name = dimension.name
        if name in asked or name in answered:
            found = dimension.served(asked.get(name), answered.get(name), price)
            if found is not _STANDARD:
                names.append(name)
                values.append(found)
    for combination in product(*values):
        yield {name: value for name, value in zip(names, combination, strict=True) if value}


def unknown_of(answered: Mapping[str, str], price: Price) -> dict[str, str]:
    """What an answer says about how it was served of which nobody here knows the price, by dimension."""
    if not answered:
        return {}
    return {
        dimension.name: value
        for dimension in DIMENSIONS
        if (value := answered.get(dimension.name)) and not dimension.is_known(value, price)
    }


def is_dearer(price: Price, name: str) -> bool:
    """Whether some value of a dimension can cost more than the standard one."""
    choices = frozenset((name, value) for value in price.values.get(name, _NONE))
    standard, dearest = price.bound_rates(), price.bound_rates(choices=choices)
    return dearest.input > standard.input or dearest.output > standard.output
