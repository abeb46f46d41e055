"""JSON body: what a management request says, read strictly, so that it can be read in one way only."""

from __future__ import annotations

import json
from math import isfinite
from typing import Any

from starlette.requests import Request

from outlay.domain.money import float_at_most
from outlay.gateway.failures import GatewayError


class _ReadRequest(Request):
    """A request whose JSON was read already, whatever content type it states."""

    def __init__(self, request: Request, raw: bytes, document: dict[str, Any]) -> None:
        headers = [pair for pair in request.scope["headers"] if pair[0] != b"content-type"]
        scope = {**request.scope, "headers": [*headers, (b"content-type", b"application/json")]}
        super().__init__(scope, request.receive)
        self._raw = raw
        self._document = document

    async def body(self) -> bytes:
        """The bytes, never empty."""
        return self._raw or b"{}"

    async def json(self) -> Any:
        """What they say."""
        return self._document


async def with_json(request: Request) -> Request:
    """Read a request's body; none is an empty object.

    Raises:
        GatewayError: 400; it is no JSON object in UTF-8, says a name twice, or has a number that is none.
    """
    raw = await request.body()
    return _ReadRequest(request, raw, read_object(raw) if raw.strip() else {})


def read_object(raw: bytes) -> dict[str, Any]:
    """Read a JSON object. Raises as `with_json` does."""
    try:
        text = raw.decode()
        document = json.loads(
            text, object_pairs_hook=_without_repeats, parse_constant=_no_constant, parse_float=_finite
        )
    except UnicodeDecodeError as error:
        raise _invalid(f"The body is not UTF-8: byte {error.start} is wrong.") from error
    except (ValueError, RecursionError) as error:
        raise _invalid(f"The body is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise _invalid("The body must be a JSON object.")
    return document


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _invalid(f"{name[:100]} stands twice in the body: say it once.", name[:100])
        found[name] = value
    return found


def _no_constant(name: str) -> float:
    raise _invalid(f"{name} is not JSON: give a number, or null for none.")


def _finite(text: str) -> float:
    try:
        number = float_at_most(text)
    except ValueError as error:
        raise _invalid(f"{error}: give a number that a JSON reader can hold.") from None
    if not isfinite(number):
        raise _invalid(f"{text[:40]} is beyond every number that can be stored.")
    return number


def _invalid(message: str, param: str | None = None) -> GatewayError:
    return GatewayError(400, "invalid_request_error", message, param=param)
