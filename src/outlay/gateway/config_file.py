"""The configuration's file: LiteLLM's own format, Outlay's settings under `outlay:`, and the environment.

    load_config(Path("config.yaml"), os.environ)    what the file says
    load_config(None, os.environ)                   the providers whose keys the environment has

What the file does not say comes from the environment; a flag goes before both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from outlay.domain.windows import find_zone
from outlay.errors import InvalidValueError
from outlay.gateway.config import Config, Limits
from outlay.gateway.config_budgets import global_budgets, misplaced, own_budgets, provider_budgets, repeated
from outlay.gateway.config_environment import database_url as read_database_url
from outlay.gateway.config_environment import master_key, note_unused, set_variables
from outlay.gateway.config_fields import take_request_fields
from outlay.gateway.config_keys import default_key_params, upperbound_key_params
from outlay.gateway.config_models import (
    LEAST_SECONDS,
    MOST_SECONDS,
    Models,
    build_routes,
    read_aliases,
    read_models,
    read_timeouts,
    with_timeouts,
)
from outlay.gateway.config_section import Report, Section, merged
from outlay.gateway.config_yaml import read_files
from outlay.gateway.unserved import unserved_budgets
from outlay.pricing.bound.estimate import METHODS
from outlay.pricing.overrides import read_prices
from outlay.providers.transport import Timeouts

SECTIONS: Final = (
    "router_settings",
    "litellm_settings",
    "general_settings",
    "environment_variables",
    "outlay",
)

_AS_IT_IS: Final[Mapping[str, object]] = {
    "router_settings.routing_strategy": "simple-shuffle",
    "router_settings.num_retries": 0,
    "litellm_settings.num_retries": 0,
    "litellm_settings.cache": False,
    "litellm_settings.drop_params": False,
    "litellm_settings.json_logs": True,
    "litellm_settings.set_verbose": False,
    "litellm_settings.telemetry": False,
    "litellm_settings.turn_off_message_logging": True,
    "litellm_settings.budget_reset_time": "00:00",
    "general_settings.disable_spend_logs": False,
    "general_settings.store_model_in_db": False,
    "general_settings.store_prompts_in_spend_logs": False,
}
"""Keys that Outlay has no setting for, with the value that says what it does anyway."""


class ConfigError(InvalidValueError):
    """A configuration that cannot be used. `problems` are all that were found, each with file and path."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems: Final = tuple(problems)
        count = f"{len(problems)} problems: " if len(problems) > 1 else ""
        super().__init__(count + "; ".join(problems))


class _Sections(NamedTuple):
    router: Section
    litellm: Section
    general: Section
    environment: Section
    outlay: Section


def load_config(path: Path | None, environ: Mapping[str, str], *, database_url: str | None = None) -> Config:
    """Read the configuration.

    Args:
        path: the file; None for what the environment says.
        environ: the environment. The file's `environment_variables` go before it.
        database_url: a flag's, which goes before the file's and the environment's.

    Raises:
        ConfigError: a file cannot be read, or a value cannot be used. Keys that are not implemented are no
            error: `Config.unknown` names them.
    """
    report = Report(dict(environ))
    try:
        files = read_files(path) if path is not None else []
    except InvalidValueError as error:
        raise ConfigError([error.message]) from error
    tops = [Section(file.values, "", report, file=file.name) for file in files]
    tops = tops or [Section({}, "", report, file="the environment")]
    sections = _Sections(*(merged(tops, name) for name in SECTIONS))
    variables = set_variables(sections.environment, report)
    config = _config(tops, sections, report, database_url)
    note_unused(variables, report)
    if config is None or report.problems:
        raise ConfigError(report.problems)
    return replace(config, unknown=tuple(report.unknown), notes=tuple(report.notes))


