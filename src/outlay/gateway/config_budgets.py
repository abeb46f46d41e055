"""Budgets of a configuration: of the whole gateway, of providers, of deployments, and of any account.

global/usd                          litellm_settings.max_budget over budget_duration
provider:ID/usd                     router_settings.provider_budget_config
deployment:ID/usd                   a deployment's max_budget over budget_duration
deployment:ID/requests:1m           its rpm      deployment:ID/tokens:1m  its tpm
deployment:ID/concurrency           its max_parallel_requests
config/ACCOUNT/UNIT/WINDOW          one of outlay.budgets that has no id of its own
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from outlay.domain.accounts import check_account_id, check_name
from outlay.domain.budgets import MAX_AMOUNT, MODES, UNITS, Budget, Mode, Unit, check_budget
from outlay.domain.money import parse_limit
from outlay.domain.windows import Window, check_zone
from outlay.errors import InvalidValueError
from outlay.gateway.budgeting import is_of_record
from outlay.gateway.config import PROJECT
from outlay.gateway.config_section import Section
from outlay.gateway.config_values import read_whole
from outlay.gateway.durations import litellm_window
from outlay.gateway.keys import is_hash
from outlay.providers.catalogue import known_provider

_MINUTE: Final = Window.parse("1m")
_TOTAL: Final = Window.parse("total")
_EXACT_HERE: Final = ("1d", "1w", "7d", "30d")
"""In LiteLLM's fields these are aligned; in Outlay's own they are the lengths that they say."""
_RATES: Final[Sequence[tuple[str, Unit, str, Window]]] = (
    ("rpm", "requests", "requests:1m", _MINUTE),
    ("tpm", "tokens", "tokens:1m", _MINUTE),
    ("max_parallel_requests", "concurrency", "concurrency", _TOTAL),
)


def global_budgets(litellm: Section, zone: str) -> list[Budget]:
    """The gateway's own: `max_budget` over `budget_duration`."""
    window = litellm.take_as("budget_duration", lambda value, field: litellm_window(value, zone, field=field))
    limit = litellm.take_as("max_budget", parse_limit)
    if limit is None:
        return []
    if limit == 0:  # a moving user would find the gateway shut
        litellm.refuse("max_budget", "is 0, which is no limit in LiteLLM: take it out, or state one above 0")
        return []
    return [Budget(PROJECT, "global/usd", "global", "usd", limit, window or _TOTAL)]


def provider_budgets(router: Section, zone: str) -> list[Budget]:
    """Those of `provider_budget_config`: `{openai: {budget_limit: 100, time_period: 1d}}`."""
    section = router.section("provider_budget_config")
    found = []
    for name in section.left():
        is_stated = isinstance(section.raw(name), Mapping)
        each = section.section(name)
        if not is_stated:
            continue
        limit, window = _limit_and_window(each, zone)
        each.end()
        try:
            account = f"provider:{known_provider(name).id}"
        except InvalidValueError as error:
            section.refuse(name, f"names no provider: {error.message}")
            continue
        if limit is not None:
            found.append(Budget(PROJECT, f"{account}/usd", account, "usd", limit, window))
    return found


def deployment_budgets(params: Section, deployment_id: str, zone: str) -> list[Budget]:
    """Those of a deployment's parameters."""
    account = f"deployment:{deployment_id}"
    found = []
    for name, unit, suffix, window in _RATES:
        count = params.take_whole(name, least=0, most=10**12)
        if count is not None:
            found.append(Budget(PROJECT, f"{account}/{suffix}", account, unit, count, window))
    if params.has("max_budget") or params.has("budget_duration"):
        limit, window = _limit_and_window(params, zone, names=("max_budget", "budget_duration"))
        if limit is not None:
            found.append(Budget(PROJECT, f"{account}/usd", account, "usd", limit, window))
    return found


def own_budgets(sections: Iterable[Section], zone: str) -> list[Budget]:
    """Those of `outlay.budgets`, each for any account, unit and window."""
    found = []
    for section in sections:
        budget = _own_budget(section, zone)
        section.end()
        if budget is not None:
            found.append(budget)
    return found


def repeated(budgets: Iterable[Budget]) -> list[str]:
    """What is wrong with budgets that have one id."""
    seen: set[str] = set()
    problems = []
    for budget in budgets:
        if budget.id in seen:
            problems.append(f"there are two budgets {budget.id!r}: take one out, or give it another id")
        seen.add(budget.id)
    return problems


