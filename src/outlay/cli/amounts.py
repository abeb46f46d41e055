"""Amounts on the command line: `-5` is an amount that cannot be, not an option that does not exist."""

from __future__ import annotations

import re
from typing import Any, Final

from typer.core import TyperCommand

_NEGATIVE: Final = re.compile(r"-\$?\.?\d")


class AmountCommand(TyperCommand):
    """A command with amounts as arguments. A negative one reaches it, and can be named in the error."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take the arguments apart."""
        ctx.ignore_unknown_options = any(_NEGATIVE.match(each) for each in args)
        return super().parse_args(ctx, args)
