"""Records: what the gateway knows of keys, users, teams, members and customers, beside their budgets.

Each is an account; its record is the account's `detail`, under LiteLLM's field names:

    key:SHA256        parent team:… if it belongs to a team, else user:… if it belongs to one
    team:ID           parent organization:… if it belongs to one
    member:TEAM/USER  a user within a team, for what they may spend there
    user:ID  customer:ID  organization:ID
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final, TypeVar
from unicodedata import normalize

import msgspec

from outlay.domain.accounts import Account, check_detail, check_name
from outlay.errors import InvalidValueError
from outlay.gateway.config import PROJECT

R = TypeVar("R", bound="Record")

MAX_ID_LENGTH: Final = 200
"""So that `member:TEAM/USER` and the ids of its budgets can be stored too."""


class BudgetLimit(msgspec.Struct, kw_only=True, frozen=True):
    """One of several limits: USD over a duration."""

    max_budget: float
    budget_duration: str


class ModelBudget(msgspec.Struct, kw_only=True, frozen=True):
    """A limit of one model: USD over a duration; `models` are further ones that share it."""

    budget_limit: float
    time_period: str | None = None
    models: tuple[str, ...] = ()


class Record(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """What every account of the gateway may have. Amounts are USD, rates a minute; times are µs, UTC.

    `models` are the public names it may use; empty means all. `is_deleted` accounts stay for the journal.
    """

    models: tuple[str, ...] = ()
    metadata: dict[str, Any] = {}
    tags: tuple[str, ...] = ()
    max_budget: float | None = None
    soft_budget: float | None = None
    budget_duration: str | None = None
    budget_mode: str = "hard"
    budget_limits: tuple[BudgetLimit, ...] = ()
    model_max_budget: dict[str, ModelBudget] = {}
    rpm_limit: int | None = None
    tpm_limit: int | None = None
    max_parallel_requests: int | None = None
    model_rpm_limit: dict[str, int] = {}
    model_tpm_limit: dict[str, int] = {}
    created_at: int = 0
    updated_at: int = 0
    created_by: str | None = None
    updated_by: str | None = None
    is_deleted: bool = False

    def detail(self) -> dict[str, Any]:
        """The record as JSON values, for `Account.detail`."""
        built: dict[str, Any] = msgspec.to_builtins(self)
        return built


class KeyRecord(Record, kw_only=True, frozen=True, omit_defaults=True):
    """A key. `key_name` shows its last four characters; `expires_at` is None for never.

    `role` is what the key may do: `llm_api` calls models, `management` manages, `read_only` reads; `default`
    calls models and reads what is its own. `allowed_routes` narrows it further.

    A key whose secret was replaced stays the same account: `opened_by` is then the account of the secret that
    opens it, and that account, deleted in itself, says by `stands_for` which key it opens.
    """

    key_name: str = ""
    key_alias: str | None = None
    user_id: str | None = None
    team_id: str | None = None
    organization_id: str | None = None
    expires_at: int | None = None
    key_type: str = "default"
    allowed_routes: tuple[str, ...] = ()
    opened_by: str | None = None
    stands_for: str | None = None


class UserRecord(Record, kw_only=True, frozen=True, omit_defaults=True):
    """A person. `user_role` is one of LiteLLM's: proxy_admin, internal_user …"""

    user_email: str | None = None
    user_alias: str | None = None
    user_role: str = "internal_user"


class TeamMember(msgspec.Struct, kw_only=True, frozen=True):
    """A user of a team and what they are there: `admin` or `user`."""

    user_id: str
    role: str = "user"
    user_email: str | None = None


class TeamRecord(Record, kw_only=True, frozen=True, omit_defaults=True):
    """A team and its members; `team_member_budget` is what each may spend there unless their own says."""

    team_alias: str | None = None
    organization_id: str | None = None
    members: tuple[TeamMember, ...] = ()
    team_member_budget: float | None = None
    team_member_budget_duration: str | None = None


class MemberRecord(Record, kw_only=True, frozen=True, omit_defaults=True):
    """A user within a team."""


