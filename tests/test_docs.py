"""The documentation is true: its code runs, its links lead somewhere, and nothing a user meets is left out.

Python of one page runs from top to bottom in one namespace, in an empty folder, against a fake provider; a
page of the gateway has a real one at its address. What must not run is marked ```python notest and begins
with the comment `# Not run: ` and why. An ```output block says what the Python right before it prints, to the
letter.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from itertools import takewhile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import anthropic
import openai
import pytest
from documented import documented_gateway
from pages import (
    PAGES,
    REFERENCE,
    ROOT,
    SOURCES_OF_OUTLAY,
    anchors,
    blocks,
    name_of,
    prose,
    python_of,
    terms,
)
from typer.main import get_command

import outlay
from outlay import completions, errors
from outlay.answers import Answer
from outlay.budget_manager import BudgetManager
from outlay.cli.app import app, run
from outlay.domain.accounts import KINDS
from outlay.domain.budgets import MODES, UNITS
from outlay.domain.entries import SOURCES, VOID_REASONS
from outlay.ledger.user_budgets import DURATIONS
from outlay.providers.catalogue import ALIASES, PROVIDERS
from outlay.streams import AsyncStream, Stream
from outlay.testing import provider as testing_provider
from outlay.testing.clock import FakeClock
from outlay.testing.provider import Behaviour, Bill, FakeProvider
from outlay.user_reservation import UserReservation

pytest_plugins = ["front_doors"]
pytestmark = pytest.mark.once("the words of the documentation")

NOT_RUN = "# Not run: "

_LINK = re.compile(r"\[[^\]\n]*\]\((?P<target>[^)\s]+)\)")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*_(API_KEY|API_BASE|BASE_URL|HOST|PROXY|URL|PRICES)")
_TABLE = re.compile(r"^CREATE TABLE (\w+)", re.MULTILINE)


@pytest.fixture
def a_fresh_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, process_budget: None) -> Iterator[None]:
    """An empty folder, a fake provider behind OpenAI's variables; no settings, nothing spent."""
    with FakeProvider() as provider, patch.dict(os.environ):
        for name in [name for name in os.environ if name.startswith("OUTLAY_") or _VARIABLE.fullmatch(name)]:
            del os.environ[name]
        os.environ.update(
            OPENAI_API_KEY="sk-docs", OPENAI_API_BASE=provider.base_url, OPENAI_BASE_URL=provider.base_url
        )
        monkeypatch.chdir(tmp_path)
        completions._price_book.cache_clear()
        yield
        completions._price_book.cache_clear()


