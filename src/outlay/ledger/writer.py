"""The writer: one thread that takes all that is queued, decides it in one transaction, and commits.

A batch forms while the previous commit is in flight; nobody waits for a batch to fill. A refused command
does not fail its batch. When the database fails, the batch is rolled back and its commands are tried once
more one by one, with the same ids, so that one poisonous command fails alone and a commit whose outcome is
unknown is simply repeated.

A reserve that only others' reservations keep out may be parked: it is decided again, first in line, after
every batch and every `PARK_SECONDS`, until it is admitted or its patience ends.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING, Final

from outlay.domain.commands import Command, FreeSlot, Reserve, Settle, Void
from outlay.domain.outcomes import Outcome, Refusal, Reserved
from outlay.errors import LedgerBusyError, LedgerUnavailableError, OutlayError
from outlay.ledger.books import Books
from outlay.ledger.store import Store

if TYPE_CHECKING:
    import asyncio

MAX_QUEUE: Final = 10_000
MAX_BATCH: Final = 512
PARK_SECONDS: Final = 0.05
UNAWAITED_SECONDS: Final = 0.005
"""How long a command that nobody waits for waits for others."""
IDLE_SECONDS: Final = 10.0
"""How long the thread waits for work before it ends: a ledger that was dropped must leave none behind."""


_MAKES_ROOM: Final = Settle | Void | FreeSlot


class Job:
    """One command on its way through the writer, and who waits for it.

    `patience_until` is the monotonic time until which a reserve may stay parked; 0 for not at all. `future`
    is an event loop's; without one, a thread waits.
    """

    __slots__ = ("_done", "command", "error", "future", "is_abandoned", "outcome", "patience_until")

    def __init__(
        self,
        command: Command | None,
        patience_until: float = 0.0,
        future: asyncio.Future[Outcome] | None = None,
    ) -> None:
        self.command = command
        self.patience_until = patience_until
        self.outcome: Outcome | None = None
        self.error: BaseException | None = None
        self.is_abandoned = False
        self.future = future
        if future is None:
            self._done = threading.Lock()
            self._done.acquire()

    def wait(self, timeout_seconds: float) -> bool:
        """Block until the command is done; False if it is not done in time."""
        if not self._done.acquire(timeout=timeout_seconds):
            return False
        self._done.release()
        return True

    def finish(self) -> None:
        """Wake the thread that waits."""
        self._done.release()


class LedgerWriter:
    """The queue and the thread. The thread starts on first use, and again when it had ended."""

    def __init__(self, store: Store, *, max_queue: int = MAX_QUEUE, max_batch: int = MAX_BATCH) -> None:
        self._store = store
        self._books = Books()
        self._max_queue = max_queue
        self._max_batch = max_batch
        self._queue: deque[Job] = deque()
        self._parked: list[Job] = []
        self._bell = threading.Condition(threading.Lock())
        self._thread: threading.Thread | None = None
        self._stop_lock = threading.Lock()
        self._is_stopping = False
        self._is_idle = False
        self.batch_sizes: deque[int] = deque(maxlen=1000)
        self.failed_batches = 0

    @property
    def queue_length(self) -> int:
        """How many commands wait to be taken."""
        return len(self._queue)

    @property
    def has_work(self) -> bool:
        """Whether a command is queued or under way."""
        with self._bell:
            return bool(self._queue) or not (self._is_idle or self._thread is None)

    def submit(self, job: Job, *, is_unawaited: bool = False) -> None:
        """Queue a command. What ends a reservation is always taken: it makes room.

        One of an event loop that nobody waits for waits a moment for others, to be committed with them.

        Raises:
            LedgerBusyError: the queue is full; nothing was written.
        """
        with self._bell:
            if len(self._queue) >= self._max_queue and not isinstance(job.command, _MAKES_ROOM):
                raise LedgerBusyError(
                    f"the ledger's queue is full ({self._max_queue} commands): try again shortly"
                )
            self._queue.append(job)
            if job.future is None:
                self._wake()
        if job.future is None:
            return
        loop = job.future.get_loop()
        if is_unawaited:
            loop.call_later(UNAWAITED_SECONDS, self._ring)
        else:  # when all that the loop has ready now is done: one batch, and no contest
            loop.call_soon(self._ring)

    def stop(self, timeout_seconds: float | None = None) -> bool:
        """Finish what is queued, end the thread, close the store. False if it was not done in time.

        What others submit meanwhile stays queued until the store is closed, and starts the thread anew.
        """
        if not self._stop_lock.acquire(timeout=-1 if timeout_seconds is None else timeout_seconds):
            return False
        try:
            with self._bell:
                self._is_stopping = True
                thread = self._thread
                self._bell.notify()
            if thread is not None:
                thread.join(timeout_seconds)
            is_ended = thread is None or not thread.is_alive()
            if is_ended:
                self._store.close()
                self._books.forget()
            return is_ended
        finally:
            with self._bell:
                self._is_stopping = False
                self._start()
            self._stop_lock.release()

    def hold(self) -> None:
        """Stand still for a fork: the transaction under way ends, and none begins until it is over."""
        self._store.pause()

    def release(self) -> None:
        """Go on in the parent after a fork."""
        self._store.resume(is_child=False)

    def reset(self) -> None:
        """Be new in a forked child: the parent's thread, callers and locks stay behind."""
        self._store.resume(is_child=True)
        self._queue.clear()
        self._parked.clear()
        self._bell = threading.Condition(threading.Lock())
        self._stop_lock = threading.Lock()
        self._thread = None
        self._is_stopping = self._is_idle = False
        self._books.forget()

    def _ring(self) -> None:
        with self._bell:
            self._wake()

    def _wake(self) -> None:
        """Have the thread look at the queue; called with the bell held."""
        if self._is_idle:
            self._is_idle = False
            self._bell.notify()
        else:
            self._start()

    def _start(self) -> None:
        """Start the thread if there is work and none does it; called with the bell held."""
        if (self._queue or self._parked) and self._thread is None and not self._is_stopping:
            self._thread = threading.Thread(target=self._run, name="outlay-ledger", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while (batch := self._take()) is not None:
            self.work(batch)

    def _take(self) -> list[Job] | None:
        """Wait for work: the queue in order, or nothing but what is parked. None when it is time to end."""
        with self._bell:
            while not self._queue and not self._is_stopping:
                self._is_idle = True
                is_rung = self._bell.wait(PARK_SECONDS if self._parked else IDLE_SECONDS)
                self._is_idle = False
                if not is_rung:
                    break
            if not self._queue and (self._is_stopping or not self._parked):
                self._thread = None
                return None
            count = min(len(self._queue), self._max_batch)
            return [self._queue.popleft() for _ in range(count)]

    def work(self, batch: Sequence[Job]) -> None:
        """Carry out what is parked and then a batch: one round of the writer thread."""
        parked, self._parked = self._parked, []
        batch = [
            job for job in (*parked, *batch) if not (job.is_abandoned and isinstance(job.command, Reserve))
        ]
        if not self._try(batch):
            self.failed_batches += 1
            for job in batch:
                self._try([job], is_last=True)
        self.batch_sizes.append(len(batch))
        self._deliver([job for job in batch if not self._park(job)])

    def _try(self, batch: Sequence[Job], *, is_last: bool = False) -> bool:
        """Carry out commands in one transaction. Whatever fails is an error of the callers', never lost."""
        try:
            self._transact(batch)
        except Exception as error:  # noqa: BLE001 # the edge of the writer thread: errors go to the callers
            self._books.forget()
            if is_last or _is_before_begin(error):
                for job in batch:
                    job.outcome, job.error = None, _explain(error)
            return is_last or _is_before_begin(error)
        return True

    def _transact(self, batch: Sequence[Job]) -> None:
        books = self._books
        with self._store.transaction() as tx:
            books.begin(tx)
            books.load([job.command for job in batch if job.command is not None])
            for job in batch:
                job.outcome, job.error = None, None
                if job.command is None:
                    continue
                try:
                    job.outcome = books.decide(job.command)
                except OutlayError as error:
                    job.error = error
            books.finish()

    def _park(self, job: Job) -> bool:
        """Keep a refused reserve for another try, if waiting can help and its caller has patience."""
        outcome = job.outcome
        if not (isinstance(outcome, Refusal) and outcome.can_wait) or job.patience_until <= monotonic():
            return False
        if job.is_abandoned or self._is_stopping:
            return False
        self._parked.append(job)
        return True

    def _deliver(self, batch: Sequence[Job]) -> None:
        """Wake each caller: threads one by one, event loops once for all their futures."""
        by_loop: dict[asyncio.AbstractEventLoop, list[Job]] = {}
        for job in batch:
            if job.future is None:
                job.finish()
                self.undo_if_abandoned(job)
            else:
                by_loop.setdefault(job.future.get_loop(), []).append(job)
        for loop, jobs in by_loop.items():
            try:
                loop.call_soon_threadsafe(self._fulfil, jobs)
            except RuntimeError:  # the loop is closed: nobody waits any more
                for job in jobs:
                    job.is_abandoned = True
                    self.undo_if_abandoned(job)

    def _fulfil(self, jobs: Sequence[Job]) -> None:
        """Runs on the callers' loop."""
        for job in jobs:
            future = job.future
            if future is None or future.done():
                job.is_abandoned = True
                self.undo_if_abandoned(job)
            elif job.error is not None:
                future.set_exception(job.error)
            else:
                future.set_result(job.outcome)  # type: ignore[arg-type] # one of the two is set

    def undo_if_abandoned(self, job: Job) -> None:
        """Void a reservation whose caller gave up before it heard of it: the request was never sent."""
        outcome, command = job.outcome, job.command
        if not (job.is_abandoned and isinstance(outcome, Reserved) and isinstance(command, Reserve)):
            return
        if not outcome.is_replay:
            self.submit(Job(Void(command.project, command.id, "never_sent")))


_BEFORE_BEGIN: Final = "outlay_before_begin"


def before_begin(error: OutlayError) -> OutlayError:
    """Mark an error as one that came before the transaction began, so that repeating cannot help."""
    error.__dict__[_BEFORE_BEGIN] = True
    return error


def _is_before_begin(error: BaseException) -> bool:
    return _BEFORE_BEGIN in getattr(error, "__dict__", {})


def _explain(error: Exception) -> OutlayError:
    if isinstance(error, OutlayError):
        own = type(error)(error.message)  # each caller raises an error of its own
        own.__cause__ = error
        return own
    unavailable = LedgerUnavailableError(
        f"the ledger's database failed: {error}. A repeat with the same id is safe"
    )
    unavailable.__cause__ = error
    return unavailable
