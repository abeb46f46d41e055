"""Config: what the gateway was told, checked and typed. `config_file` reads it from LiteLLM's format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from outlay.domain.budgets import Budget
from outlay.pricing.bound.caps import DEFAULT_MAX_TOKENS
from outlay.pricing.bound.estimate import Method
from outlay.pricing.bound.hosted import DEFAULT_MAX_TOOL_CALLS
from outlay.providers.transport import Timeouts
from outlay.routing.deployments import Routes

PROJECT: Final = "gateway"
"""The project of all the gateway's accounts."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request, and all together, may take of the gateway.

    `receive_seconds` is how long a caller may take to send its headers, and again its body; `drain_seconds`
    how long requests may go on after a signal to stop.
    """

    max_body_bytes: int = 32 * 2**20
    max_depth: int = 100
    max_concurrency: int = 1_000
    receive_seconds: float = 30.0
    drain_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that a file, the environment and flags say.

    `budgets` are those of `outlay.budgets`, of providers, deployments and the whole gateway. `clamp` says
    whether a cap that the caller declared may be lowered too. `allowed_request_fields` are fields of requests
    that nobody here knows and the operator vouches for; `unknown_request_fields` says what becomes of others
    under a hard budget. `unknown` are the paths of keys that the file has and Outlay does not implement;
    `notes` tell of what else is not used, and why.
    """

    routes: Routes
    master_key: str = field(default="", repr=False)
    database_url: str | None = field(default=None, repr=False)
    budgets: tuple[Budget, ...] = ()
    prices: Mapping[str, Any] = field(default_factory=dict)
    time_zone: str = "UTC"
    is_user_budget_on_team_keys: bool = False
    budget_exceeded_status: int | None = None
    default_key_params: Mapping[str, Any] = field(default_factory=dict)
    upperbound_key_params: Mapping[str, Any] = field(default_factory=dict)
    default_max_tokens: int = DEFAULT_MAX_TOKENS
    allowed_request_fields: frozenset[str] = frozenset()
    unknown_request_fields: Literal["refuse", "pass"] = "refuse"
    default_max_tool_calls: int = DEFAULT_MAX_TOOL_CALLS
    clamp: Literal["undeclared", "always"] = "undeclared"
    estimate: Method = "auto"
    budget_wait_seconds: float = 0.0
    timeouts: Timeouts = field(default_factory=Timeouts)
    limits: Limits = field(default_factory=Limits)
    unknown: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
