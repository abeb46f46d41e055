"""Failures: what the gateway answers when it does not serve. One table from errors to HTTP.

The shape is OpenAI's `{"error": {"message", "type", "param", "code", …}}` with the facts as extra fields;
`/v1/messages` answers in Anthropic's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from outlay.errors import OutlayError


class GatewayError(OutlayError):
    """A request that the gateway does not serve, as HTTP: any stage and any management route raises it.

    `type` and `code` are those of the answer's error (`code` is the type unless given); `facts` are extra
    fields of the error.
    """

    code = "gateway_error"

    def __init__(
        self,
        status: int,
        type: str,
        message: str,
        *,
        param: str | None = None,
        error_code: str | None = None,
        facts: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.type = type
        self.param = param
        self.error_code = error_code or type
        self.facts = dict(facts or {})
        self.headers = dict(headers or {})


@dataclass(frozen=True, slots=True)
class Failure:
    """One answer: a status, the error document in OpenAI's shape, and headers."""

    status: int
    document: dict[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)
