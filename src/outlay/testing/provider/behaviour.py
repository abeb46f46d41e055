"""Behaviour: how the fake provider answers one request, well or badly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import msgspec

USAGE_LIES = frozenset(
    {"honest", "missing", "null", "zero", "half", "negative", "string", "float", "huge", "double"}
)
NONSENSE = frozenset({"json", "html", "array", "empty", "sse", "garbage", "truncated"})


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What the provider does with a request. The default serves it honestly and at once.

    Pace: `delay_seconds` before the first byte, `chunk_delay_seconds` between the chunks of a stream,
    `tokens_per_chunk`; `hang_after_chunks=n` stops after n chunks (0: before the status line) until the
    client leaves or the provider is told to go on; `cut_after_chunks=n` resets the connection there.
    Amounts: `output_tokens` it wants to produce a choice (the caller's cap lowers it, unless
    `ignores_cap`), of which `reasoning_tokens` are hidden; `cached_tokens` it says it read from a cache.
    Refusals: `status` ≥ 400 with `error_body` (None: OpenAI's shape) and `retry_after_seconds`; `redirect`
    (a location); `needs_cap`, `rejects_max_tokens` (as OpenAI's reasoning models do),
    `rejects_stream_options` (as Mistral does); `bills_failure` bills a request whatever its status.
    Lies: `usage` is one of `honest missing null zero half negative string float huge double`;
    `usage_in` says where a stream carries it: `final` (OpenAI), `last` (DeepSeek: with the last content),
    `every` (cumulative, in each chunk), `x_groq`; `is_usage_unasked` sends it without `stream_options`.
    Faults: `nonsense` is one of `json html array empty sse garbage truncated`; `error_after_chunks=n` puts an
    error event there; `echoes_credential` puts the caller's credential into the answer.
    `bills_after_hangup` generates (and bills) to the end when the client leaves.
    Other shapes: `body` is sent as it is in place of the answer, and of a stream's events if it begins with
    `data:` or `event:`; `status` may be another 2xx, such as 202; `usage_more` (a JSON object) is put into
    each usage, where null takes a count out; `headers` (a JSON object) go along; `bills_nanos` is what the
    call is billed, whatever its tokens.
    """

    delay_seconds: float = 0.0
    chunk_delay_seconds: float = 0.0
    tokens_per_chunk: int = 1
    hang_after_chunks: int | None = None
    cut_after_chunks: int | None = None
    output_tokens: int = 24
    ignores_cap: bool = False
    reasoning_tokens: int = 0
    cached_tokens: int = 0
    status: int = 200
    error_body: str | None = None
    retry_after_seconds: float | None = None
    redirect: str | None = None
    needs_cap: bool = False
    rejects_max_tokens: bool = False
    rejects_stream_options: bool = False
    bills_failure: bool = False
    usage: str = "honest"
    usage_in: str = "final"
    is_usage_unasked: bool = False
    nonsense: str | None = None
    error_after_chunks: int | None = None
    echoes_credential: bool = False
    bills_after_hangup: bool = False
    body: str | None = None
    usage_more: str | None = None
    headers: str | None = None
    bills_nanos: int | None = None

    def __post_init__(self) -> None:
        if self.usage not in USAGE_LIES:
            raise ValueError(f"usage {self.usage!r}: choose one of {sorted(USAGE_LIES)}")
        if self.nonsense is not None and self.nonsense not in NONSENSE:
            raise ValueError(f"nonsense {self.nonsense!r}: choose one of {sorted(NONSENSE)}")
        if self.usage_in not in {"final", "last", "every", "x_groq"}:
            raise ValueError(f"usage_in {self.usage_in!r}: choose final, last, every or x_groq")

    @property
    def is_plain(self) -> bool:
        """Whether nothing is slow or broken, so that an answer can leave in one piece."""
        return (
            self.delay_seconds == 0
            and self.chunk_delay_seconds == 0
            and self.hang_after_chunks is None
            and self.cut_after_chunks is None
        )

    def altered(self, changes: Mapping[str, Any]) -> Behaviour:
        """Return this behaviour with some fields changed; texts are converted to each field's type.

        Raises:
            ValueError: a name or a value does not exist; the message says which.
        """
        if not changes:
            return self
        unknown = set(changes) - _TYPES.keys()
        if unknown:
            raise ValueError(f"no behaviour called {sorted(unknown)}: choose from {sorted(_TYPES)}")
        try:
            typed = {
                name: msgspec.convert(value, _TYPES[name], strict=False) for name, value in changes.items()
            }
        except msgspec.ValidationError as error:
            raise ValueError(f"behaviour {dict(changes)!r}: {error}") from error
        return replace(self, **typed)


_NAMES: dict[str, Any] = {
    "float": float,
    "int": int,
    "bool": bool,
    "str": str,
    "int | None": int | None,
    "float | None": float | None,
    "str | None": str | None,
}
_TYPES: dict[str, Any] = {field.name: _NAMES[str(field.type)] for field in fields(Behaviour)}
