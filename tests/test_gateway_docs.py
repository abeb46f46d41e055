"""The gateway's documentation is true: its commands run, and nothing that a caller meets is left out."""

from __future__ import annotations

import ast
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from documented import ADDRESS, KEY, commands_of, documented_gateway, is_of_gateway, statuses
from gateways import Gateway
from journal import eventually
from pages import PAGES, REFERENCE, ROOT, SOURCES_OF_OUTLAY, blocks, name_of, terms

from outlay.gateway.config_file import load_config
from outlay.gateway.demo import Scene, commands
from outlay.gateway.logs import RequestLog
from outlay.gateway.paths import COUNTING, PATHS
from outlay.gateway.views import view_routes
from outlay.routing.configured import ConfiguredRoutes

pytest_plugins = ["gateway_fixtures"]
pytestmark = pytest.mark.once("the words of the documentation")

GATEWAY = SOURCES_OF_OUTLAY / "gateway"
_HEADER = re.compile(r"x-[a-z-]+[a-z]|retry-after|request-id|idempotency-key|anthropic-[a-z]+")


def configurations(page: Path) -> list[str]:
    """The configurations of the gateway on a page, whole or in part."""
    found = [block.body for block in blocks(page) if block.info == "yaml"]
    return [
        text for text in found if re.search(r"^(model_list|litellm_settings|outlay):", text, re.MULTILINE)
    ]


@pytest.mark.parametrize("page", [page for page in PAGES if is_of_gateway(page)], ids=name_of)
def test_the_commands_of_a_page_do_what_it_says(page: Path, tmp_path: Path) -> None:
    with documented_gateway(page, tmp_path) as gateway:
        assert gateway is not None
        for line, said, had in statuses(page, gateway, tmp_path):
            assert said == had, f"{name_of(page)}, the block from line {line + 1}"


def test_the_readme_has_the_commands_that_the_demo_prints() -> None:
    scene = Scene(ConfiguredRoutes([], {}, {}), "", "demo", {"max_tokens": 100_000})
    printed = [command for _, command in commands(scene, ADDRESS, KEY)]
    shown = [each for block in blocks(ROOT / "README.md") for each in commands_of(block)]
    assert [each for each in shown if each.startswith("curl")] == printed


@pytest.mark.parametrize("page", [page for page in PAGES if configurations(page)], ids=name_of)
def test_the_configurations_of_a_page_can_be_served(page: Path, tmp_path: Path) -> None:
    environ = dict.fromkeys(
        ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "OUTLAY_MASTER_KEY"), "sk-0123456789abcdef"
    )
    for number, text in enumerate(configurations(page)):
        path = tmp_path / f"{number}.yaml"
        path.write_text(text, encoding="utf-8")
        assert load_config(path, environ).unknown == ()


def test_every_endpoint_for_callers_is_documented(gateway: Gateway) -> None:
    paths = {path for _, paths in PATHS for path in paths} | {COUNTING}
    paths |= {route.path.replace(":path", "") for route in view_routes(gateway.services, ())}
    assert {path.replace("{model}", "NAME") for path in paths} - terms("gateway.md") == set()


def test_every_header_in_and_out_is_documented() -> None:
    found = {name for path in GATEWAY.glob("*.py") for name in texts(path) if _HEADER.fullmatch(name)}
    assert {"x-outlay-cost", "x-outlay-customer", "idempotency-key", "x-should-retry"} <= found
    documented = {term.lower() for term in terms("gateway.md")}
    assert {name.rstrip("-") for name in found} - documented == set()


def test_every_error_of_the_gateway_is_documented_with_its_status() -> None:
    rows = (REFERENCE / "gateway.md").read_text(encoding="utf-8").splitlines()
    found = {each for path in GATEWAY.glob("*.py") for each in errors_of(path)}
    assert (401, "invalid_api_key") in found
    assert (403, "cost_unbounded") in found
    for status, code in found:
        assert any(str(status) in row and f"`{code}`" in row for row in rows), f"{status} {code}"


def test_every_metric_is_documented_and_every_documented_metric_exists(gateway: Gateway) -> None:
    assert gateway.chat().status_code == 200
    gateway.settled()
    text = gateway.get("/metrics").text
    names = set(re.findall(r"^# TYPE (outlay_\w+) ", text, re.MULTILINE))
    names = {name for name in names if not name.endswith("_created")}
    known = {term for term in terms("gateway.md") if re.fullmatch(r"outlay_[a-z_]+", term)}
    assert known == names
    page = ROOT / "docs" / "how-to" / "monitor-the-gateway.md"
    watched = set(re.findall(r"outlay_[a-z_]+", page.read_text(encoding="utf-8")))
    assert {name.removesuffix("_bucket") for name in watched} <= names
    labels = {label for part in re.findall(r"\{(.*?)\}", text) for label in re.findall(r"(\w+)=", part)}
    assert labels - {"le"} - terms("gateway.md") == set()


def test_every_field_of_the_log_of_requests_is_documented(gateway: Gateway) -> None:
    lines = io.StringIO()
    gateway.services.request_log = RequestLog(lines)
    assert gateway.chat().status_code == 200
    assert gateway.chat(model="nope").status_code == 404
    eventually(lambda: lines.getvalue().count("\n") == 2)
    fields = {field for line in lines.getvalue().splitlines() for field in json.loads(line)}
    assert {"request_id", "cost", "reason"} <= fields
    assert fields - terms("gateway.md") == set()


def texts(path: Path) -> Iterator[str]:
    """The texts and bytes in a module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
            yield node.value.decode("latin-1") if isinstance(node.value, bytes) else node.value


def errors_of(path: Path) -> Iterator[tuple[int, str]]:
    """Status and code of each `GatewayError` that a module makes, where it writes both out."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "GatewayError":
            codes = [each.value for each in node.keywords if each.arg == "error_code"]
            given = [*node.args[:1], *(codes or node.args[1:2])]
            values = [each.value for each in given if isinstance(each, ast.Constant)]
            if len(values) == 2:
                yield int(str(values[0])), str(values[1])
