"""`completion`, `embedding` and their async twins: calls to any provider that budgets watch.

Each is guarded by `outlay.max_budget`, and with `user=` and `budget_manager=` by that user's budget. What a
caller passes beyond the named arguments goes to the provider as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, overload

import outlay
from outlay.answers import Answer
from outlay.errors import REFUSALS, InvalidValueError
from outlay.process_budget import PROCESS_BUDGET

if TYPE_CHECKING:
    from outlay.calls import Call
    from outlay.guards import Guard
    from outlay.pricing.book import PriceBook
    from outlay.pricing.bound.caps import Endpoint
    from outlay.pricing.bound.estimate import Method
    from outlay.providers.transport import Timeouts
    from outlay.streams import AsyncStream, Stream

_OWN_PRICE_FIELDS: Final = ("input_cost_per_token", "output_cost_per_token")
_MOST_TOKENS: Final = 10**9
_MOST_TOOL_CALLS: Final = 1_000
_NOT_HERE: Final = {
    "api_version": "the provider's own version is used",
    "extra_headers": "headers of your own are not sent",
    "headers": "headers of your own are not sent",
    "max_budget": "set outlay.max_budget, or give a user a budget with BudgetManager.create_budget",
    "model_list": "name one model",
    "organization": "the account is that of api_key",
    "request_timeout": "pass timeout",
}
"""Arguments of LiteLLM's completion that are no field of a request, and what to do instead."""


class Guarding(Protocol):
    """What `budget_manager=` must be able to do: a BudgetManager."""

    def guard(self, user: str | int) -> Guard:
        """The guard of one user's budget."""


@overload
def completion(
    model: str,
    messages: Sequence[Mapping[str, Any]],
    *,
    stream: Literal[False] = False,
    user: str | int | None = None,
    budget_manager: Guarding | None = None,
    **options: Any,
) -> Answer: ...


@overload
def completion(
    model: str,
    messages: Sequence[Mapping[str, Any]],
    *,
    stream: Literal[True],
    user: str | int | None = None,
    budget_manager: Guarding | None = None,
    **options: Any,
) -> Stream: ...


@overload
def completion(
    model: str,
    messages: Sequence[Mapping[str, Any]],
    *,
    stream: bool,
    user: str | int | None = None,
    budget_manager: Guarding | None = None,
    **options: Any,
) -> Answer | Stream: ...


def completion(
    model: str,
    messages: Sequence[Mapping[str, Any]],
    *,
    stream: bool = False,
    user: str | int | None = None,
    budget_manager: Guarding | None = None,
    **options: Any,
) -> Answer | Stream:
    """Ask a model for a chat completion.

    Args:
        model: `gpt-4o`, `groq/llama-3.3-70b-versatile` … (`provider/model`).
        messages: as OpenAI's API takes them.
        stream: give an iterator of chunks instead of the whole answer.
        user: whose budget to charge, with `budget_manager`; without one it goes to the provider.
        budget_manager: the BudgetManager that keeps the user's budget.
        options: `api_key`, `api_base`, `timeout` (seconds for the whole call), `tags`, `extra_body`,
            `custom_llm_provider`, `input_cost_per_token` and `output_cost_per_token` (USD); the rest goes to
            the provider.

    Raises:
        BudgetExceededError: a budget refuses; nothing was sent.
        PriceUnknownError, CostUnboundedError: a budget applies and the cost has no bound; nothing was sent.
        InvalidValueError: an argument cannot be used; the message names it.
        ProviderError: the provider failed.
        StoreError, LedgerError: the ledger cannot be used; nothing was sent.
    """
    body = {"messages": messages, **({"stream": True} if stream else {})}
    return _run(_call("chat", model, body, user, budget_manager, options), stream=stream)


@overload
async def acompletion(
    model: str,
    messages: Sequence[Mapping[str, Any]],
    *,
    stream: Literal[False] = False,
    user: str | int | None = None,
    budget_manager: Guarding | None = None,
    **options: Any,
) -> Answer: ...


@overload
async def acompletion(
    model: str,
    messages: Sequence[Mapping[str, Any]],
    *,
    stream: Literal[True],
    user: str | int | None = None,
    budget_manager: Guarding | None = None,
    **options: Any,
) -> AsyncStream: ...


@overload
async def acompletion(
    model: str,
    messages: Sequence[Mapping[str, Any]],
    *,
    stream: bool,
    user: str | int | None = None,
    budget_manager: Guarding | None = None,
    **options: Any,
) -> Answer | AsyncStream: ...


