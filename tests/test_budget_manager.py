"""BudgetManager: LiteLLM's documented class, method by method, on a real file."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import openai
import pytest
from journal import HELLO, Journal

import outlay
from outlay import BudgetExceededError, BudgetManager, InvalidValueError, PriceUnknownError, UnknownUserError
from outlay.answers import Answer
from outlay.completions import price_book
from outlay.errors import DatabaseFullError
from outlay.ledger.clock import SystemClock
from outlay.pricing.usage import Usage
from outlay.testing.clock import FakeClock
from outlay.testing.provider import FakeProvider

pytest_plugins = ["front_doors"]

CALL_NANOS = 15 * 2_500 + 24 * 10_000
MODEL = "gpt-4o"
START = datetime(2026, 1, 31, 12, tzinfo=UTC)


def completion_of(id: str = "chatcmpl-1", **changes: Any) -> dict[str, Any]:
    usage = {"prompt_tokens": 1_000, "completion_tokens": 100, "total_tokens": 1_100}
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "The Danube."}}
    whole = {"id": id, "object": "chat.completion", "created": 1, "model": MODEL, "choices": [choice]}
    return {**whole, "usage": usage, **changes}


COMPLETION_COST = (1_000 * 2_500 + 100 * 10_000) / 1e9


class Timed:
    """A manager and the clock it goes by."""

    def __init__(self) -> None:
        self.clock = FakeClock(START)
        self.manager = BudgetManager("timed", clock=self.clock)

    def spend(self, user: str, id: str) -> float:
        record = self.manager.update_cost(user, completion_of(id))["user"]
        return float(record["current_cost"])


@pytest.fixture
def timed(database: Path) -> Iterator[Timed]:
    made = Timed()
    yield made
    made.manager.close()


# Making one.


def test_clients_that_cannot_be(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OUTLAY_API_BASE", raising=False)
    wrongs: list[dict[str, Any]] = [
        {"client_type": "remote"},
        {"client_type": "hosted"},
        {"client_type": "hosted", "api_base": "http://127.0.0.1:1"},
        {"mode": "strict"},
        {"project_name": ""},
        {"project_name": None},
        {"clock": 5},
        {"headers": 5},
        {"database_url": 5},
        {"database_url": "mysql://x"},
    ]
    for arguments in wrongs:
        with pytest.raises(ValueError, match=next(iter(arguments)).split("_url", maxsplit=1)[0]):
            BudgetManager(**{"project_name": "p", **arguments})
    with pytest.raises(ValueError, match="api_base"):
        BudgetManager("p", client_type="hosted")
    assert not database.exists()


def test_the_database_may_be_a_path(tmp_path: Path) -> None:
    manager = BudgetManager("p", database_url=tmp_path / "mine.db")
    manager.create_budget(1, "alice")
    manager.close()
    assert (tmp_path / "mine.db").exists()


def test_projects_never_see_each_others_users(manager: BudgetManager) -> None:
    other = BudgetManager("other")
    assert (other.get_users(), other.is_valid_user("alice")) == ([], False)
    other.create_budget(3, "alice")
    assert (other.get_total_budget("alice"), manager.get_total_budget("alice")) == (3.0, 10.0)


def test_a_new_manager_finds_what_the_last_one_left(manager: BudgetManager) -> None:
    manager.update_cost("alice", completion_of())
    manager.close()
    assert BudgetManager("tests").get_current_cost("alice") == COMPLETION_COST


# create_budget.


def test_records_have_litellms_shape(timed: Timed) -> None:
    manager = timed.manager
    plain = manager.create_budget(total_budget=10, user="alice")
    assert plain == {"total_budget": 10.0, "current_cost": 0.0, "model_cost": {}}
    daily = manager.create_budget(total_budget=2.5, user="bob", duration="daily")
    at = START.timestamp()
    assert daily == {
        "total_budget": 2.5,
        "current_cost": 0.0,
        "model_cost": {},
        "duration": 1,
        "created_at": at,
        "last_updated_at": at,
    }
    assert manager.user_dict == {"alice": plain, "bob": daily}


@pytest.mark.parametrize(
    ("duration", "days"), [("daily", 1), ("weekly", 7), ("monthly", 28), ("yearly", 365)]
)
def test_durations_in_days(manager: BudgetManager, duration: str, days: int) -> None:
    assert manager.create_budget(1, "bob", duration)["duration"] == days


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"total_budget": -1}, "total_budget"),
        ({"total_budget": math.nan}, "total_budget"),
        ({"total_budget": math.inf}, "total_budget"),
        ({"total_budget": "much"}, "total_budget"),
        ({"total_budget": None}, "total_budget"),
        ({"duration": "hourly"}, "duration"),
        ({"duration": 7}, "duration"),
        ({"duration": ["daily"]}, "duration"),
        ({"created_at": "today"}, "created_at"),
        ({"created_at": math.nan}, "created_at"),
        ({"created_at": -1}, "created_at"),
        ({"created_at": 10**400}, "created_at"),
        ({"mode": "strict"}, "mode"),
        ({"mode": []}, "mode"),
        ({"user": ""}, "user"),
        ({"user": None}, "user"),
        ({"user": "a\x00b"}, "user"),
    ],
)
def test_a_budget_that_cannot_be_changes_nothing(
    manager: BudgetManager, arguments: dict[str, Any], named: str
) -> None:
    before = manager.user_dict
    with pytest.raises(ValueError, match=named):
        manager.create_budget(**{"total_budget": 5, "user": "alice", **arguments})
    assert manager.user_dict == before


def test_again_for_a_user_sets_the_limit_and_keeps_the_rest(timed: Timed) -> None:
    manager = timed.manager
    created = manager.create_budget(10, "alice", "weekly")["created_at"]
    timed.spend("alice", "a")
    timed.clock.advance(timedelta(days=2))
    record = manager.create_budget(20, "alice", "weekly")
    assert (record["total_budget"], record["current_cost"]) == (20.0, COMPLETION_COST)
    assert record["created_at"] == created
    assert (
        manager.create_budget(20, "alice", "weekly", created_at=created - 86_400)["created_at"]
        == created - 86_400
    )
    manager.create_budget(0, "alice", "weekly")
    assert manager.get_total_budget("alice") == 0.0


def test_a_new_duration_recomputes_the_running_period_from_the_journal(timed: Timed) -> None:
    manager = timed.manager
    manager.create_budget(10, "alice", "daily")
    for day in range(3):
        timed.spend("alice", str(day))
        timed.clock.advance(timedelta(days=1))
    timed.spend("alice", "today")
    assert manager.get_current_cost("alice") == COMPLETION_COST
    assert manager.create_budget(10, "alice", "weekly")["current_cost"] == pytest.approx(4 * COMPLETION_COST)
    assert manager.get_model_cost("alice") == pytest.approx({MODEL: 4 * COMPLETION_COST})
    assert manager.create_budget(10, "alice", "daily")["current_cost"] == COMPLETION_COST


def test_a_budget_without_a_duration_never_resets(timed: Timed) -> None:
    timed.manager.create_budget(10, "alice")
    timed.spend("alice", "a")
    timed.clock.advance(timedelta(days=4_000))
    assert timed.manager.get_current_cost("alice") == COMPLETION_COST


# Periods.


@pytest.mark.parametrize(
    ("duration", "moment", "is_over"),
    [
        ("daily", timedelta(hours=23, minutes=59), False),
        ("daily", timedelta(days=1), True),
        ("weekly", timedelta(days=6, hours=23), False),
        ("weekly", timedelta(days=7), True),
        ("monthly", timedelta(days=27), False),  # from 31 January to 28 February
        ("monthly", timedelta(days=28), True),
        ("yearly", timedelta(days=364), False),
        ("yearly", timedelta(days=365), True),
    ],
)
def test_periods_are_anchored_at_created_at_and_end_by_themselves(
    timed: Timed, duration: str, moment: timedelta, is_over: bool
) -> None:
    timed.manager.create_budget(10, "alice", duration)
    timed.spend("alice", "a")
    timed.clock.advance(moment)
    assert timed.manager.get_current_cost("alice") == (0.0 if is_over else COMPLETION_COST)
    assert timed.manager.user_dict["alice"]["model_cost"] == ({} if is_over else {MODEL: COMPLETION_COST})


def test_created_at_may_be_given(timed: Timed) -> None:
    anchor = (START - timedelta(hours=23)).timestamp()
    timed.manager.create_budget(10, "alice", "daily", created_at=anchor)
    timed.spend("alice", "a")
    timed.clock.advance(timedelta(hours=1))
    assert timed.manager.get_current_cost("alice") == 0.0
    assert timed.manager.user_dict["alice"]["last_updated_at"] == anchor + 86_400


@pytest.mark.parametrize("kind", [datetime, float])
def test_a_clock_may_be_a_callable(database: Path, kind: type) -> None:
    now = [START]
    manager = BudgetManager("called", clock=lambda: now[0] if kind is datetime else now[0].timestamp())
    manager.create_budget(10, "alice", "daily")
    manager.update_cost("alice", completion_of())
    now[0] += timedelta(days=1)
    assert manager.get_current_cost("alice") == 0.0
    manager.close()


def test_a_hard_budget_admits_again_in_its_next_period(timed: Timed, provider: FakeProvider) -> None:
    manager = timed.manager
    manager.create_budget(1.5 * CALL_NANOS / 1e9, "alice", "daily", mode="hard")
    options: dict[str, Any] = {"user": "alice", "model": MODEL, "messages": HELLO, "max_tokens": 24}
    options["service_tier"] = "default"
    manager.completion(**options)
    with pytest.raises(BudgetExceededError) as caught:
        manager.completion(**options)
    assert caught.value.resets_at == START + timedelta(days=1)
    timed.clock.advance(timedelta(days=1))
    manager.completion(**options)
    assert manager.get_current_cost("alice") == CALL_NANOS / 1e9


def test_resets(timed: Timed) -> None:
    manager = timed.manager
    manager.create_budget(10, "alice", "daily")
    timed.spend("alice", "a")
    manager.reset_on_duration("alice")
    manager.update_budget_all_users()
    assert manager.get_current_cost("alice") == COMPLETION_COST
    timed.clock.advance(timedelta(hours=1))
    record = manager.reset_cost("alice")["user"]
    assert (record["current_cost"], record["model_cost"]) == (0.0, {})
    assert record["last_updated_at"] == (START + timedelta(hours=1)).timestamp()
    assert record["created_at"] == START.timestamp()
    assert timed.spend("alice", "b") == COMPLETION_COST
    assert timed.spend("alice", "a") == COMPLETION_COST  # charged before: the history stays in the journal
    manager.create_budget(10, "bob")
    manager.reset_on_duration("bob")
    assert manager.save_data() == {"status": "success"}


# Users.


def test_users(manager: BudgetManager) -> None:
    names = ["bob", "Zoë", "a/usd", "user:x", "O'Neil", "x" * 500, "1234", "用户"]
    for name in names:
        manager.create_budget(1, name)
    assert sorted(manager.get_users()) == sorted([*names, "alice"])
    assert all(manager.is_valid_user(name) for name in names)
    assert not manager.is_valid_user("nobody")
    assert manager.user_dict.keys() == {*names, "alice"}


@pytest.mark.parametrize(
    "act",
    [
        lambda it: it.get_total_budget("nobody"),
        lambda it: it.get_current_cost("nobody"),
        lambda it: it.get_model_cost("nobody"),
        lambda it: it.projected_cost(MODEL, HELLO, "nobody"),
        lambda it: it.update_cost("nobody", completion_of()),
        lambda it: it.reset_cost("nobody"),
        lambda it: it.reset_on_duration("nobody"),
        lambda it: it.reserve("nobody", MODEL, HELLO),
        lambda it: it.completion(user="nobody", model=MODEL, messages=HELLO),
        lambda it: asyncio.run(it.acompletion(user="nobody", model=MODEL, messages=HELLO)),
    ],
)
def test_an_unknown_user_is_a_clear_key_error(
    provider: FakeProvider, manager: BudgetManager, journal: Journal, act: Callable[[BudgetManager], Any]
) -> None:
    with pytest.raises(KeyError, match="no user 'nobody'") as caught:
        act(manager)
    assert isinstance(caught.value, UnknownUserError)
    assert "create_budget" in str(caught.value)
    assert (provider.requests, journal.entries()) == ([], [])


# Costs.


def test_projected_cost_is_the_current_one_and_the_prompts(manager: BudgetManager) -> None:
    prompt = 15 * 2_500 / 1e9
    assert manager.projected_cost(MODEL, HELLO, "alice") == pytest.approx(prompt)
    manager.update_cost("alice", completion_of())
    assert manager.projected_cost(model=MODEL, messages=HELLO, user="alice") == pytest.approx(
        COMPLETION_COST + prompt
    )
    parts = [{"role": "user", "content": [{"type": "text", "text": HELLO[0]["content"]}]}]
    assert manager.projected_cost(MODEL, parts, "alice") == manager.projected_cost(MODEL, HELLO, "alice")
    nothing = [{"role": "assistant", "content": None}]
    assert manager.projected_cost(MODEL, nothing, "alice") < manager.projected_cost(MODEL, HELLO, "alice")
    with pytest.raises(PriceUnknownError):
        manager.projected_cost("my-model", HELLO, "alice")


def test_costs_by_model(manager: BudgetManager) -> None:
    manager.update_cost("alice", completion_of())
    manager.update_cost("alice", completion_of("chatcmpl-2"))
    manager.update_cost("alice", completion_of("chatcmpl-3", model="gpt-4o-mini"))
    costs = manager.get_model_cost("alice")
    assert costs == pytest.approx({MODEL: 2 * COMPLETION_COST, "gpt-4o-mini": 0.06 * COMPLETION_COST})
    assert sum(costs.values()) == pytest.approx(manager.get_current_cost("alice"))


def test_texts(manager: BudgetManager, journal: Journal) -> None:
    record = manager.update_cost(
        user="alice", model=MODEL, input_text="hello world", output_text="it's sunny"
    )
    assert record.keys() == {"user"}
    assert record["user"]["current_cost"] == manager.get_current_cost("alice") > 0
    first = manager.get_current_cost("alice")
    manager.update_cost(user="alice", model=MODEL, input_text="hello world", output_text="")
    assert first < manager.get_current_cost("alice") < 2 * first
    assert {entry.source for entry in journal.entries("record")} == {"counted"}
    journal.check()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({}, InvalidValueError),
        ({"model": MODEL}, InvalidValueError),
        ({"input_text": "a", "output_text": "b"}, InvalidValueError),
        ({"model": 5, "input_text": "a", "output_text": "b"}, InvalidValueError),
        ({"model": MODEL, "input_text": 5, "output_text": "b"}, InvalidValueError),
        ({"model": MODEL, "input_text": [], "output_text": "b"}, InvalidValueError),
        ({"model": "my-model", "input_text": "a", "output_text": "b"}, PriceUnknownError),
        ({"completion_obj": "text"}, InvalidValueError),
        ({"completion_obj": {}}, InvalidValueError),
        ({"completion_obj": completion_of(usage=None)}, InvalidValueError),
        (
            {"completion_obj": completion_of(usage={"prompt_tokens": -5})},
            InvalidValueError,
        ),
        ({"completion_obj": completion_of(model=None)}, InvalidValueError),
        ({"completion_obj": completion_of(model="my-model")}, PriceUnknownError),
    ],
)
def test_what_cannot_be_charged_is_an_error_and_changes_nothing(
    manager: BudgetManager, journal: Journal, arguments: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        manager.update_cost("alice", **arguments)
    assert journal.entries() == []


# Completions of all kinds.


class Dumped:
    """What LiteLLM's and other SDKs' objects have in common."""

    def __init__(self, content: dict[str, Any], provider: str | None = None) -> None:
        self._content = content
        self._hidden_params = {"custom_llm_provider": provider}

    def model_dump(self) -> dict[str, Any]:
        return self._content


def test_a_dict_and_an_object_with_model_dump(manager: BudgetManager) -> None:
    manager.update_cost("alice", completion_of("a"))
    manager.update_cost("alice", Dumped(completion_of("b")))
    manager.update_cost("alice", Dumped(completion_of("c"), "openai"))
    manager.update_cost("alice", completion_of("d", model=None), MODEL)
    assert manager.get_current_cost("alice") == pytest.approx(4 * COMPLETION_COST)


def test_a_completion_of_outlay(provider: FakeProvider, manager: BudgetManager) -> None:
    answer = outlay.completion(model=MODEL, messages=HELLO)
    manager.update_cost("alice", answer)
    assert manager.get_current_cost("alice") == CALL_NANOS / 1e9
    embedding = outlay.embedding("text-embedding-3-small", "a river")
    manager.update_cost("alice", embedding)
    assert manager.get_current_cost("alice") * 1e9 == pytest.approx(provider.bill.total_nanos)


def test_completions_of_the_openai_sdk(provider: FakeProvider, manager: BudgetManager) -> None:
    with openai.OpenAI(base_url=provider.base_url, api_key="k") as client:
        chat = client.chat.completions.create(model=MODEL, messages=HELLO)  # type: ignore[arg-type]
        response = client.responses.create(model=MODEL, input="Hello")
        embedding = client.embeddings.create(model="text-embedding-3-small", input="a")
    for completion in (chat, response, chat, response):
        manager.update_cost("alice", completion)
    manager.update_cost("alice", embedding)  # once: it has no id to know it by
    assert manager.get_current_cost("alice") == provider.bill.total_nanos / 1e9
    assert manager.get_model_cost("alice").keys() == {MODEL, "text-embedding-3-small"}


def test_the_same_completion_in_another_dress_is_the_same(
    provider: FakeProvider, manager: BudgetManager
) -> None:
    with openai.OpenAI(base_url=provider.base_url, api_key="k") as client:
        chat = client.chat.completions.create(model=MODEL, messages=HELLO)  # type: ignore[arg-type]
    for dress in (chat, chat.model_dump(), chat.model_dump(exclude_none=True), Answer(chat.to_dict())):
        manager.update_cost("alice", dress)
    assert manager.get_current_cost("alice") == CALL_NANOS / 1e9


# Never twice.


@pytest.mark.parametrize("is_async", [False, True])
def test_what_the_manager_called_is_not_charged_twice(
    provider: FakeProvider, manager: BudgetManager, journal: Journal, is_async: bool
) -> None:
    options: dict[str, Any] = {"user": "alice", "model": MODEL, "messages": HELLO}
    answer = asyncio.run(manager.acompletion(**options)) if is_async else manager.completion(**options)
    assert isinstance(answer, Answer)
    for dress in (answer, answer.model_dump(), Answer(answer)):
        record = manager.update_cost("alice", dress)["user"]
        assert record["current_cost"] == CALL_NANOS / 1e9
    assert journal.charged_nanos() == provider.bill.total_nanos


@pytest.mark.parametrize("door", ["update_cost", "settle"])
def test_a_completion_is_charged_at_the_tier_it_was_served_in(manager: BudgetManager, door: str) -> None:
    priority = completion_of(model="gpt-5", service_tier="priority")
    _charge(manager, door, "gpt-5", priority)
    cost = price_book().price("openai", "gpt-5", at=now_micros(), choices={"service_tier": "priority"})
    assert manager.get_current_cost("alice") * 1e9 == cost.cost(Usage.of(1_000, 100))
    assert cost.cost(Usage.of(1_000, 100)) > 1_000 * 1_250 + 100 * 10_000


@pytest.mark.parametrize("door", ["update_cost", "settle"])
def test_reasoning_that_xai_counts_beside_the_output_is_charged(manager: BudgetManager, door: str) -> None:
    usage: dict[str, Any] = {"prompt_tokens": 1_000, "completion_tokens": 100}
    usage |= {"completion_tokens_details": {"reasoning_tokens": 900}}
    _charge(manager, door, "xai/grok-3-mini", completion_of(model="grok-3-mini", usage=usage))
    price = price_book().price("xai", "grok-3-mini", at=now_micros())
    assert manager.get_current_cost("alice") * 1e9 == price.cost(Usage.of(1_000, 1_000))


def _charge(manager: BudgetManager, door: str, model: str, completion: dict[str, Any]) -> None:
    if door == "update_cost":
        manager.update_cost("alice", completion, model=model)
        return
    with manager.reserve("alice", model, HELLO, max_tokens=2_000) as reservation:
        reservation.settle(completion)


def now_micros() -> int:
    return SystemClock().wall()


def test_a_completion_charged_to_one_user_can_be_charged_to_another(manager: BudgetManager) -> None:
    manager.create_budget(1, "bob")
    for user in ("alice", "bob", "alice", "bob"):
        manager.update_cost(user, completion_of())
    assert manager.get_current_cost("alice") == manager.get_current_cost("bob") == COMPLETION_COST


def test_different_completions_of_one_id_are_both_charged(manager: BudgetManager) -> None:
    manager.update_cost("alice", completion_of("same"))
    manager.update_cost("alice", completion_of("same", created=2))
    manager.update_cost(
        "alice", completion_of("same", usage={"prompt_tokens": 1_000, "completion_tokens": 101})
    )
    assert manager.get_current_cost("alice") > 3 * COMPLETION_COST


def test_users_and_ids_with_colons_are_told_apart(manager: BudgetManager) -> None:
    for user, id in (("a", "user:b:c"), ("a:user", "b:c"), ("a:user:b", "c"), ("a", "half-\ud800")):
        manager.create_budget(1, user)
        before = manager.get_current_cost(user)
        for _ in range(2):
            manager.update_cost(user, completion_of(id))
        assert manager.get_current_cost(user) == pytest.approx(before + COMPLETION_COST)


def test_a_completion_that_nests_absurdly_deep_is_refused(manager: BudgetManager) -> None:
    deep: Any = "text"
    for _ in range(5_000):
        deep = [{"type": "thinking", "thinking": deep}]
    choice = {"index": 0, "finish_reason": "stop", "message": {"content": deep}}
    for part in (deep, choice):
        with pytest.raises(InvalidValueError):
            manager.update_cost("alice", completion_of(choices=[part]))
    assert manager.get_current_cost("alice") == 0


@pytest.mark.parametrize(
    ("model", "messages", "named"),
    [
        (None, HELLO, "model"),
        ("", HELLO, "model"),
        (MODEL, 5, "messages"),
        (MODEL, None, "messages"),
        (MODEL, "text", "messages"),
        (MODEL, [5], "messages"),
        (MODEL, [{"role": "assistant", "tool_calls": 5}], "tool_calls"),
    ],
)
def test_a_prompt_that_cannot_be_projected_is_named(
    manager: BudgetManager, model: Any, messages: Any, named: str
) -> None:
    with pytest.raises(InvalidValueError, match=named):
        manager.projected_cost(model, messages, "alice")


@pytest.mark.parametrize(
    ("model", "messages", "named"),
    [(None, [], "model"), (5, [], "model"), (MODEL, None, "messages"), (MODEL, [5], "messages")],
)
def test_a_reservation_of_nonsense_is_named(
    manager: BudgetManager, journal: Journal, model: Any, messages: Any, named: str
) -> None:
    with pytest.raises(InvalidValueError, match=named), manager.reserve("alice", model, messages):
        pass
    assert journal.pending() == 0


def test_completions_without_an_id_are_all_charged(manager: BudgetManager) -> None:
    for _ in range(2):
        manager.update_cost("alice", completion_of(id=""))
    assert manager.get_current_cost("alice") == pytest.approx(2 * COMPLETION_COST)


def test_many_threads_lose_and_double_nothing(manager: BudgetManager, journal: Journal) -> None:
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: manager.update_cost("alice", completion_of(str(n // 2))), range(400)))
    assert manager.get_current_cost("alice") == pytest.approx(200 * COMPLETION_COST)
    journal.check()


# Reservations.


def test_a_reservation_holds_and_settles(
    provider: FakeProvider, manager: BudgetManager, journal: Journal
) -> None:
    with (
        openai.OpenAI(base_url=provider.base_url, api_key="k") as client,
        manager.reserve("alice", MODEL, HELLO, max_tokens=30) as reservation,
    ):
        assert reservation.max_tokens == 30
        assert journal.pending() == 1
        chat = client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=30)  # type: ignore[arg-type]
        reservation.settle(chat)
    assert (journal.pending(), journal.charged_nanos()) == (0, provider.bill.total_nanos)
    manager.update_cost("alice", chat)
    assert manager.get_current_cost("alice") == CALL_NANOS / 1e9
    journal.check()


def test_ways_to_settle(manager: BudgetManager, journal: Journal) -> None:
    with manager.reserve("alice", MODEL, HELLO, max_tokens=30) as reservation:
        reservation.settle(cost=0.0001)
    with manager.reserve("alice", MODEL, HELLO, max_tokens=30) as reservation:
        reservation.settle(input_text="hello", output_text="")
    with manager.reserve("alice", MODEL, HELLO, max_tokens=30) as reservation:
        reservation.settle(cost=0)
    assert [entry.source for entry in journal.entries()] == ["manual", "counted", "manual"]
    assert journal.entries()[0].usd_nanos == 100_000
    assert set(manager.get_model_cost("alice")) == {MODEL}


def test_a_reservation_by_provider_and_model_counts_under_the_models_name(manager: BudgetManager) -> None:
    with manager.reserve("alice", f"openai/{MODEL}", HELLO, max_tokens=30) as reservation:
        reservation.settle(cost=0.5)
    assert manager.get_model_cost("alice") == {MODEL: 0.5}


@pytest.mark.parametrize("end", ["settle", "void"])
def test_a_reservation_whose_end_the_ledger_did_not_take_says_so_and_can_be_ended_again(
    manager: BudgetManager, journal: Journal, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    async def fail(_: object) -> None:
        raise DatabaseFullError("no room")

    with manager.reserve("alice", MODEL, HELLO, max_tokens=30) as reservation:
        finish: Callable[[], None] = reservation.void
        if end == "settle":
            finish = partial(reservation.settle, completion_of())
        with monkeypatch.context() as patch:
            patch.setattr(manager._ledger, "execute_async", fail)
            for _ in range(2):
                with pytest.raises(DatabaseFullError):
                    finish()
        assert journal.pending() == 1
        finish()
    assert (journal.pending(), [entry.kind for entry in journal.entries()]) == (0, [end])
    journal.check()


def test_a_settle_the_ledger_refuses_is_named(manager: BudgetManager, journal: Journal) -> None:
    with manager.reserve("alice", MODEL, HELLO, max_tokens=30) as reservation:
        with pytest.raises(InvalidValueError):
            reservation.settle(cost=1e300)
        reservation.settle(cost=1)
    assert journal.charged_nanos() == 10**9


@pytest.mark.parametrize("reason", ["never_sent", "rejected", "provider_error"])
def test_a_reservation_voided(manager: BudgetManager, journal: Journal, reason: Any) -> None:
    with manager.reserve("alice", MODEL, HELLO) as reservation:
        reservation.void(reason)
    assert [(entry.kind, entry.reason) for entry in journal.entries()] == [("void", reason)]
    assert manager.get_current_cost("alice") == 0.0


def test_a_void_needs_a_reason_that_proves_something(manager: BudgetManager, journal: Journal) -> None:
    with (
        manager.reserve("alice", MODEL, HELLO) as reservation,
        pytest.raises(InvalidValueError, match="reason"),
    ):
        reservation.void("changed my mind")  # type: ignore[arg-type] # that is the point
    assert journal.pending() == 1


def test_a_reservation_left_open_is_presumed(
    manager: BudgetManager, journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    def call_that_fails() -> None:
        with manager.reserve("alice", MODEL, HELLO, max_tokens=1_000):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        call_that_fails()
    assert "neither settled nor voided" in caplog.text
    assert journal.pending() == 1
    journal.expire()
    assert journal.charged_nanos() >= 1_000 * 10_000
    journal.check()


def test_a_reservation_ends_once_and_only_after_it_began(manager: BudgetManager, journal: Journal) -> None:
    early = manager.reserve("alice", MODEL, HELLO)
    with pytest.raises(InvalidValueError, match="with"):
        early.settle(cost=1)
    with early:
        wrongs: list[dict[str, Any]] = [{}, {"cost": -1}, {"completion_obj": "text"}]
        for wrong in wrongs:
            with pytest.raises(InvalidValueError):
                early.settle(**wrong)
        early.settle(cost=1)
        with pytest.raises(InvalidValueError, match="before"):
            early.settle(cost=1)
        with pytest.raises(InvalidValueError, match="before"):
            early.void()
    with pytest.raises(InvalidValueError, match="once"):
        early.__enter__()
    assert manager.get_current_cost("alice") == 1.0
    assert len(journal.entries()) == 1


def test_a_reservation_that_does_not_fit_is_refused(manager: BudgetManager, journal: Journal) -> None:
    manager.create_budget(0.001, "bob", mode="hard")
    with pytest.raises(BudgetExceededError) as caught, manager.reserve("bob", MODEL, HELLO, max_tokens=1_000):
        pass
    assert 0 < (caught.value.affordable_max_tokens or 0) < 100
    with pytest.raises(PriceUnknownError), manager.reserve("bob", "my-model", HELLO):
        pass
    assert (journal.entries(), journal.pending()) == ([], 0)
    with manager.reserve("bob", MODEL, HELLO) as reservation:
        assert 16 <= reservation.max_tokens < 100
        reservation.void()


@pytest.mark.parametrize("seconds", [0, -1, math.nan, math.inf, "60", None])
def test_a_hold_that_cannot_be_is_named(manager: BudgetManager, seconds: Any) -> None:
    with (
        pytest.raises(InvalidValueError, match="hold_seconds"),
        manager.reserve("alice", MODEL, HELLO, hold_seconds=seconds),
    ):
        pass
