"""What the overspend benchmark found: the bill, the limit, and whether the proof holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

from outlay.domain.money import NANOS_PER_USD

LEAST_SHARE = 0.8
COLUMNS = (
    *("calls", "gateway", "limit", "bill", "bill ÷ limit", "served / would fit"),
    *("still reserved", "audit", "holds"),
)
_NUMBERS = ("limit", "bill", "bill ÷ limit", "served / would fit", "still reserved")


@dataclass(frozen=True, slots=True)
class Result:
    """One row of one gateway.

    `served` calls are on the provider's bill; `fitting` is how many fit one after the other: the limit by
    what such a call cost on that bill. The rest is what the gateway's books say, None where nobody can ask:
    `reserved_nanos` in the end, the `unknown` calls that were under way when it was killed, and its audit.
    """

    row: str
    title: str
    gateway: str
    limit_nanos: int
    bill_nanos: int
    served: int
    reserved_nanos: int | None = None
    unknown: int | None = None
    audit: str | None = None

    @property
    def ratio(self) -> float:
        """The bill as a multiple of the limit."""
        return self.bill_nanos / self.limit_nanos

    @property
    def fitting(self) -> int:
        """How many such calls fit into the limit."""
        return self.limit_nanos * self.served // self.bill_nanos if self.bill_nanos else 0

    @property
    def is_kept(self) -> bool:
        """The proof: never above the limit, and not by refusing what fits; the books are right."""
        is_used = self.served > 0 and self.served >= LEAST_SHARE * self.fitting
        return self.ratio <= 1 and is_used and not self.reserved_nanos and self.audit in (None, "clean")

    def cells(self) -> tuple[str, ...]:
        """The result as text, one for each of `COLUMNS`."""
        return (
            self.title,
            self.gateway,
            _usd(self.limit_nanos),
            _usd(self.bill_nanos),
            f"{self.ratio:.2f} ×",
            f"{self.served:,} / {self.fitting:,}",
            "" if self.reserved_nanos is None else _usd(self.reserved_nanos),
            self.audit or "",
            "yes" if self.is_kept else "no",
        )


@dataclass(slots=True)
class OverspendReport:
    """All results, in the order they were found."""

    results: list[Result] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    name: str = "overspend"
    title: str = "The provider's bill against the limit"

    def is_kept_by(self, gateway: str) -> bool:
        """Whether a gateway was tried, and its proof holds in every row."""
        kept = [each.is_kept for each in self.results if each.gateway == gateway]
        return bool(kept) and all(kept)

    def as_json(self) -> dict[str, Any]:
        """The report as JSON data."""
        results = [
            {**asdict(each), "ratio": each.ratio, "fitting": each.fitting, "is_kept": each.is_kept}
            for each in self.results
        ]
        return {"name": self.name, "title": self.title, "results": results, "notes": self.notes}

    def as_markdown(self) -> str:
        """A table and its notes."""
        rules = ["---:" if column in _NUMBERS else "---" for column in COLUMNS]
        table = "\n".join(map(_line, [COLUMNS, rules, *(each.cells() for each in self.results)]))
        return "\n\n".join(filter(None, (table, "\n".join(f"- {note}" for note in self.notes))))

    def show(self, console: Console) -> None:
        """Print a table."""
        table = Table(title=self.title, title_justify="left")
        for column in COLUMNS:
            table.add_column(column, justify="right" if column in _NUMBERS else "left")
        for each in self.results:
            style = "green" if each.is_kept else "red"
            table.add_row(*each.cells()[:-1], f"[{style}]{each.cells()[-1]}[/]")
        console.print(table)
        for note in self.notes:
            console.print(f"- {note}", highlight=False)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _usd(nanos: int) -> str:
    return f"${nanos / NANOS_PER_USD:,.4f}"
