"""Answers: what a completion returns, usable as an object and by key, as OpenAI's and LiteLLM's are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from outlay.errors import InvalidValueError

_OPTIONAL = frozenset(
    {
        *("annotations", "audio", "content", "delta", "finish_reason", "function_call", "logprobs"),
        *("message", "name", "reasoning_content", "refusal", "role", "service_tier", "system_fingerprint"),
        *("tool_calls", "usage", "prompt_tokens_details", "completion_tokens_details"),
    }
)
"""Fields that OpenAI's objects have even when the wire leaves them out: reading them gives None."""

_TOLD_APART = ("id", "created", "model", "usage", "choices")


class Answer(dict[str, Any]):
    """A JSON object from a provider, untouched: `r.choices[0].message.content` is `r["choices"][0]…`.

    `cost` is what was charged, in USD (None where the price is unknown); `_hidden_params["response_cost"]`
    is the same, as LiteLLM has it.
    """

    _hidden_params: dict[str, Any]

    def __init__(self, content: Mapping[str, Any]) -> None:
        super().__init__((key, _wrap(value)) for key, value in content.items())
        object.__setattr__(self, "_hidden_params", {})

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        if name in _OPTIONAL:
            return None
        raise AttributeError(f"the answer has no field {name!r}: it has {', '.join(self) or 'none'}")

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    @property
    def cost(self) -> float | None:
        """What was charged for this answer, in USD."""
        value: float | None = self._hidden_params.get("response_cost")
        return value

    def model_dump(self, **_: Any) -> dict[str, Any]:
        """The content as plain dicts and lists."""
        return {key: _unwrap(value) for key, value in self.items()}

    def model_dump_json(self, *, indent: int | None = None, **_: Any) -> str:
        """The content as JSON text."""
        return json.dumps(self, indent=indent)


def completion_key(completion: Mapping[str, Any]) -> str | None:
    """Name a completion, so that it is not charged twice: by a digest of its id and all that tells two apart.

    None for a completion without an id. Fields that are null are as good as absent: SDKs add some.

    Raises:
        InvalidValueError: it nests too deeply, or holds a number of thousands of digits.
    """
    id = completion.get("id")
    if not isinstance(id, str) or not id:
        return None
    try:
        told_apart = [_without_nulls(completion.get(key)) for key in _TOLD_APART]
        text = json.dumps(told_apart, sort_keys=True, default=str)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidValueError(f"the completion {id!r} cannot be told from others: {error}") from error
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nulls(each) for key, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list | tuple) else value


def _wrap(value: Any) -> Any:
    if isinstance(value, dict):
        return Answer(value)
    return [_wrap(each) for each in value] if isinstance(value, list) else value


def _unwrap(value: Any) -> Any:
    if isinstance(value, Answer):
        return value.model_dump()
    return [_unwrap(each) for each in value] if isinstance(value, list) else value
