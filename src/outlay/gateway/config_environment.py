"""The environment of a configuration: the variables that it sets, the master key, the database."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from outlay.gateway.config_section import Report, Section
from outlay.providers.catalogue import PROVIDERS
from outlay.settings import DATABASE_URL, Settings

MASTER_KEYS: Final = ("OUTLAY_MASTER_KEY", "LITELLM_MASTER_KEY")
DATABASE_URLS: Final = (DATABASE_URL, "DATABASE_URL")

_MASTER_KEY: Final = re.compile(r"[\x21-\x7e]{1,512}")


def master_key(general: Section, report: Report) -> str | None:
    """The file's, else the environment's."""
    where, key = general.at("master_key"), general.take_text("master_key", is_secret=True)
    if key is None:
        name = next((name for name in MASTER_KEYS if report.environ.get(name, "").strip()), MASTER_KEYS[0])
        where, key = name, report.environ.get(name, "").strip() or None
        report.used.update(MASTER_KEYS)
    if key is not None and not _MASTER_KEY.fullmatch(key):
        report.problem(f"{where} must be up to 512 visible ASCII characters without spaces: take another")
    return key


def database_url(general: Section, report: Report, flag: str | None) -> str | None:
    """The flag's, else the file's, else the environment's; None for the default."""
    where, url = general.at("database_url"), general.take_text("database_url")
    if url is None:
        name = next((name for name in DATABASE_URLS if report.environ.get(name, "").strip()), DATABASE_URL)
        where, url = name, report.environ.get(name, "").strip() or None
    report.used.update(DATABASE_URLS)
    if flag is not None:
        where, url = "--database-url", flag
    if url is not None and "@" in url:
        report.hide(url)
    if url is not None:
        where += f" ({DATABASE_URL} goes before it)" if where == "DATABASE_URL" else ""
        report.check(where, lambda: Settings.from_environment({}, database_url=url))
    return url


def set_variables(section: Section, report: Report) -> dict[str, str]:
    """Put the file's `environment_variables` over the environment; give them by name → path."""
    variables = {}
    for name in section.left():
        value = section.take(name, is_secret=True)
        if isinstance(value, bool) or not isinstance(value, str | int | float | None):
            section.refuse(name, f"must be text, not {type(value).__name__}: put it in quotes")
        elif value is not None:
            report.environ[name] = str(value)
            variables[name] = section.where(name)
    return variables


def note_unused(variables: Mapping[str, str], report: Report) -> None:
    """A variable that only another program, or this process itself, would look at does nothing here."""
    of_providers = {name for each in PROVIDERS.values() for name in (*each.key_env, *each.base_env)}
    report.unknown += [
        path for name, path in variables.items() if name not in report.used and name not in of_providers
    ]
