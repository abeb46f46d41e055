"""Rules for keys in a configuration: `default_key_generate_params` and `upperbound_key_generate_params`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from outlay.domain.budgets import MAX_AMOUNT
from outlay.domain.money import limit_float
from outlay.errors import InvalidValueError
from outlay.gateway.budgeting import budgets_of
from outlay.gateway.config_section import Section
from outlay.gateway.key_rules import KeyRules, expiry_of
from outlay.gateway.records import KeyRecord, with_fields

_BOUNDED: Final = (
    "max_budget",
    "budget_duration",
    "duration",
    "tpm_limit",
    "rpm_limit",
    "max_parallel_requests",
)
_COUNTS: Final = ("tpm_limit", "rpm_limit", "max_parallel_requests")
_AMOUNTS: Final = ("max_budget", "soft_budget")
_OURS: Final = frozenset(
    {"key_name", "created_at", "created_by", "updated_at", "updated_by", "is_deleted", "expires_at"}
)
"""Fields that the gateway sets itself."""


def default_key_params(litellm: Section, zone: str) -> Mapping[str, Any]:
    """What a key has unless its maker says otherwise: fields of a key, and `duration`."""
    names = {"duration", *KeyRecord.__struct_fields__} - _OURS

    def check(fields: Mapping[str, Any]) -> None:
        expiry_of(fields.get("duration"), 0)
        stated = {name: value for name, value in fields.items() if name != "duration"}
        budgets_of("key:default", with_fields(KeyRecord(), stated), zone=zone, at=0)

    return _params(litellm, "default_key_generate_params", names, check)


def upperbound_key_params(litellm: Section) -> Mapping[str, Any]:
    """The most that any key may have."""

    def check(fields: Mapping[str, Any]) -> None:
        KeyRules(upperbounds=fields).check(fields)

    return _params(litellm, "upperbound_key_generate_params", set(_BOUNDED), check)


def _params(
    litellm: Section, key: str, names: set[str], check: Callable[[Mapping[str, Any]], None]
) -> Mapping[str, Any]:
    section = litellm.section(key)
    fields = {name: _value(section, name) for name in section.left() if name in names}
    section.end()
    fields = {name: value for name, value in fields.items() if value is not None}
    try:
        check(fields)
    except InvalidValueError as error:
        section.report.problem(f"{section.file}: {section.path}: {error.message}")
    return fields


def _value(section: Section, name: str) -> Any:
    if name in _COUNTS:
        return section.take_whole(name, least=0, most=MAX_AMOUNT)
    if name in _AMOUNTS:
        return section.take_as(name, limit_float)
    return section.take(name)
