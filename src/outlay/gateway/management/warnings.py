"""Warnings: what an answer says of a change that was made and may not do what was meant."""

from __future__ import annotations

import logging
from typing import Any

from outlay.gateway.management.catalogue import Catalogue
from outlay.gateway.unserved import unserved_limits

log = logging.getLogger("outlay")

Row = dict[str, Any]


def with_warnings(catalogue: Catalogue, answer: Row, row: Row) -> Row:
    """The answer with `warnings` if limits by model in this row of it bind nothing; the log has them too."""
    warnings = unserved_limits(catalogue.services.config.routes, row)
    for warning in warnings:
        log.warning("a limit binds nothing: %s", warning)
    return {**answer, "warnings": warnings} if warnings else answer
