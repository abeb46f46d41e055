"""Request fields of a configuration: those that nobody here knows, and that the operator vouches for."""

from __future__ import annotations

from typing import Final

from outlay.errors import InvalidValueError
from outlay.gateway.config_section import Section
from outlay.pricing.request_fields import check_allowed

KEY: Final = "allowed_request_fields"


def take_request_fields(section: Section) -> frozenset[str]:
    """Take a list of paths; a field that is known to have no bound is a problem."""
    names = section.take_names(KEY)
    found = set()
    for name in names:
        try:
            found.add(check_allowed(name, section.where(KEY)))
        except InvalidValueError as error:
            section.report.problem(f"{section.file}: {error.message}")
    return frozenset(found)
