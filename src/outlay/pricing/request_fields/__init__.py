"""Request fields: what may reach a provider. A table for each format, and the check of a request."""

from outlay.pricing.request_fields.betas import window_of
from outlay.pricing.request_fields.check import (
    FORMATS,
    FieldFindings,
    FieldNameError,
    check_allowed,
    check_fields,
    table_of,
    uncounted_fields,
    unproven_reason,
)
from outlay.pricing.request_fields.litellm import FORBIDDEN, LiteLLMFieldError, without_litellm_fields
from outlay.pricing.request_fields.rules import asks_for_nothing

__all__ = [
    "FORBIDDEN",
    "FORMATS",
    "FieldFindings",
    "FieldNameError",
    "LiteLLMFieldError",
    "asks_for_nothing",
    "check_allowed",
    "check_fields",
    "table_of",
    "uncounted_fields",
    "unproven_reason",
    "window_of",
    "without_litellm_fields",
]
