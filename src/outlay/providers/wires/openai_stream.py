"""OpenAI's streams: chunks of chat and completions, and the events of Responses, read as they come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from outlay.providers.body import decode_object
from outlay.providers.catalogue import Endpoint, Quirks
from outlay.providers.sse import Event
from outlay.providers.wires.openai import read_choice, read_output, read_response_usage, used_units
from outlay.providers.wires.reading import Reading

_LAST_EVENTS = frozenset({"response.completed", "response.incomplete", "response.failed"})
_UNCOUNTED_DELTAS = frozenset({"response.audio.delta", "response.reasoning_summary_text.delta"})
_USAGE = b'"usage"'
"""How a chunk names its usage, wherever it stands in it."""


class StreamReader:
    """Feed it each event; `reading` is what is known so far. It never raises on what a provider sends.

    Usage may come in several chunks: the largest of each counter counts.
    """

    def __init__(self, endpoint: Endpoint = "chat", _quirks: Quirks | None = None) -> None:
        self.reading = Reading()
        self._endpoint = endpoint
        self._uses: list[str] = []

    def read(self, event: Event) -> dict[str, Any] | None:
        """Take in one event; returns its JSON object, or None if it has none."""
        reading = self.reading
        if event.data == b"[DONE]":
            reading.is_final = True
            return None
        document = decode_object(event.data)
        if document is None:
            reading.malformed += 1
        elif self._endpoint == "responses":
            self._read_response_event(document)
        else:
            self._read_chunk(document, event.data)
        return document

    def _read_chunk(self, chunk: Mapping[str, Any], data: bytes) -> None:
        reading = self.reading
        if reading.response_id is None or reading.model is None:
            reading.identify(chunk)
        else:
            reading.note_served(chunk)
        choices = chunk.get("choices")
        if choices and isinstance(choices, list):
            reading.is_final = False  # it was no end mark, if more comes behind it
            for position, choice in enumerate(choices):
                if isinstance(choice, dict):
                    read_choice(choice, reading, position)
        if chunk.get("usage") is not None or data.count(_USAGE) > ("usage" in chunk):
            reading.read_usage(chunk)
        error = chunk.get("error")
        if error:
            reading.error = error if isinstance(error, Mapping) else {"message": str(error)}

    def _read_response_event(self, event: Mapping[str, Any]) -> None:
        reading = self.reading
        kind = event.get("type")
        response = event.get("response")
        if isinstance(response, Mapping):
            reading.identify(response)
            reading.note_state(response)
            read_response_usage(response, reading)
        reading.read_usage(event)
        if kind == "response.output_item.done":
            self._uses += used_units([event.get("item")])
            reading.note_uses(self._uses)
        if kind in _LAST_EVENTS and isinstance(response, Mapping):
            reading.is_final = True
            read_output(response if not reading.has_text else {**response, "output": []}, reading)
        elif kind == "error" or "error" in event:
            error = event.get("error")
            reading.error = error if isinstance(error, Mapping) else event
        elif isinstance(kind, str) and kind.endswith(".delta") and kind not in _UNCOUNTED_DELTAS:
            reading.add(event.get("delta"))
        elif kind == "response.output_item.added" and isinstance(event.get("item"), Mapping):
            reading.add(event["item"].get("name"))
