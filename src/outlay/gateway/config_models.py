"""Models: a configuration's `model_list` becomes the rows that routing knows, and budgets of deployments."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final, NamedTuple

from outlay.domain.budgets import Budget
from outlay.errors import InvalidValueError
from outlay.gateway.config_budgets import deployment_budgets
from outlay.gateway.config_fields import take_request_fields
from outlay.gateway.config_section import Report, Section
from outlay.gateway.records import check_id
from outlay.pricing.overrides import is_price_field, read_price
from outlay.providers.transport import Timeouts
from outlay.routing.configured import Alias, ConfiguredRoutes, Row
from outlay.routing.deployments import Routes
from outlay.routing.environment import EnvironmentRoutes, deployment_id

MOST_SECONDS: Final = 86_400.0
LEAST_SECONDS: Final = 0.001

_OTHER_WIRES: Final = frozenset(
    (
        *(
            "azure",
            "azure_ai",
            "azure_text",
            "bedrock",
            "bedrock_converse",
            "cohere",
            "cohere_chat",
            "gemini",
        ),
        *("replicate", "sagemaker", "sagemaker_chat", "vertex_ai", "vertex_ai_beta", "watsonx"),
    )
)
"""Providers of LiteLLM's that speak a wire of their own: an api_base does not make them OpenAI-compatible."""


class Models(NamedTuple):
    """What `model_list` says."""

    rows: tuple[Row, ...]
    budgets: tuple[Budget, ...]


def read_models(entries: Iterable[Section], report: Report, *, timeouts: Timeouts, zone: str) -> Models:
    """Read the entries; `timeouts` are those of a deployment that states none. Problems go to the report."""
    rows: list[Row] = []
    budgets: list[Budget] = []
    seen: Counter[str] = Counter()
    for entry in entries:
        known = len(report.problems)
        params, info = entry.section("litellm_params"), entry.section("model_info")
        row = _row(entry, params, info, timeouts)
        if row is not None:
            row = _identified(row, info, seen)
            if len(report.problems) == known:  # a missing variable need not be told twice
                where = f"{entry.file}: {entry.path} ({row.group})"
                report.check(where, partial(row.check, report.environ))
            rows.append(row)
            budgets += deployment_budgets(params, row.id, zone)
        for section in (params, info, entry):
            section.end()
    return Models(tuple(rows), tuple(budgets))


def read_aliases(router: Section) -> dict[str, Alias]:
    """Read `router_settings.model_group_alias`: a name → a group, or `{model, hidden}`."""
    section = router.section("model_group_alias")
    aliases: dict[str, Alias] = {}
    for name in section.left():
        if isinstance(section.raw(name), Mapping):
            alias = section.section(name)
            group, is_hidden = alias.take_text("model"), alias.take_flag("hidden")
            alias.end()
            if group is None:
                section.refuse(name, "must name a model: write model: GROUP")
        else:
            group, is_hidden = section.take_text(name), None
        if group is not None:
            aliases[name] = Alias(group, bool(is_hidden))
    return aliases


def build_routes(models: Models | None, aliases: Mapping[str, Alias], environ: Mapping[str, str]) -> Routes:
    """Give the routes of a configuration; None is one without a `model_list`: the environment's providers.

    Raises:
        InvalidValueError: an alias leads nowhere or hides a group, or the environment's keys are of no use.
    """
    if models is not None:
        return ConfiguredRoutes(models.rows, aliases, environ)
    if aliases:
        return ConfiguredRoutes([Row("*", "*", deployment_id("*", "*"))], aliases, environ)
    return EnvironmentRoutes(environ)


def read_timeouts(section: Section, timeouts: Timeouts) -> Timeouts:
    """Read LiteLLM's `timeout` and `stream_timeout`.

    `timeout` bounds the wait for the answer to begin, and `stream_timeout` the time from one piece of a
    stream to the next. Neither ends a stream that goes on; the total is raised where they are above it.
    """
    first = section.take_number("timeout", least=LEAST_SECONDS, most=MOST_SECONDS)
    between = section.take_number("stream_timeout", least=LEAST_SECONDS, most=MOST_SECONDS)
    return with_timeouts(timeouts, first_byte_seconds=first, between_chunks_seconds=between)


