"""The estimate: an upper bound of what a request can cost, made before it is sent.

    bound(cap) = input_nanos + nanos_per_output_token × cap

is at least the cost of every answer that obeys the cap: the input bound at the dearest input rate, the
calls' extras, and for each output token of a cap, the dearest output rate times the number of answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import Any, Final, Literal, NamedTuple, TypeGuard, get_args

from outlay.errors import CostUnboundedError, InvalidValueError, PriceUnknownError
from outlay.pricing.book import PriceBook
from outlay.pricing.bound.byte_bound import byte_bound
from outlay.pricing.bound.caps import DEFAULT_MAX_TOKENS, Endpoint, read_answers, read_caps
from outlay.pricing.bound.hosted import DEFAULT_MAX_TOOL_CALLS, Hosted, check_hosted
from outlay.pricing.bound.inputs import InputBound, Measure
from outlay.pricing.bound.media import image_maximum
from outlay.pricing.bound.overheads import OPENAI, OTHERS, PUBLIC, Overheads
from outlay.pricing.dimensions import asked_of, possible
from outlay.pricing.limits import widest
from outlay.pricing.names import bare_model, is_reasoning_model, maker_of, price_provider
from outlay.pricing.price import Price
from outlay.pricing.rates import CacheWrites, times
from outlay.pricing.request_fields import FORMATS, check_fields, uncounted_fields, window_of
from outlay.pricing.tokens import LONGEST_COUNTED, Vocabulary, count_ordinary, vocabulary

Method = Literal["auto", "exact", "margin", "bytes"]
METHODS: Final[tuple[Method, ...]] = get_args(Method)
BoundQuality = Literal["exact", "counted", "bytes", "margin"]

MARGIN: Final = 1.4
"""`margin` takes o200k's count times this: an estimate, no bound."""
_ZERO_IS_OBEYED: Final = frozenset({"openai", "azure", "anthropic"})


def is_method(method: object) -> TypeGuard[Method]:
    """Whether this is a way to measure input."""
    return method in METHODS


@dataclass(frozen=True, slots=True)
class Estimate:
    """The bound of one request. Tokens are whole numbers, money is nanos rounded up."""

    input_tokens: int
    """At least what the provider counts as input."""
    input_nanos: int
    """The fixed part: input, per-call extras, predicted output."""
    nanos_per_output_token: int
    """For each token of the cap, all answers together."""
    output_multiplier: int
    """How many answers the cap applies to: prompts × n (or best_of)."""
    wanted_output_tokens: int
    """The cap the caller gave, or the one to put into the request."""
    least_output_tokens: int
    """The least cap to accept unasked: the wanted one if the caller gave it."""
    floor_output_tokens: int
    """The least cap to accept where the caller's may be lowered."""
    is_cap_declared: bool
    cap_field: str | None
    """The field in which the caller gave the cap; None if they gave none."""
    extra_output_tokens: int
    """Output tokens that may be billed beyond the cap (a rejected prediction)."""
    quality: BoundQuality
    tokenizer: str
    unknown_fields: tuple[str, ...] = ()
    """Fields of the request that nobody here knows: with one the bound is not proven."""
    tool_calls: int | None = None
    """The cap to put on the uses of a search that has none; None if there is nothing to put."""
    reread_tokens: int = 0
    """How often each token of the output is read again as input, by the provider's own rounds."""

    def bound(self, output_tokens: int) -> int:
        """Give the most the request can cost in nanos with this cap."""
        return self.input_nanos + self.nanos_per_output_token * output_tokens

    @property
    def tokens_per_output_token(self) -> int:
        """How many tokens each token of the cap may use, read again ones included."""
        return self.output_multiplier + self.reread_tokens

    def token_bound(self, output_tokens: int) -> int:
        """Give the most tokens the request can use with this cap, input and output together."""
        fixed = self.input_tokens + self.extra_output_tokens
        return fixed + self.tokens_per_output_token * output_tokens


