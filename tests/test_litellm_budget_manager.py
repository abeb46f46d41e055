"""What LiteLLM's own tests of its budget manager do, and what its programs do with `user_dict`.

The scenarios are those of LiteLLM's tests/local_testing/test_budget_manager.py
(https://github.com/BerriAI/litellm), with `import outlay as litellm`.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
import json
import pickle
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from journal import HELLO, Journal

import outlay as litellm
from outlay import BudgetManager, InvalidValueError, UnknownUserError, completion
from outlay.errors import DatabaseReadOnlyError
from outlay.testing.clock import FakeClock
from outlay.testing.provider import FakeProvider

pytest_plugins = ["front_doors"]

CALL: dict[str, Any] = {"model": "gpt-3.5-turbo", "messages": [{"role": "user", "content": "Hello!"}]}
DAY = 24 * 60 * 60
START = datetime(2026, 1, 31, 12, 0, 0, 123_457, tzinfo=UTC)


@pytest.fixture
def budget_manager(database: Path) -> Iterator[BudgetManager]:
    made = BudgetManager(project_name="test_project")
    yield made
    made.close()


# LiteLLM's scenarios.


def test_a_user_with_enough_budget_calls(provider: FakeProvider, budget_manager: BudgetManager) -> None:
    user = "1234"
    budget_manager.create_budget(total_budget=10, user=user, duration="daily")
    assert budget_manager.get_current_cost(user=user) <= budget_manager.get_total_budget(user)
    response = completion(**CALL)
    record = budget_manager.update_cost(completion_obj=response, user=user)["user"]
    assert record["current_cost"] == budget_manager.get_current_cost(user) == response.cost


def test_a_user_without_budget_does_not(provider: FakeProvider, budget_manager: BudgetManager) -> None:
    user = "12345"
    budget_manager.create_budget(total_budget=0, user=user, duration="daily")
    assert not budget_manager.get_current_cost(user=user) < budget_manager.get_total_budget(user=user)


def test_data_is_saved(budget_manager: BudgetManager) -> None:
    assert budget_manager.save_data()["status"] != "error"


def test_the_users_are_listed(budget_manager: BudgetManager) -> None:
    budget_manager.create_budget(1, "1234")
    assert budget_manager.get_users() == ["1234"]


def test_a_budget_resets_at_the_end_of_its_duration(
    provider: FakeProvider, budget_manager: BudgetManager
) -> None:
    user = "123456"
    budget_manager.create_budget(total_budget=10, user=user, duration="daily")
    response = litellm.completion(**CALL)
    budget_manager.update_cost(completion_obj=response, user=user)
    assert budget_manager.get_current_cost(user) > 0
    budget_manager.user_dict[user]["last_updated_at"] -= DAY  # as if a day had passed
    budget_manager.update_budget_all_users()
    assert budget_manager.get_current_cost(user) == 0


def test_texts_are_charged(budget_manager: BudgetManager) -> None:
    user = "12345"
    budget_manager.create_budget(total_budget=10, user=user, duration="daily")
    budget_manager.update_cost(
        user=user,
        model="gpt-3.5-turbo",
        input_text="hello world",
        output_text="it's a sunny day in san francisco",
    )
    assert budget_manager.get_current_cost(user) > 0


# The write that is served.


class Timed:
    """A manager by a clock that stands still, and a user of each duration who has spent."""

    def __init__(self) -> None:
        self.clock = FakeClock(START)
        self.manager = BudgetManager("timed", clock=self.clock)

    def spend(self, user: str) -> None:
        self.manager.update_cost(user, model="gpt-4o", input_text="Hello!", output_text="Hi!")


@pytest.fixture
def timed(database: Path) -> Iterator[Timed]:
    made = Timed()
    yield made
    made.manager.close()


@pytest.mark.parametrize(
    ("duration", "days"), [("daily", 1), ("weekly", 7), ("monthly", 28), ("yearly", 365)]
)
def test_a_last_update_a_duration_ago_ends_the_running_period(
    timed: Timed, journal: Journal, duration: str, days: int
) -> None:
    manager = timed.manager
    manager.create_budget(10, "alice", duration)
    timed.clock.advance(timedelta(hours=1, microseconds=1))
    timed.spend("alice")
    record = manager.user_dict["alice"]
    manager.user_dict["alice"]["last_updated_at"] = time_of(timed.clock) - days * DAY
    assert (manager.get_current_cost("alice"), manager.get_model_cost("alice")) == (0.0, {})
    assert manager.user_dict["alice"]["last_updated_at"] == time_of(timed.clock)
    assert manager.user_dict["alice"]["created_at"] == record["created_at"]
    assert [entry.kind for entry in journal.entries()] == ["record", "reset"]


def test_the_record_in_hand_shows_the_new_period(timed: Timed) -> None:
    timed.manager.create_budget(10, "alice", "daily")
    timed.spend("alice")
    record = timed.manager.user_dict["alice"]
    record["last_updated_at"] -= DAY
    assert record == timed.manager.user_dict["alice"]
    assert record["current_cost"] == 0.0


@pytest.mark.parametrize("ago", [0, 1, DAY - 1, -DAY])
def test_a_last_update_of_less_than_a_duration_ago_is_refused_and_changes_nothing(
    timed: Timed, ago: float
) -> None:
    timed.manager.create_budget(10, "alice", "daily")
    timed.spend("alice")
    before = copy.deepcopy(timed.manager.user_dict)
    with pytest.raises(InvalidValueError, match=r"last_updated_at .* reset_cost"):
        timed.manager.user_dict["alice"]["last_updated_at"] = time_of(timed.clock) - ago
    assert timed.manager.user_dict == before


@pytest.mark.parametrize("value", [None, "yesterday", True, float("nan"), -1.0])
def test_a_last_update_that_is_no_time_is_named(timed: Timed, value: Any) -> None:
    timed.manager.create_budget(10, "alice", "daily")
    with pytest.raises(InvalidValueError, match="last_updated_at must be seconds"):
        timed.manager.user_dict["alice"]["last_updated_at"] = value


def test_a_user_without_a_duration_has_no_last_update_to_set(timed: Timed) -> None:
    timed.manager.create_budget(10, "alice")
    with pytest.raises(InvalidValueError, match="reset_cost"):
        timed.manager.user_dict["alice"]["last_updated_at"] = 0.0


def test_a_record_of_a_duration_that_is_gone_ends_no_period(timed: Timed) -> None:
    timed.manager.create_budget(10, "alice", "daily")
    record = timed.manager.user_dict["alice"]
    timed.manager.create_budget(10, "alice")
    timed.spend("alice")
    with pytest.raises(InvalidValueError, match="last_updated_at"):
        record["last_updated_at"] = 0.0
    assert timed.manager.get_current_cost("alice") > 0


# The writes that raise.


def _merge(target: Any, key: str) -> None:
    target |= {key: 1}


WRITES: dict[str, Callable[[Any, str], object]] = {
    "set": lambda target, key: target.__setitem__(key, 1),
    "delete": lambda target, key: target.__delitem__(key),
    "update": lambda target, key: target.update({key: 1}),
    "merge": _merge,
    "pop": lambda target, key: target.pop(key),
    "popitem": lambda target, key: target.popitem(),
    "clear": lambda target, key: target.clear(),
    "setdefault": lambda target, key: target.setdefault(f"{key} that is not there", 1),
}
RECORD_METHODS = {
    "total_budget": "create_budget",
    "duration": "create_budget",
    "created_at": "create_budget",
    "current_cost": "update_cost",
    "model_cost": "update_cost",
    "last_updated_at": "reset_cost",
    "note": "total_budget",
}


@pytest.mark.parametrize("write", WRITES)
def test_every_write_raises_and_changes_nothing(timed: Timed, write: str) -> None:
    manager = timed.manager
    manager.create_budget(10, "alice", "daily")
    timed.spend("alice")
    before = copy.deepcopy(manager.user_dict)
    users = manager.user_dict
    for target, key in (
        (users, "alice"),
        (users["alice"], "current_cost"),
        (users["alice"]["model_cost"], "gpt-4o"),
        (manager.create_budget(10, "alice", "daily"), "total_budget"),
    ):
        with pytest.raises(InvalidValueError, match="copy"):
            WRITES[write](target, key)
    assert users == manager.user_dict == before


@pytest.mark.parametrize(("field", "method"), RECORD_METHODS.items())
def test_a_write_to_a_record_names_the_method_to_call(timed: Timed, field: str, method: str) -> None:
    record = timed.manager.create_budget(10, "alice", "daily")
    with pytest.raises(InvalidValueError, match=f"{field}.*'alice'.*{method}"):
        record.update({field: 1})


def test_a_write_to_the_users_names_the_methods_to_call(budget_manager: BudgetManager) -> None:
    with pytest.raises(InvalidValueError, match=r"'bob'.*create_budget.*update_cost.*outlay budget remove"):
        budget_manager.user_dict["bob"] = {"total_budget": 10}
    with pytest.raises(InvalidValueError, match=r"create_budget.*import-litellm"):
        budget_manager.user_dict = {}
    assert budget_manager.get_users() == []


def test_records_given_by_methods_are_of_the_same_kind(timed: Timed) -> None:
    manager = timed.manager
    for record in (
        manager.create_budget(10, "alice", "daily"),
        manager.update_cost("alice", model="gpt-4o", input_text="a", output_text="b")["user"],
        manager.reset_cost("alice")["user"],
    ):
        with pytest.raises(InvalidValueError, match="reset_cost"):
            record["current_cost"] = 0


# What works as with any dict.


def test_user_dict_reads_and_copies_as_a_dict(timed: Timed) -> None:
    manager = timed.manager
    manager.create_budget(10, "alice", "daily")
    timed.spend("alice")
    users = manager.user_dict
    plain = json.loads(json.dumps(users, indent=4))
    record = users["alice"]
    assert isinstance(users, dict)
    assert isinstance(record, dict)
    assert isinstance(record["model_cost"], dict)
    assert plain == users == dict(users) == users | {} == {**users}
    assert record.setdefault("current_cost", 0) == record["current_cost"] > 0
    for copied in (copy.deepcopy(users), pickle.loads(pickle.dumps(users)), plain):  # noqa: S301 # our own
        copied["alice"]["current_cost"] = 5
        copied["alice"]["model_cost"]["gpt-4o"] = 5
        copied["bob"] = {}
        assert (type(copied), type(copied["alice"])) == (dict, dict)
    for copied in (copy.copy(users), users.copy(), dict(users)):
        del copied["alice"]
    for copied in (copy.copy(record), record.copy(), dict(record)):
        copied["current_cost"] = 5
    assert json.loads(json.dumps(users)) == json.loads(json.dumps(manager.user_dict))
    assert repr(users) == repr(copy.deepcopy(users))


def test_a_user_who_is_not_in_user_dict_is_a_clear_key_error(budget_manager: BudgetManager) -> None:
    assert budget_manager.user_dict.get("bob") is None
    assert "bob" not in budget_manager.user_dict
    with pytest.raises(UnknownUserError, match=r"bob.*create_budget"):
        budget_manager.user_dict["bob"]


# Users whose ids are no text.


def test_a_user_id_that_is_an_int_is_its_text(provider: FakeProvider, budget_manager: BudgetManager) -> None:
    manager = budget_manager
    assert not manager.is_valid_user(1234)
    manager.create_budget(10, 1234, "daily")
    response = manager.completion(user=1234, **CALL)
    litellm.completion(user=1234, budget_manager=manager, **CALL)
    litellm.embedding("text-embedding-3-small", "text", user=1234, budget_manager=manager)
    manager.update_cost(1234, model="gpt-4o", input_text="a", output_text="b")
    with manager.reserve(1234, "gpt-4o", HELLO, max_tokens=5) as reservation:
        reservation.settle(cost=0.5)
    manager.reset_on_duration(1234)
    assert manager.is_valid_user(1234)
    assert manager.is_valid_user("1234")
    assert manager.get_users() == ["1234"]
    assert manager.get_total_budget(1234) == 10
    assert manager.get_current_cost(1234) == manager.get_current_cost("1234") > response.cost + 0.5
    assert manager.get_model_cost(1234) == manager.get_model_cost("1234")
    assert manager.projected_cost("gpt-4o", HELLO, 1234) > manager.get_current_cost(1234)
    assert manager.user_dict[1234] == manager.user_dict["1234"] == manager.user_dict.get(1234)  # type: ignore[index]
    assert 1234 in manager.user_dict  # type: ignore[comparison-overlap]
    assert 5 not in manager.user_dict  # type: ignore[comparison-overlap]
    manager.user_dict[1234]["last_updated_at"] -= DAY  # type: ignore[index]
    assert manager.reset_cost(1234)["user"]["current_cost"] == 0


def test_an_event_loop_takes_a_user_id_that_is_an_int_too(
    provider: FakeProvider, budget_manager: BudgetManager
) -> None:
    budget_manager.create_budget(10, 7)
    response = asyncio.run(budget_manager.acompletion(user=7, **CALL))
    assert budget_manager.get_current_cost("7") == response.cost


def test_a_user_id_that_is_an_int_goes_to_the_provider_as_its_text(provider: FakeProvider) -> None:
    completion(user=1234, **CALL)
    assert json.loads(provider.requests[-1].body)["user"] == "1234"


@pytest.mark.parametrize("user", [True, 1.5, None, b"1", 10**500, ["alice"]])
def test_a_user_id_of_another_type_is_named(budget_manager: BudgetManager, user: Any) -> None:
    with pytest.raises(InvalidValueError, match="user must be a string"):
        budget_manager.create_budget(1, user)
    assert budget_manager.get_users() == []


@pytest.mark.parametrize("user", [None, "", True, 1.5, b"1", "a\x00b", "a" * 501, 10**500, ["alice"]])
def test_what_cannot_be_a_user_id_is_no_valid_user(budget_manager: BudgetManager, user: Any) -> None:
    assert budget_manager.is_valid_user(user) is False


def test_a_user_id_that_is_an_enums_text_is_that_text(budget_manager: BudgetManager) -> None:
    class Customer(str, Enum):  # noqa: UP042 # a StrEnum formats as its text, this one does not
        ALICE = "alice"

    budget_manager.create_budget(1, Customer.ALICE)
    assert budget_manager.get_users() == ["alice"]
    assert budget_manager.is_valid_user("alice")


# LiteLLM's completion.

NOT_ARGUMENTS: dict[str, tuple[Any, str]] = {
    "api_version": ("2024-06-01", "own version"),
    "extra_headers": ({"x-team": "a"}, "not sent"),
    "headers": ({"x-team": "a"}, "not sent"),
    "max_budget": (1, r"outlay\.max_budget.*create_budget"),
    "model_list": ([{"model_name": "gpt-4o"}], "name one model"),
    "organization": ("org-1", "api_key"),
    "request_timeout": (5, "pass timeout"),
}


@pytest.mark.parametrize(("name", "value", "remedy"), [(k, *v) for k, v in NOT_ARGUMENTS.items()])
@pytest.mark.parametrize("call", [completion, litellm.embedding])
def test_an_argument_of_litellms_that_is_none_here_is_refused_with_the_remedy(
    provider: FakeProvider, call: Callable[..., Any], name: str, value: Any, remedy: str
) -> None:
    content = {"input": "text"} if call is litellm.embedding else {"messages": HELLO}
    with pytest.raises(InvalidValueError, match=f"^{name} is not an argument here: .*{remedy}"):
        call(model="gpt-4o", **content, **{name: value})
    assert provider.requests == []


@pytest.mark.parametrize("empty", [None, [], {}, 0, ""])
def test_an_argument_of_litellms_that_asks_for_nothing_is_taken_out(
    provider: FakeProvider, empty: Any
) -> None:
    completion(**CALL, **dict.fromkeys(NOT_ARGUMENTS, empty))
    assert json.loads(provider.requests[-1].body).keys() == {"model", "messages"}


# The rest of LiteLLM's class.


def test_methods_that_have_nothing_to_do_are_there(
    budget_manager: BudgetManager, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "outlay")
    assert budget_manager.load_data() is None  # type: ignore[func-returns-value]
    assert budget_manager.print_verbose({"user": 1}) is None  # type: ignore[func-returns-value]
    assert [record.getMessage() for record in caplog.records] == ["{'user': 1}"]


def test_a_subclass_that_loads_data_of_its_own_is_told_where_it_belongs(database: Path) -> None:
    class Ours(BudgetManager):
        def load_data(self) -> None:
            self.user_dict = {"alice": {"total_budget": 10}}

    with pytest.raises(InvalidValueError, match=r"user_dict cannot be set.*create_budget"):
        Ours(project_name="test_project")


LITELLMS = {
    "__init__": "project_name client_type=local api_base=None headers=None",
    "print_verbose": "print_statement",
    "load_data": "",
    "create_budget": "total_budget user duration=None created_at=None",
    "projected_cost": "model messages user",
    "get_total_budget": "user",
    "update_cost": "user completion_obj=None model=None input_text=None output_text=None",
    "get_current_cost": "user",
    "get_model_cost": "user",
    "is_valid_user": "user",
    "get_users": "",
    "reset_cost": "user",
    "reset_on_duration": "user",
    "update_budget_all_users": "",
    "save_data": "",
}
"""LiteLLM 1.106.2's methods and their arguments, in order (its `created_at` is the time of its import)."""


