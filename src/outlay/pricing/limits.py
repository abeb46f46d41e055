"""Limits: output maxima, and the context windows where genai-prices' figure is rounded or superseded.

Only models whose maximum is published are here; a model that is not has no known maximum.
Sources: OpenAI, https://platform.openai.com/docs/models (each model's page); Anthropic,
https://docs.anthropic.com/en/docs/about-claude/models/overview; Google,
https://ai.google.dev/gemini-api/docs/models; DeepSeek, https://api-docs.deepseek.com/quick_start/pricing.
"""

from __future__ import annotations

import re
from functools import lru_cache
from math import ceil
from typing import Final

from outlay.pricing.names import bare_model

WIDEST_WINDOW: Final = 10_500_000
"""No model has more room, with some slack: what counts where a model's window is not known."""
_SLACK: Final = 1.05
"""genai-prices rounds windows (1,000,000 for 1,048,576; 32,000 for 32,768): never take less than they are."""

_OUTPUT: Final[tuple[tuple[str, int], ...]] = (
    (r"gpt-4o-2024-05-13", 4_096),
    (r"(chatgpt-)?gpt-4o(-mini)?(-\d{4}.*|-latest)?", 16_384),
    (r"gpt-4\.1(-mini|-nano)?(-\d{4}.*)?", 32_768),
    (r"gpt-4\.5-preview.*", 16_384),
    (r"gpt-4-turbo.*|gpt-4-\d{4}-(vision-)?preview", 4_096),
    (r"gpt-4(-0613|-0314)?", 8_192),
    (r"gpt-3\.5-turbo(-0125|-1106)?", 4_096),
    (r"gpt-5-chat.*", 16_384),
    (r"gpt-5-pro.*", 272_000),
    (r"gpt-5(-mini|-nano|-codex)?(-\d{4}.*)?", 128_000),
    (r"gpt-5\.[12](-codex.*|-\d{4}.*)?", 128_000),
    (r"o1-preview.*", 32_768),
    (r"o1-mini.*", 65_536),
    (r"(o1|o3|o4)(-mini|-pro)?(-\d{4}.*)?", 100_000),
    (r"claude-3-(haiku|sonnet|opus)-\d{8}", 4_096),
    (r"claude-3-5-.*", 8_192),
    (r"claude-opus-4(-0|-1)?(-\d{8})?", 32_000),
    (r"claude-(sonnet-4(-0|-5)?|haiku-4-5|opus-4-5)(-\d{8})?", 64_000),
    (r"claude-opus-4-[67](-\d{8})?", 128_000),
    (r"gemini-(1\.5|2\.0)-(pro|flash|flash-8b|flash-lite)(-\d+|-latest)?", 8_192),
    (r"gemini-2\.5-(pro|flash|flash-lite)", 65_536),
)
_CONTEXT: Final[tuple[tuple[str, int], ...]] = (
    (r"gpt-4\.1(-mini|-nano)?(-\d{4}.*)?", 1_047_576),
    (r"gpt-4-32k.*", 32_768),
    (r"deepseek-(chat|reasoner)", 1_000_000),  # aliases that moved from 64 K to newer models
)


@lru_cache(maxsize=4096)
def output_maximum(model: str) -> int | None:
    """Give the most output tokens the model can produce in one answer, if it is published."""
    return _find(_OUTPUT, bare_model(model))


@lru_cache(maxsize=4096)
def context_correction(model: str) -> int | None:
    """Give a context window in tokens that is more exact than genai-prices', if there is one."""
    return _find(_CONTEXT, bare_model(model))


def _find(table: tuple[tuple[str, int], ...], name: str) -> int | None:
    return next((value for pattern, value in table if re.fullmatch(pattern, name)), None)


def widest(window: int | None) -> int:
    """Give the most tokens that a model with this context window has room for; None: it is not known."""
    return WIDEST_WINDOW if window is None else ceil(window * _SLACK)
