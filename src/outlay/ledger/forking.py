"""Forking: a process that forks is normal (gunicorn's preload, multiprocessing), and must lose nothing.

SQLite's lock state is inherited, so every ledger stands still and closes its database before a fork; both
sides open it again when they use it. Nor may a fork come while another thread is inside SQLite's opening of
a file: the child would inherit the engine's mutexes, and nobody who would let them go.

A child also inherits the locks of modules that other threads were importing, and nobody who would let them
go: it would wait for ever when it imports the same. Libraries are loaded on first use, which may be just
then, so a fork waits until the imports under way have ended, and lets none begin until it is over.
"""

from __future__ import annotations

import _imp  # the import lock: CPython has no public name for it
import atexit
import os
import sys
import threading
import weakref
from collections.abc import Iterator
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from outlay.ledger.writer import LedgerWriter

_EXIT_SECONDS: Final = 10.0
_IMPORT_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 0.001

_LIVING: weakref.WeakSet[LedgerWriter] = weakref.WeakSet()
_HELD: list[LedgerWriter] = []
_FORKING = threading.Lock()
"""Held by the one thread that forks: no other may let go what it holds, nor make a ledger meanwhile."""

OPENING: Final = threading.Lock()
"""Held by whoever opens a connection, and during a fork. Always the last lock to be taken."""


def outlive_forks(writer: LedgerWriter) -> None:
    """Stop this writer for each fork, and flush it at exit."""
    with _FORKING:
        _LIVING.add(writer)


def _before_fork() -> None:
    _FORKING.acquire()
    _HELD.extend(_LIVING)
    for writer in _HELD:
        writer.hold()
    OPENING.acquire()
    _stop_imports()


def _after_fork_in_parent() -> None:
    _imp.release_lock()
    OPENING.release()
    for writer in _drain_held():
        writer.release()
    _FORKING.release()


def _after_fork_in_child() -> None:
    _imp.release_lock()
    OPENING.release()
    for writer in _drain_held():
        writer.reset()
    _FORKING.release()


def _drain_held() -> Iterator[LedgerWriter]:
    while _HELD:
        yield _HELD.pop()


def _stop_imports() -> None:
    """Take the import lock at a moment when no other thread is in an import, if there soon is one."""
    until = monotonic() + _IMPORT_SECONDS
    _imp.acquire_lock()
    while _begun_by_others() and monotonic() < until:
        _imp.release_lock()
        sleep(_LOOK_SECONDS)
        _imp.acquire_lock()


def _begun_by_others() -> list[str]:
    """The modules whose import locks other threads hold, by what CPython's `importlib` keeps of them."""
    references: dict[str, Any] = getattr(sys.modules.get("_frozen_importlib"), "_module_locks", {})
    locks = {name: reference() for name, reference in list(references.items())}
    me = threading.get_ident()
    return [name for name, lock in locks.items() if getattr(lock, "owner", None) not in (None, me)]


def _flush_at_exit() -> None:
    for writer in list(_LIVING):
        writer.stop(timeout_seconds=_EXIT_SECONDS)


os.register_at_fork(
    before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
)
atexit.register(_flush_at_exit)