@pytest.mark.parametrize("method", LITELLMS)
def test_arguments_have_litellms_names_order_and_defaults(method: str) -> None:
    ours = list(inspect.signature(getattr(BudgetManager, method)).parameters.values())[1:]
    stated = [
        each.name if each.default is each.empty else f"{each.name}={each.default}"
        for each in ours
        if each.kind is each.POSITIONAL_OR_KEYWORD
    ]
    assert stated == LITELLMS[method].split()


def test_a_projected_cost_is_a_sum_of_nanos(budget_manager: BudgetManager) -> None:
    budget_manager.create_budget(10, "alice")
    prompt = budget_manager.projected_cost("gpt-3.5-turbo", HELLO, "alice")
    with budget_manager.reserve("alice", "gpt-4o", HELLO, max_tokens=5) as reservation:
        reservation.settle(cost=0.1)
    projected = budget_manager.projected_cost("gpt-3.5-turbo", HELLO, "alice")
    assert projected == (100_000_000 + round(prompt * 1e9)) / 1e9


def test_a_completion_and_its_texts_are_one_charge_the_completions(
    provider: FakeProvider, budget_manager: BudgetManager
) -> None:
    budget_manager.create_budget(10, "alice")
    response = completion(**CALL)
    for _ in range(2):
        budget_manager.update_cost("alice", response, "gpt-3.5-turbo", "Hello!", "Far more than it answered.")
    assert budget_manager.get_current_cost("alice") == response.cost


def test_what_cannot_be_written_ends_no_period(timed: Timed, monkeypatch: pytest.MonkeyPatch) -> None:
    timed.manager.create_budget(10, "alice", "daily")
    timed.spend("alice")
    record = timed.manager.user_dict["alice"]
    before = dict(record)

    def fail(*_: object) -> None:
        raise DatabaseReadOnlyError("it cannot be written")

    monkeypatch.setattr(timed.manager._ledger, "execute", fail)
    with pytest.raises(DatabaseReadOnlyError):
        record["last_updated_at"] -= DAY
    assert record == before


def time_of(clock: FakeClock) -> float:
    return clock.wall() / 1_000_000


def test_the_time_of_the_machine_serves_too(budget_manager: BudgetManager) -> None:
    budget_manager.create_budget(10, "alice", "daily")
    budget_manager.update_cost("alice", model="gpt-4o", input_text="a", output_text="b")
    budget_manager.user_dict["alice"]["last_updated_at"] = time.time() - DAY
    assert budget_manager.get_current_cost("alice") == 0
