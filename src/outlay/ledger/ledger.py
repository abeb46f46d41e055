"""The ledger's façade: commands in, outcomes out, from threads and from event loops alike."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Final

from outlay.domain.checks import check_command
from outlay.domain.commands import Command, Reserve
from outlay.domain.outcomes import Outcome, Refusal, Reserved
from outlay.errors import LedgerError, LedgerUnavailableError, StoreError
from outlay.ledger.forking import outlive_forks
from outlay.ledger.refusals import refusal_error, stale_error
from outlay.ledger.store import Reader, Store
from outlay.ledger.watch import Watch
from outlay.ledger.writer import MAX_BATCH, MAX_QUEUE, Job, LedgerWriter

if TYPE_CHECKING:
    import asyncio

ANSWER_SECONDS: Final = 30.0
"""How long a caller waits for the writer before it hears that the ledger is unavailable."""


class Ledger:
    """A store and its writer. Safe to share between threads, event loops and forked children.

    Each method raises `LedgerBusyError` when the queue is full, `StoreError` when the database cannot be
    used and `LedgerUnavailableError` when it does not answer in `answer_seconds`; whatever was asked may be
    asked again with the same id.
    """

    def __init__(
        self,
        store: Store,
        *,
        max_queue: int = MAX_QUEUE,
        max_batch: int = MAX_BATCH,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self.store = store
        self.answer_seconds = answer_seconds
        self.writer = LedgerWriter(store, max_queue=max_queue, max_batch=max_batch)
        self._watch = Watch(self._silence)
        outlive_forks(self.writer)

    def execute(self, command: Command, *, wait_seconds: float = 0.0) -> Outcome:
        """Carry out a command; durable when it returns. Blocks the thread.

        A reserve that only others' reservations keep out waits up to `wait_seconds` for room.

        Raises:
            LedgerError: the command is wrong (a conflict, an unknown reservation …); nothing changed.
        """
        job = self._submit(Job(command, monotonic() + wait_seconds if wait_seconds else 0.0))
        try:
            is_done = job.wait(self.answer_seconds + wait_seconds)
        except BaseException:
            self._abandon(job)
            raise
        if not is_done:
            self._abandon(job)
            raise self._silence()
        if job.error is not None:
            raise job.error
        assert job.outcome is not None  # noqa: S101 # one of the two is set
        return job.outcome

    async def execute_async(
        self, command: Command, *, wait_seconds: float = 0.0, is_unawaited: bool = False
    ) -> Outcome:
        """Carry out a command; durable when it returns. As `execute`, for event loops.

        `is_unawaited` lets it wait some milliseconds for others, to be committed with them: for what nobody
        waits for, such as the settling of a call that was answered. Its place in the order stays.
        """
        import asyncio

        loop = asyncio.get_running_loop()
        future: asyncio.Future[Outcome] = loop.create_future()
        job = Job(command, monotonic() + wait_seconds if wait_seconds else 0.0, future)
        self._submit(job, is_unawaited=is_unawaited)
        self._watch.add(loop, future, self.answer_seconds + wait_seconds)
        try:
            return await future
        except asyncio.CancelledError:
            self._abandon(job)
            raise
        finally:
            self._watch.remove(loop, future)

    def enqueue(self, command: Command | None, *, is_unawaited: bool = False) -> asyncio.Future[Outcome]:
        """Queue a command from an event loop; its place in the order is taken when this returns.

        It is durable once the future is done, which must be awaited. None for what only waits its turn.
        """
        import asyncio

        loop = asyncio.get_running_loop()
        future: asyncio.Future[Outcome] = loop.create_future()
        self._submit(Job(command, future=future), is_unawaited=is_unawaited)
        self._watch.add(loop, future, self.answer_seconds)
        future.add_done_callback(partial(self._watch.remove, loop))
        return future

    async def catch_up(self, seconds: float) -> bool:
        """Wait until what was queued before in this process is committed: a read then sees it.

        False if that takes longer than these seconds, or the database fails: what was queued stays queued.
        """
        import asyncio

        if not self.writer.has_work:
            return True
        try:
            async with asyncio.timeout(seconds):
                await self.enqueue(None)
        except (TimeoutError, LedgerError, StoreError):
            return False
        return True

    def submit(self, command: Command) -> None:
        """Queue a command and do not wait for it: for what must not be lost where nobody can wait."""
        self._submit(Job(command))

    def reserve(self, command: Reserve, *, wait_seconds: float = 0.0) -> Reserved:
        """Hold an estimate.

        Raises:
            BudgetExceededError, PriceUnknownError, CostUnboundedError, AccountBlockedError: refused.
            LedgerStaleError: an account changed since the caller read it.
        """
        return _admitted(self.execute(command, wait_seconds=wait_seconds))

    async def reserve_async(self, command: Reserve, *, wait_seconds: float = 0.0) -> Reserved:
        """Hold an estimate. As `reserve`, for event loops."""
        return _admitted(await self.execute_async(command, wait_seconds=wait_seconds))

    def sweep(self) -> None:
        """Expire reservations that are due, without any other command."""
        job = self._submit(Job(None))
        if not job.wait(self.answer_seconds):
            raise self._silence()
        if job.error is not None:
            raise job.error

    def read(self) -> AbstractContextManager[Reader]:
        """A consistent look at what is committed, for reports."""
        return self.store.read()

    def close(self) -> None:
        """Finish what is queued and close the database. The ledger opens again when it is used again."""
        if not self.writer.stop(self.answer_seconds):
            raise self._silence()

    def _submit(self, job: Job, *, is_unawaited: bool = False) -> Job:
        if job.command is not None:
            check_command(job.command)
        self.writer.submit(job, is_unawaited=is_unawaited)
        return job

    def _abandon(self, job: Job) -> None:
        job.is_abandoned = True
        if job.outcome is not None:
            self.writer.undo_if_abandoned(job)

    def _silence(self) -> LedgerUnavailableError:
        return LedgerUnavailableError(
            f"the ledger's database did not answer in {self.answer_seconds:g} s: another process may "
            "hold it, or the disk may hang. A repeat with the same id is safe"
        )


def _admitted(outcome: Outcome) -> Reserved:
    if isinstance(outcome, Reserved):
        return outcome
    if isinstance(outcome, Refusal):
        raise refusal_error(outcome)
    raise stale_error(outcome)
