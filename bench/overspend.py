"""The overspend benchmark: the provider's own bill against the limit, in the ways that exceed it elsewhere.

    python -m bench.overspend [--quick] [--peers PYTHON]    Outlay and the fake provider, all rows
    python -m bench.overspend --row declared --row killed       some of them
    python -m bench.overspend --url http://127.0.0.1:4000 --row declared --key sk-… --limit 0.01 \\
        --bill http://127.0.0.1:4010/_fake/bill                 anybody's gateway

Anybody's gateway serves `--model` from the fake provider (`python -m outlay.testing.provider`), and each
`--key`, one for each `--row` in its order, has a budget of `--limit` USD of which nothing is spent.

Exit code 1: in some row the proof of Outlay, or of the gateway at `--url`, does not hold.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from bench.billing import Bill, Billing
from bench.callers import Callers, Tally
from bench.gateways import MODEL
from bench.options import Options, say
from bench.overspend_gateways import Anybody, LiteLLM, Outlay, Subject
from bench.overspend_report import OverspendReport, Result
from bench.overspend_rows import ROWS, Row
from bench.servers import end, start_reporting
from outlay.domain.money import parse_usd
from outlay.errors import InvalidValueError

_KILL_SECONDS = 60.0


def run(options: Options, rows: Sequence[Row] = ROWS) -> OverspendReport:
    """Try Outlay, and LiteLLM's proxy with a peer, before one fake provider."""
    report = OverspendReport()
    rows = [row.smaller() for row in rows] if options.is_quick else rows
    with _fake_provider() as billing, tempfile.TemporaryDirectory(dir=options.folder) as name:
        limits = {row.name: row.fits * _cost_of(billing, row) for row in rows}
        ours = Outlay(Path(name), billing.root_url, rows)
        with ours.server:
            _try_all(report, ours, billing, rows, limits)
        if options.peers:
            theirs = LiteLLM(options.peers, Path(name), billing.root_url, rows, limits)
            with theirs.server:
                _try_all(report, theirs, billing, rows, limits)
    return report


def _cost_of(billing: Billing, row: Row) -> int:
    """What the provider bills for one of a row's calls."""
    billing.behave({name: value for name, value in row.behaviour.items() if name == "bills_nanos"})
    nanos = billing.cost_of(row.body(MODEL))
    billing.behave({})
    return nanos


def run_anybodys(subject: Subject, rows: Iterable[str], bill_url: str, limit_nanos: int) -> OverspendReport:
    """Try a gateway that runs somewhere."""
    report, limits = OverspendReport(), dict.fromkeys(rows, limit_nanos)
    tried = [row for row in ROWS if row.name in limits]
    _try_all(report, subject, Billing(bill_url), tried, limits)
    return report


def _try_all(
    report: OverspendReport,
    subject: Subject,
    billing: Billing,
    rows: Iterable[Row],
    limits: Mapping[str, int],
) -> None:
    for row in rows:
        reason = subject.cannot(row)
        if reason is None:
            _try(report, subject, billing, row, limits[row.name])
        else:
            report.notes.append(f"{subject.name}, {row.title}: not tried; {reason}.")


def _try(report: OverspendReport, subject: Subject, billing: Billing, row: Row, limit_nanos: int) -> None:
    begun = time.perf_counter()
    access = subject.access(row, limit_nanos)
    callers = Callers(
        subject.root_url,
        access.key,
        {**row.body(access.model), **(access.more or {})},
        is_leaving=row.is_leaving,
    )
    billing.behave(row.behaviour)
    before = billing.final_bill()
    if row.is_warm:
        callers.run(1, 1)
    with _killing(subject, billing, row, before, callers.tally):
        tally = callers.run(row.calls, row.at_once)
    bill = billing.final_bill() - before
    billing.behave({})
    after = subject.after(row)
    report.results.append(
        Result(
            row.name,
            row.title,
            subject.name,
            limit_nanos,
            bill.nanos,
            bill.calls,
            after.reserved_nanos,
            after.unknown,
            after.audit,
        )
    )
    if after.unknown:
        report.notes.append(
            f"{subject.name}, {row.title}: {after.unknown} calls were under way; what they held stayed "
            "reserved until a clock moved to their expiry presumed it spent."
        )
    say(f"overspend: {subject.name}, {row.title}: {time.perf_counter() - begun:.1f} s")
    for status, count in sorted(tally.met.items()):
        say(f"    {count:,} × {status or 'broken'} {tally.said.get(status, '')}")


