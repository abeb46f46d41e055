"""Logs: a line of JSON for each request and each event, without secrets and without anybody's text."""

from __future__ import annotations

import asyncio
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import msgspec

from outlay.providers.redaction import without_keys

_WRITE_SECONDS: Final = 0.1
_MOST_CAUSES: Final = 20
_encode = msgspec.json.Encoder().encode


class JsonFormatter(logging.Formatter):
    """One line of JSON for a record: `at`, `level`, `event`, and the record's `fields` if it has some.

    Whatever looks like a key is taken out. Of a fault it tells where it was and of which kind, not what that
    says: it may be anybody's text.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Write one line."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {
            "at": at,
            "level": record.levelname.lower(),
            "event": without_keys(record.getMessage()),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = _traceback(record.exc_info[1])
        return _encode(line).decode()


def _traceback(error: BaseException | None) -> str:
    """Where an error was raised, and those that led to it; the first of them last."""
    parts: list[str] = []
    while error is not None and len(parts) < _MOST_CAUSES:
        parts.append("".join(traceback.format_tb(error.__traceback__)) + type(error).__qualname__)
        error = error.__cause__ or error.__context__
    return "\n".join(parts)


def start_logging(stream: TextIO | None = None, *, level: int = logging.INFO) -> None:
    """Send everything that Outlay logs to `stream` (stderr if None) as lines of JSON."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())
    for name in ("outlay", "uvicorn.error", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level if name == "outlay" else logging.WARNING)
        logger.propagate = False


class RequestLog:
    """A line for each request, written a few times a second: one write for many. Use it on one event loop."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._lines: list[bytes] = []

    def add(self, fields: dict[str, Any]) -> None:
        """Log one request that was answered; fields without a value are left out."""
        if self._stream is None:
            return
        told = {name: value for name, value in fields.items() if value is not None}
        self._lines.append(_encode({"at": _now(), "level": "info", "event": "request", **told}))
        if len(self._lines) == 1:
            asyncio.get_running_loop().call_later(_WRITE_SECONDS, self.flush)

    def flush(self) -> None:
        """Write what waits. A stream that takes no more (its reader is gone) gets no more."""
        lines, self._lines = self._lines, []
        if self._stream is None or not lines:
            return
        try:
            self._stream.write(b"\n".join([*lines, b""]).decode())
            self._stream.flush()
        except OSError:
            self._stream = None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
