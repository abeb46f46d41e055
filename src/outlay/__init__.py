"""Outlay: budgets for LLM calls that hold.

    import outlay

    outlay.max_budget = 0.50                       # USD for this process; 0 or None is off
    reply = outlay.completion(model="gpt-4o", messages=[{"role": "user", "content": "Hello"}])
    print(reply.choices[0].message.content, outlay.current_cost())

Names are loaded when they are first used, so that the import is quick.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from outlay.errors import (
    AccountBlockedError,
    AlreadyResolvedError,
    BudgetExceededError,
    CostUnboundedError,
    IdempotencyConflictError,
    InvalidAmountError,
    InvalidValueError,
    LedgerBusyError,
    LedgerError,
    LedgerUnavailableError,
    OutlayError,
    PriceUnknownError,
    ProviderError,
    ReservationNotFoundError,
    StoreError,
    UnknownUserError,
)

if TYPE_CHECKING:
    from outlay.budget_manager import BudgetManager
    from outlay.completions import acompletion, aembedding, completion, current_cost, embedding

    _current_cost: float

__version__ = "0.1.0"

__all__ = [
    "AccountBlockedError",
    "AlreadyResolvedError",
    "BudgetExceededError",
    "BudgetManager",
    "CostUnboundedError",
    "IdempotencyConflictError",
    "InvalidAmountError",
    "InvalidValueError",
    "LedgerBusyError",
    "LedgerError",
    "LedgerUnavailableError",
    "OutlayError",
    "PriceUnknownError",
    "ProviderError",
    "ReservationNotFoundError",
    "StoreError",
    "UnknownUserError",
    "__version__",
    "acompletion",
    "aembedding",
    "allowed_request_fields",
    "budget_mode",
    "budget_wait_seconds",
    "completion",
    "current_cost",
    "default_max_tokens",
    "default_max_tool_calls",
    "embedding",
    "estimate_method",
    "max_budget",
    "unknown_request_fields",
]

max_budget: float | None = None
"""The budget of this process in USD; 0 or None is off. Read at each call."""

budget_mode: str = "crossing"
"""`crossing`: calls are admitted until the budget is used up; `hard`: only what surely fits; `soft`: all."""

budget_wait_seconds: float = 30.0
"""How long a call waits when only other calls' reservations keep it out."""

default_max_tokens: int = 16_384
"""The output cap of a call under a budget that states none itself."""

default_max_tool_calls: int = 8
"""How often a provider may search for a call under a budget that states no cap itself."""

estimate_method: str = "auto"
"""How input is bounded: `auto` and `bytes` are proofs; `margin` (1.4 × o200k) holds less and is none."""

allowed_request_fields: Collection[str] = ()
"""Request fields that Outlay does not know and that you vouch for: they cost no more than their text."""

unknown_request_fields: str = "refuse"
"""What a hard budget does with other fields that Outlay does not know: `refuse`, or `pass`, unproven."""

_LAZY = {
    "BudgetManager": "outlay.budget_manager",
    "acompletion": "outlay.completions",
    "aembedding": "outlay.completions",
    "completion": "outlay.completions",
    "current_cost": "outlay.completions",
    "embedding": "outlay.completions",
}


class _Face(ModuleType):
    """This module, with `_current_cost` as LiteLLM has it: read it, or set it to count anew."""

    @property
    def _current_cost(self) -> float:
        return float(self.current_cost())

    @_current_cost.setter
    def _current_cost(self, value: float) -> None:
        from outlay.process_budget import PROCESS_BUDGET

        PROCESS_BUDGET.set_current_cost(value)

    def __getattr__(self, name: str) -> Any:
        if name not in _LAZY:
            raise AttributeError(f"module 'outlay' has no attribute {name!r}")
        value = getattr(import_module(_LAZY[name]), name)
        setattr(self, name, value)
        return value

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *__all__})


sys.modules[__name__].__class__ = _Face
