"""Reports: rows of what was measured, beside what, against which target; as a table, Markdown or JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

from rich.console import Console
from rich.table import Table

COLUMNS = ("measured", "result", "beside", "ratio", "target", "met")


@dataclass(frozen=True, slots=True)
class Target:
    """What a row should reach: a bound on its value, or on its ratio to the baseline."""

    of: Literal["value", "ratio"]
    comparison: Literal["≤", "≥"]
    bound: float


@dataclass(frozen=True, slots=True)
class Row:
    """One figure; `baseline` is in the same unit and from the same run."""

    measured: str
    value: float
    unit: str
    baseline_name: str = ""
    baseline: float | None = None
    target: Target | None = None

    @property
    def ratio(self) -> float | None:
        """The value as a multiple of the baseline."""
        return self.value / self.baseline if self.baseline else None

    @property
    def is_met(self) -> bool | None:
        """Whether the target is reached; None without one."""
        figure = self.ratio if self.target and self.target.of == "ratio" else self.value
        if self.target is None or figure is None:
            return None
        return figure <= self.target.bound if self.target.comparison == "≤" else figure >= self.target.bound

    def cells(self) -> tuple[str, ...]:
        """The row as text, one for each of `COLUMNS`."""
        beside = "" if self.baseline is None else f"{self.baseline_name}: {_amount(self.baseline, self.unit)}"
        ratio = "" if self.ratio is None else _ratio(self.ratio)
        met = {True: "yes", False: "no", None: ""}[self.is_met]
        return (self.measured, _amount(self.value, self.unit), beside, ratio, self._target(), met)

    def _target(self) -> str:
        if self.target is None:
            return ""
        bound = self.target.bound
        text = _ratio(bound) if self.target.of == "ratio" else _amount(bound, self.unit)
        return f"{self.target.comparison} {text}"


class Shown(Protocol):
    """What a benchmark found, in the forms that it can be shown in."""

    @property
    def name(self) -> str:
        """The name of the benchmark, and of its place in the document."""

    def as_json(self) -> dict[str, Any]:
        """The report as JSON data."""

    def as_markdown(self) -> str:
        """A table and its notes."""

    def show(self, console: Console) -> None:
        """Print a table."""


@dataclass(slots=True)
class Report:
    """What one benchmark found."""

    name: str
    title: str
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(
        self, measured: str, value: float, unit: str, *baseline: Any, target: Target | None = None
    ) -> None:
        """Add a row; `baseline` is nothing, or its name and value."""
        name, figure = baseline or ("", None)
        self.rows.append(Row(measured, value, unit, name, figure, target))

    def as_json(self) -> dict[str, Any]:
        """The report as JSON data."""
        rows = [{**asdict(row), "ratio": row.ratio, "is_met": row.is_met} for row in self.rows]
        return {"name": self.name, "title": self.title, "rows": rows, "notes": self.notes}

    def as_markdown(self) -> str:
        """A table and its notes."""
        cells = [COLUMNS, ("---",) * len(COLUMNS), *(row.cells() for row in self.rows)]
        table = "\n".join("| " + " | ".join(row) + " |" for row in cells)
        return "\n\n".join(filter(None, (table, "\n".join(f"- {note}" for note in self.notes))))

    def show(self, console: Console) -> None:
        """Print a table."""
        table = Table(title=self.title, title_justify="left")
        for column in COLUMNS:
            table.add_column(column, justify="right" if column in ("result", "ratio") else "left")
        for row in self.rows:
            style = {True: "green", False: "red", None: ""}[row.is_met]
            table.add_row(*row.cells()[:-1], f"[{style}]{row.cells()[-1]}[/]" if style else "")
        console.print(table)
        for note in self.notes:
            console.print(f"- {note}", highlight=False)


def at_most(bound: float) -> Target:
    """A bound from above on the ratio."""
    return Target("ratio", "≤", bound)


def at_least(bound: float) -> Target:
    """A bound from below on the ratio."""
    return Target("ratio", "≥", bound)


def value_at_most(bound: float) -> Target:
    """A bound from above on the value."""
    return Target("value", "≤", bound)


def value_at_least(bound: float) -> Target:
    """A bound from below on the value."""
    return Target("value", "≥", bound)


def spread(values: Sequence[float]) -> str:
    """The least and the most of some figures."""
    return f"{min(values):,.0f}–{max(values):,.0f}"


def _amount(value: float, unit: str) -> str:
    digits = 0 if value >= 1000 or value == int(value) else 1 if value >= 100 else 2 if value >= 1 else 3
    return f"{value:,.{digits}f} {unit}".rstrip()


def _ratio(ratio: float) -> str:
    if ratio < 0.095:
        return f"1/{1 / ratio:,.0f}" if ratio else "0"
    return f"{ratio:,.0f} ×" if ratio >= 100 else f"{ratio:,.2f} ×"