def with_timeouts(timeouts: Timeouts, **changed: float | None) -> Timeouts:
    """Some timeouts changed, but for those that are None; the total is at least each of the others."""
    changed = {name: seconds for name, seconds in changed.items() if seconds is not None}
    timeouts = replace(timeouts, **changed)  # type: ignore[arg-type]
    if "total_seconds" in changed:
        return timeouts
    return replace(
        timeouts,
        total_seconds=max(
            timeouts.total_seconds, timeouts.first_byte_seconds, timeouts.between_chunks_seconds
        ),
    )


def _row(entry: Section, params: Section, info: Section, timeouts: Timeouts) -> Row | None:
    group = _required(entry, "model_name", "name the model that callers ask for")
    model = _required(params, "model", "write provider/model, such as openai/gpt-4o")
    row = Row(
        group or "",
        model or "",
        _reference(params.raw("api_key")),  # for the id that `_identified` makes
        provider=params.take_text("custom_llm_provider"),
        api_key=params.take_text("api_key", is_secret=True),
        api_base=params.take_text("api_base"),
        own_price=_own_price(params, info),
        base_model=info.take_text("base_model") or "",
        weight=_weight(params),
        timeouts=_own_timeouts(params, timeouts),
        allowed_request_fields=take_request_fields(info),
        settings=_settings(params),
    )
    if model and model.partition("/")[0].lower() in _OTHER_WIRES and not row.provider:
        params.refuse("model", _foreign(model))
        return None
    return row if group and model else None


def _required(section: Section, key: str, advice: str) -> str | None:
    if not section.has(key):
        section.refuse(key, f"is missing: {advice}")
    return section.take_text(key)


def _foreign(model: str) -> str:
    return (
        f"is {model!r}, whose wire Outlay does not speak: take the entry out, or write openai/… with the "
        "api_base of a server that speaks OpenAI's"
    )


def _identified(row: Row, info: Section, seen: Counter[str]) -> Row:
    """The row with the id that it states, else one made of what it leads to; a key's text is no part."""
    stated = info.take_as("id", lambda value, field: check_id(str(value), field))
    if stated is not None:
        if seen[stated]:
            info.refuse("id", f"is {stated!r} as another's: give each deployment an id of its own")
        seen[stated] += 1
        return replace(row, id=stated)
    parts = [row.group, row.model, row.provider or "", row.api_base or "", row.id]
    facts = json.dumps(parts)
    seen[facts] += 1
    return replace(row, id=deployment_id(facts, str(seen[facts])))


def _reference(api_key: object) -> str:
    """A key's variable by name; the text of a key says nothing."""
    return api_key if isinstance(api_key, str) and api_key.startswith("os.environ/") else ""


def _weight(params: Section) -> float:
    weight = params.take_number("weight", least=0, most=1e9)
    return 1.0 if weight is None else weight


def _settings(params: Section) -> Mapping[str, str]:
    """The fields that requests get where they have none of their own, and that change what they cost."""
    stated = {name: params.take_text(name) for name in ("service_tier", "speed", "inference_geo")}
    return {name: value for name, value in stated.items() if value is not None}


def _own_timeouts(params: Section, timeouts: Timeouts) -> Timeouts | None:
    has_own = params.has("timeout") or params.has("stream_timeout")
    return read_timeouts(params, timeouts) if has_own else None


def _own_price(params: Section, info: Section) -> Mapping[str, Any]:
    """The price fields of both sections, those of `litellm_params` first."""
    stated: dict[str, Any] = {}
    for section in (info, params):
        for name in section.left():
            if name == "free" or is_price_field(name):
                value = section.take(name)
                if value is not None:
                    stated[name] = value
    if stated.get("free") is False:
        del stated["free"]
    if not stated:
        return {}
    try:
        read_price(stated, params.path, is_strict=False)
    except InvalidValueError as error:
        params.report.problem(f"{params.file}: {error.message}")
    return stated
