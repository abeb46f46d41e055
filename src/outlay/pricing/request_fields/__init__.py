"""Request fields: what may reach a provider. A table for each format, and the check of a request."""

from outlay.pricing.request_fields.betas import window_of
from outlay.pricing.request_fields.check import (
    FORMATS,
    NO_POLICY,
    FieldFindings,
    FieldNameError,
    FieldPolicy,
    check_fields,
    table_of,
    uncounted_fields,
    unproven_reason,
)

__all__ = [
    "FORMATS",
    "NO_POLICY",
    "FieldFindings",
    "FieldNameError",
    "FieldPolicy",
    "check_fields",
    "table_of",
    "uncounted_fields",
    "unproven_reason",
    "window_of",
]
