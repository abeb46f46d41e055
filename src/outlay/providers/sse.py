"""Server-sent events: bytes in, at any split, events out (WHATWG HTML, "Server-sent events").

`data` and `event` fields are read; `id`, `retry` and comments are skipped, for no wire here uses them. Data
stays bytes: the JSON reader behind decides about text that is not UTF-8.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from outlay.errors import ProviderNonsenseError

_BOM = b"\xef\xbb\xbf"


class Event(NamedTuple):
    """One event: its `data` (lines joined by LF) and its name, empty when it has none."""

    data: bytes
    name: str = ""

    def framed(self) -> bytes:
        """The event as it is sent."""
        data = self.data if b"\n" not in self.data else self.data.replace(b"\n", b"\ndata: ")
        if not self.name:
            return b"data: " + data + b"\n\n"
        return b"event: " + self.name.encode() + b"\ndata: " + data + b"\n\n"


class Framed(NamedTuple):
    """One event, ready to be sent on as it is, and its JSON object (None: `[DONE]`, or not JSON)."""

    raw: bytes
    document: dict[str, Any] | None


class SseParser:
    """Feed it bytes as they come; it returns the events that became whole.

    An event larger than `max_event_bytes` raises ProviderNonsenseError (its request may have been billed).
    """

    def __init__(self, *, max_event_bytes: int = 2**20) -> None:
        self._max = max_event_bytes
        self._rest: list[bytes] = []
        self._rest_bytes = 0
        self._ends_with_lf = False
        self._has_cr = False
        self._head: bytes | None = b""

    def feed(self, chunk: bytes) -> list[Event]:
        """Take the next bytes; returns the events they complete, oldest first."""
        if self._head is not None or self._has_cr or b"\r" in chunk:
            chunk = self._only_lf(self._without_bom(chunk))
        if not chunk:
            return []
        if b"\n\n" not in chunk and not (self._ends_with_lf and chunk.startswith(b"\n")):
            self._keep(chunk)
            return []
        *blocks, rest = (b"".join(self._rest) + chunk if self._rest else chunk).split(b"\n\n")
        self._rest, self._rest_bytes, self._ends_with_lf = [], 0, False
        if rest:
            self._keep(rest)
        return [event for event in map(self._event, blocks) if event is not None]

    def close(self) -> list[Event]:
        """End the stream; returns the last event if only its blank line is missing.

        The standard drops it, but some providers end without that line, and it is the one with the usage.
        """
        block = (self._head or b"") + b"".join(self._rest)
        self._rest, self._rest_bytes, self._head = [], 0, None
        event = self._event(block.rstrip(b"\n"))
        return [] if event is None else [event]

    def _keep(self, piece: bytes) -> None:
        self._rest.append(piece)
        self._rest_bytes += len(piece)
        self._ends_with_lf = piece.endswith(b"\n")
        self._check(self._rest_bytes)

    def _event(self, block: bytes) -> Event | None:
        """Read one block of lines. Most are a single `data: …`, which needs no look at each line."""
        if block.startswith(b"data: ") and b"\n" not in block:
            self._check(len(block))
            return Event(block[6:])
        self._check(len(block))
        data: list[bytes] = []
        name = ""
        for line in block.split(b"\n"):
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field == b"data":
                data.append(value)
            elif field == b"event":
                name = value.decode("utf-8", "replace")
        return Event(b"\n".join(data), name) if data else None

    def _only_lf(self, chunk: bytes) -> bytes:
        """Make CRLF and CR to LF; a CR at the end of a chunk may have its LF in the next."""
        if self._has_cr and chunk:
            self._has_cr = False
            chunk = chunk.removeprefix(b"\n")
        if b"\r" not in chunk:
            return chunk
        self._has_cr = chunk.endswith(b"\r")
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _without_bom(self, chunk: bytes) -> bytes:
        """Take a byte order mark off the start of the stream, even if it comes in pieces."""
        if self._head is None:
            return chunk
        start = self._head + chunk
        if len(start) < len(_BOM) and _BOM.startswith(start):
            self._head = start
            return b""
        self._head = None
        return start.removeprefix(_BOM)

    def _check(self, size: int) -> None:
        if size > self._max:
            raise ProviderNonsenseError(
                f"The provider sent an event of more than {self._max:,} bytes. It may have been billed.",
                is_unknown_outcome=True,
            )
