"""InlineLedger: a ledger without a thread, so that a test decides what forms a batch and when it runs."""

from __future__ import annotations

from outlay.domain.checks import check_command
from outlay.domain.commands import Command
from outlay.domain.outcomes import Outcome
from outlay.errors import OutlayError
from outlay.ledger.store import Store
from outlay.ledger.writer import Job, LedgerWriter

Answer = Outcome | OutlayError


class InlineLedger:
    """A store and its writer, which works in the caller's thread: each call is one batch."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.writer = LedgerWriter(store)

    def batch(self, *commands: Command) -> list[Answer]:
        """Carry out commands in one batch; give what each would return or raise."""
        answers: list[Answer] = []
        jobs = []
        for command in commands:
            check_command(command)
            jobs.append(Job(command))
        self.writer.work(jobs)
        for job in jobs:
            answer = job.outcome if job.error is None else job.error
            assert isinstance(answer, Answer), answer
            answers.append(answer)
        return answers

    def execute(self, command: Command) -> Outcome:
        """Carry out one command as a batch of its own; raise what it raises."""
        (answer,) = self.batch(command)
        if isinstance(answer, OutlayError):
            raise answer
        return answer

    def park(self, command: Command, patience_until: float) -> Job:
        """Carry out a command that may wait for room until that monotonic time."""
        job = Job(command, patience_until)
        self.writer.work([job])
        return job

    def sweep(self) -> None:
        """Expire what is due."""
        job = Job(None)
        self.writer.work([job])
        if job.error is not None:
            raise job.error
