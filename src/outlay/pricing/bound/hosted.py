"""Hosted: what a provider does on its own account during a call, and whether that can be bounded.

Searches, code, files and remote tools that the provider runs cost extra, and feed the model text that the
request does not show. They pass only with a price for each use and a cap on the number of uses; a search
without a cap gets one. A call with a cap on its uses calls the model once more than that:

- OpenAI, `max_tool_calls`: all built-in tools together; `max_output_tokens` is for the whole response:
  https://platform.openai.com/docs/api-reference/responses/create. A web search works in a window of 128,000
  tokens: https://platform.openai.com/docs/guides/tools-web-search ("Limitations").
- Anthropic, `max_uses` of each tool; `max_tokens` is the absolute maximum of the message:
  https://platform.claude.com/docs/en/api/messages/create. The model is called 10 times at most:
  https://platform.claude.com/docs/en/build-with-claude/handling-stop-reasons ("pause_turn").
Fields that nothing bounds, whatever the price, stand in `request_fields`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from typing import Any, Final, NamedTuple, NoReturn

from outlay.errors import CostUnboundedError, InvalidValueError
from outlay.pricing.model_fees import ModelFees, model_fees
from outlay.pricing.names import bare_model, price_provider
from outlay.pricing.price import Choice, Price

_CALLER_RUN: Final = frozenset(
    {"function", "custom", "local_shell", "computer_use_preview", "computer", "apply_patch"}
)
_CALLER_RUN_PREFIXES: Final = ("bash_", "text_editor_", "computer_2", "memory_")
"""Anthropic's client tools: the caller runs them; the provider only adds their description to the prompt."""
_OUTSIDE: Final = ("previous_response_id", "conversation")
"""Fields of `/v1/responses` whose input is stored at the provider."""
_FREE_PREFIXES: Final = ("tool_search",)
"""Tools that cost nothing and show the model only what the request holds: its own tools.

https://platform.claude.com/docs/en/agents-and-tools/tool-use/tool-search-tool
"""
DEFAULT_MAX_TOOL_CALLS: Final = 8
_MOST_USES: Final = 1_000
_MOST_ROUNDS: Final = 10
_SEARCH_WINDOW: Final = 128_000
_FETCH_SLACK: Final = 1.25
"""`max_content_tokens` is approximate: https://platform.claude.com/docs/en/agents-and-tools/tool-use/web-fetch-tool"""


@dataclass(frozen=True, slots=True)
class Hosted:
    """What the provider may add: nanos for its tools, how often it may call the model, input unseen.

    `outside` is the field whose text is not in the request, at most `window` tokens of it in each round;
    without it, each use adds at most `added` tokens. `tool_calls` is the cap to put into the request.
    """

    nanos: Fraction = Fraction(0)
    uses: int = 0
    rounds: int = 1
    outside: str | None = None
    window: int | None = None
    added: int = 0
    tool_calls: int | None = None

    def input_tokens(self, shown: int) -> int:
        """The input of all rounds, where the request shows so much and each use adds `added` to the rest."""
        return self.rounds * shown + (self.rounds - 1) * self.uses * self.added


NOTHING: Final = Hosted()


def check_hosted(
    body: Mapping[str, Any],
    *,
    endpoint: str,
    provider: str,
    model: str,
    price: Price,
    choices: frozenset[Choice],
    answers: int,
    default_max_tool_calls: int = DEFAULT_MAX_TOOL_CALLS,
) -> Hosted:
    """Give what the provider may add to a call of `answers` answers.

    Raises:
        CostUnboundedError: something has no price or no cap; the message names it.
        InvalidValueError: `tools` is not a list of mappings.
    """
    _check_model(body, provider, model)
    searched = _search(body, model, price, choices, answers)
    tools = _tools(
        body,
        endpoint,
        _Tools(price_provider(provider), model_fees(model), price, choices, default_max_tool_calls),
    )
    outside = _outside(body, endpoint, provider) or searched.outside
    if searched is NOTHING and tools is NOTHING and outside is None:
        return NOTHING
    if outside is not None:
        return replace(tools, nanos=searched.nanos + tools.nanos, outside=outside, window=None)
    return replace(tools, nanos=searched.nanos + tools.nanos)


def is_searching(body: Mapping[str, Any], model: str) -> bool:
    """Whether each answer is searched for because the request says so, and pays for it apart."""
    return body.get("web_search_options") is not None and not model_fees(model).is_search


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


def _check_model(body: Mapping[str, Any], provider: str, model: str) -> None:
    source, name = price_provider(provider), bare_model(model)
    if "online" in model.strip().lower().split(":")[1:]:
        _refuse(model, "its searches have no cap")
    if source == "groq" and name.startswith("compound"):
        _refuse(model, "the provider runs tools unseen")
    if name.startswith("sonar") and "deep-research" in name:
        _refuse(name, "the number of its searches has no cap")
    search = body.get("search_parameters")
    is_off = isinstance(search, Mapping) and search.get("mode") == "off"
    if name.startswith("grok") and search and not is_off:
        _refuse("search_parameters", "the number of sources has no cap")


