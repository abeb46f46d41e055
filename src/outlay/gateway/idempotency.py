"""Idempotency: a request that is sent twice under one `Idempotency-Key` reaches its provider once.

After the IETF draft (https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/): the same
answer again from memory for ten minutes; 409 while the first is under way, and 409 `already_completed` with
the charge when its answer is gone; 422 for another body. A key whose request was proved not to be billed (it
was refused, or its provider answered with an error) is free again.

The reservation's id is made of the key, so that the ledger knows it after a restart and on every node.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from outlay.domain.entries import Entry
from outlay.domain.money import usd_text
from outlay.gateway.config import PROJECT
from outlay.gateway.failures import GatewayError
from outlay.ledger.store import Reader

if TYPE_CHECKING:
    from outlay.gateway.exchange import Exchange

HEADER: Final = b"idempotency-key"
KEPT_SECONDS: Final = 600.0
_LONGEST_KEY: Final = 255
_MOST_BYTES: Final = 64 * 2**20
_MOST_ANSWER_BYTES: Final = 2**20
_CLAIM_BYTES: Final = 1024
"""About what a key takes in memory beside its answer."""
_MOST_TRIES: Final = 1_000


@dataclass(frozen=True, slots=True)
class Stored:
    """An answer as it was sent: its status, its headers, the pieces of its body."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    pieces: tuple[bytes, ...]

    @property
    def size(self) -> int:
        """Its bytes."""
        return sum(map(len, self.pieces)) + sum(len(name) + len(value) for name, value in self.headers)


@dataclass(slots=True)
class Recording:
    """The body of an answer on its way out: all its pieces, or none once it is too long to be kept."""

    pieces: list[bytes] = field(default_factory=list)
    size: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether it can be sent again."""
        return self.size <= _MOST_ANSWER_BYTES

    def add(self, data: bytes) -> None:
        """Take in the next piece."""
        self.size += len(data)
        if self.is_whole:
            self.pieces.append(data)
        else:
            self.pieces.clear()


@dataclass(slots=True)
class Claimed:
    """A key in use: by the request with this digest; its answer once there is one."""

    name: str
    digest: str
    attempt: int = 1
    is_done: bool = False
    done_at: float = 0.0
    stored: Stored | None = None

    @property
    def request_id(self) -> str:
        """The id of the request: the same for the same key and body."""
        return f"req-{hashlib.sha256(f'{self.name} {self.digest}'.encode()).hexdigest()[:32]}"

    @property
    def reservation_id(self) -> str:
        """The id of the reservation of this attempt."""
        return f"{self.name}-{self.attempt}"

    @property
    def size(self) -> int:
        """About the bytes that it takes in memory."""
        return _CLAIM_BYTES + (0 if self.stored is None else self.stored.size)


class Replays:
    """The keys in use and the answers kept, in memory."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._claims: dict[str, Claimed] = {}
        self._done: deque[Claimed] = deque()  # the oldest first
        self._bytes = 0

    def get(self, name: str) -> Claimed | None:
        """The claim on a key, if there is one that still counts."""
        self._forget_old()
        return self._claims.get(name)

    def put(self, claimed: Claimed) -> None:
        """Claim a key."""
        self._claims[claimed.name] = claimed

    def finish(self, claimed: Claimed, stored: Stored | None) -> None:
        """The request came to its end: keep its answer, if there is one to keep."""
        claimed.is_done, claimed.done_at, claimed.stored = True, self._clock(), stored
        self._done.append(claimed)
        self._bytes += claimed.size

    def release(self, claimed: Claimed) -> None:
        """The claim counts no more: the request was not billed, or is long over."""
        if self._claims.get(claimed.name) is claimed:
            del self._claims[claimed.name]

    def _forget_old(self) -> None:
        ended = self._clock() - KEPT_SECONDS
        while self._done and (self._done[0].done_at <= ended or self._bytes > _MOST_BYTES):
            oldest = self._done.popleft()
            self._bytes -= oldest.size
            self.release(oldest)