def misplaced(budgets: Iterable[Budget], deployments: Collection[str]) -> list[str]:
    """What is wrong with budgets of deployments that there are not: they would hold nothing."""
    accounts = {f"deployment:{id}" for id in deployments}
    return [
        f"{budget.account} is no deployment (outlay check-config shows their ids): state model_info.id"
        for budget in budgets
        if budget.account.startswith("deployment:") and budget.account not in accounts
    ]


def _limit_and_window(
    section: Section, zone: str, *, names: tuple[str, str] = ("budget_limit", "time_period")
) -> tuple[int | None, Window]:
    """The amount and the window, by these names or by LiteLLM's other pair."""
    pairs = [names, ("max_budget", "budget_duration")]
    limits = [section.take_as(name, parse_limit) for name, _ in dict.fromkeys(pairs) if section.has(name)]
    windows = [
        section.take_as(name, lambda value, field: litellm_window(value, zone, field=field))
        for _, name in dict.fromkeys(pairs)
        if section.has(name)
    ]
    if not limits:
        section.refuse(names[0], "is missing: state the limit in USD")
    for amounts, name in ((limits, names[0]), (windows, names[1])):
        if len({*amounts} - {None}) > 1:  # the wider one must not win
            section.refuse(name, "is stated twice, under LiteLLM's two names, and differs: take one out")
    return next(iter(limits), None), next((window for window in windows if window), _TOTAL)


def _own_budget(section: Section, zone: str) -> Budget | None:
    for name in ("account", "limit"):
        if not section.has(name):
            section.refuse(name, "is missing: a budget needs an account and a limit")
    account = section.take_as("account", _account)
    unit: Unit = section.take_choice("unit", UNITS) or "usd"
    limit = section.take_as("limit", lambda value, field: _amount(value, field, unit))
    text = section.take("window")
    zone = section.take_as("time_zone", check_zone) or zone
    window = _window(section, "total" if text is None else text, zone)
    mode: Mode = section.take_choice("mode", MODES) or "hard"
    models, providers = section.take_names("models"), section.take_names("providers")
    providers = tuple(_provider_id(section, name) for name in providers)
    given = section.take_as("id", check_name)
    if account is None or limit is None or window is None:
        return None
    id = given or "/".join(["config", account, unit, window.text, *sorted({*models, *providers})])
    return _checked(section, Budget(PROJECT, id, account, unit, limit, window, mode, models, providers))


def _account(value: object, field: str) -> str:
    """The account's id. Nobody would ever call on one that is misnamed, and the budget would hold nothing."""
    account = check_account_id(value, field)
    kind, _, name = account.partition(":")
    if kind == "key" and not is_hash(name):  # it may be a secret: it is not told
        raise InvalidValueError(
            f"{field} must name a key by its hash, key:HASH, which `outlay key info` shows as its id"
        )
    if kind == "provider":
        try:
            return f"provider:{known_provider(name).id}"
        except InvalidValueError as error:
            raise InvalidValueError(f"{field} names no provider: {error.message}") from None
    return account


def _checked(section: Section, budget: Budget) -> Budget | None:
    if is_of_record(budget):
        section.refuse("id", f"must not be {budget.id!r}, which is that of a limit set by LiteLLM's fields")
        return None
    try:
        return check_budget(budget)
    except InvalidValueError as error:
        section.report.problem(f"{section.file}: {section.path}: {error.message}")
        return None


def _provider_id(section: Section, name: str) -> str:
    try:
        return known_provider(name).id
    except InvalidValueError as error:
        section.refuse("providers", f"names no provider: {error.message}")
        return name


def _amount(value: Any, field: str, unit: Unit) -> int:
    if unit == "usd":
        return parse_limit(value, field)
    return read_whole(value, field, least=0, most=MAX_AMOUNT)


def _window(section: Section, text: object, zone: str) -> Window | None:
    """Outlay's own words, and LiteLLM's words of a day, a week and a month."""
    field = section.where("window")
    try:
        if text == "total" or text in _EXACT_HERE:
            return Window.parse(text, zone=zone, field=field)
        return litellm_window(text, zone, field=field)  # type: ignore[arg-type] # it refuses what is no text
    except InvalidValueError:
        section.refuse(
            "window",
            "must be total, a length such as 90m, 36h, 1d or 1mo, or one of hourly, daily, weekly, monthly, "
            "quarterly and yearly",
        )
        return None
