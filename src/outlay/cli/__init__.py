"""The command line: `outlay`. Thin: each command asks the library and shows what it answers."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line, and exit with its code: 0 done, 1 the audit found something, 2 an error."""
    from outlay.cli.app import run

    sys.exit(run(sys.argv[1:]))