def claim(exchange: Exchange) -> Stored | None:
    """Claim the request's key, if it has one; give the first answer if this is a repeat.

    Raises:
        GatewayError: 400, 409 or 422.
        StoreError: the database cannot be read.
    """
    given = exchange.headers.get(HEADER)
    if given is None:
        return None
    key = given.strip()
    if not 0 < len(key) <= _LONGEST_KEY:
        raise GatewayError(
            400,
            "invalid_request_error",
            f"Idempotency-Key must have 1 to {_LONGEST_KEY} bytes.",
            param="Idempotency-Key",
        )
    scope = f"{exchange.who.account} {exchange.endpoint} ".encode()
    wanted = Claimed(f"idem-{hashlib.sha256(scope + key).hexdigest()[:40]}", exchange.digest)
    exchange.request_id = wanted.request_id
    replays = exchange.services.replays
    first = replays.get(wanted.name)
    if first is not None:
        return _repeat(exchange, first, wanted)
    replays.put(wanted)
    try:
        with exchange.services.ledger.read() as reader:
            wanted.attempt = _free_attempt(reader, wanted)
    except BaseException:
        replays.release(wanted)
        raise
    exchange.claimed = wanted
    return None


def reservation_id(exchange: Exchange) -> str:
    """The id of the exchange's reservation: made of its key, or its own."""
    return exchange.request_id if exchange.claimed is None else exchange.claimed.reservation_id


def conflict(exchange: Exchange) -> GatewayError:
    """What to answer when the ledger knows the reservation: another node has it, or one that died."""
    claimed = exchange.claimed
    assert claimed is not None  # noqa: S101 # no other id is used twice
    with exchange.services.ledger.read() as reader:
        entry = reader.entry(PROJECT, claimed.reservation_id)
        if entry is not None and entry.request_id == claimed.request_id:
            return _in_progress() if entry.kind == "void" else _completed(entry)
        if entry is not None:
            return _other_body()
        pending = reader.reservation(PROJECT, claimed.reservation_id)
    is_same = pending is None or pending.request_id == claimed.request_id
    return _in_progress() if is_same else _other_body()


def release(exchange: Exchange) -> None:
    """The request was not billed: its key is free, and its answer is not kept."""
    if exchange.claimed is not None:
        exchange.services.replays.release(exchange.claimed)
        exchange.claimed = None


def finish(exchange: Exchange) -> None:
    """The request may have been billed: its key is used up, and what was delivered is kept."""
    claimed, delivered = exchange.claimed, exchange.delivered
    if claimed is None or claimed.is_done:
        return
    stored = None
    if delivered is not None and delivered.is_whole:
        stored = Stored(exchange.status, exchange.kept_headers, tuple(delivered.pieces))
    exchange.services.replays.finish(claimed, stored)


def _repeat(exchange: Exchange, first: Claimed, wanted: Claimed) -> Stored:
    if first.digest != wanted.digest:
        raise _other_body()
    if not first.is_done:
        raise _in_progress()
    if first.stored is not None:
        return first.stored
    with exchange.services.ledger.read() as reader:
        entry = reader.entry(PROJECT, first.reservation_id)
    raise _in_progress() if entry is None else _completed(entry)


def _free_attempt(reader: Reader, wanted: Claimed) -> int:
    """Which attempt this is: those before it were proved not to be billed."""
    for attempt in range(1, _MOST_TRIES):
        entry = reader.entry(PROJECT, f"{wanted.name}-{attempt}")
        if entry is None:
            return attempt
        if entry.request_id != wanted.request_id:
            raise _other_body()
        if entry.kind != "void":
            raise _completed(entry)
    raise _other_body()


def _in_progress() -> GatewayError:
    return GatewayError(
        409,
        "idempotency_error",
        "A request with this Idempotency-Key is under way, or ended without an answer that is known: "
        "try again later.",
        param="Idempotency-Key",
        error_code="request_in_progress",
        headers={"retry-after": "2"},
    )


def _completed(entry: Entry) -> GatewayError:
    nanos = entry.usd_nanos
    facts: dict[str, Any] = {
        "request_id": entry.request_id,
        "cost": None if nanos is None else usd_text(nanos),
    }
    return GatewayError(
        409,
        "idempotency_error",
        "The request with this Idempotency-Key was served and charged; its answer is no longer kept. "
        "Use a new key for a new request.",
        param="Idempotency-Key",
        error_code="already_completed",
        facts={**facts, "source": entry.source},
        headers={"x-should-retry": "false"},
    )


def _other_body() -> GatewayError:
    return GatewayError(
        422,
        "idempotency_error",
        "This Idempotency-Key was used with another request: use a new key for a new request.",
        param="Idempotency-Key",
        error_code="idempotency_key_reused",
    )