class CustomerRecord(Record, kw_only=True, frozen=True, omit_defaults=True):
    """Whom a caller serves: named in the request's `user`."""

    alias: str | None = None
    default_model: str | None = None


def record_of(account: Account, kind: type[R]) -> R:
    """Read an account's detail.

    Raises:
        msgspec.ValidationError: it was not written by this code.
    """
    return msgspec.convert(dict(account.detail), kind)


def with_fields(record: R, fields: Mapping[str, Any]) -> R:
    """Give a record with some fields changed; None clears a field.

    Raises:
        InvalidValueError: a field is unknown, of a wrong type, not text that can be stored, or too large.
    """
    kind = type(record)
    for name in fields:
        if name not in kind.__struct_fields__:
            raise InvalidValueError(f"{name} is not a field of a {kind.__name__.removesuffix('Record')}")
    detail = record.detail()
    detail.update(fields)
    try:
        changed = msgspec.convert({name: value for name, value in detail.items() if value is not None}, kind)
    except msgspec.ValidationError as error:
        raise InvalidValueError(_what_is_wrong(str(error))) from None
    try:
        check_detail(changed.detail())
    except InvalidValueError as error:
        raise InvalidValueError(_with_field(error.message, changed.detail())) from None
    for field in ("models", "tags"):
        for name in getattr(changed, field):
            check_name(name, field)
    return changed


def check_id(value: object, field: str) -> str:
    """Check the id of a user, team or customer, as somebody gave it.

    Raises:
        InvalidValueError: not a string, empty, too long, or with control characters or lone surrogates.
    """
    name = check_name(value, field)
    if len(name) > MAX_ID_LENGTH:
        raise InvalidValueError(f"{field} must have at most {MAX_ID_LENGTH} characters, but has {len(name)}")
    return name


def folded(name: str) -> str:
    """The form by which names of people's choice are told apart: NFKC, without blanks around it.

    Letters keep their case, as LiteLLM tells `Web` from `web`.
    """
    return normalize("NFKC", name).strip()


def _what_is_wrong(message: str) -> str:
    """msgspec's `Expected `int`, got `str` - at `$.rpm_limit`` with the field in front."""
    what, at, path = message.partition(" - at ")
    return f"{path.strip('`').removeprefix('$.')}: {what}" if at else message


def check_team_id(value: object) -> str:
    """Check the id of a team that is made: the ids of its members' accounts contain it.

    Raises:
        InvalidValueError: as `check_id`; a slash and a percent sign count as three characters.
    """
    name = check_id(value, "team_id")
    size = len(_without_slash(name))
    if size > MAX_ID_LENGTH:
        raise InvalidValueError(
            f"team_id must have at most {MAX_ID_LENGTH} characters, each / and % as three, but has {size}"
        )
    return name


def _with_field(message: str, detail: Mapping[str, Any]) -> str:
    """What is wrong with a detail, with the field at fault in front; all of it is too large if none is."""
    what = message.removeprefix("detail")
    if what.startswith("."):
        return what[1:]
    for name, value in detail.items():
        try:
            check_detail({name: value})
        except InvalidValueError:
            return f"{name}{what}"
    return f"the record{what}"


def key_account(secret: str) -> str:
    """The account of a key, by its secret: only the hash is ever stored."""
    return f"key:{hashlib.sha256(secret.encode()).hexdigest()}"


def gateway_account(
    id: str, record: Record, *, parent: str | None = None, is_blocked: bool = False
) -> Account:
    """An account of the gateway with its record."""
    status = "blocked" if is_blocked or record.is_deleted else "active"
    return Account(PROJECT, id, parent, status=status, detail=record.detail())  # type: ignore[arg-type]


def member_account(team_id: str, user_id: str) -> str:
    """The account of a user within a team. A slash in the team's id must not make it another's."""
    return f"member:{_without_slash(team_id)}/{user_id}"


def _without_slash(name: str) -> str:
    return name.replace("%", "%25").replace("/", "%2F")
