"""`outlay check-config`: what the gateway would serve, what it does not implement, and what is wrong."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from outlay.cli.context import DatabaseOption, JsonOption, database_of, settings_of
from outlay.cli.output import amount_cell, cell, make_table, print_json, print_table, printable
from outlay.cli.serve import load
from outlay.errors import InvalidValueError, PriceUnknownError

if TYPE_CHECKING:
    from outlay.domain.budgets import Budget
    from outlay.gateway.config import Config
    from outlay.pricing.book import PriceBook
    from outlay.providers.target import Target
    from outlay.routing.configured import Row

EXIT_PROBLEMS = 2


def check_config(
    context: typer.Context,
    file: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="The configuration; the environment if not given."),
    ] = None,
    database: DatabaseOption = None,
    is_json: JsonOption = False,
) -> None:
    """Read a configuration as `outlay serve` does, and show what it says; nothing is started or changed.

    Exit code 0: it can be served. 2: it cannot; every problem is a line on stderr. Keys that are not
    implemented are shown by their paths. No key and no password is shown.

    \b
    Examples:
      outlay check-config --config config.yaml
      outlay check-config --config config.yaml --json

    JSON: {"file", "problems", "unknown", "notes", "models": [{model, id, provider, provider_model, base_url,
    weight, price, price_notes, allowed_request_fields}], "aliases": {alias: model}, "providers", "budgets":
    [{id, account, unit, limit, window, mode, models, providers}], "request_fields": {allowed, unknown},
    "has_master_key", "database"}.
    """
    try:
        config = load(file, os.environ, database_url=database_of(context, database))
        facts = _facts(config, context)
    except InvalidValueError as error:
        problems = list(getattr(error, "problems", (error.message,)))
        if is_json:
            print_json({"file": _name(file), "problems": problems})
        else:
            _print_problems(problems)
        raise typer.Exit(EXIT_PROBLEMS) from error
    facts = {
        "file": _name(file),
        "problems": [],
        "unknown": list(config.unknown),
        "notes": list(config.notes),
        **facts,
    }
    if is_json:
        print_json(facts)
    else:
        _print(facts, config)


def _facts(config: Config, context: typer.Context) -> dict[str, Any]:
    from outlay.pricing.book import PriceBook
    from outlay.providers.catalogue import PROVIDERS
    from outlay.routing.configured import ConfiguredRoutes
    from outlay.routing.environment import EnvironmentRoutes

    settings = settings_of(context, config.database_url)
    book = PriceBook(config.prices, settings.price_file)
    routes = config.routes
    served = routes.served if isinstance(routes, ConfiguredRoutes) else ()
    aliases = routes.aliases if isinstance(routes, ConfiguredRoutes) else {}
    providers = routes.providers if isinstance(routes, EnvironmentRoutes) else ()
    return {
        "models": [_model(row, target, book) for row, target in served],
        "aliases": {name: alias.group for name, alias in aliases.items()},
        "providers": [PROVIDERS[id].name for id in providers],
        "budgets": [_budget(budget) for budget in config.budgets],
        "request_fields": {
            "allowed": sorted(config.allowed_request_fields),
            "unknown": config.unknown_request_fields,
        },
        "has_master_key": bool(config.master_key),
        "database": str(settings.database_path),
    }


def _model(row: Row, target: Target | None, book: PriceBook) -> dict[str, Any]:
    return {
        "model": row.group,
        "id": row.id,
        "provider": target.provider.id if target else None,
        "provider_model": _provider_model(row, target),
        "base_url": target.base_url if target else None,
        "weight": row.weight,
        "price": _price(row, target, book),
        "allowed_request_fields": sorted(row.allowed_request_fields),
        "price_notes": _price_notes(row, target),
    }


def _provider_model(row: Row, target: Target | None) -> str:
    """What the provider calls the model, with the star where there is one."""
    if target is None or "*" not in row.model:
        return row.model if target is None else target.model
    from outlay.providers.catalogue import provider_named

    before, _, after = row.model.partition("/")
    return after if "*" in after and provider_named(before) is target.provider else row.model


def _price(row: Row, target: Target | None, book: PriceBook) -> str | None:
    """Where the price is from; `unknown`, or None where the model tells."""
    from time import time_ns

    from outlay.providers.target import split_model

    if target is None or "*" in row.model:
        return "own" if row.own_price else None
    provider, model = split_model(row.base_model) if row.base_model else (target.provider.id, target.model)
    try:
        price = book.price(provider, model, at=time_ns() // 1000, own=row.own_price or None)
    except PriceUnknownError:
        return "unknown"
    return "own" if row.own_price else price.origin


def _price_notes(row: Row, target: Target | None) -> list[str]:
    """What an own price leaves out or cannot have, and what is done about it."""
    from outlay.pricing.overrides import read_price
    from outlay.pricing.stated import lacks_cache_writes

    if not row.own_price:
        return []
    stated, notes = read_price(row.own_price, "price", is_strict=False), []
    if stated.uncounted:
        notes.append(
            f"{', '.join(stated.uncounted)} is not counted, so its price is unknown: under a budget of USD "
            "it is refused. Take it out if calls do not cost so."
        )
    elif lacks_cache_writes(stated):
        is_anthropic = target is not None and target.provider.wire == "anthropic"
        what = (
            "2 × input for an hour and 1.25 × for five minutes" if is_anthropic else "as much as other input"
        )
        notes.append(f"its own price states no cache writes (cache_creation_input_token_cost): {what}.")
    return notes


def _budget(budget: Budget) -> dict[str, Any]:
    from outlay.domain.money import usd_text

    return {
        "id": budget.id,
        "account": budget.account,
        "unit": budget.unit,
        "limit": usd_text(budget.limit) if budget.unit == "usd" else budget.limit,
        "window": budget.window.text,
        "mode": budget.mode,
        "models": list(budget.models),
        "providers": list(budget.providers),
    }


def _name(file: Path | None) -> str | None:
    return None if file is None else str(file)


def _print_problems(problems: list[str]) -> None:
    for problem in problems:
        typer.echo(f"outlay: {printable(problem)}", err=True)


def _print(facts: dict[str, Any], config: Config) -> None:
    if facts["models"]:
        table = make_table("Model", "Deployment", "Leads to", "At", "Weight", "Price", numbers=("Weight",))
        for each in facts["models"]:
            leads_to = "/".join(filter(None, (each["provider"], each["provider_model"])))
            weight, price = f"{each['weight']:g}", each["price"]
            table.add_row(*map(cell, (each["model"], each["id"], leads_to, each["base_url"], weight, price)))
        print_table(table)
        unpriced = [each for each in facts["models"] if each["price"] == "unknown"]
        _print_unpriced([each["model"] for each in unpriced if not each["price_notes"]])
        for each in facts["models"]:
            for note in each["price_notes"]:
                typer.echo(f"Price of {printable(each['model'])}: {printable(note)}")
    else:
        typer.echo(f"Providers of the environment: {', '.join(facts['providers']) or 'none has a key'}")
    for alias, model in facts["aliases"].items():
        typer.echo(f"Alias: {printable(alias)} is {printable(model)}")
    if config.budgets:
        table = make_table("Budget", "Account", "Limit", "Unit", "Window", "Mode", numbers=("Limit",))
        for budget in config.budgets:
            limit = amount_cell(budget.limit, budget.unit)
            shown = (budget.id, budget.account, limit, budget.unit, budget.window.text, budget.mode)
            table.add_row(*map(cell, shown))
        print_table(table)
    _print_request_fields(facts)
    typer.echo(f"Database: {printable(facts['database'])}")
    if not facts["has_master_key"] and facts["file"]:
        typer.echo("Master key: none; set OUTLAY_MASTER_KEY, or general_settings.master_key")
    for path in facts["unknown"]:
        typer.echo(f"Not implemented, so without effect: {printable(path)}")
    for note in facts["notes"]:
        typer.echo(printable(note))


def _print_request_fields(facts: dict[str, Any]) -> None:
    """Who vouched for what: hard budgets hold as well as that is true."""
    stated = [("all models", facts["request_fields"]["allowed"])]
    stated += [(each["id"], each["allowed_request_fields"]) for each in facts["models"]]
    for where, names in stated:
        if names:
            typer.echo(f"Request fields allowed for {printable(where)}: {printable(', '.join(names))}")
    if facts["request_fields"]["unknown"] == "pass":
        typer.echo("Unknown request fields pass under hard budgets; the entries of their calls say unproven")


def _print_unpriced(models: list[str]) -> None:
    """Who moves from where such models cost nothing would meet a 403 at once."""
    for model in dict.fromkeys(models):
        typer.echo(
            f"No price is known for {printable(model)}: under a budget of USD it is refused. State "
            "input_cost_per_token and output_cost_per_token, or `free: true`."
        )