@contextmanager
def _killing(subject: Subject, billing: Billing, row: Row, before: Bill, tally: Tally) -> Iterator[None]:
    """Kill the gateway, once, as soon as the provider has served so many, and start it again."""
    if row.kill_at is None:
        yield
        return
    killed = threading.Event()
    served = before.calls + row.kill_at

    def kill() -> None:
        deadline = time.monotonic() + _KILL_SECONDS
        while billing.bill().calls < served:
            if time.monotonic() > deadline:
                return
            time.sleep(0.01)
        subject.restart()
        tally.note_progress()
        killed.set()

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    if not killed.is_set():
        raise SystemExit(
            f"{subject.name}, {row.title}: it never served the {row.kill_at} calls to kill it at"
        )


@contextmanager
def _fake_provider() -> Iterator[Billing]:
    process, ready = start_reporting("outlay.testing.provider", "--port", "0")
    try:
        yield Billing(f"{ready['root_url']}/_fake/bill")
    finally:
        end(process)


def main() -> None:
    """Run what was asked for and print it."""
    arguments = _parser().parse_args()
    names = arguments.row or [row.name for row in ROWS]
    if arguments.url:
        report, name = _anybodys(arguments)
    else:
        arguments.folder.mkdir(parents=True, exist_ok=True)
        peers = None if arguments.peers is None else arguments.peers.absolute()
        options = Options(arguments.folder.absolute(), arguments.quick, peers)
        report, name = run(options, [row for row in ROWS if row.name in names]), Outlay.name
    if arguments.json:
        print(json.dumps(report.as_json(), indent=2))
    elif arguments.markdown:
        print(report.as_markdown())
    else:
        report.show(Console() if sys.stdout.isatty() else Console(width=170))
    sys.exit(0 if report.is_kept_by(name) else 1)


def _anybodys(arguments: argparse.Namespace) -> tuple[OverspendReport, str]:
    rows, keys = arguments.row or [], arguments.key or []
    if not rows or len(rows) != len(keys):
        raise SystemExit("--url needs --row and --key, as many of the one as of the other")
    if arguments.limit is None or arguments.bill is None:
        raise SystemExit("--url needs --limit, in USD, and --bill, where the provider's bill is read")
    try:
        limit = parse_usd(arguments.limit, "--limit")
    except InvalidValueError as error:
        raise SystemExit(error.message) from error
    pairs = dict(zip(rows, keys, strict=True))
    subject = Anybody(arguments.url, pairs, arguments.model, arguments.restart)
    return run_anybodys(subject, rows, arguments.bill, limit), subject.name


def _parser() -> argparse.ArgumentParser:
    description = "The provider's own bill against the limit."
    parser = argparse.ArgumentParser(prog="python -m bench.overspend", description=description)
    names = [row.name for row in ROWS]
    parser.add_argument(
        "--row", action="append", choices=names, metavar="NAME", help=f"of {', '.join(names)}"
    )
    parser.add_argument("--quick", action="store_true", help="a fifth of the calls")
    parser.add_argument("--peers", type=Path, metavar="PYTHON", help="a Python that has LiteLLM's proxy")
    parser.add_argument("--folder", type=Path, default=Path("build/bench"), help="where databases go")
    parser.add_argument("--url", help="a gateway that runs, instead of Outlay here")
    parser.add_argument("--key", action="append", metavar="SECRET", help="one for each --row, in its order")
    parser.add_argument("--limit", metavar="USD", help="the budget of each key")
    parser.add_argument("--bill", metavar="URL", help="the provider's bill: http://…/_fake/bill")
    parser.add_argument("--model", default=MODEL, help=f"what the gateway calls the model ({MODEL})")
    parser.add_argument("--restart", metavar="COMMAND", help="what kills the gateway at --url and starts it")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--markdown", action="store_true", help="print Markdown")
    return parser


if __name__ == "__main__":
    main()
