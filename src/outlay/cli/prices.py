"""`outlay price` and `outlay prices drift`: what a model costs, and what its provider billed instead."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any

import typer

from outlay.cli.context import (
    DatabaseOption,
    JsonOption,
    ProjectOption,
    project_of,
    read_ledger_of,
    settings_of,
)
from outlay.cli.output import NONE, cell, make_table, print_json, print_table

if TYPE_CHECKING:
    from outlay.ledger.store import Drift
    from outlay.pricing.book import PriceBook
    from outlay.pricing.price import Price
    from outlay.pricing.rates import Rates

app = typer.Typer(help="How prices compare with what providers bill.", no_args_is_help=True)

_NANOS_PER_USD = 10**9
_MILLION = 1_000_000


def show_price(
    context: typer.Context,
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Such as gpt-4o or groq/llama-3.1-8b-instant.")
    ],
    database: DatabaseOption = None,
    is_json: JsonOption = False,
) -> None:
    """Show the price of a model: its rates, limits and source, and the dearest that a call can meet.

    Some calls cost otherwise: in another service tier, at another speed, in a region. Those rates are shown
    too.

    OUTLAY_PRICES names a file with prices of your own.

    \b
    Examples:
      outlay price gpt-4o
      outlay price anthropic/claude-sonnet-4-5 --json

    JSON: {"provider", "model", "rates": [{unit, per, usd, tiers: [{above_input_tokens, usd}]}], "dearest":
    {"input_usd_per_million", "output_usd_per_million"}, "choices": [{dimension, value, rates}],
    "context_window", "max_output_tokens", "is_free", "source", "version"}; usd are decimal strings.
    """
    from outlay.bootstrap import open_price_book
    from outlay.domain.accounts import check_name
    from outlay.providers.target import split_model

    provider, name = split_model(check_name(model, "MODEL"))
    facts = _facts(open_price_book(settings_of(context, database)), provider, name)
    if is_json:
        print_json(facts)
    else:
        _print(facts)


def _facts(book: PriceBook, provider: str, model: str) -> dict[str, Any]:
    from time import time_ns

    at = time_ns() // 1000
    price = book.price(provider, model, at=at)
    choices = [(name, value) for name, values in price.values.items() for value in sorted(values)]
    dearest = price.bound_rates(choices=frozenset(choices), has_media=True)
    return {
        "provider": provider,
        "model": model,
        "rates": _rates(price.rates),
        "dearest": {
            "input_usd_per_million": _usd(dearest.input, _MILLION),
            "output_usd_per_million": _usd(dearest.output, _MILLION),
        },
        "choices": [
            {"dimension": name, "value": value, "rates": _rates(other)}
            for name, value in choices
            if (other := _other_rates(price, book.price(provider, model, at=at, choices={name: value})))
        ],
        "context_window": book.context_window(provider, model),
        "max_output_tokens": book.max_output_tokens(provider, model),
        "is_free": price.is_free,
        "source": price.origin,
        "version": price.version,
    }


def _other_rates(standard: Price, chosen: Price) -> Rates:
    return {unit: rate for unit, rate in chosen.rates.items() if rate != standard.rates.get(unit)}


def _rates(table: Rates) -> list[dict[str, Any]]:
    from outlay.pricing.units import lattice

    rates = []
    for key, rate in table.items():
        per = lattice().units[key].per
        tiers = [{"above_input_tokens": start, "usd": _usd(above, per)} for start, above in rate.tiers]
        rates.append({"unit": key, "per": per, "usd": _usd(rate.base, per), "tiers": tiers})
    return rates


def _usd(nanos: Fraction, per: int) -> str:
    """Nanos for one as a decimal string of USD for `per`: exact, or to 15 digits where it has no end."""
    usd = nanos * per / _NANOS_PER_USD
    text = f"{Decimal(usd.numerator) / Decimal(usd.denominator):.15f}"
    return text.rstrip("0").rstrip(".")


def _print(facts: dict[str, Any]) -> None:
    typer.echo(f"{facts['provider']}/{facts['model']}{' (free)' if facts['is_free'] else ''}")
    table = make_table("Unit", "USD", "Per", numbers=("USD", "Per"))
    for rate in facts["rates"]:
        table.add_row(rate["unit"].replace("_", " "), rate["usd"], f"{rate['per']:,}")
        for tier in rate["tiers"]:
            table.add_row(f"  above {tier['above_input_tokens']:,} input tokens", tier["usd"], "")
    print_table(table)
    if facts["choices"]:
        _print_choices(facts["choices"])
    dearest = facts["dearest"]
    typer.echo(
        f"Dearest that a call can meet: {dearest['input_usd_per_million']} USD in, "
        f"{dearest['output_usd_per_million']} USD out, for a million tokens"
    )
    for name, key in (("Context window", "context_window"), ("Most output", "max_output_tokens")):
        typer.echo(f"{name}: {NONE if facts[key] is None else f'{facts[key]:,} tokens'}")
    source, version = facts["source"], facts["version"]
    typer.echo(f"Source: {version if version.startswith(source) else f'{source}, {version}'}")


def _print_choices(choices: list[dict[str, Any]]) -> None:
    typer.echo("Where a call asks for it, or is served so:")
    table = make_table("What", "Value", "Unit", "USD", "Per", numbers=("USD", "Per"))
    for choice in choices:
        names = choice["dimension"].replace("_", " "), choice["value"]
        for rate in choice["rates"]:
            table.add_row(*names, rate["unit"].replace("_", " "), rate["usd"], f"{rate['per']:,}")
            names = "", ""
    print_table(table)


@app.command("drift")
def show_drift(
    context: typer.Context,
    since: Annotated[
        str | None,
        typer.Option(metavar="WHEN", help="From then on: a date or time, or how long ago: 24h, 7d."),
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="WHEN", help="Before then.")] = None,
    model: Annotated[str | None, typer.Option(metavar="MODEL", help="Of this model.")] = None,
    project: ProjectOption = None,
    database: DatabaseOption = None,
    is_json: JsonOption = False,
) -> None:
    """Show how far what providers billed is from our own prices, by model.

    Only charges whose provider stated a cost count. Drift is what was charged less our own price of it.

    \b
    Examples:
      outlay prices drift
      outlay prices drift --since 7d --json

    JSON: {"drift": [{provider, model, calls, charged_usd, priced_usd, drift_usd}]}; usd are decimal strings.
    """
    from outlay.ledger.moments import read_moment
    from outlay.ledger.store import EntryFilter

    with read_ledger_of(context, database) as reader:
        now = reader.now()
        wanted = EntryFilter(
            project_of(context, project),
            model=model,
            since=read_moment(since, "--since", now),
            until=read_moment(until, "--until", now),
        )
        found = [_drift_json(each) for each in reader.drift(wanted)]
    if is_json:
        print_json({"drift": found})
        return
    if not found:
        typer.echo("No provider stated what it bills.")
        return
    numbers = ("Calls", "Charged", "Priced", "Drift")
    table = make_table("Provider", "Model", *numbers, numbers=numbers)
    for each in found:
        table.add_row(*(cell(value) for value in each.values()))
    print_table(table)


def _drift_json(drift: Drift) -> dict[str, Any]:
    from outlay.domain.money import usd_text

    return {
        "provider": drift.provider,
        "model": drift.model,
        "calls": drift.calls,
        "charged_usd": usd_text(drift.charged_nanos),
        "priced_usd": usd_text(drift.priced_nanos),
        "drift_usd": usd_text(drift.charged_nanos - drift.priced_nanos),
    }
