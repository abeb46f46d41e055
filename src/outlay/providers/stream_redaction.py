"""Stream redaction: a credential that a provider repeats in pieces, each in another event of its stream.

A text of the stream (a choice's content, a tool's arguments …) that ends with the start of the credential is
held back, with all events behind it, until the text goes on: as the credential does, which is taken out, or
otherwise, and all is passed on as it came. A start that is too short to be secret is passed on at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple

from outlay.providers.body import encode
from outlay.providers.redaction import LEAST_SECRET, REDACTED
from outlay.providers.sse import Framed

_MOST_HELD: Final = 256


class _Fragment(NamedTuple):
    """A part of one of the stream's texts, and where it stands: `container[name]`."""

    key: tuple[object, ...]
    container: dict[str, Any]
    name: str
    text: str


@dataclass(slots=True)
class _Match:
    """How much of the credential a text ends with, and the fragments that have it, with the places of their
    events.
    """

    length: int
    parts: list[tuple[int, _Fragment]]


class StreamRedactor:
    """Give it the events of one stream in order; it gives those that may be passed on."""

    def __init__(self, credential: str) -> None:
        self._credential = credential if len(credential) >= LEAST_SECRET else ""
        self._least = min(LEAST_SECRET, len(credential) // 2)
        self._start = credential[: self._least]
        self._may_begin = _beginning(credential).search if self._credential else None
        self._tails: dict[tuple[object, ...], str] = {}
        self._matches: dict[tuple[object, ...], _Match] = {}
        self._held: list[Framed] = []
        self._changed: set[int] = set()

    def pass_on(self, events: list[Framed]) -> list[Framed]:
        """Take the next events; gives those that nothing holds back any more."""
        if self._may_begin is None:
            return events
        passed: list[Framed] = []
        for event in events:
            if not self._tails and not self._held and not self._may_begin(event.raw):
                passed.append(event)
                continue
            if event.document is not None:
                for fragment in _fragments(event.document):
                    self._look(fragment)
            self._held.append(event)
            if len(self._held) >= _MOST_HELD:
                for match in self._matches.values():
                    self._take_out(match)
                self._matches.clear()
            if not self._matches:
                passed += self.close()
        return passed

    def close(self) -> list[Framed]:
        """Give what is held back: the stream is over."""
        held, self._held = self._held, []
        changed, self._changed = self._changed, set()
        self._matches.clear()
        return [_framed_anew(each) if n in changed else each for n, each in enumerate(held)]

    def _look(self, fragment: _Fragment) -> None:
        match = self._matches.get(fragment.key)
        if match is not None:
            self._go_on(match, fragment)
            return
        window = self._tails.get(fragment.key, "") + fragment.text
        if self._start in window:
            self._begin(fragment, window)
        else:
            self._keep_tail(fragment, window)

    def _keep_tail(self, fragment: _Fragment, window: str) -> None:
        """Remember the end of a text if it is the start of the credential, though too short to be secret."""
        starts = (self._start[:length] for length in range(self._least - 1, 0, -1))
        tail = next((start for start in starts if window.endswith(start)), "")
        if tail:
            self._tails[fragment.key] = tail
        else:
            self._tails.pop(fragment.key, None)

    def _begin(self, fragment: _Fragment, window: str) -> None:
        """The start of the credential is in a text: it may be all of it, or go on in another event."""
        credential = self._credential
        at = window.find(credential)
        if at >= 0:
            window = window[at + len(credential) :]
            fragment = self._put(len(self._held), fragment, REDACTED + window)
        longest = min(len(credential) - 1, len(window))
        length = next((n for n in range(longest, self._least - 1, -1) if window.endswith(credential[:n])), 0)
        if length:
            self._matches[fragment.key] = _Match(length, [(len(self._held), fragment)])
        self._keep_tail(fragment, window)

    def _go_on(self, match: _Match, fragment: _Fragment) -> None:
        """The text that ended with a start of the credential goes on."""
        wanted = self._credential[match.length :]
        if len(fragment.text) < len(wanted) and wanted.startswith(fragment.text):
            match.length += len(fragment.text)
            match.parts.append((len(self._held), fragment))
            return
        del self._matches[fragment.key]
        if fragment.text.startswith(wanted):
            self._tails.pop(fragment.key, None)
            self._take_out(match)
            fragment = self._put(len(self._held), fragment, fragment.text[len(wanted) :])
        else:
            self._keep_tail(fragment, self._credential[: match.length])
        self._look(fragment)

    def _take_out(self, match: _Match) -> None:
        (place, first), *others = match.parts
        length = match.length - sum(len(fragment.text) for _, fragment in others)
        self._put(place, first, first.text[: max(len(first.text) - length, 0)] + REDACTED)
        for place, fragment in others:
            self._put(place, fragment, "")

    def _put(self, place: int, fragment: _Fragment, text: str) -> _Fragment:
        """Change a text where it stands, in an event that is or will be held at a place."""
        fragment.container[fragment.name] = text
        self._changed.add(place)
        return fragment._replace(text=text)


@lru_cache(maxsize=256)
def _beginning(credential: str) -> re.Pattern[bytes]:
    """What is in every event with a text that ends with a start of the credential, and in few others."""
    first, second = (
        rb"(?:%b|\\(?:%b|u00(?i:%02x)))" % (re.escape(each), re.escape(each), ord(each))
        for each in (credential[:1].encode(), credential[1:2].encode())
    )
    return re.compile(rb'%b(?:%b|"(?!\s*:))' % (first, second))


def _fragments(document: dict[str, Any]) -> Iterator[_Fragment]:
    """The parts of texts that an event brings, of any wire."""
    choices = document.get("choices")
    if not isinstance(choices, list):
        index = document.get("index", document.get("output_index"))
        yield from _texts((index,), document, "delta", document.get("delta"))
        return
    for choice in choices:
        if isinstance(choice, dict):
            index = choice.get("index")
            for name in ("delta", "text"):
                yield from _texts((index, name), choice, name, choice.get(name))


def _texts(key: tuple[object, ...], container: dict[str, Any], name: str, value: Any) -> Iterator[_Fragment]:
    if isinstance(value, str):
        if value:
            yield _Fragment(key, container, name, value)
    elif isinstance(value, dict):
        for inner, each in value.items():
            yield from _texts((*key, inner), value, inner, each)
    elif isinstance(value, list):
        for number, each in enumerate(value):
            if isinstance(each, dict):
                yield from _texts((*key, each.get("index", number)), container, name, each)


def _framed_anew(event: Framed) -> Framed:
    """An event whose document was changed; its name stays."""
    assert event.document is not None  # noqa: S101 # it was changed
    head, mark, _ = event.raw.partition(b"data: ")
    return Framed(head + mark + encode(event.document) + b"\n\n", event.document)
