"""What a management request may look like: JSON that can be read in one way, known fields, known routes."""

from __future__ import annotations

import httpx2
import pytest
from gateways import Gateway
from management import hashed, message_of, shown

pytestmark = pytest.mark.once("rules that are the same on every Python")

pytest_plugins = ["gateway_fixtures"]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b'{"max_budget": NaN}', "NaN"),
        (b'{"max_budget": Infinity}', "Infinity"),
        (b'{"max_budget": -Infinity}', "-Infinity"),
        (b'{"max_budget": 1e999}', "1e999"),
        (b'{"max_budget": 1, "max_budget": 2}', "max_budget"),
        (b'{"metadata": {"a": 1, "a": 2}}', "a stands twice"),
        (b'{"key_alias": "\xff"}', "UTF-8"),
        ('{"key_alias": "x"}'.encode("utf-16"), "UTF-8"),
        (b'\xef\xbb\xbf{"key_alias": "x"}', "JSON"),
        (b'{"max_budget": 1', "JSON"),
        (b"max_budget=1", "JSON"),
        (b"[]", "object"),
        (b"null", "object"),
        (b'"x"', "object"),
        (b'{"metadata": ' + b"9" * 5_000 + b"}", "JSON"),
        (b'{"metadata": ' + b'{"a":' * 200 + b"1" + b"}" * 201, "deep"),
    ],
)
def test_a_body_that_can_be_read_in_no_way_or_in_two_is_refused(
    gateway: Gateway, body: bytes, named: str
) -> None:
    with gateway.http() as client:
        answer = client.post("/key/generate", content=body)
    assert answer.status_code == 400
    assert named in message_of(answer.json())
    assert shown(gateway, "/key/list")["total_count"] == 0


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_a_body_is_json_whatever_its_type_says(gateway: Gateway, content_type: str | None) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    with gateway.http() as client:
        answer = client.post("/key/generate", content=b'{"key_alias": "web"}', headers=headers)
    assert answer.status_code == 200
    assert answer.json()["key_alias"] == "web"


def test_no_body_says_nothing(gateway: Gateway) -> None:
    with gateway.http() as client:
        assert client.post("/key/generate").status_code == 200


def test_a_secret_in_a_wrong_place_is_not_repeated(gateway: Gateway) -> None:
    secret = gateway.new_key()
    for document in ({"key": [secret]}, {"key": {"a": secret}}, {"keys": secret}):
        answer = gateway.post("/key/update", document)
        assert answer.status_code == 400
        assert secret not in answer.text


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("user=ada", "user"),
        ("user_id=ada&user_id=bob", "user_id"),
        ("page=0", "page"),
        ("page=x", "page"),
        ("size=501", "size"),
        ("return_full_object=perhaps", "return_full_object"),
    ],
)
def test_a_filter_that_is_not_understood_is_refused(gateway: Gateway, query: str, named: str) -> None:
    with gateway.http() as client:
        answer = client.get(f"/key/list?{query}")
    assert answer.status_code == 400
    assert named in message_of(answer.json())


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/key/nowhere", 404),
        ("GET", "/", 404),
        ("GET", "/key/generate", 405),
        ("DELETE", "/key/list", 405),
        ("POST", "/key/generate/", 404),
        ("POST", "//key/generate", 404),
        ("POST", "/KEY/GENERATE", 404),
        ("POST", "/key/generate%2F", 404),
        ("POST", "/key/%67enerate", 200),
    ],
)
def test_other_paths_and_methods_lead_nowhere(gateway: Gateway, method: str, path: str, status: int) -> None:
    with gateway.http() as client:
        answer = client.request(method, path)
    assert answer.status_code == status
    if status != 200:
        assert message_of(answer.json())


def test_a_hash_names_a_key_as_its_secret_does(gateway: Gateway) -> None:
    key = gateway.new_key(key_alias="web")
    assert shown(gateway, "/key/info", {"key": hashed(key)})["info"]["key_alias"] == "web"
    assert gateway.get("/key/info", key="sk-nobodys").status_code == 401


def test_the_schema_is_public_and_names_every_route(gateway: Gateway) -> None:
    schema = httpx2.get(f"{gateway.root_url}/openapi.json").json()
    assert "/key/generate" in schema["paths"]
    assert httpx2.get(f"{gateway.root_url}/docs").status_code == 200


def test_a_field_that_is_not_implemented_is_named(gateway: Gateway) -> None:
    answer = gateway.post("/key/generate", {"guardrails": ["pii"]})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["param"] == "guardrails"
    assert error["message"].startswith("guardrails is not implemented here")
