"""Hosted: what a provider does on its own account during a call, and whether that can be bounded.

Searches, code, files and remote tools that the provider runs cost extra, and feed the model text that the
request does not show. They pass only with a price for each use and a cap on the number of uses. Fields that
nothing bounds, whatever the price, stand in `request_fields`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, NoReturn

from outlay.errors import CostUnboundedError, InvalidValueError
from outlay.pricing.names import bare_model, price_provider
from outlay.pricing.price import Price

_CALLER_RUN: Final = frozenset(
    {"function", "custom", "local_shell", "computer_use_preview", "computer", "apply_patch"}
)
_CALLER_RUN_PREFIXES: Final = ("bash_", "text_editor_", "computer_2", "memory_")
"""Anthropic's client tools: the caller runs them; the provider only adds their description to the prompt."""
_OUTSIDE: Final = ("previous_response_id", "conversation")
"""Fields of `/v1/responses` whose input is stored at the provider."""
_PLAIN_GEOS: Final = (None, "global")
"""Where inference costs the model's price; in one country it costs a tenth more."""


@dataclass(frozen=True, slots=True)
class Hosted:
    """What the provider may add: nanos for its tools, how often it may call the model, input unseen."""

    nanos: Fraction = Fraction(0)
    rounds: int = 1
    outside: str | None = None


NOTHING: Final = Hosted()


def check_hosted(
    body: Mapping[str, Any], *, endpoint: str, provider: str, model: str, price: Price, answers: int
) -> Hosted:
    """Give what the provider may add to a call of `answers` answers.

    Raises:
        CostUnboundedError: something has no price or no cap; the message names it.
        InvalidValueError: `tools` is not a list of mappings.
    """
    if body.get("inference_geo") not in _PLAIN_GEOS:
        _refuse("inference_geo", "one region alone costs more than the model's price")
    _check_model(provider, model)
    searched = _search(body, provider, model, price, answers)
    tools = _tools(body, price)
    outside = _outside(body, endpoint, provider)
    if searched is NOTHING and tools is NOTHING and outside is None:
        return NOTHING
    return Hosted(searched.nanos + tools.nanos, tools.rounds, outside or searched.outside or tools.outside)


def is_caller_run(tool: Mapping[str, Any]) -> bool:
    """Whether the caller, not the provider, runs a tool (a tool without a type is a function)."""
    kind = tool.get("type", "function")
    return isinstance(kind, str) and (kind in _CALLER_RUN or kind.startswith(_CALLER_RUN_PREFIXES))


def _outside(body: Mapping[str, Any], endpoint: str, provider: str) -> str | None:
    """Give the field whose input the body does not show: stored turns, Azure's searches, Gemini's caches."""
    names = (*_OUTSIDE, "data_sources") if endpoint == "responses" else ("data_sources",)
    if price_provider(provider) == "google":
        names = (*names, "extra_body", "google", "cached_content")
    return next((name for name in names if body.get(name) is not None), None)


def _check_model(provider: str, model: str) -> None:
    source = price_provider(provider)
    if source == "openrouter" and model.endswith(":online"):
        _refuse(model, "its searches have no cap")
    if source == "groq" and bare_model(model).startswith("compound"):
        _refuse(model, "the provider runs tools unseen")


def _search(body: Mapping[str, Any], provider: str, model: str, price: Price, answers: int) -> Hosted:
    """Bound the search that a search model, or `web_search_options`, makes: one for each answer."""
    source, name, options = price_provider(provider), bare_model(model), body.get("web_search_options")
    if source == "perplexity":
        if "deep-research" in name or (
            isinstance(options, Mapping) and options.get("search_type") in ("pro", "auto")
        ):
            _refuse(name, "the number of its searches has no cap")
        return Hosted((price.extra_rate("web_searches") or Fraction(0)) * answers)
    is_search_model = source in ("openai", "azure") and "-search" in name
    if options is None and not is_search_model:
        return NOTHING
    rate = price.extra_rate("web_searches")
    if rate is None:
        _refuse("web_search_options", "the model has no price for web_searches")
    return Hosted(rate * answers, outside="web_search_options")


def _tools(body: Mapping[str, Any], price: Price) -> Hosted:
    tools = body.get("tools")
    if tools is None:
        return NOTHING
    if not isinstance(tools, list):
        raise InvalidValueError("tools must be a list")
    nanos, uses = Fraction(0), 0
    for index, tool in enumerate(tools):
        if not isinstance(tool, Mapping):
            raise InvalidValueError(f"tools[{index}] must be a mapping")
        if not is_caller_run(tool):
            tool_nanos, tool_uses = _bounded_tool(tool, body, price, f"tools[{index}]")
            nanos, uses = nanos + tool_nanos, uses + tool_uses
    return Hosted(nanos, uses + 1, "tools") if uses else NOTHING


def _bounded_tool(
    tool: Mapping[str, Any], body: Mapping[str, Any], price: Price, where: str
) -> tuple[Fraction, int]:
    """Bound one web search or fetch: Anthropic caps each by `max_uses`, OpenAI all by `max_tool_calls`."""
    kind = str(tool.get("type"))
    uses = tool.get("max_uses", body.get("max_tool_calls"))
    is_fetch = kind.startswith("web_fetch_")
    rate = Fraction(0) if is_fetch else price.extra_rate("web_searches")
    if not (is_fetch or kind.startswith("web_search")) or rate is None:
        _refuse(f"{where} ({kind})", "the provider runs it and it has no price")
    if isinstance(uses, bool) or not isinstance(uses, int) or not 0 < uses <= 1000:
        _refuse(f"{where} ({kind})", "give it max_uses, or the request max_tool_calls, from 1 to 1000")
    return rate * uses, uses


def _refuse(what: str, why: str) -> NoReturn:
    raise CostUnboundedError.of(what, why)
