"""Who may call what: the routes and roles as the router has them, and what is a key's own."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import httpx2 as httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from gateways import MASTER_KEY, Gateway, run_gateway
from management import done, hashed, info_of, message_of, refused, shown

from outlay.gateway.management.access import ACCESS, EVERYBODY
from outlay.gateway.management.app import make_management_app
from outlay.gateway.management.authorise import GuardedRoute
from outlay.gateway.principal import Role
from outlay.testing.clock import FakeClock
from outlay.testing.provider import FakeProvider

pytestmark = pytest.mark.once("rules that are the same on every Python")

pytest_plugins = ["gateway_fixtures"]

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "management.md"
ROLES: tuple[Role, ...] = get_args(Role)
PUBLIC = {"/openapi.json", "/docs"}
_ROW = re.compile(r"^\| `(?P<route>[A-Z]+ /[^`]+)` \|.*\| (?P<who>[^|]+) \|$", re.MULTILINE)


@dataclass
class Cast:
    """A gateway with a key of each role; `ada` is the user whose keys `user`, `management` … are."""

    gateway: Gateway
    app: FastAPI
    keys: dict[Role, str]


@pytest.fixture(scope="module")
def cast(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cast]:
    with FakeProvider() as provider, run_gateway(provider, tmp_path_factory.mktemp("cast")) as gateway:
        for user, role in (("eve", "proxy_admin"), ("vic", "proxy_admin_viewer"), ("ada", "internal_user")):
            done(gateway, "/user/new", {"user_id": user, "user_role": role, "auto_create_key": False})
        keys: dict[Role, str] = {
            "admin": gateway.new_key(user_id="eve"),
            "admin_viewer": gateway.new_key(user_id="vic"),
            "user": gateway.new_key(user_id="ada"),
            "caller": gateway.new_key(),
            "management": gateway.new_key(user_id="ada", key_type="management"),
            "read_only": gateway.new_key(user_id="ada", key_type="read_only"),
        }
        yield Cast(gateway, make_management_app(gateway.services), keys)


def routes_of(app: FastAPI) -> set[str]:
    return {
        f"{method} {route.path}"
        for route in app.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }


def test_every_route_has_a_decision_and_every_decision_a_route(cast: Cast) -> None:
    assert routes_of(cast.app) == set(ACCESS)
    assert {type(route) for route in cast.app.routes if isinstance(route, APIRoute)} == {GuardedRoute}
    others = {
        getattr(route, "path", repr(route)) for route in cast.app.routes if not isinstance(route, APIRoute)
    }
    assert others == PUBLIC


def test_every_route_is_documented_with_who_may_call_it() -> None:
    documented = {row["route"]: row["who"] for row in _ROW.finditer(PAGE.read_text(encoding="utf-8"))}
    told = {
        route: EVERYBODY if "any key" in who else frozenset(re.findall(r"`(\w+)`", who))
        for route, who in documented.items()
    }
    assert told == ACCESS


def test_every_role_may_call_what_the_table_says_and_nothing_else(cast: Cast) -> None:
    wrong = []
    for route in sorted(ACCESS):
        method, _, path = route.partition(" ")
        for role in ROLES:
            with cast.gateway.http(cast.keys[role]) as client:
                answer = client.request(method, path.replace("{key}", "sk-nobodys-0123456789"))
            is_denied = answer.status_code == 403 and "may not call" in message_of(answer.json())
            if is_denied == (role in ACCESS[route]) or answer.status_code in (401, 500):
                wrong.append((route, role, answer.status_code, answer.text))
    assert wrong == []


def test_nobody_calls_anything_without_a_good_key(cast: Cast) -> None:
    seen = set()
    for route in sorted(ACCESS):
        method, _, path = route.partition(" ")
        for headers in (
            {},
            {"authorization": "Bearer sk-unknown-0123456789"},
            {"authorization": f"Basic {MASTER_KEY}"},
            {"authorization": "Bearer"},
            {"cookie": f"token={MASTER_KEY}"},
        ):
            answer = httpx.request(method, cast.gateway.root_url + path, headers=headers)
            seen.add((answer.status_code, answer.text))
    ((status, text),) = seen
    assert status == 401
    assert "auth_error" in text


def test_two_keys_in_one_kind_of_header_are_nobodys(cast: Cast) -> None:
    for name in ("authorization", "x-api-key", "x-litellm-api-key"):
        pairs = [(name, f"Bearer {key}") for key in (MASTER_KEY, cast.keys["caller"])]
        answer = httpx.get(f"{cast.gateway.root_url}/key/list", headers=pairs)
        assert answer.status_code == 400
        assert name in message_of(answer.json())


def test_the_query_and_the_body_are_not_looked_at_before_the_key(cast: Cast) -> None:
    answer = httpx.post(f"{cast.gateway.root_url}/key/generate?a=1&a=2", content=b'{"a": NaN')
    assert answer.status_code == 401
    assert refused(cast.gateway, "/user/new", {"a": 1}, cast.keys["user"], status=403)


def test_a_route_without_a_decision_is_denied_to_everybody(cast: Cast) -> None:
    app = make_management_app(cast.gateway.services)
    app.get("/key/everything")(lambda: {"leaked": True})
    plain = APIRoute(
        "/key/plain", lambda: {"leaked": True}, methods=["GET"], dependencies=app.router.dependencies
    )
    app.router.routes.append(plain)

    async def ask(path: str) -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            return await client.get(path, headers={"authorization": f"Bearer {MASTER_KEY}"})

    for path in ("/key/everything", "/key/plain"):
        answer = asyncio.run(ask(path))
        assert answer.status_code == 403
        assert "leaked" not in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {"x-original-url": "/key/info"},
        {"x-rewrite-url": "/key/info"},
        {"x-http-method-override": "GET"},
        {"x-forwarded-prefix": "/key/info"},
        {"host": "evil.example"},
        {"x-forwarded-host": "127.0.0.1", "x-forwarded-for": "127.0.0.1"},
    ],
)
def test_no_header_moves_a_request_to_another_route(cast: Cast, headers: dict[str, str]) -> None:
    with cast.gateway.http(cast.keys["caller"], headers=headers) as client:
        answer = client.post("/user/new", json={"user_id": "mallory"})
    assert answer.status_code == 403
    assert cast.gateway.get("/user/info", user_id="mallory").status_code == 404


def test_allowed_routes_narrow_what_a_key_may_manage(cast: Cast) -> None:
    gateway = cast.gateway
    key = gateway.new_key(user_id="ada", allowed_routes=["/key/info", "/user/*"])
    assert gateway.get("/key/info", key).status_code == 200
    assert gateway.get("/user/info", key).status_code == 200
    assert "allowed_routes" in refused(gateway, "/key/generate", {}, key, status=403)


def test_a_caller_sees_itself_and_no_other(cast: Cast) -> None:
    gateway, mine = cast.gateway, cast.keys["caller"]
    assert shown(gateway, "/key/info", key=mine)["key"] == hashed(mine)
    assert shown(gateway, "/key/info", {"key": mine}, mine)["info"]["key_name"] == f"sk-...{mine[-4:]}"
    for other in (cast.keys["user"], hashed(cast.keys["user"]), "sk-nobodys-0123456789"):
        with gateway.http(mine) as client:
            answer = client.get("/key/info", params={"key": other})
        assert answer.status_code == 403
        assert message_of(answer.json()) == "This key may see no other key than its own."


def test_a_user_sees_and_manages_what_is_its_own(cast: Cast) -> None:
    gateway, ada = cast.gateway, cast.keys["user"]
    made = done(gateway, "/key/generate", {"key_alias": "mine", "max_budget": 1}, ada)
    assert (made["user_id"], made["created_by"]) == ("ada", "ada")
    listed = shown(gateway, "/key/list", {"size": 100}, ada)["keys"]
    assert hashed(made["key"]) in listed
    assert hashed(cast.keys["caller"]) not in listed
    assert done(gateway, "/key/update", {"key": made["key"], "metadata": {"a": 1}}, ada)["metadata"] == {
        "a": 1
    }
    again = done(gateway, "/key/regenerate", {"key": made["key"]}, ada)
    assert done(gateway, "/key/delete", {"keys": [again["key"]]}, ada)
    assert shown(gateway, "/user/info", key=ada)["user_id"] == "ada"
    assert refused(gateway, "/key/delete", {"keys": [cast.keys["caller"]]}, ada, status=403)
    assert gateway.get("/key/info", cast.keys["caller"]).status_code == 200
    with gateway.http(ada) as client:
        assert client.get("/user/info", params={"user_id": "eve"}).status_code == 403
        assert client.get("/team/info", params={"team_id": "red"}).status_code == 403


@pytest.mark.parametrize(
    "fields",
    [{"user_id": "eve"}, {"team_id": "red"}, {"organization_id": "acme"}],
)
def test_a_user_makes_no_key_of_anybody_else(cast: Cast, fields: dict[str, str]) -> None:
    assert next(iter(fields)) in refused(cast.gateway, "/key/generate", fields, cast.keys["user"], status=403)


@pytest.mark.parametrize(
    "fields",
    [
        {"max_budget": None},
        {"max_budget": 100},
        {"duration": "-1"},
        {"models": []},
        {"blocked": False},
        {"key_type": "default"},
        {"user_id": "eve"},
        {"allowed_routes": []},
        {"budget_mode": "soft"},
        {"tags": []},
    ],
)
def test_a_user_widens_no_limit_of_its_keys(cast: Cast, fields: dict[str, Any]) -> None:
    gateway = cast.gateway
    key = gateway.new_key(user_id="ada", max_budget=1, duration="1d", models=["demo"])
    before = info_of(gateway, key)
    for caller in (key, cast.keys["user"], cast.keys["management"]):
        assert next(iter(fields)) in refused(
            gateway, "/key/update", {"key": key, **fields}, caller, status=403
        )
        assert refused(gateway, "/key/regenerate", {"key": key, **fields}, caller, status=403)
    assert info_of(gateway, key) == before


@pytest.mark.parametrize(
    "limits",
    [
        {"max_budget": 1},
        {"rpm_limit": 10},
        {"models": ["demo"]},
        {"duration": "1d"},
        {"budget_limits": [{"max_budget": 1, "budget_duration": "1d"}]},
        {"allowed_routes": ["management_routes"]},
        {"organization_id": "acme"},
        {"tags": ["free"]},
    ],
)
def test_a_limited_key_neither_makes_keys_nor_takes_over_others(cast: Cast, limits: dict[str, Any]) -> None:
    gateway = cast.gateway
    key, other = gateway.new_key(user_id="ada", **limits), gateway.new_key(user_id="ada")
    assert "limits of its own" in refused(gateway, "/key/generate", {}, key, status=403)
    assert "limits of its own" in refused(gateway, "/key/regenerate", {"key": other}, key, status=403)
    assert "limits of its own" in refused(gateway, "/key/delete", {"keys": [other]}, key, status=403)
    assert gateway.get("/key/info", other).status_code == 200
    renewed = done(gateway, "/key/regenerate", {"key": key}, key)
    assert renewed["max_budget"] == limits.get("max_budget")
    assert gateway.get("/key/info", key).status_code == 401


def test_no_answer_tells_a_user_which_keys_of_others_exist(cast: Cast) -> None:
    gateway = cast.gateway
    gateway.new_key(key_alias="of-nobody")
    known = refused(gateway, "/key/update", {"key_alias": "of-nobody"}, cast.keys["user"], status=403)
    assert (
        refused(gateway, "/key/update", {"key_alias": "unheard-of"}, cast.keys["user"], status=403) == known
    )
    assert (
        refused(gateway, "/key/delete", {"key_aliases": ["unheard-of"]}, cast.keys["user"], status=403)
        == known
    )


def test_a_member_sees_its_team_but_not_the_others_keys(cast: Cast) -> None:
    gateway = cast.gateway
    members = [{"user_id": "ada"}, {"user_id": "bob"}]
    done(gateway, "/team/new", {"team_id": "blue", "members_with_roles": members})
    done(gateway, "/team/new", {"team_id": "green"})
    mine, other = (gateway.new_key(team_id="blue", user_id=user) for user in ("ada", "bob"))
    told = shown(gateway, "/team/info", {"team_id": "blue"}, cast.keys["user"])
    assert [key["token"] for key in told["keys"]] == [hashed(mine)]
    assert [each["user_id"] for each in told["team_memberships"]] == ["ada"]
    assert told["team_info"]["members"] == ["ada"]
    assert other not in str(told)
    assert [each["team_id"] for each in shown(gateway, "/team/list", key=cast.keys["user"])] == ["blue"]


def test_a_demoted_administrator_manages_nothing_from_then_on(provider: FakeProvider, tmp_path: Path) -> None:
    with run_gateway(provider, tmp_path, clock=FakeClock()) as gateway:
        key = done(gateway, "/user/new", {"user_id": "eve", "user_role": "proxy_admin"})["key"]
        done(gateway, "/user/new", {"user_id": "ada"}, key)
        done(gateway, "/user/update", {"user_id": "eve", "user_role": "internal_user"})
        assert refused(gateway, "/user/new", {"user_id": "bob"}, key, status=403)


def test_keys_for_models_only_manage_nothing_and_keys_for_management_call_no_models(cast: Cast) -> None:
    gateway = cast.gateway
    key = gateway.new_key(user_id="eve", key_type="llm_api")
    assert refused(gateway, "/user/new", {"user_id": "bob"}, key, status=403)
    assert gateway.chat(cast.keys["management"]).status_code == 403
    assert gateway.chat(cast.keys["read_only"]).status_code == 403


def test_a_management_key_of_an_administrator_gets_hold_of_no_administrators_key(cast: Cast) -> None:
    gateway = cast.gateway
    key, other = gateway.new_key(user_id="eve", key_type="management"), gateway.new_key(user_id="eve")
    for fields in ({}, {"key_type": "default"}):
        assert "may do more" in refused(gateway, "/key/generate", fields, key, status=403)
    assert done(gateway, "/key/generate", {"key_type": "llm_api"}, key)["user_id"] == "eve"
    assert "may do more" in refused(gateway, "/key/regenerate", {"key": other}, key, status=403)
    assert "may do more" in refused(gateway, "/key/delete", {"keys": [other]}, key, status=403)
    mine = cast.keys["management"]  # an internal user's
    assert gateway.chat(done(gateway, "/key/generate", {}, mine)["key"]).status_code == 200


def test_a_fault_of_the_gateways_own_says_nothing_of_it(cast: Cast) -> None:
    app = make_management_app(cast.gateway.services)

    def fail() -> None:
        raise RuntimeError("a secret of the inside")

    app.router.routes = [route for route in app.routes if getattr(route, "path", "") != "/key/list"]
    app.get("/key/list")(fail)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            return await client.get("/key/list", headers={"authorization": f"Bearer {MASTER_KEY}"})

    answer = asyncio.run(ask())
    assert answer.status_code == 500
    assert "inside" not in answer.text
    assert message_of(answer.json())