def estimate(
    body: Mapping[str, Any],
    *,
    endpoint: Endpoint,
    provider: str,
    model: str,
    price: Price,
    book: PriceBook,
    method: Method = "auto",
    default_max_tokens: int = DEFAULT_MAX_TOKENS,
    default_max_tool_calls: int = DEFAULT_MAX_TOOL_CALLS,
    counted_input_tokens: int | None = None,
    betas: str | None = None,
    allowed_fields: frozenset[str] = frozenset(),
    asked: Mapping[str, str] | None = None,
) -> Estimate:
    """Bound what a request can cost.

    Args:
        body: the request as the caller sent it.
        endpoint: which API it is for.
        provider: Outlay's id of the provider.
        model: the model's name as the provider knows it (not necessarily the body's).
        price: the model's price, standard tier; what the body asks for is taken from it.
        book: for the model's context window and output maximum.
        method: how to measure text. `auto` and `exact` take the model's own vocabulary if it ships with us
            and UTF-8 bytes if not; `bytes` always bytes; `margin` 1.4 × o200k, which is no bound.
        default_max_tokens: the cap where the caller gives none.
        default_max_tool_calls: the cap of a hosted search where the caller gives none.
        counted_input_tokens: what the provider's own endpoint counted, with slack; the input is then bounded
            by the lesser of it and our own bound.
        betas: the header `anthropic-beta` that goes along.
        allowed_fields: unknown fields that somebody vouches for.
        asked: what is asked for, by dimension, where more is than the body says (see `dimensions.asked_of`).

    Raises:
        CostUnboundedError: no upper bound exists; the message names the field.
        InvalidValueError: a field has a value the provider would misread; the message names it.
        PriceUnknownError: the price has no rate for input, or for output where there is output.
    """
    if not isinstance(body, Mapping):
        raise InvalidValueError(f"The body must be a mapping, not {type(body).__name__}")
    _check_endpoint(endpoint)
    found = check_fields(body, endpoint=endpoint, provider=provider, betas=betas, allowed=allowed_fields)
    if found.refused is not None:
        raise CostUnboundedError.of(*found.refused)
    _check_priced(price, endpoint, provider, model)
    answers = read_answers(body, endpoint)
    choices = possible(asked_of(body) if asked is None else asked, price, price_provider(provider))
    hosted = check_hosted(
        body,
        endpoint=endpoint,
        provider=provider,
        model=model,
        price=price,
        choices=choices,
        answers=answers,
        default_max_tool_calls=default_max_tool_calls,
    )
    shown = _shown(
        body,
        endpoint=endpoint,
        provider=provider,
        model=model,
        method=method,
        counted_input_tokens=counted_input_tokens,
    )
    counted = shown.counted
    _check_audio(body, counted, price, provider)
    predicted = _predicted(body, endpoint, shown) * answers
    window = _window(book.context_window(provider, model), betas)
    outside = hosted.outside or counted.outside
    input_tokens = _input_tokens(shown, hosted, window)
    caps = read_caps(
        body,
        endpoint=endpoint,
        is_reasoning=is_reasoning_model(model),
        default_max_tokens=default_max_tokens,
        max_output_tokens=book.max_output_tokens(provider, model),
        room=max(0, window - input_tokens) if window is not None and outside is None else window,
    )
    if caps.wanted == 0 and endpoint in ("chat", "completions"):
        _check_zero_cap(caps.field, provider)
    multiplier = 0 if endpoint == "embeddings" else answers * shown.prompts
    rates = price.bound_rates(
        input_tokens=input_tokens,
        choices=choices,
        has_media=counted.has_media or counted.has_audio or outside is not None,
        writes=_cache_writes(counted, model, hosted),
    )
    fee = (price.bound_fee("requests", choices) or 0) * answers
    predicted += _uncapped(body, endpoint, provider, model, window) * multiplier
    fixed = times(rates.input, input_tokens)
    if predicted or hosted.nanos or fee:
        fixed = ceil(rates.input * input_tokens + rates.output * predicted + hosted.nanos + fee)
    reread = 0 if outside is not None else hosted.rounds - 1
    return Estimate(
        input_tokens=input_tokens,
        input_nanos=fixed,
        nanos_per_output_token=(
            ceil(rates.output * multiplier + rates.input * reread)
            if reread
            else times(rates.output, multiplier)
        ),
        output_multiplier=multiplier,
        wanted_output_tokens=caps.wanted,
        least_output_tokens=caps.least,
        floor_output_tokens=caps.floor,
        is_cap_declared=caps.field is not None,
        cap_field=caps.field,
        extra_output_tokens=predicted,
        quality=shown.quality,
        tokenizer=shown.tokenizer,
        unknown_fields=found.unknown,
        tool_calls=hosted.tool_calls,
        reread_tokens=reread,
    )


