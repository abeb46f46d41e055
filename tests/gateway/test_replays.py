"""Replays: which answers are kept for a repeat, and for how long."""

from __future__ import annotations

from outlay.gateway.idempotency import KEPT_SECONDS, Claimed, Replays, Stored

HEADERS = ((b"content-type", b"application/json"),)
MEGABYTE = 2**20


class Seconds:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def claimed(replays: Replays, name: str) -> Claimed:
    """A request under way."""
    claim = Claimed(name, "digest")
    replays.put(claim)
    return claim


def answered(replays: Replays, name: str, size: int = 100) -> None:
    """A request that had an answer of so many bytes."""
    replays.finish(claimed(replays, name), Stored(200, HEADERS, (b"x" * size,)))


def test_an_answer_is_kept_for_ten_minutes_and_a_request_under_way_until_its_end() -> None:
    clock = Seconds()
    replays = Replays(clock)
    slow = claimed(replays, "slow")
    answered(replays, "quick")
    clock.now = KEPT_SECONDS - 1
    assert replays.get("quick") is not None
    clock.now = KEPT_SECONDS
    assert replays.get("quick") is None
    assert replays.get("slow") is slow
    replays.finish(slow, None)
    clock.now = 2 * KEPT_SECONDS
    assert replays.get("slow") is None


def test_the_oldest_answers_make_room_for_new_ones() -> None:
    replays = Replays()
    for number in range(100):
        answered(replays, str(number), MEGABYTE)
    assert replays.get("0") is None
    assert replays.get("99") is not None
    assert sum(replays.get(str(number)) is not None for number in range(100)) in (62, 63, 64)


def test_answers_of_a_few_bytes_are_counted_with_all_that_is_kept_of_them() -> None:
    replays = Replays()
    for number in range(70_000):
        answered(replays, str(number), 1)
    assert replays.get("0") is None
    assert replays.get("69999") is not None


def test_a_request_that_was_not_billed_leaves_nothing_behind() -> None:
    replays = Replays()
    replays.release(claimed(replays, "free"))
    assert replays.get("free") is None
    answered(replays, "free")
    assert replays.get("free") is not None