@pytest.mark.parametrize("page", [page for page in PAGES if python_of(page)], ids=name_of)
@pytest.mark.usefixtures("a_fresh_program")
def test_the_python_of_a_page_runs(page: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    with documented_gateway(page, tmp_path) as gateway, closed_clients(namespace):
        for block, output in python_of(page):
            body = block.body if gateway is None else gateway.fill_in(block.body)
            exec(compile("\n" * block.line + body, str(page), "exec"), namespace)  # noqa: S102 # our own pages
            printed = capsys.readouterr().out
            if output is not None:
                assert printed == output, f"{name_of(page)}, line {block.line + 1}: it prints something else"


@contextmanager
def closed_clients(namespace: Mapping[str, Any]) -> Iterator[None]:
    """Close the clients that a page leaves open, as the end of its program would."""
    try:
        yield
    finally:
        for value in namespace.values():
            if isinstance(value, openai.OpenAI | anthropic.Anthropic):
                value.close()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_that_does_not_run_says_why(page: Path) -> None:
    for block in blocks(page):
        if block.info.startswith("python") and block.info != "python":
            assert block.info == "python notest", f"line {block.line}: {block.info!r}"
            assert block.body.startswith(NOT_RUN), f"line {block.line}: begin with {NOT_RUN!r} and the reason"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_relative_links_lead_to_a_file_and_a_heading(page: Path) -> None:
    for match in _LINK.finditer(prose(page)):
        target, _, anchor = match["target"].partition("#")
        if "://" in target:
            continue
        found = (page.parent / target).resolve() if target else page
        assert found.exists(), f"{match['target']} leads nowhere"
        assert not anchor or anchor in anchors(found), f"{match['target']}: there is no such heading"


def test_every_page_can_be_reached_from_the_index() -> None:
    start = ROOT / "docs" / "index.md"
    seen, ahead = {start}, [start]
    while ahead:
        page = ahead.pop()
        for match in _LINK.finditer(prose(page)):
            found = (page.parent / match["target"].partition("#")[0]).resolve()
            if found.suffix == ".md" and found not in seen and found.exists():
                seen.add(found)
                ahead.append(found)
    assert {page for page in PAGES if page.is_relative_to(ROOT / "docs")} <= seen


# Commands.


def commands(group: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command of the command line with its path, groups included."""
    group = get_command(app) if group is None else group
    yield path, group
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*path, name))


def options_of(command: Any) -> set[str]:
    return {option for param in command.params for option in param.opts if option.startswith("-")}


def test_every_command_and_option_is_documented() -> None:
    page = (REFERENCE / "cli.md").read_text(encoding="utf-8")
    sections = {part.partition("\n")[0].strip("` "): part for part in re.split(r"^## ", page, flags=re.M)}
    for path, command in commands():
        title = " ".join(("outlay", *path))
        assert title in sections, f"reference/cli.md has no section `{title}`"
        for param in command.params:
            for name in [option for option in param.opts if option.startswith("--")]:
                assert f"`{name}" in sections[title], f"`{title}` does not tell of {name}"
            if not param.opts[0].startswith("-"):
                assert param.metavar in sections[title], f"`{title}` does not tell of {param.metavar}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_in_pages_exist_with_their_options(page: Path) -> None:
    known = dict(commands())
    for block in [block for block in blocks(page) if block.info == "console"]:
        for line in re.findall(r"^\$ outlay (.*)$", block.body, re.MULTILINE):
            words = [word for word in shlex.split(line, comments=True) if word != "…"]
            words = list(takewhile(lambda word: word not in ("|", "||", "&&", "<", ">"), words))
            path: tuple[str, ...] = ()
            allowed = {"--help", "-h"} | options_of(known[()])
            for word in words:
                if (*path, word) in known:
                    path = (*path, word)
                    allowed |= options_of(known[path])
            assert path or words[0].startswith("-"), f"there is no command in `outlay {line}`"
            assert {word for word in words if word.startswith("-")} <= allowed, f"`outlay {line}`"


@pytest.mark.usefixtures("a_fresh_program")
def test_the_json_of_every_command_is_documented(capsys: pytest.CaptureFixture[str]) -> None:
    manager = outlay.BudgetManager(project_name="docs", clock=FakeClock(), database_url="outlay.db")
    manager.create_budget(1, "ada", duration="monthly")
    manager.update_cost("ada", model="gpt-4o", input_text="one", output_text="two")
    with manager.reserve("ada", "gpt-4o", [{"role": "user", "content": "three"}], max_tokens=10):
        pass
    manager.close()
    Path("user_cost.json").write_text('{"bob": {"total_budget": 5, "current_cost": 1}}', encoding="utf-8")
    known = terms("cli.md") | terms("records.md")
    for words in (
        ["balance"],
        ["entries"],
        ["audit"],
        ["price", "claude-sonnet-4-5"],
        ["presumed", "list"],
        ["clock"],
        ["import-litellm", "user_cost.json", "--project", "p"],
    ):
        assert run([*words, "--json"]) == 0, words
        missing = set(keys(json.loads(capsys.readouterr().out))) - known
        assert not missing, (
            f"the JSON of `outlay {words[0]}` has {missing}, which the reference does not name"
        )


def keys(value: object) -> Iterator[str]:
    """The keys of a JSON value at any depth, without those that are data: models, units and details."""
    for each in value if isinstance(value, list) else []:
        yield from keys(each)
    for key, each in value.items() if isinstance(value, dict) else []:
        yield key
        if key not in ("usage", "detail"):
            yield from keys(each)


# Settings.


def variables() -> set[str]:
    """The environment variables that the code names, wherever it does."""
    found: set[str] = set()
    for path in SOURCES_OF_OUTLAY.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found |= {node.value} if _VARIABLE.fullmatch(node.value) else set()
                found |= set(re.findall(r"\bOUTLAY_[A-Z_]*[A-Z]\b", node.value))
    return found


def test_every_setting_is_documented() -> None:
    found = variables()
    assert {"OUTLAY_DATABASE_URL", "OUTLAY_PRICES", "OPENAI_API_KEY", "HTTPS_PROXY"} <= found
    for provider in PROVIDERS.values():
        assert {*provider.key_env, *provider.base_env} <= found, (
            f"this test does not see all of {provider.id}"
        )
    assert found - terms("settings.md") == set()


def test_every_provider_and_alias_is_documented() -> None:
    assert {*PROVIDERS, *ALIASES} - terms("settings.md") == set()


# Errors.


def test_every_error_and_its_code_is_documented() -> None:
    rows = (REFERENCE / "errors.md").read_text(encoding="utf-8").splitlines()
    for name in errors.__all__:
        code = getattr(errors, name).code
        assert any(f"`{name}`" in row and f"`{code}`" in row for row in rows), f"{name} ({code})"


def test_the_errors_of_the_reference_exist() -> None:
    assert {term for term in terms("errors.md") if re.fullmatch(r"[A-Z]\w+Error", term)} <= {
        *errors.__all__,
        *("ValueError", "KeyError"),
    }


# The Python API.


def public(owner: type) -> set[str]:
    return {name for name in vars(owner) if not name.startswith("_")}


@pytest.mark.parametrize("owner", [BudgetManager, UserReservation, Answer, Stream, AsyncStream])
def test_every_public_method_is_documented(owner: type) -> None:
    assert public(owner) - terms("python.md") == set()


def test_every_public_name_is_documented() -> None:
    assert {*outlay.__all__, "_current_cost"} - terms("python.md") - terms("errors.md") == set()


def test_every_test_double_is_documented() -> None:
    known = terms("testing.md")
    assert set(testing_provider.__all__) - known == set()
    for owner in (FakeClock, FakeProvider, Bill):
        assert public(owner) - known == set()
    assert {field.name for field in fields(Behaviour)} - known == set()


# Words that appear in commands, records and files.


def test_every_word_of_the_records_is_documented() -> None:
    known = terms("records.md")
    kinds = re.search(r"kind +TEXT NOT NULL CHECK \(kind IN \(([^)]*'settle'[^)]*)\)", schema())
    assert kinds is not None
    assert {*re.findall(r"'(\w+)'", kinds[1]), *SOURCES, *VOID_REASONS, *KINDS} - known == set()


def test_every_unit_mode_and_duration_is_documented() -> None:
    assert {*UNITS, *MODES, *DURATIONS} - terms("budgets.md") == set()


def test_every_table_of_the_database_is_documented() -> None:
    assert set(_TABLE.findall(schema())) - terms("database-files.md") == set()


def schema() -> str:
    folder = SOURCES_OF_OUTLAY / "stores" / "sqlite" / "migrations"
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.sql")))