class _Shown(NamedTuple):
    """What a request itself shows of its input: the bound of its tokens, and how that was measured."""

    counted: InputBound
    tokens: int
    prompts: int
    quality: BoundQuality
    tokenizer: str


def _shown(
    body: Mapping[str, Any],
    *,
    endpoint: Endpoint,
    provider: str,
    model: str,
    method: Method,
    counted_input_tokens: int | None,
) -> _Shown:
    measure, overheads, quality, tokenizer = _measure(method, provider, model)
    counted = InputBound(
        measure, overheads, image_maximum(provider, model), uncounted_fields(endpoint, provider)
    )
    try:
        prompts = _add(counted, body, endpoint)
    except RecursionError:
        raise InvalidValueError("The body is nested too deeply") from None
    if counted_input_tokens is None or counted_input_tokens >= counted.tokens or counted.outside is not None:
        return _Shown(counted, counted.tokens, prompts, quality, tokenizer)
    return _Shown(counted, counted_input_tokens, prompts, "counted", provider)


def _predicted(body: Mapping[str, Any], endpoint: Endpoint, shown: _Shown) -> int:
    """Give the output tokens of one answer that the request itself has: a prediction, an echo."""
    predicted = 0 if body.get("prediction") is None else shown.counted.prediction(body)
    return predicted + shown.tokens if endpoint == "completions" and body.get("echo") else predicted


def _input_tokens(shown: _Shown, hosted: Hosted, window: int | None) -> int:
    """Give the input of all rounds, with what lies outside of the request."""
    outside = hosted.outside or shown.counted.outside
    if outside is None:
        return hosted.input_tokens(shown.tokens) if hosted.rounds > 1 else shown.tokens
    windows = [each for each in (window, hosted.window if shown.counted.outside is None else None) if each]
    return _whole_window(min(windows, default=None), outside, shown.tokens) * hosted.rounds


def _cache_writes(counted: InputBound, model: str, hosted: Hosted) -> CacheWrites:
    """Claude writes to a cache only when it is asked, or calls itself; others as they like."""
    if not bare_model(model).startswith("claude"):
        return "any"
    return "5m" if counted.cache_writes == "none" and hosted.rounds > 1 else counted.cache_writes


def _uncapped(
    body: Mapping[str, Any], endpoint: Endpoint, provider: str, model: str, window: int | None
) -> int:
    """Give the tokens of an answer that its cap does not cover: reasoning and calls of functions at xAI.

    `max_tokens` is for the main content alone, and the window bounds the rest: `GetCompletionsRequest` in
    https://github.com/xai-org/xai-proto/blob/main/proto/xai/api/v1/chat.proto. `max_completion_tokens` covers
    reasoning too, as `max_output_tokens` does: https://docs.x.ai/docs/api-reference.

    Raises:
        CostUnboundedError: the window is not known.
    """
    if not bare_model(model).startswith("grok") or endpoint not in ("chat", "completions"):
        return 0
    source = price_provider(provider)
    is_plain = body.get("max_tokens") is not None or source == "openai_compatible"  # which is sent max_tokens
    if source not in ("x-ai", "openai_compatible") or not is_plain or body.get("max_completion_tokens"):
        return 0
    if not is_reasoning_model(model) and not body.get("tools") and not body.get("functions"):
        return 0
    if window is None:
        raise CostUnboundedError.of(
            "max_tokens",
            "at xAI it does not cap reasoning and function calls, as max_completion_tokens does, and the "
            "model's context window is not known",
        )
    return widest(window)


