"""BudgetManager: a budget for each user, kept in a database.

LiteLLM's documented class, with what its page promises: updates are durable and never lost, in any number of
threads and processes, and a budget resets by its duration without anyone calling anything.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, Never, cast, overload

import outlay
from outlay.bootstrap import open_ledger, shared_ledger
from outlay.completions import (
    allowed_request_fields,
    default_max_tokens,
    is_unknown_passed,
    price_book,
)
from outlay.domain.accounts import check_name
from outlay.domain.budgets import MODES, Mode
from outlay.domain.commands import PutBudget, Record, Reset
from outlay.domain.money import parse_limit, usd_float
from outlay.errors import InvalidValueError
from outlay.guards import Guard
from outlay.ledger.clock import Clock, as_clock
from outlay.ledger.ids import new_id
from outlay.ledger.ledger import Ledger
from outlay.ledger.user_budgets import (
    user_account,
    user_budget,
    user_budget_id,
)
from outlay.pricing.book import PriceBook
from outlay.pricing.text import cost_of_prompt
from outlay.process_budget import wait_seconds
from outlay.project_users import ProjectUsers, seconds_as_micros
from outlay.providers.body import plain
from outlay.providers.target import split_model
from outlay.settings import Settings
from outlay.spend import Spend, spend_of_completion, spend_of_text
from outlay.user_records import UserDict, UserRecord
from outlay.user_reservation import UserReservation

if TYPE_CHECKING:
    from outlay.answers import Answer
    from outlay.streams import AsyncStream, Stream

log = logging.getLogger("outlay")

_LONGEST_HOLD_SECONDS: Final = 7 * 86_400


class BudgetManager:
    """Budgets of a project's users.

    Args:
        project_name: the namespace; projects never see each other's users.
        client_type: `local`: a database on this machine (`OUTLAY_DATABASE_URL`, else `outlay.db` here).
        api_base: the address of a hosted service, for `hosted`.
        headers: sent to a hosted service.
        mode: `crossing` (calls are admitted until a budget is used up), `hard` (only what surely fits) or
            `soft`, for budgets that `create_budget` makes.
        clock: for tests: a `FakeClock`, or a callable that returns the time.
        database_url: instead of `OUTLAY_DATABASE_URL`; a path will do.

    Raises:
        InvalidValueError: (a ValueError) one of these cannot be used; the message names it.

    All methods may raise `StoreError` or `LedgerError` where the database cannot be used; nothing is lost
    then, and nothing half done.
    """

    def __init__(
        self,
        project_name: str,
        client_type: str = "local",
        api_base: str | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        mode: Mode = "crossing",
        clock: object = None,
        database_url: str | os.PathLike[str] | None = None,
    ) -> None:
        self.project_name = check_name(project_name, "project_name")
        self.client_type = _check_client(client_type, api_base)
        self.api_base = api_base
        self.headers = _check_headers(headers)
        self.mode = _check_mode(mode)
        self._clock = as_clock(clock)
        self._ledger = _open(database_url, None if clock is None else self._clock)
        self.load_data()

    # Users and their budgets.

    def create_budget(
        self,
        total_budget: float,
        user: str | int,
        duration: str | None = None,
        created_at: float | None = None,
        *,
        mode: Mode | None = None,
    ) -> UserRecord:
        """Give a user a budget, or change it: what was spent stays, and `created_at` unless given.

        Args:
            total_budget: USD.
            user: any name; an int is taken as its text.
            duration: `daily`, `weekly`, `monthly`, `yearly`, or None for a budget that never resets. Periods
                are anchored at `created_at`; a new duration recomputes the running one from the journal.
            created_at: seconds since the epoch; now by default.
            mode: instead of the manager's.

        Returns:
            The user's record.

        Raises:
            InvalidValueError: (a ValueError) a negative, NaN or infinite budget, an unknown duration or mode.
        """
        limit = parse_limit(total_budget, "total_budget")
        chosen = self.mode if mode is None else _check_mode(mode)
        anchor = self._clock.wall() if created_at is None else seconds_as_micros(created_at, "created_at")
        budget = user_budget(self.project_name, user, limit, duration, anchor, chosen)
        self._ledger.execute(PutBudget(budget, "create_budget", is_anchor_kept=created_at is None))
        return self._users.record(user)

    def is_valid_user(self, user: str | int) -> bool:
        """Whether the user has a budget."""
        return self._users.has(user)

    def get_users(self) -> list[str]:
        """All users with a budget, by name."""
        return self._users.names()

    @property
    def user_dict(self) -> UserDict:
        """Each user's record, as of now, in dicts that refuse to be written and say what to call instead.

        One write is served: `manager.user_dict[user]["last_updated_at"] = …`, a duration or more in the past,
        ends the user's running period.
        """
        return self._users.records()

    @user_dict.setter
    def user_dict(self, _: object) -> Never:
        raise InvalidValueError(
            "user_dict cannot be set: call create_budget for each user, or read a user_cost.json once with "
            "`outlay import-litellm`"
        )

    # What they spent.

    def projected_cost(self, model: str, messages: Sequence[Mapping[str, Any]], user: str | int) -> float:
        """What the user will have spent after this prompt: the current cost and the prompt's, in USD."""
        settled = self._users.settled(user)
        provider, name = split_model(model)
        prompt = cost_of_prompt(self._book(), provider, name, messages, at=self._clock.wall())
        return usd_float(settled + prompt.nanos)

    def get_total_budget(self, user: str | int) -> float:
        """The user's budget in USD."""
        return usd_float(self._users.budget(user).limit)

    def get_current_cost(self, user: str | int) -> float:
        """What the user spent in the running period, in USD."""
        return usd_float(self._users.settled(user))

    def get_model_cost(self, user: str | int) -> dict[str, float]:
        """What the user spent in the running period by model, in USD."""
        return self._users.cost_by_model(user)

    def update_cost(
        self,
        user: str | int,
        completion_obj: object = None,
        model: str | None = None,
        input_text: str | None = None,
        output_text: str | None = None,
    ) -> dict[str, UserRecord]:
        """Charge a user for a completion, or for texts; durable when it returns.

        A completion that was already charged to this user through the manager is not charged twice.

        Args:
            user: who pays.
            completion_obj: Outlay's, OpenAI's or LiteLLM's object, or a dict. With texts too, it is what
                is charged: its usage is the provider's, and texts could only be counted.
            model: with the texts; or to name the model of a completion that does not.
            input_text: the prompt.
            output_text: the answer; may be empty.

        Returns:
            `{"user": record}`.

        Raises:
            InvalidValueError: (a ValueError) neither a completion nor a model with texts was given.
            PriceUnknownError: the model has no price.
            UnknownUserError: (a KeyError) no such user.
        """
        spend = self._spend(completion_obj, model, input_text, output_text)
        account = user_account(user)
        self._users.budget(user)
        key = None if spend.completion_key is None else f"{account}:{spend.completion_key}"
        self._ledger.execute(
            Record(
                self.project_name,
                new_id(),
                (account,),
                spend.nanos,
                spend.usage.total_tokens,
                usage=dict(spend.usage.counts),
                source=spend.source,
                provider=spend.provider,
                model=spend.model,
                price_version=spend.price_version,
                completion_key=key,
                priced_nanos=spend.priced_nanos,
            )
        )
        return {"user": self._users.record(user)}

    # Resets.

    def reset_cost(self, user: str | int) -> dict[str, UserRecord]:
        """Start a new period for the user now; what was spent before stays in the journal."""
        self._users.budget(user)
        self._ledger.execute(Reset(self.project_name, new_id(), user_budget_id(user), "reset_cost"))
        return {"user": self._users.record(user)}

    def reset_on_duration(self, user: str | int) -> None:
        """Reset the user if their period has ended. Periods end by themselves: this only checks the user."""
        self._users.budget(user)

    def update_budget_all_users(self) -> None:
        """Reset all whose period has ended. Periods end by themselves; due reservations expire here."""
        self._ledger.sweep()

    def load_data(self) -> None:
        """Nothing is to load: what is read is read from the database, each time."""

    def save_data(self) -> dict[str, str]:
        """Everything is durable already."""
        self._ledger.sweep()
        return {"status": "success"}

    def print_verbose(self, print_statement: object) -> None:
        """Log a statement at the level `INFO`, by the logger `outlay`."""
        log.info("%s", print_statement)

    # Calls under a user's budget.

    @overload
    def completion(
        self,
        *,
        user: str | int,
        model: str,
        messages: Sequence[Mapping[str, Any]],
        stream: Literal[False] = False,
        **options: Any,
    ) -> Answer: ...

    @overload
    def completion(
        self,
        *,
        user: str | int,
        model: str,
        messages: Sequence[Mapping[str, Any]],
        stream: Literal[True],
        **options: Any,
    ) -> Stream: ...

    @overload
    def completion(
        self,
        *,
        user: str | int,
        model: str,
        messages: Sequence[Mapping[str, Any]],
        stream: bool,
        **options: Any,
    ) -> Answer | Stream: ...

    def completion(
        self,
        *,
        user: str | int,
        model: str,
        messages: Sequence[Mapping[str, Any]],
        stream: bool = False,
        **options: Any,
    ) -> Answer | Stream:
        """Check, call and charge as one step. Arguments and errors as `outlay.completion`."""
        return outlay.completion(model, messages, stream=stream, user=user, budget_manager=self, **options)

    @overload
    async def acompletion(
        self,
        *,
        user: str | int,
        model: str,
        messages: Sequence[Mapping[str, Any]],
        stream: Literal[False] = False,
        **options: Any,
    ) -> Answer: ...

    @overload
    async def acompletion(
        self,
        *,
        user: str | int,
        model: str,
        messages: Sequence[Mapping[str, Any]],
        stream: Literal[True],
        **options: Any,
    ) -> AsyncStream: ...

    @overload
    async def acompletion(
        self,
        *,
        user: str | int,
        model: str,
        messages: Sequence[Mapping[str, Any]],
        stream: bool,
        **options: Any,
    ) -> Answer | AsyncStream: ...

    async def acompletion(
        self,
        *,
        user: str | int,
        model: str,
        messages: Sequence[Mapping[str, Any]],
        stream: bool = False,
        **options: Any,
    ) -> Answer | AsyncStream:
        """Check, call and charge as one step. As `completion`, for event loops."""
        return await outlay.acompletion(
            model, messages, stream=stream, user=user, budget_manager=self, **options
        )

    def reserve(
        self,
        user: str | int,
        model: str,
        messages: Sequence[Mapping[str, Any]],
        max_tokens: int | None = None,
        *,
        hold_seconds: float = 720.0,
        **options: Any,
    ) -> UserReservation:
        """Hold the bound of a call that you make yourself, and settle with what it cost:

            with manager.reserve("alice", "gpt-4o", messages, max_tokens=500) as reservation:
                reply = client.chat.completions.create(…, max_tokens=reservation.max_tokens)
                reservation.settle(reply)

        What is not settled or voided stays held, and after `hold_seconds` the whole hold is presumed spent.

        Raises:
            BudgetExceededError: the budget cannot hold it.
            PriceUnknownError, CostUnboundedError: the call has no bound.
            UnknownUserError: (a KeyError) no such user.
        """
        split_model(model)
        body = {"messages": messages, **({} if max_tokens is None else {"max_tokens": max_tokens}), **options}
        body, seconds = plain(body), _check_hold(hold_seconds)
        guard, tokens = self.guard(user), default_max_tokens()
        return UserReservation(
            guard,
            self._book(),
            model,
            body,
            seconds,
            tokens,
            self._clock.wall,
            allowed_fields=allowed_request_fields(),
            is_unknown_passed=is_unknown_passed(),
        )

    def guard(self, user: str | int) -> Guard:
        """What makes a call obey this user's budget: for `outlay.completion(budget_manager=…)`."""
        self._users.budget(user)
        return Guard(self._ledger, self.project_name, user_account(user), wait_seconds())

    def close(self) -> None:
        """Close the database. The manager opens it again when it is used again."""
        self._ledger.close()

    def _spend(
        self, completion: object, model: str | None, input_text: str | None, output_text: str | None
    ) -> Spend:
        at = self._clock.wall()
        if completion is not None:
            return spend_of_completion(self._book(), completion, model=model, at=at)
        if model is None or (input_text is None and output_text is None):
            raise InvalidValueError(
                "update_cost needs completion_obj, or model with input_text and output_text"
            )
        return spend_of_text(self._book(), model, input_text, output_text, at=at)

    def _book(self) -> PriceBook:
        return price_book()

    @property
    def _users(self) -> ProjectUsers:
        return ProjectUsers(self._ledger, self.project_name)


