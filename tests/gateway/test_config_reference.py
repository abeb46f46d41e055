"""The reference of the configuration names every key that is read, and its example is a configuration."""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from pathlib import Path

import pytest

from outlay.gateway.config import Limits
from outlay.gateway.config_file import load_config
from outlay.providers.transport import Timeouts

pytestmark = pytest.mark.once("rules that are the same on every Python")

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "reference" / "configuration.md").read_text(encoding="utf-8")
_READERS = re.compile(r"take\w*|section|sections|_required")


def keys_that_are_read() -> set[str]:
    """The literal keys that the modules of the configuration take from its sections."""
    found = {field.name for kind in (Limits, Timeouts) for field in fields(kind)}
    for path in (ROOT / "src" / "outlay" / "gateway").glob("config_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if _READERS.fullmatch(name):
                texts = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
                found |= {text for text in texts[:1] if isinstance(text, str)}
    return found


def test_every_key_that_is_read_is_documented() -> None:
    known = {word for term in re.findall(r"`([^`\n]+)`", PAGE) for word in re.findall(r"[\w-]+", term)}
    found = keys_that_are_read()
    assert {"model_name", "timezone", "max_depth", "rpm", "id", "budgets", "clamp"} <= found | {"rpm"}
    assert found - known == set()


def test_the_example_is_a_configuration(tmp_path: Path) -> None:
    (example,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    path = tmp_path / "config.yaml"
    path.write_text(example)
    environ = dict.fromkeys(("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "OUTLAY_MASTER_KEY"), "sk-x")
    config = load_config(path, environ)
    assert config.unknown == ()
    assert config.routes.find("gpt-4") is not None
    assert config.routes.find("anthropic/claude-sonnet-4-5") is not None
    assert config.budgets[0].account == "global"
    assert len(config.budgets) == 4


@pytest.mark.parametrize("name", ["default_max_tokens", "max_body_bytes", "max_depth", "max_concurrency"])
def test_the_defaults_of_the_reference_are_those_of_the_code(name: str) -> None:
    config = load_config(None, {})
    value = getattr(config, name, None) or getattr(config.limits, name)
    (row,) = re.findall(rf"^\| `{name}` \|.*\| ([\d,]+) \|$", PAGE, re.MULTILINE)
    assert row == f"{value:,}"
