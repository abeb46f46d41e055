"""`outlay audit`: do the counters equal the journal?"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import typer

from outlay.cli.context import DatabaseOption, JsonOption, open_ledger_to_read, settings_of
from outlay.cli.output import make_progress, print_json, printable
from outlay.errors import DatabaseCorruptError

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

    from outlay.ledger.audit import AuditReport, Progress
    from outlay.ledger.ledger import Ledger

EXIT_FINDINGS = 1


def run_audit(context: typer.Context, database: DatabaseOption = None, is_json: JsonOption = False) -> None:
    """Recompute every counter from the journal, and check the database file.

    Exit code 0: nothing found. 1: findings, each with the invariant it breaks (0: the file itself), where
    and how. 2: the audit could not run.

    \b
    Examples:
      outlay audit
      outlay audit --database /var/lib/app/outlay.db --json

    JSON: {"database", "is_clean", "findings": [{invariant, where, message}], "unlisted": how many more,
    "checked": {entries, reservations, budgets, periods, model_totals}}.
    """
    path = str(settings_of(context, database).database_path.absolute())
    with open_ledger_to_read(context, database) as ledger:
        report = _audit(ledger)
    if is_json:
        print_json(_to_json(report, path))
    else:
        _print(report, path)
    if not report.is_clean:
        raise typer.Exit(EXIT_FINDINGS)


def _audit(ledger: Ledger) -> AuditReport:
    """The file first: a damaged one may not be readable to its end, and that is a finding too."""
    from outlay.ledger.audit import AuditReport, Finding, audit

    damage: list[str] | None = None
    progress = make_progress("reading the journal")
    try:
        with ledger.read() as reader:
            damage = []
            damage = reader.integrity()
        with progress or nullcontext(), ledger.read() as reader:
            report = audit(reader, None if progress is None else _teller(progress))
    except DatabaseCorruptError as error:
        if damage is None:  # it could not even be opened
            raise
        report = AuditReport([Finding(0, "the database file", f"the counters cannot be checked: {error}")])
    report.findings[:0] = [Finding(0, "the database file", line) for line in damage or ()]
    return report


def _teller(progress: RichProgress) -> Progress:
    def tell(done: int, last: int) -> None:
        progress.update(progress.task_ids[0], completed=done, total=last)

    return tell


def _to_json(report: AuditReport, path: str) -> dict[str, object]:
    return {
        "database": path,
        "is_clean": report.is_clean,
        "findings": [
            {"invariant": each.invariant, "where": each.where, "message": each.message}
            for each in report.findings
        ],
        "unlisted": report.unlisted,
        "checked": {
            "entries": report.entries,
            "reservations": report.reservations,
            "budgets": report.budgets,
            "periods": report.periods,
            "model_totals": report.model_totals,
        },
    }


def _print(report: AuditReport, path: str) -> None:
    typer.echo(
        f"{path}: {report.entries:,} entries, {report.reservations:,} pending reservations, "
        f"{report.budgets:,} budgets, {report.periods:,} periods, {report.model_totals:,} totals by model"
    )
    for each in report.findings:
        name = f"invariant {each.invariant}" if each.invariant else "file"
        typer.echo(f"{name}: {printable(each.where)}: {printable(each.message)}")
    if report.is_clean:
        typer.echo("No findings: every counter equals the journal.")
    else:
        more = f", and {report.unlisted:,} more that are not listed" if report.unlisted else ""
        typer.echo(f"{len(report.findings):,} findings{more}.")