def _config(
    tops: Sequence[Section], sections: _Sections, report: Report, database_url: str | None
) -> Config | None:
    router, litellm, general, outlay = sections.router, sections.litellm, sections.general, sections.outlay
    zone = litellm.take_as("timezone", _zone) or "UTC"
    timeouts = _timeouts(router, litellm, outlay)
    models = _models(tops, report, timeouts, zone)
    aliases = read_aliases(router)
    where = router.at("model_group_alias") if aliases else tops[0].file
    has_problems = bool(report.problems)
    routes = (
        None if has_problems else report.check(where, lambda: build_routes(models, aliases, report.environ))
    )
    budgets = [
        *global_budgets(litellm, zone),
        *provider_budgets(router, zone),
        *(models.budgets if models else ()),
        *own_budgets(outlay.sections("budgets"), zone),
    ]
    deployments = [row.id for row in models.rows] if models else []
    for problem in [*repeated(budgets), *(misplaced(budgets, deployments) if models else [])]:
        report.problem(f"{tops[0].file}: {problem}")
    fields: dict[str, Any] = {
        "master_key": master_key(general, report),
        "database_url": read_database_url(general, report, database_url),
        "budgets": tuple(budgets),
        "time_zone": zone,
        "is_user_budget_on_team_keys": general.take_flag("apply_user_budget_to_team_keys"),
        "budget_exceeded_status": litellm.take_choice("budget_exceeded_status_code", (422, 429, 400)),
        "default_key_params": default_key_params(litellm, zone),
        "upperbound_key_params": upperbound_key_params(litellm),
        "timeouts": timeouts,
        **_own_settings(outlay),
    }
    for section in (*tops, router, litellm, general, outlay):
        _end(section)
    if routes is None:
        return None
    report.notes += unserved_budgets(routes, budgets)
    stated = {name: value for name, value in fields.items() if value is not None}
    return Config(routes, **stated)


def _own_settings(outlay: Section) -> dict[str, Any]:
    return {
        "default_max_tokens": outlay.take_whole("default_max_tokens", least=1, most=10**9),
        "allowed_request_fields": take_request_fields(outlay) or None,
        "unknown_request_fields": outlay.take_choice("unknown_request_fields", ("refuse", "pass")),
        "default_max_tool_calls": outlay.take_whole("default_max_tool_calls", least=1, most=1_000),
        "clamp": outlay.take_choice("clamp", ("undeclared", "always")),
        "estimate": outlay.take_choice("estimate", METHODS),
        "prices": outlay.take_as("prices", _prices),
        "budget_wait_seconds": outlay.take_number("budget_wait_seconds", least=0, most=600),
        "limits": _limits(outlay.section("limits")),
    }


def _models(tops: Sequence[Section], report: Report, timeouts: Timeouts, zone: str) -> Models | None:
    """The entries of all files; None without any list, for the environment's providers."""
    lists = [top for top in tops if top.has("model_list")]
    entries = [entry for top in lists for entry in top.sections("model_list")]
    if lists and not entries and not report.problems:
        lists[0].refuse(
            "model_list", "is empty: list a model, or leave it out for the environment's providers"
        )
    return read_models(entries, report, timeouts=timeouts, zone=zone) if lists else None


def _timeouts(router: Section, litellm: Section, outlay: Section) -> Timeouts:
    request = litellm.take_number("request_timeout", least=LEAST_SECONDS, most=MOST_SECONDS)
    timeouts = read_timeouts(router, with_timeouts(Timeouts(), first_byte_seconds=request))
    own = outlay.section("timeouts")
    stated = {
        name: own.take_number(name, least=LEAST_SECONDS, most=MOST_SECONDS)
        for name in Timeouts.__dataclass_fields__
    }
    own.end()
    return with_timeouts(timeouts, **stated)


def _limits(section: Section) -> Limits:
    stated = {
        "max_body_bytes": section.take_whole("max_body_bytes", least=1024, most=2**30),
        "max_depth": section.take_whole("max_depth", least=1, most=500),
        "max_concurrency": section.take_whole("max_concurrency", least=1, most=100_000),
        "receive_seconds": section.take_number("receive_seconds", least=0.1, most=MOST_SECONDS),
        "drain_seconds": section.take_number("drain_seconds", least=0, most=MOST_SECONDS),
    }
    section.end()
    given: dict[str, Any] = {name: value for name, value in stated.items() if value is not None}
    return Limits(**given)


def _prices(value: Any, field: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidValueError(f"{field} must map provider/model to its prices")
    for name, stated in value.items():
        if not isinstance(name, str) or "/" not in name:
            raise InvalidValueError(f"{field} must name provider/model or provider/*, not {name!r}")
        read_prices(stated, f"{field}.{name}")
    return value


def _zone(value: Any, field: str) -> str:
    try:
        find_zone(value)
    except (InvalidValueError, TypeError):  # TypeError: a list cannot be looked up
        raise InvalidValueError(
            f"{field} must be an IANA time zone such as Europe/Berlin, not {value!r}"
        ) from None
    return str(value)


def _end(section: Section) -> None:
    for name in section.left():
        if _AS_IT_IS.get(section.where(name), ...) == section.raw(name):
            section.take(name)
    section.end()
