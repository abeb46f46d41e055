"""The environment of a configuration: the variables that it sets, the master key, the database."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Final

from outlay.errors import InvalidValueError
from outlay.gateway.config_section import Report, Section
from outlay.providers.catalogue import PROVIDERS
from outlay.settings import DATABASE_URL, Settings
from outlay.stores.sqlite.opening import is_of_another_program

MASTER_KEYS: Final = ("OUTLAY_MASTER_KEY", "LITELLM_MASTER_KEY")
SHARED: Final = "DATABASE_URL"
DATABASE_URLS: Final = (DATABASE_URL, SHARED)

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
    """The flag's, else the file's, else the environment's; None for the default.

    What names another program's database is noted, and not used: LiteLLM's PostgreSQL in the file, and what
    cannot be Outlay's in `DATABASE_URL`, which many programs read.
    """
    candidates = [
        ("--database-url", flag),
        (general.at("database_url"), general.take_text("database_url")),
        *((name, report.environ.get(name, "").strip() or None) for name in DATABASE_URLS),
    ]
    report.used.update(DATABASE_URLS)
    unused: set[str] = set()
    for where, url in candidates:
        if url is None or url in unused:
            continue
        if "@" in url:
            report.hide(url)
        others = (
            None if where in ("--database-url", DATABASE_URL) else _others(url, is_shared=where == SHARED)
        )
        if others is None:
            report.check(where, partial(Settings.from_environment, {}, database_url=url))
            return url
        unused.add(url)
        report.notes.append(
            f"{where} names {others}, and is not used: say where Outlay's data lies with {DATABASE_URL} or "
            "--database-url"
        )
    return None


def _others(url: str, *, is_shared: bool) -> str | None:
    """Whose database the URL names, if not Outlay's. Only one that `is_shared` may be of any program."""
    scheme = url.partition(":")[0].partition("+")[0].lower()
    if scheme in ("postgres", "postgresql"):
        return "a PostgreSQL database"
    if not is_shared:
        return None
    if ":" in url and scheme != "sqlite":
        return "a database of another kind"
    try:
        path = Settings.from_environment({}, database_url=url).database_path
    except InvalidValueError:
        return "no file that can be used"
    return "the database of another program" if is_of_another_program(path) else None


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
