"""Streams: chunks as they come, charged in full whether anyone reads them or not."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Callable
from typing import Any

import pytest
from journal import HELLO, Journal, eventually, plain_server

import outlay
from outlay import BudgetManager
from outlay.errors import ProviderConnectionError, ProviderFailedError
from outlay.streams import AsyncStream, Stream
from outlay.testing.provider import FakeProvider

pytest_plugins = ["front_doors"]


def open_stream(manager: BudgetManager, **options: Any) -> Stream:
    stream = manager.completion(user="alice", model="gpt-4o", messages=HELLO, stream=True, **options)
    assert isinstance(stream, Stream)
    return stream


async def open_async(manager: BudgetManager, **options: Any) -> AsyncStream:
    stream = await manager.acompletion(user="alice", model="gpt-4o", messages=HELLO, stream=True, **options)
    assert isinstance(stream, AsyncStream)
    return stream


def read_sync(manager: BudgetManager, **options: Any) -> tuple[list[Any], float | None]:
    stream = open_stream(manager, **options)
    return list(stream), stream.cost


def read_async(manager: BudgetManager, **options: Any) -> tuple[list[Any], float | None]:
    async def main() -> tuple[list[Any], float | None]:
        stream = await open_async(manager, **options)
        return [chunk async for chunk in stream], stream.cost

    return asyncio.run(main())


FACES = pytest.mark.parametrize("read", [read_sync, read_async])


@FACES
def test_chunks_read_as_objects_and_by_key(
    provider: FakeProvider, manager: BudgetManager, read: Callable[..., Any]
) -> None:
    chunks, _ = read(manager, max_tokens=5)
    words = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert words == "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
    assert len(words.split()) == 5
    assert chunks[-1].choices[0].finish_reason == "length"
    assert chunks[0].choices[0].delta.tool_calls is None


@FACES
def test_a_stream_is_charged_to_the_nano_and_says_so(
    provider: FakeProvider, manager: BudgetManager, journal: Journal, read: Callable[..., Any]
) -> None:
    _, cost = read(manager)
    assert cost == provider.bill.total_nanos / 1e9
    assert journal.charged_nanos() == provider.bill.total_nanos
    journal.check()


@FACES
def test_the_usage_chunk_is_shown_only_to_who_asked(
    provider: FakeProvider, manager: BudgetManager, read: Callable[..., Any]
) -> None:
    chunks, _ = read(manager)
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)
    assert json.loads(provider.requests[-1].body)["stream_options"] == {"include_usage": True}
    chunks, _ = read(manager, stream_options={"include_usage": True})
    assert (chunks[-1].choices, chunks[-1].usage.completion_tokens) == ([], 24)


@pytest.mark.parametrize("where", ["last", "every", "x_groq"])
def test_usage_is_found_wherever_the_provider_puts_it(
    provider: FakeProvider, manager: BudgetManager, journal: Journal, where: str
) -> None:
    provider.set({"usage_in": where})
    read_sync(manager)
    assert journal.charged_nanos() == provider.bill.total_nanos


@FACES
@pytest.mark.parametrize("usage", ["missing", "null"])
def test_a_stream_without_usage_is_counted(
    provider: FakeProvider, manager: BudgetManager, journal: Journal, read: Callable[..., Any], usage: str
) -> None:
    provider.set({"usage": usage})
    read(manager)
    (entry,) = journal.entries()
    assert (entry.kind, entry.source) == ("settle", "counted")
    assert provider.bill.total_nanos <= (entry.usd_nanos or 0) <= provider.bill.total_nanos * 1.2


def test_the_process_counts_streams_too(provider: FakeProvider, process_budget: None) -> None:
    list(outlay.completion(model="gpt-4o", messages=HELLO, stream=True))
    assert outlay.current_cost() == provider.bill.total_nanos / 1e9


def test_a_stream_that_is_over_stays_over(provider: FakeProvider, manager: BudgetManager) -> None:
    stream = open_stream(manager)
    assert (len(list(stream)), len(list(stream))) == (26, 0)
    closed = open_stream(manager)
    closed.close()
    assert list(closed) == []


# Abandoned: nobody reads on, and it is charged in full all the same.


def give_up_by_break(manager: BudgetManager) -> None:
    for _ in open_stream(manager):
        break


def give_up_by_close(manager: BudgetManager) -> None:
    stream = open_stream(manager)
    next(stream)
    stream.close()


def give_up_by_with(manager: BudgetManager) -> None:
    with open_stream(manager) as stream:
        next(stream)


def give_up_by_error_in_with(manager: BudgetManager) -> None:
    with pytest.raises(ZeroDivisionError), open_stream(manager) as stream:  # noqa: PT012 # it is the block
        next(stream)
        raise ZeroDivisionError


def give_up_by_del(manager: BudgetManager) -> None:
    stream = open_stream(manager)
    next(stream)
    del stream


def give_up_unread(manager: BudgetManager) -> None:
    open_stream(manager)


def give_up_by_gc(manager: BudgetManager) -> None:
    cycle: list[Any] = [open_stream(manager)]
    cycle.append(cycle)
    del cycle
    gc.collect()


@pytest.mark.parametrize(
    "give_up",
    [
        give_up_by_break,
        give_up_by_close,
        give_up_by_with,
        give_up_by_error_in_with,
        give_up_by_del,
        give_up_unread,
        give_up_by_gc,
    ],
)
def test_an_abandoned_stream_is_charged_in_full(
    provider: FakeProvider,
    manager: BudgetManager,
    journal: Journal,
    process_budget: None,
    give_up: Callable[[BudgetManager], None],
) -> None:
    provider.set({"hang_after_chunks": 5})
    give_up(manager)
    assert provider.bill.serving == 1
    assert journal.pending() == 1
    provider.release()
    journal.wait_for(1, "settle")
    assert provider.bill.calls[0].output_tokens == 24
    assert journal.charged_nanos() == provider.bill.total_nanos
    eventually(lambda: outlay.current_cost() == provider.bill.total_nanos / 1e9)


async def async_break(manager: BudgetManager) -> None:
    async for _ in await open_async(manager):
        break


async def async_aclose(manager: BudgetManager) -> None:
    stream = await open_async(manager)
    await anext(stream)
    await stream.aclose()
    assert [chunk async for chunk in stream] == []


async def async_with(manager: BudgetManager) -> None:
    async with await open_async(manager) as stream:
        await anext(stream)


async def async_unread(manager: BudgetManager) -> None:
    await open_async(manager)
    gc.collect()


async def async_cancelled(manager: BudgetManager) -> None:
    has_begun = asyncio.Event()

    async def read() -> None:
        async for _ in await open_async(manager):
            has_begun.set()

    reading = asyncio.create_task(read())
    await has_begun.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading


async def async_timeout(manager: BudgetManager) -> None:
    async def read() -> None:
        async for _ in await open_async(manager):
            pass

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(read(), 0.1)


@pytest.mark.parametrize(
    "give_up", [async_break, async_aclose, async_with, async_unread, async_cancelled, async_timeout]
)
def test_an_abandoned_async_stream_is_charged_in_full(
    provider: FakeProvider, manager: BudgetManager, journal: Journal, give_up: Callable[..., Any]
) -> None:
    provider.set({"hang_after_chunks": 5})

    async def main() -> None:
        await give_up(manager)
        assert journal.pending() == 1
        provider.release()
        while not journal.entries("settle"):
            await asyncio.sleep(0.001)

    asyncio.run(main())
    assert provider.bill.calls[0].output_tokens == 24
    assert journal.charged_nanos() == provider.bill.total_nanos


def test_a_loop_that_ends_in_the_middle_leaves_the_hold(
    provider: FakeProvider, manager: BudgetManager, journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    provider.set({"hang_after_chunks": 5, "bills_after_hangup": True})
    asyncio.run(async_break(manager))
    provider.wait_until(lambda it: it.bill.serving == 0)
    assert journal.pending() == 1
    assert "nobody reads" in caplog.text
    journal.expire()
    assert journal.charged_nanos() >= provider.bill.total_nanos
    journal.check()


def test_the_provider_is_told_nothing_when_the_reader_leaves(
    provider: FakeProvider, manager: BudgetManager, journal: Journal
) -> None:
    provider.set({"hang_after_chunks": 5})
    give_up_by_close(manager)
    provider.release()
    journal.wait_for(1, "settle")
    assert [call.outcome for call in provider.bill.calls] == ["served"]


# Broken.


@FACES
@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        ({"cut_after_chunks": 5, "bills_after_hangup": True}, ProviderConnectionError),
        ({"cut_after_chunks": 5, "usage_in": "every", "bills_after_hangup": True}, ProviderConnectionError),
        ({"error_after_chunks": 5}, ProviderFailedError),
        ({"nonsense": "truncated"}, ProviderConnectionError),
    ],
)
def test_a_stream_that_breaks_raises_and_is_presumed_at_once_or_when_its_hold_expires(
    provider: FakeProvider,
    manager: BudgetManager,
    journal: Journal,
    read: Callable[..., Any],
    behaviour: dict[str, Any],
    error: type[Exception],
) -> None:
    provider.set({"chunk_delay_seconds": 0.001, **behaviour})
    with pytest.raises(error):
        read(manager)
    assert journal.pending() == ("cut_after_chunks" in behaviour)  # of a cut one more may become known
    provider.wait_until(lambda it: it.bill.serving == 0)
    journal.expire()
    assert journal.charged_nanos() >= provider.bill.total_nanos > 0
    journal.check()


def test_the_chunks_before_a_break_arrive(provider: FakeProvider, manager: BudgetManager) -> None:
    provider.set({"error_after_chunks": 5})
    stream = open_stream(manager)
    words = [next(stream).choices[0].delta.content for _ in range(5)]
    assert words[0] == ""
    assert all(words[1:])
    with pytest.raises(ProviderFailedError):
        next(stream)
    assert list(stream) == []


def test_a_stream_that_breaks_after_it_said_all_is_settled(
    provider: FakeProvider, manager: BudgetManager, journal: Journal
) -> None:
    provider.set({"usage_in": "last", "cut_after_chunks": 26, "chunk_delay_seconds": 0.001})
    chunks, cost = read_sync(manager)
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert cost == provider.bill.total_nanos / 1e9
    assert [(entry.kind, entry.source) for entry in journal.entries()] == [("settle", "provider")]


def test_a_broken_event_does_not_end_a_stream(provider: FakeProvider, manager: BudgetManager) -> None:
    provider.set({"nonsense": "sse"})
    chunks, _ = read_sync(manager)
    assert len("".join(chunk.choices[0].delta.content or "" for chunk in chunks).split()) == 24


def test_a_plain_answer_to_a_stream_is_one_chunk(manager: BudgetManager, journal: Journal) -> None:
    usage = {"prompt_tokens": 14, "completion_tokens": 1}
    choice = {"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}
    body = json.dumps({"id": "x", "model": "gpt-4o", "choices": [choice], "usage": usage})
    with plain_server(body.encode()) as address:
        chunks, _ = read_sync(manager, api_base=address, api_key="k")
    assert [chunk.choices[0].message.content for chunk in chunks] == ["hi"]
    assert journal.charged_nanos() == 14 * 2_500 + 10_000