def _add(counted: InputBound, body: Mapping[str, Any], endpoint: Endpoint) -> int:
    """Add the body to the bound; give the number of prompts that are answered."""
    if endpoint == "completions":
        return counted.completions(body)
    if endpoint == "chat":
        counted.chat(body)
    elif endpoint == "messages":
        counted.messages(body)
    elif endpoint == "responses":
        counted.responses(body)
    else:
        counted.embeddings(body)
    return 1


def _check_endpoint(endpoint: str) -> None:
    if endpoint not in FORMATS:
        raise InvalidValueError(
            f"endpoint must be chat, completions, embeddings, responses or messages, not {endpoint!r}"
        )


def _window(window: int | None, betas: str | None) -> int | None:
    """The context window; one that a beta asks for where it is wider."""
    asked = window_of(betas)
    return window if asked is None else max(asked, window or 0)


def _measure(method: Method, provider: str, model: str) -> tuple[Measure, Overheads, BoundQuality, str]:
    used = vocabulary(provider, model)
    if method == "margin":
        return _margin_count, _overheads(used, model), "margin", "o200k_base"
    if method == "bytes" or not used.is_exact:
        return byte_bound, _others(model), "bytes", "bytes"
    return partial(_exact_count, name=used.name), _overheads(used, model), "exact", used.name


def _overheads(used: Vocabulary, model: str) -> Overheads:
    is_openai = used.is_exact and used.name in ("o200k_base", "cl100k_base")
    return OPENAI if is_openai and not bare_model(model).startswith("gpt-oss") else _others(model)


def _others(model: str) -> Overheads:
    is_closed = maker_of(model) is not None and not bare_model(model).startswith("gpt-oss")
    return OTHERS if is_closed else PUBLIC


def _exact_count(text: str, name: str) -> int:
    return count_ordinary(text, name) if len(text) <= LONGEST_COUNTED else byte_bound(text)


def _margin_count(text: str) -> int:
    return ceil(_exact_count(text, "o200k_base") * MARGIN)


def _check_zero_cap(field: str | None, provider: str) -> None:
    """Refuse a cap of 0 where it may mean none: `num_predict` in Ollama's runner caps from 1 on.

    https://github.com/ollama/ollama/blob/main/runner/ollamarunner/runner.go. OpenAI and Anthropic obey it.
    """
    if field is not None and price_provider(provider) not in _ZERO_IS_OBEYED:
        raise CostUnboundedError.of(field, "some servers take 0 for no cap at all: give at least 1")


def _whole_window(window: int | None, outside: str, counted: int) -> int:
    if window is None:
        raise CostUnboundedError(
            f"The cost of {outside} cannot be bounded: its input lies outside the request and the model's "
            f"context window is not known. State context_window with the model's price, or leave it out."
        )
    return max(widest(window), counted)


def _check_priced(price: Price, endpoint: Endpoint, provider: str, model: str) -> None:
    if price.is_input_priced and (price.is_output_priced or endpoint == "embeddings"):
        return
    missing = "output" if price.is_input_priced else "input"
    raise PriceUnknownError(
        f"The price of {provider}/{model} has no rate for {missing} tokens. Pass "
        f"input_cost_per_token and output_cost_per_token (USD), or add it to the price file."
    )


def _check_audio(body: Mapping[str, Any], counted: InputBound, price: Price, provider: str) -> None:
    """Refuse audio that OpenAI bills at rates the price does not state, and pictures that have no rate."""
    modalities = body.get("modalities")
    for kind in ("audio", "image"):
        is_asked = isinstance(modalities, list) and kind in modalities
        if is_asked and not price.has_rate(f"output_{kind}_tokens") and not price.is_free:
            raise CostUnboundedError.of("modalities", f"the model has no {kind} price")
    is_openai = price_provider(provider) in ("openai", "azure")
    if counted.has_audio and is_openai and not price.has_rate("input_audio_tokens"):
        raise CostUnboundedError("The cost of audio input cannot be bounded: the model has no audio price.")
