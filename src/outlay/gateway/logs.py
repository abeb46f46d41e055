"""Logs: a line of JSON for each request and each event, without secrets and without anybody's text."""

from __future__ import annotations

import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import msgspec

_REQUESTS: Final = logging.getLogger("outlay.requests")
_SECRET: Final = re.compile(r"\b(sk|pk|gsk|xai|key)-[A-Za-z0-9_\-]{6,}|(?i:bearer)\s+\S+")
_encode = msgspec.json.Encoder().encode


class JsonFormatter(logging.Formatter):
    """One line of JSON for a record: `at`, `level`, `event`, and the record's `fields` if it has some.

    Whatever looks like a key is taken out, tracebacks included.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Write one line."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {
            "at": at,
            "level": record.levelname.lower(),
            "event": redacted(record.getMessage()),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = redacted(self.formatException(record.exc_info))
        return _encode(line).decode()


def start_logging(stream: TextIO | None = None, *, level: int = logging.INFO) -> None:
    """Send everything that Outlay logs to `stream` (stderr if None) as lines of JSON."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())
    for name in ("outlay", "uvicorn.error", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level if name == "outlay" else logging.WARNING)
        logger.propagate = False


def log_request(**fields: Any) -> None:
    """Log one request that was answered; fields without a value are left out."""
    if not _REQUESTS.isEnabledFor(logging.INFO):
        return
    told = {name: value for name, value in fields.items() if value is not None}
    _REQUESTS.info("request", extra={"fields": told})


def redacted(text: str) -> str:
    """Take out whatever looks like a key."""
    return _SECRET.sub("[redacted]", text)
