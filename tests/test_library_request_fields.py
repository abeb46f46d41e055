"""What the library lets reach a provider: by a budget's mode, the module's settings, LiteLLM's arguments."""

from __future__ import annotations

from typing import Any

import pytest
from journal import HELLO, Journal

import outlay
from outlay import BudgetManager, CostUnboundedError, InvalidValueError
from outlay.testing.provider import FakeProvider

pytestmark = pytest.mark.once("rules that are the same on every Python")

pytest_plugins = ["front_doors"]


@pytest.fixture
def bob(manager: BudgetManager) -> dict[str, Any]:
    """A call on a hard budget of ten dollars."""
    manager.create_budget(total_budget=10, user="bob", mode="hard")
    return {"user": "bob", "model": "gpt-4o", "messages": HELLO, "max_tokens": 5}


@pytest.mark.parametrize("face", ["completion", "stream", "reserve"])
@pytest.mark.parametrize("more", [{"chat_template": "x"}, {"n_predict": 9}, {"extra_body": {"preset": "x"}}])
def test_a_field_that_nothing_bounds_is_refused_under_a_budget(
    provider: FakeProvider, manager: BudgetManager, bob: dict[str, Any], face: str, more: dict[str, Any]
) -> None:
    for user in ("alice", "bob"):
        with pytest.raises(
            CostUnboundedError, match=r"The cost of (chat_template|n_predict|preset|extra_body)"
        ):
            call(manager, face, {**bob, **more, "user": user})
    assert provider.requests == []


@pytest.mark.parametrize("face", ["completion", "stream", "reserve"])
def test_a_field_that_nobody_knows_is_refused_under_a_hard_budget(
    provider: FakeProvider, manager: BudgetManager, bob: dict[str, Any], face: str
) -> None:
    with pytest.raises(CostUnboundedError, match=r"'frobnicate'.*outlay.allowed_request_fields"):
        call(manager, face, {**bob, "frobnicate": 3})
    assert provider.requests == []


def test_a_field_that_nobody_knows_passes_under_a_crossing_budget_unproven(
    provider: FakeProvider, manager: BudgetManager, journal: Journal
) -> None:
    manager.completion(user="alice", model="gpt-4o", messages=HELLO, max_tokens=5, frobnicate=3)
    assert provider.requests[-1].json()["frobnicate"] == 3
    (entry,) = journal.entries("settle")
    assert entry.detail["unproven"] is True


def test_the_modules_settings_let_fields_pass(
    provider: FakeProvider,
    manager: BudgetManager,
    journal: Journal,
    bob: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outlay, "allowed_request_fields", ["frobnicate"])
    manager.completion(**bob, frobnicate=3)
    with pytest.raises(CostUnboundedError):
        manager.completion(**bob, other=3)
    monkeypatch.setattr(outlay, "unknown_request_fields", "pass")
    manager.completion(**bob, other=3)
    call(manager, "reserve", {**bob, "other": 3})
    assert [entry.detail.get("unproven") for entry in journal.entries("settle")] == [None, True]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("allowed_request_fields", "frobnicate"),
        ("allowed_request_fields", [3]),
        ("allowed_request_fields", ["preset"]),
        ("unknown_request_fields", "allow"),
        ("unknown_request_fields", None),
    ],
)
def test_a_setting_that_cannot_be_used_is_an_error(
    provider: FakeProvider, monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    monkeypatch.setattr(outlay, name, value)
    with pytest.raises(InvalidValueError, match=f"outlay.{name}"):
        outlay.completion("gpt-4o", HELLO)
    assert provider.requests == []


@pytest.mark.parametrize(
    "more", [{"Max_Tokens": 9}, {"max_to\u212aens": 9}, {"stream_options": {"Include_Usage": True}}]
)
@pytest.mark.parametrize("user", [None, "alice"])
def test_a_name_that_differs_in_case_only_is_refused_with_and_without_a_budget(
    provider: FakeProvider, manager: BudgetManager, more: dict[str, Any], user: str | None
) -> None:
    guarded: dict[str, Any] = {} if user is None else {"user": user, "budget_manager": manager}
    with pytest.raises(InvalidValueError, match="only in the case"):
        outlay.completion("gpt-4o", HELLO, **guarded, **more)
    assert provider.requests == []


@pytest.mark.parametrize(
    "more",
    [
        {"num_retries": 0, "max_retries": None, "fallbacks": [], "mock_response": None, "caching": False},
        {"cache": {"no-cache": True}, "no-log": True, "drop_params": False, "guardrails": []},
        {"litellm_call_id": "x", "litellm_session_id": "y", "id": "z", "metadata": {"tags": ["a"]}},
        {"extra_body": {"num_retries": 0, "litellm_trace_id": "x"}},
    ],
)
def test_litellms_arguments_that_ask_for_nothing_are_taken_out(
    provider: FakeProvider, more: dict[str, Any]
) -> None:
    outlay.completion("gpt-4o", HELLO, max_tokens=5, **more)
    assert provider.requests[-1].json().keys() == {"model", "messages", "max_tokens"}


@pytest.mark.parametrize(
    "more",
    [
        {"num_retries": 3},
        {"fallbacks": ["gpt-4o-mini"]},
        {"mock_response": "hi"},
        {"drop_params": True},
        {"guardrails": ["pii"]},
        {"caching": True},
        {"cache": {"ttl": 5}},
        {"stream_timeout": 5},
        {"extra_body": {"num_retries": 3}},
        {"aws_region_name": "x"},
    ],
)
def test_litellms_arguments_that_ask_for_what_is_not_done_are_refused(
    provider: FakeProvider, more: dict[str, Any]
) -> None:
    with pytest.raises(InvalidValueError, match="is not served"):
        outlay.completion("gpt-4o", HELLO, **more)
    with pytest.raises(InvalidValueError, match="is not served"):
        outlay.embedding("text-embedding-3-small", "x", **more)
    assert provider.requests == []


def call(manager: BudgetManager, face: str, options: dict[str, Any]) -> None:
    """One call by one of the library's faces."""
    if face == "reserve":
        with manager.reserve(**options) as reservation:
            reservation.void()
    elif face == "stream":
        list(manager.completion(**options, stream=True))
    else:
        manager.completion(**options)
