"""`outlay prices drift`, and our own price beside a charge in `outlay entries`."""

from __future__ import annotations

from command_line import CommandLine

from outlay.domain.commands import Record


def bill(id: str, usd: int, priced: int | None, *, model: str = "m", project: str = "p") -> Record:
    return Record(
        project, id, ("user:ada",), usd, source="provider", provider="xai", model=model, priced_nanos=priced
    )


def test_drift_is_what_was_charged_less_our_own_price_by_model(outlay: CommandLine) -> None:
    outlay.execute(bill("a", 61_200_000, 24_100_000), bill("b", 10, 40), bill("c", 7, None, model="n"))
    found = outlay("prices", "drift", "--json").json
    (row,) = found["drift"]
    assert row == {
        "provider": "xai",
        "model": "m",
        "calls": 2,
        "charged_usd": "0.06120001",
        "priced_usd": "0.02410004",
        "drift_usd": "0.03709997",
    }
    shown = outlay("prices", "drift", "--since", "24h", "--model", "m").out
    assert "0.03709997" in shown
    assert outlay("prices", "drift", "--model", "n").out == "No provider stated what it bills.\n"


def test_drift_below_our_prices_is_negative(outlay: CommandLine) -> None:
    outlay.execute(bill("a", 10, 15), bill("b", 3, 3, project="q"))
    assert (
        outlay("prices", "drift", "--project", "p", "--json").json["drift"][0]["drift_usd"] == "-0.000000005"
    )


def test_entries_show_our_own_price_where_one_is_kept(outlay: CommandLine) -> None:
    outlay.execute(bill("c", 7, None))
    assert "Priced" not in outlay("entries").out
    outlay.execute(bill("a", 61_200_000, 24_100_000))
    out = outlay("entries").out
    assert "Priced" in out
    assert "0.0241" in out
    prices = [entry["priced_usd"] for entry in outlay("entries", "--json").json["entries"]]
    assert prices == ["0.0241", None]
