"""python -m bench [NAME…] [--quick] [--peers PYTHON] [--json | --markdown | --update]."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console

from bench import gateway, importing, ledger, machine, overspend, processes, update_cost
from bench.options import Options
from bench.report import Shown

BENCHMARKS: Mapping[str, Callable[[Options], Shown]] = {
    "update_cost": update_cost.run,
    "ledger": ledger.run,
    "importing": importing.run,
    "processes": processes.run,
    "gateway": gateway.run,
    "overspend": overspend.run,
}
DOCUMENT = Path("docs/benchmarks.md")


def main() -> None:
    """Run what was asked for and print it."""
    arguments = _parser().parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    peers = None if arguments.peers is None else arguments.peers.absolute()
    options = Options(arguments.folder.absolute(), arguments.quick, peers)
    before, start = machine.describe(), time.perf_counter()
    reports = [BENCHMARKS[name](options) for name in arguments.names or BENCHMARKS]
    before["load"] += f" before, {machine.load()} after"
    before["took"] = f"{time.perf_counter() - start:,.0f} s"
    if arguments.json:
        print(json.dumps({"machine": before, "reports": [report.as_json() for report in reports]}, indent=2))
        return
    sections = {"machine": _machine_markdown(before)} | {each.name: each.as_markdown() for each in reports}
    if arguments.markdown:
        print("\n\n".join(f"<!-- {name} -->\n\n{text}" for name, text in sections.items()))
    elif arguments.update:
        update(DOCUMENT, sections)
        print(f"wrote {DOCUMENT}", file=sys.stderr)
    else:
        console = Console() if sys.stdout.isatty() else Console(width=150)
        console.print(", ".join(f"{name} {value}" for name, value in before.items()), highlight=False)
        for report in reports:
            report.show(console)


def update(document: Path, sections: Mapping[str, str]) -> None:
    """Replace what stands in a document between `<!-- NAME -->` and `<!-- /NAME -->`."""
    text = document.read_text(encoding="utf-8")
    for name, section in sections.items():
        before, start, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- /{name} -->")
        if not (start and end):
            sys.exit(f"{document} has no place for {name}: give it <!-- {name} --> and <!-- /{name} -->")
        text = f"{before}{start}\n{section}\n\n{end}{after}"
    document.write_text(text, encoding="utf-8")


def _machine_markdown(described: Mapping[str, str]) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in described.items())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="How fast Outlay is, beside what.")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; all by default"
    )
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes; rough figures")
    parser.add_argument("--peers", type=Path, metavar="PYTHON", help="a Python that has LiteLLM, to compare")
    parser.add_argument(
        "--folder", type=Path, default=Path("build/bench"), help="where databases go: the disk that counts"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--markdown", action="store_true", help="print Markdown")
    form.add_argument("--update", action="store_true", help=f"write the results into {DOCUMENT}")
    return parser


if __name__ == "__main__":
    main()