async def acompletion(
    model: str,
    messages: Sequence[Mapping[str, Any]],
    *,
    stream: bool = False,
    user: str | int | None = None,
    budget_manager: Guarding | None = None,
    **options: Any,
) -> Answer | AsyncStream:
    """Ask a model for a chat completion. As `completion`, for event loops."""
    body = {"messages": messages, **({"stream": True} if stream else {})}
    return await _run_async(_call("chat", model, body, user, budget_manager, options), stream=stream)


def embedding(
    model: str,
    input: str | Sequence[Any],
    *,
    user: str | int | None = None,
    budget_manager: Guarding | None = None,
    **options: Any,
) -> Answer:
    """Ask a model for embeddings of a text, texts, or token lists. As `completion` otherwise."""
    answer = _run(_call("embeddings", model, {"input": input}, user, budget_manager, options), stream=False)
    assert isinstance(answer, Answer)  # noqa: S101 # not a stream
    return answer


async def aembedding(
    model: str,
    input: str | Sequence[Any],
    *,
    user: str | int | None = None,
    budget_manager: Guarding | None = None,
    **options: Any,
) -> Answer:
    """Ask a model for embeddings. As `embedding`, for event loops."""
    call = _call("embeddings", model, {"input": input}, user, budget_manager, options)
    answer = await _run_async(call, stream=False)
    assert isinstance(answer, Answer)  # noqa: S101 # not a stream
    return answer


def current_cost() -> float:
    """What this process spent through Outlay, in USD."""
    return PROCESS_BUDGET.current_cost()


def price_book() -> PriceBook:
    """The price book of this process: the file `OUTLAY_PRICES` names, then genai-prices."""
    return _price_book()


def _run(call: Call, *, stream: bool) -> Answer | Stream:
    from outlay.calls import answered
    from outlay.loop_thread import LOOP
    from outlay.streams import Stream

    try:
        return LOOP.run(Stream.open(call)) if stream else LOOP.run(answered(call))
    except REFUSALS as refusal:
        refusal.__traceback__ = None
        raise


async def _run_async(call: Call, *, stream: bool) -> Answer | AsyncStream:
    from outlay.calls import answered
    from outlay.streams import AsyncStream

    try:
        return await AsyncStream.open(call) if stream else await answered(call)
    except REFUSALS as refusal:
        refusal.__traceback__ = None
        raise


def _call(
    endpoint: Endpoint,
    model: str,
    body: dict[str, Any],
    user: str | int | None,
    budget_manager: Guarding | None,
    options: dict[str, Any],
) -> Call:
    """Make the call: `options` are Outlay's own, taken out here, and the provider's."""
    from outlay.calls import Call, Plan
    from outlay.ledger.clock import SystemClock
    from outlay.ledger.user_budgets import user_name
    from outlay.pricing.request_fields import without_litellm_fields
    from outlay.providers.body import plain
    from outlay.providers.target import resolve

    base_url = options.pop("base_url", None)
    target = resolve(
        model,
        api_key=options.pop("api_key", None),
        api_base=options.pop("api_base", None) or base_url,
        provider=options.pop("custom_llm_provider", None),
    )
    own_price = {name: options.pop(name) for name in _OWN_PRICE_FIELDS if options.get(name) is not None}
    timeouts, tags = _timeouts(options.pop("timeout", None)), _tags(options.pop("tags", None))
    if user is not None and budget_manager is None:
        body["user"] = user_name(user)
    _drop_not_here(options)
    options = {**_extra_body(options.pop("extra_body", None)), **options}
    body = {"model": model, **body, **without_litellm_fields(options, endpoint)}
    of_process = PROCESS_BUDGET.guard()
    of_user = None if budget_manager is None else _guard_of(user, budget_manager)
    plan = Plan(
        endpoint,
        target,
        plain({name: value for name, value in body.items() if value is not None}),
        [guard for guard in (of_process, of_user) if guard is not None],
        _price_book(),
        timeouts,
        SystemClock().wall(),
        own_price,
        method=estimate_method(),
        default_max_tokens=default_max_tokens(),
        allowed_fields=allowed_request_fields(),
        is_unknown_passed=is_unknown_passed(),
        default_max_tool_calls=default_max_tool_calls(),
        tags=tags,
        count=PROCESS_BUDGET.count if of_process is None else None,
    )
    return Call(plan)


