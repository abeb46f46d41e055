"""Configured routes: model groups, wildcards and aliases."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from outlay.errors import InvalidValueError
from outlay.routing.configured import Alias, ConfiguredRoutes, Row
from outlay.routing.deployments import Deployment, ModelGroup, choose

pytestmark = pytest.mark.once("rules that are the same on every Python")

KEYS = {"OPENAI_API_KEY": "sk-openai", "ANTHROPIC_API_KEY": "sk-ant"}


def routes(*rows: Row, aliases: dict[str, Alias] | None = None) -> ConfiguredRoutes:
    return ConfiguredRoutes(rows, aliases or {}, KEYS)


def row(group: str, model: str, id: str = "d1", **more: str | float) -> Row:
    return Row(group, model, id, **more)  # type: ignore[arg-type] # what a test states


def led(found: ModelGroup | None) -> tuple[str, list[str]]:
    """A group's name, and where it leads to."""
    assert found is not None
    return found.name, [f"{each.target.provider.id}/{each.target.model}" for each in found.deployments]


def test_a_group_has_the_deployments_of_its_name_in_order() -> None:
    made = routes(row("best", "gpt-4o", "a"), row("other", "gpt-4o-mini", "b"), row("best", "claude-x", "c"))
    assert led(made.find("best")) == ("best", ["openai/gpt-4o", "anthropic/claude-x"])
    assert made.names() == ["best", "other"]
    assert made.find("gpt-4o") is None


def test_a_wildcard_is_filled_with_what_the_caller_asks_for() -> None:
    made = routes(row("mine/*", "openai/*"))
    assert led(made.find("mine/gpt-4o")) == ("mine/gpt-4o", ["openai/gpt-4o"])
    assert led(made.find("MINE/GPT-4o")) == ("mine/gpt-4o", ["openai/gpt-4o"])
    assert made.find("mine/") is None
    assert made.find("yours/gpt-4o") is None
    assert made.find("mine/gpt 4o") is None
    assert "mine/gpt-4o" in made.names()


def test_the_closest_wildcard_and_a_group_before_any_wildcard() -> None:
    made = routes(
        row("*", "*", "all"),
        row("openai/*", "openai/*", "wild"),
        row("openai/gpt-4o", "openai/gpt-4o", "own"),
    )
    ids = [
        found.deployments[0].id
        for name in ("openai/gpt-4o", "OPENAI/GPT-4o", "openai/o3", "claude-sonnet-4-5", "o3")
        if (found := made.find(name)) is not None
    ]
    assert ids == ["own", "own", "wild", "all", "wild"]


def test_a_star_for_everything_leads_to_the_providers_of_the_environment() -> None:
    made = routes(row("*", "*"))
    assert led(made.find("claude-sonnet-4-5")) == ("claude-sonnet-4-5", ["anthropic/claude-sonnet-4-5"])
    assert made.find("groq/llama-3.3-70b-versatile") is None
    assert "gpt-4o" in made.names()


def test_one_model_for_every_name() -> None:
    made = routes(row("anything-*", "gpt-4o"))
    assert led(made.find("anything-at-all")) == ("anything-*", ["openai/gpt-4o"])
    assert made.names() == []


def test_an_alias_is_the_same_group_and_a_hidden_one_is_not_listed() -> None:
    aliases = {"best": Alias("gpt"), "quiet": Alias("gpt", is_hidden=True), "wild": Alias("x/gpt-4o")}
    made = routes(row("gpt", "gpt-4o"), row("x/*", "openai/*", "w"), aliases=aliases)
    assert made.find("best") is made.find("quiet") is made.find("gpt")
    assert led(made.find("wild")) == ("x/gpt-4o", ["openai/gpt-4o"])
    assert made.names()[:3] == ["gpt", "best", "wild"]


@pytest.mark.parametrize(
    ("aliases", "message"),
    [
        ({"gpt": Alias("gpt")}, "the alias 'gpt' is also a model_name"),
        ({"a": Alias("nobody")}, "the alias 'a' leads to 'nobody', which is no model_name"),
    ],
)
def test_an_alias_that_cannot_be_is_refused(aliases: dict[str, Alias], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        routes(row("gpt", "gpt-4o"), aliases=aliases)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (row("a", "openai/*"), "model has a"),
        (row("a/*/*", "openai/x"), "one \\* each"),
        (row("*", "*", api_key="sk-1"), "one api_key must not"),
        (row("a", "groq/x"), "set GROQ_API_KEY"),
        (row("a", "nobody/x"), "no provider called 'nobody'"),
        (row("a", "gpt-4o", api_base="nowhere"), "not an http or https URL"),
        (row("a", "gpt-4o", provider="acme"), "no provider called 'acme'"),
    ],
)
def test_a_row_that_cannot_be_used_is_refused(made: Row, message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        routes(made)


def test_rows_tell_where_they_lead_to_and_no_key() -> None:
    made = routes(row("gpt", "gpt-4o", api_key="sk-of-this-row"), row("*", "*", "all"))
    (first, target), (_, anywhere) = made.served
    assert target is not None
    assert (first.group, target.credential, anywhere) == ("gpt", "sk-of-this-row", None)
    assert "sk-of-this-row" not in repr(made.served)


def test_a_base_model_says_whose_price_counts() -> None:
    found = routes(row("gpt", "openai/my-deployment", base_model="gpt-4o")).find("gpt")
    assert found is not None
    assert found.deployments[0].priced_as == ("openai", "gpt-4o")
    plain = routes(row("gpt", "openai/my-deployment")).find("gpt")
    assert plain is not None
    assert plain.deployments[0].priced_as == ("openai", "my-deployment")


def group_of(*weights: float) -> ModelGroup:
    made = routes(*(row("g", "gpt-4o", f"d{n}", weight=weight) for n, weight in enumerate(weights)))
    found = made.find("g")
    assert found is not None
    return found


def chosen(*weights: float) -> Counter[str]:
    group, random = group_of(*weights), Random(7)
    picks: list[Deployment] = [choose(group, random) for _ in range(4000)]
    return Counter(each.id for each in picks)


def test_deployments_are_chosen_by_weight() -> None:
    counts = chosen(1, 3, 0)
    assert set(counts) == {"d0", "d1"}
    assert 2.6 < counts["d1"] / counts["d0"] < 3.4


def test_without_any_weight_all_are_alike() -> None:
    counts = chosen(0, 0)
    assert 0.8 < counts["d1"] / counts["d0"] < 1.25


def test_one_deployment_needs_no_choice() -> None:
    assert choose(group_of(0), Random(1)).id == "d0"
