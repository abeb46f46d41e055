"""Accounts: the nodes that spend. A user, a key, a team, a tag … each has a kind and maybe a parent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Final, Literal

from outlay.errors import InvalidValueError

AccountStatus = Literal["active", "blocked"]

KINDS: Final = frozenset(
    {
        "global",
        "organization",
        "team",
        "member",
        "user",
        "key",
        "customer",
        "tag",
        "provider",
        "deployment",
    }
)
MAX_NAME_LENGTH: Final = 512
MAX_DETAIL_BYTES: Final = 64 * 1024
"""The most that an account's detail may be, as JSON in UTF-8."""

_MAX_DETAIL_DEPTH: Final = 100
_MOST_INTEGER: Final = 2**63


@dataclass(frozen=True, slots=True)
class Account:
    """A node that spends. `id` is `kind:name` (or just `global`); `parent` is the id of the account above.

    `detail` holds JSON values that whoever made the account knows the meaning of; the ledger only keeps it.
    It is copied when the account is made, and must not be changed.
    """

    project: str
    id: str
    parent: str | None = None
    name: str | None = None
    status: AccountStatus = "active"
    detail: Mapping[str, object] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Keep a copy of the detail; what is no mapping is refused when the account is put."""
        if isinstance(self.detail, Mapping):
            object.__setattr__(self, "detail", dict(self.detail))

    @property
    def kind(self) -> str:
        """The part of the id before the colon."""
        return self.id.partition(":")[0]


def check_name(value: object, field: str) -> str:
    """Check a project's, user's or account's name as somebody gave it.

    Raises:
        InvalidValueError: not a string, empty, too long, or with control characters or lone surrogates.
    """
    if not isinstance(value, str):
        raise InvalidValueError(f"{field} must be a string, not {value!r}")
    if not value or len(value) > MAX_NAME_LENGTH:
        raise InvalidValueError(f"{field} must have 1 to {MAX_NAME_LENGTH} characters, but has {len(value)}")
    if value.isprintable():  # nearly always, and quick to see
        return value
    if any(ord(character) < 32 or 0xD800 <= ord(character) <= 0xDFFF for character in value):
        raise InvalidValueError(f"{field} must not contain control characters or lone surrogates: {value!r}")
    return value


def check_account_id(value: object, field: str = "account") -> str:
    """Check an account id: `global`, or one of the kinds, a colon, and a name.

    Raises:
        InvalidValueError: anything else.
    """
    text = check_name(value, field)
    kind, colon, name = text.partition(":")
    if kind not in KINDS or (kind == "global") != (not colon) or (colon and not name):
        kinds = ", ".join(sorted(KINDS - {"global"}))
        raise InvalidValueError(f"{field} must be `global` or `KIND:NAME` with KIND of {kinds}; not {text!r}")
    return text


def check_detail(detail: object) -> dict[str, object]:
    """Check an account's detail as somebody gave it; give a copy that shares nothing with it.

    Lists are what JSON makes of a sequence: a tuple becomes one.

    Raises:
        InvalidValueError: no mapping of JSON values, nested too deeply, or above `MAX_DETAIL_BYTES`.
    """
    if not isinstance(detail, Mapping):
        raise InvalidValueError(f"detail must be a mapping of JSON values, not {detail!r}")
    copy = {_json_key(key, "detail"): _json_value(value, f"detail.{key}", 1) for key, value in detail.items()}
    try:
        size = len(detail_text(copy).encode())
    except UnicodeEncodeError:
        raise InvalidValueError("detail must not contain lone surrogates") from None
    if size > MAX_DETAIL_BYTES:
        raise InvalidValueError(f"detail must have at most {MAX_DETAIL_BYTES} bytes as JSON, but has {size}")
    return copy


def detail_text(detail: Mapping[str, object]) -> str:
    """A checked detail as JSON, the same text for the same content."""
    import json  # only who puts accounts needs it

    return json.dumps(detail, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def _json_value(value: object, where: str, depth: int) -> object:
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int) and -_MOST_INTEGER <= value < _MOST_INTEGER:
        return value
    if isinstance(value, float) and isfinite(value):
        return value
    if depth >= _MAX_DETAIL_DEPTH:
        raise InvalidValueError(f"detail must not be nested deeper than {_MAX_DETAIL_DEPTH} levels")
    if isinstance(value, Mapping):
        return {
            _json_key(key, where): _json_value(each, f"{where}.{key}", depth + 1)
            for key, each in value.items()
        }
    if isinstance(value, list | tuple):
        return [_json_value(each, f"{where}[{n}]", depth + 1) for n, each in enumerate(value)]
    raise InvalidValueError(
        f"{where} must be a JSON value (text, a finite number of 64 bits, true, false, null, a list or a "
        f"mapping), not {value!r}"
    )


def _json_key(key: object, where: str) -> str:
    if not isinstance(key, str):
        raise InvalidValueError(f"the keys of {where} must be strings, not {key!r}")
    return key
