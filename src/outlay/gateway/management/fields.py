"""Fields: what management requests may say, typed strictly; what is unknown is refused by its name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from outlay.domain.budgets import Mode


class Fields(BaseModel):
    """The body of a request. `UNSERVED` are LiteLLM's fields that Outlay does not implement.

    Left empty they say nothing and pass; anything else in them would be believed to hold, and is refused.
    """

    model_config = ConfigDict(extra="forbid", strict=True)
    UNSERVED: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _refuse_unserved(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        for name in cls.UNSERVED & given.keys():
            if given[name] not in (None, False, "", [], {}, 0):
                raise ValueError(f"{name} is not implemented here, so it would not hold: leave it out")
        return {name: value for name, value in given.items() if name not in cls.UNSERVED}

    def stated(self, *, without: Iterable[str] = ()) -> dict[str, Any]:
        """The fields that the request says, null included."""
        return self.model_dump(exclude_unset=True, exclude=set(without))


class WindowLimit(Fields):
    """One of several limits: USD over a duration."""

    UNSERVED = frozenset({"reset_at"})
    max_budget: float
    budget_duration: str


class ModelLimit(Fields):
    """A limit of one model: USD over a duration. `models` are further ones that share it."""

    budget_limit: float
    time_period: str | None = None
    models: list[str] = Field(default_factory=list)


class LimitFields(Fields):
    """What every account may have. Amounts are USD, rates a minute; null is no limit."""

    metadata: dict[str, Any] | None = None
    max_budget: float | None = None
    soft_budget: float | None = None
    budget_duration: str | None = None
    budget_mode: Mode | None = None
    budget_limits: list[WindowLimit] | None = None
    model_max_budget: dict[str, ModelLimit] | None = None
    rpm_limit: int | None = None
    tpm_limit: int | None = None
    max_parallel_requests: int | None = None
    model_rpm_limit: dict[str, int] | None = None
    model_tpm_limit: dict[str, int] | None = None
    blocked: bool | None = None


UNSERVED_LIMITS = frozenset(
    {
        "access_group_ids",
        "aliases",
        "allowed_cache_controls",
        "allowed_passthrough_routes",
        "budget_fallbacks",
        "budget_id",
        "budget_reset_at",
        "config",
        "default_estimated_output_tokens",
        "default_estimated_output_tokens_per_model",
        "enforced_params",
        "guardrails",
        "mcp_rpm_limit",
        "model_aliases",
        "object_permission",
        "permissions",
        "policies",
        "prompts",
        "router_settings",
        "rpm_limit_type",
        "send_invite_email",
        "spend",
        "tag_rpm_limit",
        "temp_budget_expiry",
        "temp_budget_increase",
        "throttle_on_budget_exceeded",
        "tpd_limit",
        "tpm_limit_type",
    }
)
"""Those that LiteLLM takes for keys, for users, for teams or for all of them."""
