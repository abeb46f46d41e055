"""Forking while other threads import: libraries are loaded on first use, which may be just then.

A child inherits the locks of modules that other threads were importing, and nobody who would let them go: it
would wait for ever when it imports the same. So a fork waits until imports under way have ended.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib import import_module
from threading import get_ident
from typing import Any


def finish_imports() -> None:
    """Wait for the imports that other threads are in, and for those that follow from them."""
    while begun := _begun_by_others():
        for name in begun:
            with suppress(ImportError):  # whoever imports it hears of that
                import_module(name)


def _begun_by_others() -> list[str]:
    """The modules whose import locks other threads hold, by what CPython's `importlib` keeps of them."""
    references: dict[str, Any] = getattr(sys.modules.get("_frozen_importlib"), "_module_locks", {})
    locks = {name: reference() for name, reference in list(references.items())}
    return [name for name, lock in locks.items() if getattr(lock, "owner", None) not in (None, get_ident())]
