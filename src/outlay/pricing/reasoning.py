"""Reasoning: whether an answer may hold more output than can be seen, so that no count of its text is enough.

It goes by what was asked and by the model. Claude thinks where it is asked to, and by itself from Claude 5 on
(https://platform.claude.com/docs/en/build-with-claude/thinking); OpenAI, Google, xAI and Anthropic show
summaries of it at most, whoever resells them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from outlay.pricing.names import bare_model

_OFF: Final = frozenset({"none", "disabled", "off", "false", "hidden", ""})
_ASKS: Final = (
    *("thinking", "reasoning", "reasoning_effort", "thinking_config", "thinking_budget", "thinking_level"),
    *("enable_thinking", "include_reasoning", "include_thoughts", "think"),
)
_NESTED: Final = (
    "extra_body",
    "google",
    "generation_config",
    "chat_template_kwargs",
    "options",
    "extra_content",
)
_SHOWN_BY_NOBODY: Final = re.compile(r"^(o[1-9]|gpt-[5-9]|codex|gemini|grok|claude)")
_THINKS_BY_ITSELF: Final = re.compile(r"^claude-(?:[a-z]+-)?(?:[5-9]|\d\d(?!\d))(?:[-.@]|$)")


def thinks_by_itself(model: str) -> bool:
    """Whether a Claude thinks where nobody asks it to."""
    return _THINKS_BY_ITSELF.match(bare_model(model)) is not None


def is_shown_by_nobody(model: str) -> bool:
    """Whether the maker of a model keeps its reasoning to itself."""
    return _SHOWN_BY_NOBODY.match(bare_model(model)) is not None


def asks_to_reason(body: Mapping[str, Any]) -> bool:
    """Whether a request asks for reasoning, under any of the names that providers have for it."""
    return (
        any(_is_on(body.get(name)) for name in _ASKS)
        or _is_on(_effort(body.get("output_config")))
        or any(asks_to_reason(inner) for inner in _inner(body))
    )


def asks_to_hide(body: Mapping[str, Any]) -> bool:
    """Whether a request asks that reasoning be left out of the answer (Groq, OpenRouter)."""
    reasoning = body.get("reasoning")
    return (
        body.get("reasoning_format") == "hidden"
        or body.get("include_reasoning") is False
        or (isinstance(reasoning, Mapping) and bool(reasoning.get("exclude")))
        or any(asks_to_hide(inner) for inner in _inner(body))
    )


def _inner(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [value for name in _NESTED if isinstance(value := body.get(name), Mapping)]


def _effort(config: object) -> object:
    """How much Claude is to think and write."""
    return config.get("effort") if isinstance(config, Mapping) else None


def _is_on(value: object) -> bool:
    if isinstance(value, str):
        return value.strip().lower() not in _OFF
    if isinstance(value, Mapping):
        if any(value.get(name) is False for name in ("enabled", "thinking")):
            return False
        told = [value.get(name) for name in ("type", "effort") if value.get(name) is not None]
        return bool(value) and not any(isinstance(each, str) and each.lower() in _OFF for each in told)
    return bool(value)
