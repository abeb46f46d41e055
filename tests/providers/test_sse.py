"""Server-sent events, whole and in pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlay.errors import ProviderNonsenseError
from outlay.providers.sse import Event, SseParser

STREAM = (
    b"\xef\xbb\xbf: a comment\n\n"
    b'data: {"a":1}\n\n'
    b"event: ping\ndata: {}\nid: 7\nretry: 10\n\n"
    b"data:no space\n\n"
    b"data:  two spaces\n\n"
    b"data: first\ndata: second\ndata\n\n\n"
    b"event: nothing without data\n\n"
    b"data: caf\xc3\xa9 \xff\n\n"
    b"data\n\n"
    b"data: [DONE]\n\n"
)
EVENTS = [
    Event(b'{"a":1}'),
    Event(b"{}", "ping"),
    Event(b"no space"),
    Event(b" two spaces"),
    Event(b"first\nsecond\n"),
    Event(b"caf\xc3\xa9 \xff"),
    Event(b""),
    Event(b"[DONE]"),
]
ENDINGS = {"LF": b"\n", "CRLF": b"\r\n", "CR": b"\r"}


def parse(*chunks: bytes) -> list[Event]:
    parser = SseParser()
    events = [event for chunk in chunks for event in parser.feed(chunk)]
    return events + parser.close()


def feed(parser: SseParser, chunk: bytes, times: int) -> None:
    for _ in range(times):
        parser.feed(chunk)


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
def test_a_stream_reads_the_same_split_at_every_byte(ending: bytes) -> None:
    stream = STREAM.replace(b"\n", ending)
    assert parse(stream) == EVENTS
    for place in range(len(stream) + 1):
        assert parse(stream[:place], stream[place:]) == EVENTS
    assert parse(*(stream[place : place + 1] for place in range(len(stream)))) == EVENTS


@given(st.data())
def test_a_stream_reads_the_same_in_any_pieces(data: st.DataObject) -> None:
    ending = data.draw(st.sampled_from(sorted(ENDINGS.values())))
    stream = STREAM.replace(b"\n", ending)
    places = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    pieces = [stream[start:end] for start, end in zip([0, *places], [*places, len(stream)], strict=True)]
    assert parse(*pieces) == EVENTS


def test_mixed_line_endings_read_well() -> None:
    assert parse(b"data: a\r\ndata: b\rdata: c\n\r\ndata: d\r\r") == [Event(b"a\nb\nc"), Event(b"d")]


def test_the_last_event_counts_without_its_blank_line() -> None:
    assert parse(b"data: a\n\ndata: b") == [Event(b"a"), Event(b"b")]
    assert parse(b"data: a\n\ndata: b\n") == [Event(b"a"), Event(b"b")]


def test_an_empty_stream_has_no_events() -> None:
    assert parse(b"") == parse(b"\n\n\n") == parse(b"\xef\xbb") == []


def test_an_event_comes_out_as_soon_as_it_is_whole() -> None:
    parser = SseParser()
    assert parser.feed(b"data: a\n") == []
    assert parser.feed(b"\n") == [Event(b"a")]
    assert parser.feed(b"data: b\r\n\r") == [Event(b"b")]
    assert parser.feed(b"\ndata: c\n\n") == [Event(b"c")]


@pytest.mark.parametrize("size", [1, 7, 64])
def test_an_endless_line_is_refused(size: int) -> None:
    parser = SseParser(max_event_bytes=100)
    with pytest.raises(ProviderNonsenseError, match="more than 100 bytes") as caught:
        feed(parser, b"x" * size, 200)
    assert caught.value.is_unknown_outcome


def test_an_endless_event_of_many_lines_is_refused() -> None:
    parser = SseParser(max_event_bytes=100)
    with pytest.raises(ProviderNonsenseError):
        feed(parser, b"data: line\n", 20)
