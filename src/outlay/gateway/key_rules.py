"""Key rules: what a new key has unless its maker says otherwise, and the most that any key may have.

They are LiteLLM's `default_key_generate_params` and `upperbound_key_generate_params`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from outlay.domain.budgets import check_amount
from outlay.domain.money import parse_limit
from outlay.domain.windows import NEVER, Window
from outlay.errors import InvalidValueError
from outlay.gateway.durations import litellm_window

_COUNTS: Final = ("rpm_limit", "tpm_limit", "max_parallel_requests")
_FOREVER: Final = ("-1",)


@dataclass(frozen=True, slots=True)
class KeyRules:
    """The configuration's rules for keys; amounts and durations as LiteLLM writes them."""

    defaults: Mapping[str, Any] = field(default_factory=dict)
    upperbounds: Mapping[str, Any] = field(default_factory=dict)

    def fill(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Give a new key's fields, with what was left open taken from the defaults, else the bounds."""
        filled = {name: value for name, value in fields.items() if value not in (None, [], {}, ())}
        return {**self.upperbounds, **self.defaults, **filled}

    def check(self, fields: Mapping[str, Any]) -> None:
        """Check fields that somebody states against the bounds. None says there is no limit.

        Raises:
            InvalidValueError: a field is above its bound; the message names both.
        """
        for name, bound in self.upperbounds.items():
            if bound is not None and name in fields and _size(name, fields[name]) > _size(name, bound):
                raise InvalidValueError(
                    f"{name} must be at most {bound!r} (upperbound_key_generate_params), not {fields[name]!r}"
                )


def expiry_of(duration: object, at: int) -> int | None:
    """Give the moment (µs) at which a key made at `at` for `duration` (`30s`, `24h`, `30d`, `1mo`) ends.

    Raises:
        InvalidValueError: no such duration.
    """
    if duration is None or duration in _FOREVER:
        return None
    try:
        window = Window.parse(duration, anchor_at=at)
    except InvalidValueError:
        window = None
    if window is None or window.kind not in ("exact", "calendar"):
        raise InvalidValueError(
            "duration must be a length such as 30s, 24h, 30d or 1mo, of at most a hundred years, or -1 for "
            f"ever; not {duration!r}"
        )
    return window.interval_at(at).ends_at


def _size(name: str, value: object) -> int:
    """A field's value as a number that compares with others of that field."""
    if value is None:
        return NEVER
    if name == "duration":
        ends_at = expiry_of(value, 0)
        return NEVER if ends_at is None else ends_at
    if name == "budget_duration":
        interval = litellm_window(str(value), "UTC").interval_at(0)
        return interval.ends_at - interval.starts_at
    if name in _COUNTS:
        return check_amount(value, name)
    if name == "max_budget":
        return parse_limit(value, name)
    raise InvalidValueError(f"upperbound_key_generate_params cannot bound {name}")
