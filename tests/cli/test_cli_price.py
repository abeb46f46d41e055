"""`outlay price`, and what the command line does as a whole."""

from __future__ import annotations

import os

import pytest
from command_line import CommandLine

from outlay import __version__
from outlay.domain.commands import Record

pytestmark = pytest.mark.once("rules that are the same on every Python")

OURS = (
    '{"version": "7", "models": {"ollama/mine": {"input_mtok": 1, "output_mtok": 2, "cache_read_mtok": 0.1, '
    '"context_window": 32000}, "ollama/long": {"input_cost_per_token": 1e-6, "output_cost_per_token": 3e-6, '
    '"input_cost_per_token_above_200k_tokens": 2e-6}}}'
)


def test_price_shows_rates_limits_and_where_they_are_from(outlay: CommandLine) -> None:
    ran = outlay("price", "gpt-4o")
    assert ran.code == 0
    for shown in ("openai/gpt-4o", "input tokens", "1,000,000", "Context window: 128,000", "genai-prices"):
        assert shown in ran.out


def test_a_price_of_ones_own_is_shown_exactly(outlay: CommandLine) -> None:
    (outlay.folder / "prices.json").write_text(OURS)
    found = outlay("price", "ollama/mine", "--json", OUTLAY_PRICES="prices.json").json
    rates = {rate["unit"]: (rate["usd"], rate["per"]) for rate in found["rates"]}
    assert rates["input_tokens"] == ("1", 1_000_000)
    assert rates["cache_read_tokens"] == ("0.1", 1_000_000)
    assert found["dearest"] == {"input_usd_per_million": "1", "output_usd_per_million": "2"}
    assert (found["context_window"], found["source"], found["version"]) == (32_000, "user", "prices.json 7")
    assert (found["provider"], found["model"], found["is_free"]) == ("ollama", "mine", False)


def test_a_tier_is_shown_and_is_the_dearest(outlay: CommandLine) -> None:
    (outlay.folder / "prices.json").write_text(OURS)
    out = outlay("price", "ollama/long", OUTLAY_PRICES="prices.json").out
    assert "above 200,000 input tokens" in out
    assert "Dearest that a call can meet: 2 USD in, 3 USD out" in out


def test_what_costs_otherwise_is_shown_and_may_be_the_dearest(outlay: CommandLine) -> None:
    prices = (
        '{"version": "7", "models": {"openai_compatible/mine": {"input_cost_per_token": 1e-6, '
        '"output_cost_per_token": 2e-6, "output_cost_per_token_priority": 5e-6, "input_cost_per_token_flex": '
        '5e-7, "provider_specific_entry": {"us": 1.5}, "search_context_cost_per_query": {'
        '"search_context_size_low": 0.01, "search_context_size_high": 0.03}}}}'
    )
    (outlay.folder / "prices.json").write_text(prices)
    found = outlay("price", "openai_compatible/mine", "--json", OUTLAY_PRICES="prices.json").json
    shown = {
        (choice["dimension"], choice["value"]): {rate["unit"]: rate["usd"] for rate in choice["rates"]}
        for choice in found["choices"]
    }
    assert shown == {
        ("service_tier", "flex"): {"input_tokens": "0.5"},
        ("service_tier", "priority"): {"output_tokens": "5"},
        ("inference_geo", "us"): {"input_tokens": "1.5", "output_tokens": "3"},
        ("search_context_size", "low"): {"web_searches": "10"},
    }
    assert found["dearest"] == {"input_usd_per_million": "1.5", "output_usd_per_million": "7.5"}
    out = outlay("price", "openai_compatible/mine", OUTLAY_PRICES="prices.json").out
    assert "Where a call asks for it, or is served so:" in out
    assert ["priority", "output", "tokens", "5", "1,000,000"] in [
        line.split()[-5:] for line in out.split("\n")
    ]


def test_a_price_that_does_not_change_with_what_is_asked_says_nothing_of_it(outlay: CommandLine) -> None:
    (outlay.folder / "prices.json").write_text(OURS)
    assert outlay("price", "ollama/mine", "--json", OUTLAY_PRICES="prices.json").json["choices"] == []
    assert "asks for it" not in outlay("price", "ollama/mine", OUTLAY_PRICES="prices.json").out


def test_an_unknown_model_says_how_to_add_its_price(outlay: CommandLine) -> None:
    line = outlay.fails("price", "openai_compatible/nobody-knows-this")
    assert "No price is known for openai_compatible/nobody-knows-this" in line
    assert "Add one" in line


def test_a_model_of_ollamas_is_free_unless_it_is_priced(outlay: CommandLine) -> None:
    found = outlay("price", "ollama/nobody-knows-this", "--json").json
    assert (found["is_free"], found["source"]) == (True, "provider")


def test_help_has_examples_and_comes_quickly(outlay: CommandLine) -> None:
    before = os.times()
    ran = outlay.process("--help")
    after = os.times()
    assert ran.code == 0
    assert after.children_user + after.children_system - before.children_user - before.children_system < 1
    assert "    outlay balance --account user:ada\n" in ran.out
    assert max(len(line) for line in ran.out.splitlines()) <= 80


def test_the_version_is_shown(outlay: CommandLine) -> None:
    assert outlay("--version").out == f"outlay {__version__}\n"


@pytest.mark.parametrize("arguments", [("nonsense",), ("balance", "--nonsense")])
def test_a_wrong_call_is_one_line(outlay: CommandLine, arguments: tuple[str, ...]) -> None:
    assert "nonsense" in outlay.fails(*arguments)


def test_there_are_no_colours_where_nobody_wants_them(outlay: CommandLine) -> None:
    outlay.execute(Record("p", "r", ("user:ada",), 1))
    assert "\x1b[3" not in outlay("entries", NO_COLOR="1", FORCE_COLOR="1").out


@pytest.mark.parametrize("arguments", [(), ("presumed",)])
def test_asking_for_nothing_shows_the_help(outlay: CommandLine, arguments: tuple[str, ...]) -> None:
    ran = outlay(*arguments)
    assert (ran.code, ran.err) == (2, "")
    assert ran.out.startswith(f"Usage: {' '.join(('outlay', *arguments))} [OPTIONS] COMMAND")


def test_whoever_has_seen_enough_may_stop_reading(outlay: CommandLine) -> None:
    outlay.execute(*(Record("p", f"r{n}", ("user:ada",), 1, detail={"text": "x" * 500}) for n in range(300)))
    assert outlay.piped_to_head("entries", "--limit", "300", "--json") == "{\n"
