"""Two versions of Outlay's gateway, measured in turn: what a change costs in processor time.

    python -m bench.compare --base ../before/.venv/bin/python [--quick]

`--base` is the Python of another checkout or environment that has Outlay installed. Both gateways
stand before the same upstream and take turns, so that whatever else the machine does falls on both alike.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median

from rich.console import Console

from bench.gateway import CLIENTS, Subject, make_key, make_outlay, warm, weighed_load
from bench.options import Options, say
from bench.report import Report, at_most
from bench.servers import end, start_reporting
from bench.wrk import need_wrk

MAX_RATIO = 1.05


def run(options: Options, base: Path) -> Report:
    """Start both, and load them in turn."""
    need_wrk()
    report = Report("compare", "This version of the gateway beside another")
    turns, seconds = (4, 2.0) if options.is_quick else (10, 5.0)
    with ExitStack() as stack:
        process, ready = start_reporting("bench.upstream")
        stack.callback(end, process)
        subjects = []
        for name in ("this version", "the other"):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=options.folder)))
            server = make_outlay(folder, ready["root_url"])
            if name == "the other":
                server = replace(server, command=[str(base), *server.command[1:]])
            stack.enter_context(server)
            subjects.append(Subject(name, server.root_url, make_key(server), server))
        for subject in subjects:
            warm(subject)
        say(f"compare: {CLIENTS} clients, {turns} turns of {seconds:.0f} s of each")
        loads = [[weighed_load(subject, seconds) for subject in subjects] for _ in range(turns)]
    micros = [[turn[index][1] for turn in loads] for index in (0, 1)]
    rates = [[turn[index][0].requests_per_second for turn in loads] for index in (0, 1)]
    report.add(
        f"{CLIENTS} clients: processor time of all threads",
        median(micros[0]),
        "µs/request",
        "the other",
        median(micros[1]),
        target=at_most(MAX_RATIO),
    )
    report.add(f"{CLIENTS} clients", median(rates[0]), "requests/s", "the other", median(rates[1]))
    ratios = [mine / other for mine, other in zip(*micros, strict=True)]
    report.notes.append(f"Processor time turn by turn: {min(ratios):.3f}–{max(ratios):.3f} × the other's.")
    return report


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description="What a change costs.")
    parser.add_argument("--base", type=Path, required=True, metavar="PYTHON", help="the other version's")
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes; rough figures")
    parser.add_argument("--folder", type=Path, default=Path("build/bench"), help="where databases go")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    options = Options(arguments.folder.absolute(), arguments.quick)
    run(options, arguments.base.absolute()).show(Console(width=150))


if __name__ == "__main__":
    main()