def default_max_tokens() -> int:
    """`outlay.default_max_tokens` as it is now.

    Raises:
        InvalidValueError: it is no whole number of at least 1.
    """
    tokens = outlay.default_max_tokens
    if isinstance(tokens, bool) or not isinstance(tokens, int) or not 1 <= tokens <= _MOST_TOKENS:
        raise InvalidValueError(
            f"outlay.default_max_tokens must be a whole number from 1 to {_MOST_TOKENS:,}, not {tokens!r}"
        )
    return tokens


def allowed_request_fields() -> frozenset[str]:
    """`outlay.allowed_request_fields` as it is now.

    Raises:
        InvalidValueError: it is no list of names, or one of them is known to have no bound.
    """
    from outlay.pricing.request_fields import check_allowed

    names: object = outlay.allowed_request_fields
    if not names:
        return frozenset()
    if not isinstance(names, list | tuple | set | frozenset) or not all(isinstance(n, str) for n in names):
        raise InvalidValueError(f"outlay.allowed_request_fields must be a list of names, not {names!r}")
    return frozenset(check_allowed(name, "outlay.allowed_request_fields") for name in names)


def is_unknown_passed() -> bool:
    """Whether `outlay.unknown_request_fields` is `pass` now.

    Raises:
        InvalidValueError: it is neither `refuse` nor `pass`.
    """
    choice: object = outlay.unknown_request_fields
    if choice not in ("refuse", "pass"):
        raise InvalidValueError(f"outlay.unknown_request_fields must be refuse or pass, not {choice!r}")
    return choice == "pass"


def default_max_tool_calls() -> int:
    """`outlay.default_max_tool_calls` as it is now.

    Raises:
        InvalidValueError: it is no whole number from 1 to 1,000.
    """
    uses = outlay.default_max_tool_calls
    if isinstance(uses, bool) or not isinstance(uses, int) or not 1 <= uses <= _MOST_TOOL_CALLS:
        raise InvalidValueError(
            f"outlay.default_max_tool_calls must be a whole number from 1 to {_MOST_TOOL_CALLS:,}, "
            f"not {uses!r}"
        )
    return uses


def estimate_method() -> Method:
    """`outlay.estimate_method` as it is now.

    Raises:
        InvalidValueError: it is none of the methods.
    """
    from outlay.pricing.bound.estimate import METHODS, is_method

    method: object = outlay.estimate_method
    if not is_method(method):
        raise InvalidValueError(f"outlay.estimate_method must be one of {', '.join(METHODS)}, not {method!r}")
    return method


def _guard_of(user: str | int | None, budget_manager: Guarding) -> Guard:
    if user is None:
        raise InvalidValueError("budget_manager needs user: name whose budget to charge")
    if not callable(getattr(budget_manager, "guard", None)):
        raise InvalidValueError(f"budget_manager must be a BudgetManager, not {budget_manager!r}")
    return budget_manager.guard(user)


def _drop_not_here(options: dict[str, Any]) -> None:
    """Take out LiteLLM's arguments that are none here, where they ask for nothing.

    Raises:
        InvalidValueError: one asks for something; the message says what to do instead.
    """
    for name, remedy in _NOT_HERE.items():
        if options.pop(name, None):
            raise InvalidValueError(f"{name} is not an argument here: {remedy}")


def _extra_body(extra: object) -> Mapping[str, Any]:
    if extra is None:
        return {}
    if not isinstance(extra, Mapping):
        raise InvalidValueError(f"extra_body must be a mapping, not {extra!r}")
    return extra


def _tags(tags: object) -> tuple[str, ...]:
    if tags is None:
        return ()
    if not isinstance(tags, list | tuple) or not all(isinstance(tag, str) for tag in tags):
        raise InvalidValueError(f"tags must be a list of texts, not {tags!r}")
    if any("\ud800" <= letter <= "\udfff" for tag in tags for letter in tag):
        raise InvalidValueError(f"tags must be valid Unicode, without lone surrogates: {tags!r}")
    return tuple(tags)


def _timeouts(timeout: object) -> Timeouts:
    from outlay.providers.transport import Timeouts

    if timeout is None:
        return Timeouts()
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout <= 86_400:
        raise InvalidValueError(f"timeout must be seconds above 0, at most a day; not {timeout!r}")
    return Timeouts(
        min(10.0, timeout), first_byte_seconds=timeout, between_chunks_seconds=timeout, total_seconds=timeout
    )


@lru_cache(maxsize=1)
def _price_book() -> PriceBook:
    from outlay.bootstrap import open_price_book
    from outlay.settings import Settings

    return open_price_book(Settings.from_environment())