def _check_client(client_type: str, api_base: str | None) -> str:
    if client_type not in ("local", "hosted"):
        raise InvalidValueError(f"client_type must be local or hosted, not {client_type!r}")
    if client_type == "hosted":
        has_address = api_base or os.environ.get("OUTLAY_API_BASE")
        needs = "" if has_address else " (it will need api_base, or OUTLAY_API_BASE in the environment)"
        raise InvalidValueError(
            f"client_type hosted is not part of this version{needs}: "
            "use local, which many processes may share"
        )
    return client_type


def _check_mode(mode: Mode) -> Mode:
    if mode not in MODES:
        raise InvalidValueError(f"mode must be one of {', '.join(MODES)}, not {mode!r}")
    return mode


def _check_headers(headers: object) -> dict[str, str]:
    if headers is not None and not isinstance(headers, Mapping):
        raise InvalidValueError(f"headers must be a mapping, not {headers!r}")
    return dict(headers or {})


def _check_hold(seconds: object) -> float:
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not is_number or not 1 <= seconds <= _LONGEST_HOLD_SECONDS:  # type: ignore[operator]
        raise InvalidValueError(f"hold_seconds must be from 1 to {_LONGEST_HOLD_SECONDS:,}, not {seconds!r}")
    return cast(float, seconds)


def _open(database_url: object, clock: Clock | None) -> Ledger:
    """The ledger of this program on that file; one with a clock of its own is nobody else's."""
    if not isinstance(database_url, str | os.PathLike | None):
        raise InvalidValueError(f"database_url must be text or a path, not {database_url!r}")
    url = None if database_url is None else os.fsdecode(database_url)
    settings = Settings.from_environment(database_url=url)
    return shared_ledger(settings) if clock is None else open_ledger(settings, clock)
