"""Fields: what management requests may say, typed strictly; what is unknown is refused by its name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from outlay.domain.budgets import Mode
from outlay.domain.money import limit_float

_SAY_NOTHING: Final[dict[str, tuple[object, ...]]] = {
    **dict.fromkeys(("auto_rotate", "send_invite_email", "throttle_on_budget_exceeded"), (False,)),
    "temp_budget_increase": (0,),
    "grace_period": (0, "0", "0s"),
}
"""What says of a field that is not implemented only what is so anyway. A limit of 0 says more."""


def _usd(given: object) -> object:
    return limit_float(given, "it") if isinstance(given, str) else given


Usd = Annotated[float, BeforeValidator(_usd)]
"""USD: a number, or a decimal text as LiteLLM's examples have it."""


class Fields(BaseModel):
    """The body of a request. `UNSERVED` are LiteLLM's fields that Outlay does not implement.

    Left empty (null, `""`, `[]`, `{}`) they say nothing and pass; anything else in them would be believed to
    hold, and is refused.
    """

    model_config = ConfigDict(extra="forbid", strict=True)
    UNSERVED: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _refuse_unserved(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        for name in cls.UNSERVED & given.keys():
            if not _says_nothing(name, given[name]):
                raise ValueError(f"{name} is not implemented here, so it would not hold: leave it out")
        return {name: value for name, value in given.items() if name not in cls.UNSERVED}

    def stated(self, *, without: Iterable[str] = ()) -> dict[str, Any]:
        """The fields that the request says, null included."""
        return self.model_dump(exclude_unset=True, exclude=set(without))


def _says_nothing(name: str, value: object) -> bool:
    known = (None, "", [], {}, *_SAY_NOTHING.get(name, ()))
    return any(type(value) is type(each) and value == each for each in known)


class WindowLimit(Fields):
    """One of several limits: USD over a duration."""

    UNSERVED = frozenset({"reset_at"})
    max_budget: Usd
    budget_duration: str


class ModelLimit(Fields):
    """A limit of one model: USD over a duration. `models` are further ones that share it."""

    budget_limit: Usd
    time_period: str | None = None
    models: list[str] = Field(default_factory=list)


class LimitFields(Fields):
    """What every account may have. Amounts are USD, rates a minute; null is no limit.

    `spend` may be 0: the running period of `max_budget` ends, and the next one begins.
    """

    metadata: dict[str, Any] | None = None
    spend: Usd | None = None
    max_budget: Usd | None = None
    soft_budget: Usd | None = None
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
        "tag_rpm_limit",
        "temp_budget_expiry",
        "temp_budget_increase",
        "throttle_on_budget_exceeded",
        "tpd_limit",
        "tpm_limit_type",
    }
)
"""Those that LiteLLM takes for keys, for users, for teams or for all of them."""
