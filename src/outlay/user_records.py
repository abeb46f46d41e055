"""Users' records, as LiteLLM's manager shows them: dicts that read like its own and refuse to be written to.

What is written into a dict of one process would reach no other, and no journal. So a write raises, and names
the method that does it. One is served, for programs that test resets as LiteLLM's own tests do: to set
`last_updated_at` a duration or more into the past ends the running period.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Never, Self

from outlay.errors import InvalidValueError, UnknownUserError
from outlay.ledger.user_budgets import user_name

EndPeriod = Callable[[str, object], Mapping[str, Any]]
"""Takes a user and what was written as `last_updated_at`; gives the record after it."""

_CREATE: Final = "call create_budget, which keeps what was spent"
_COST: Final = "call update_cost to charge the user, or reset_cost to start anew"
_METHODS: Final = {
    "total_budget": _CREATE,
    "duration": _CREATE,
    "created_at": _CREATE,
    "current_cost": _COST,
    "model_cost": _COST,
    "last_updated_at": "call reset_cost to start a new period",
}
_COPY: Final = "copy.deepcopy gives plain dicts to change"


class ReadOnlyDict(dict[str, Any]):
    """A dict that raises on every write, and says what to do instead.

    Its copies, and what is pickled of it, are plain dicts.
    """

    def _refuse(self, key: object) -> Never:
        raise InvalidValueError(f"{key!r} cannot be written here: {_COST}; {_COPY}")

    def __setitem__(self, key: str, value: Any) -> None:
        self._refuse(key)

    def __delitem__(self, key: str) -> None:
        self._refuse(key)

    def __ior__(self, other: Any) -> Self:  # type: ignore[override,misc] # it never returns
        self._refuse(next(iter(dict(other)), None))

    def update(self, *others: Any, **fields: Any) -> None:
        """Refuse: a write."""
        self._refuse(next(iter(dict(*others, **fields)), None))

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Read a key that is there; else refuse: a write."""
        if key not in self:
            self.__setitem__(key, default)
        return self[key]

    def pop(self, key: str, *_: Any) -> Any:
        """Refuse: a write."""
        self._refuse(key)

    def popitem(self) -> tuple[str, Any]:
        """Refuse: a write."""
        self._refuse(next(reversed(self), None))

    def clear(self) -> None:
        """Refuse: a write."""
        self._refuse(next(iter(self), None))

    def __copy__(self) -> dict[str, Any]:
        return dict(self)

    def __deepcopy__(self, memo: object) -> dict[str, Any]:
        return _plain(self)

    def __reduce__(self) -> tuple[type, tuple[dict[str, Any]]]:
        return dict, (_plain(self),)


class UserRecord(ReadOnlyDict):
    """A user's record, as LiteLLM's: `total_budget`, `current_cost`, `model_cost`; with a duration also
    `duration` (days), `created_at` and `last_updated_at` (seconds since the epoch)."""

    def __init__(self, fields: Mapping[str, Any], user: str, end_period: EndPeriod) -> None:
        super().__init__(fields)
        self.user = user
        self._end_period = end_period

    def __setitem__(self, key: str, value: Any) -> None:
        """Serve `last_updated_at` a duration or more in the past; refuse all else."""
        if key != "last_updated_at" or key not in self:
            self._refuse(key)
        fresh = self._end_period(self.user, value)
        dict.clear(self)
        dict.update(self, fresh)

    def _refuse(self, key: object) -> Never:
        method = _METHODS.get(str(key), f"it has the fields {', '.join(self)}")
        raise InvalidValueError(
            f"{key!r} of the record of {self.user!r} cannot be written: {method}; {_COPY}"
        )


class UserDict(ReadOnlyDict):
    """The records by user, as of when it was read. A user whose id is an int is found by its text."""

    def __contains__(self, user: object) -> bool:
        return super().__contains__(user_name(user))

    def __missing__(self, user: object) -> UserRecord:
        name = user_name(user)
        if name is user or not super().__contains__(name):
            raise UnknownUserError(f"there is no user {user!r}: call create_budget first")
        record: UserRecord = super().__getitem__(str(name))
        return record

    def get(self, user: Any, default: Any = None) -> Any:
        """Give the record of a user, or the default."""
        return super().get(str(user_name(user)), default)

    def _refuse(self, key: object) -> Never:
        raise InvalidValueError(
            f"user_dict cannot be written, here at {key!r}: call create_budget to add or change a user, "
            f"update_cost to charge one; `outlay budget remove` removes one; {_COPY}"
        )


def _plain(content: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _plain(value) if isinstance(value, dict) else value for key, value in content.items()}