def _search(
    body: Mapping[str, Any], model: str, price: Price, choices: frozenset[Choice], answers: int
) -> Hosted:
    """Bound the search that `web_search_options` makes: one for each answer.

    A search model's own is the fee of a request; what it finds may bill tokens.
    """
    options, fees = body.get("web_search_options"), model_fees(model)
    is_search = fees.is_search or bare_model(model).startswith("sonar")
    if isinstance(options, Mapping) and is_search and options.get("search_type") in ("pro", "auto"):
        _refuse("web_search_options.search_type", "the number of its searches has no cap")
    if options is None and not is_search:
        return NOTHING
    if is_search and price.bound_fee("requests", choices) is not None:
        return NOTHING if fees.is_content_free else Hosted(outside="web_search_options")
    rate = price.bound_fee("web_searches", choices)
    if rate is None:
        _refuse("web_search_options", "the model has no price for web_searches")
    return Hosted(rate * answers, outside="web_search_options")


class _Tools(NamedTuple):
    """What the tools of a request are bounded with; `provider` is genai-prices' id."""

    provider: str
    fees: ModelFees
    price: Price
    choices: frozenset[Choice]
    default_uses: int


def _tools(body: Mapping[str, Any], endpoint: str, given: _Tools) -> Hosted:
    tools = body.get("tools")
    if tools is None:
        return NOTHING
    if not isinstance(tools, list):
        raise InvalidValueError("tools must be a list")
    hosted = []
    for index, tool in enumerate(tools):
        if not isinstance(tool, Mapping):
            raise InvalidValueError(f"tools[{index}] must be a mapping")
        if not is_caller_run(tool) and not str(tool.get("type")).startswith(_FREE_PREFIXES):
            hosted.append((f"tools[{index}] ({tool.get('type')})", tool))
    if not hosted:
        return NOTHING
    if endpoint == "responses":
        return _capped_together(hosted, body, given)
    if endpoint != "messages":
        _refuse(hosted[0][0], "this endpoint has no cap on how often the provider may use it")
    return _capped_each(hosted, given)


def _capped_together(
    hosted: list[tuple[str, Mapping[str, Any]]], body: Mapping[str, Any], given: _Tools
) -> Hosted:
    """Bound OpenAI's searches in the web and in files: `max_tool_calls` caps them all."""
    rates, is_free = [Fraction(0)], True
    for where, tool in hosted:
        kind = str(tool.get("type"))
        is_web = kind.startswith("web_search")
        unit = "web_searches" if is_web else "storage_searches"
        rate = given.price.bound_fee(unit, given.choices) if is_web or kind == "file_search" else None
        if rate is None:
            _refuse(where, "the provider runs it and it has no price")
        rates.append(rate)
        is_preview = kind.startswith("web_search_preview") and given.fees.preview_search is not None
        is_free = is_free and is_web and (given.fees.is_content_free or is_preview)
    uses = _uses(body.get("max_tool_calls"), hosted[0][0], "the request max_tool_calls")
    put = None if uses else given.default_uses
    uses = uses or given.default_uses
    is_all_web = all(str(tool.get("type")).startswith("web_search") for _, tool in hosted)
    window = _SEARCH_WINDOW if is_all_web and given.provider in ("openai", "azure") else None
    outside = None if is_free else "tools"
    return Hosted(max(rates) * uses, uses, uses + 1, outside, window=window, tool_calls=put)


def _capped_each(hosted: list[tuple[str, Mapping[str, Any]]], given: _Tools) -> Hosted:
    """Bound Anthropic's searches and fetches: each is capped by its own `max_uses`.

    From the second version on they filter what they find by code. Then running code costs nothing:
    https://platform.claude.com/docs/en/agents-and-tools/tool-use/code-execution-tool ("Usage and pricing").
    """
    nanos, total, added, put, outside = Fraction(0), 0, 0, None, None
    filtering = [tool for _, tool in hosted if _is_filtering(str(tool.get("type")))]
    for where, tool in hosted:
        kind = str(tool.get("type"))
        if filtering and kind.startswith("code_execution_"):
            continue
        is_fetch = kind.startswith("web_fetch_")
        rate = Fraction(0) if is_fetch else given.price.bound_fee("web_searches", given.choices)
        if not (is_fetch or kind.startswith("web_search_")) or rate is None:
            _refuse(where, "the provider runs it and it has no price")
        uses = _uses(tool.get("max_uses"), where, "it max_uses")
        if not uses:
            put = uses = given.default_uses
        nanos, total = nanos + rate * uses, total + uses
        content = tool.get("max_content_tokens") if is_fetch and not filtering else None
        if isinstance(content, int) and not isinstance(content, bool) and content > 0:
            added = max(added, ceil(content * _FETCH_SLACK))
        else:
            outside = "tools"
    rounds = _MOST_ROUNDS if filtering else min(_MOST_ROUNDS, total + 1)
    return Hosted(nanos, total, rounds, outside, added=0 if outside else added, tool_calls=put)


def _is_filtering(kind: str) -> bool:
    is_web = kind.startswith(("web_search_", "web_fetch_"))
    return is_web and not kind.endswith(("_20250305", "_20250910"))


def _uses(value: object, where: str, remedy: str) -> int:
    """Read a cap on uses; 0 for none."""
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= _MOST_USES:
        _refuse(where, f"give {remedy}, from 1 to {_MOST_USES}")
    return value


def put_tool_calls(body: dict[str, Any], uses: int, endpoint: str) -> None:
    """Write a cap on the uses of the searches that have none, where the provider looks for it."""
    if endpoint == "responses":
        body["max_tool_calls"] = uses
        return
    body["tools"] = [
        {**tool, "max_uses": uses}
        if str(tool.get("type")).startswith(("web_search_", "web_fetch_")) and tool.get("max_uses") is None
        else tool
        for tool in body["tools"]
    ]


def _refuse(what: str, why: str) -> NoReturn:
    raise CostUnboundedError.of(what, why)
