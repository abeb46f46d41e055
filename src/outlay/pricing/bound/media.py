"""Media: the most tokens one image can cost, by the provider's published rule.

OpenAI, https://platform.openai.com/docs/guides/images-vision ("Calculating costs"): tile models fit an image
into 2048 × 2048, then its short side to 768, and count tiles of 512: at most 8, at so much a tile and a base.
Patch models count patches of 32 × 32 up to a budget, times a multiplier; `low` fits into 512 × 512 (256
patches). Anthropic, https://platform.claude.com/docs/en/build-with-claude/vision: at most 1,568 tokens an
image (earlier documented as about 1,600), from Claude 4.7 on 4,784.
"""

from __future__ import annotations

import re
from functools import lru_cache
from math import ceil
from typing import Final, NamedTuple

from outlay.pricing.names import bare_model, price_provider


class ImageMaximum(NamedTuple):
    """The most tokens one image costs at detail `low`, at `high`, and at any other or none."""

    low: int
    high: int
    other: int

    def at(self, detail: object) -> int:
        """Give the maximum for the detail a request asks for."""
        return self.low if detail == "low" else self.high if detail == "high" else max(self)


def _tiles(base: int, tile: int) -> ImageMaximum:
    most = base + 8 * tile
    return ImageMaximum(base, most, most)


def _patches(multiplier: float, high: int, other: int) -> ImageMaximum:
    low, most, original = (ceil(count * multiplier) for count in (256, high, other))
    return ImageMaximum(low, most, original)


_OPENAI: Final[tuple[tuple[str, ImageMaximum], ...]] = (
    (r"gpt-4o-mini.*", _tiles(2833, 5667)),
    (r"gpt-4\.1-mini.*", _patches(1.62, 1536, 1536)),
    (r"gpt-4\.1-nano.*", _patches(2.46, 1536, 1536)),
    (r"(chatgpt-)?gpt-4o.*|gpt-4\.1.*|gpt-4\.5.*|gpt-4-turbo.*|gpt-4-vision.*", _tiles(85, 170)),
    (r"chatgpt-4o.*", _tiles(85, 170)),
    (r"o4-mini.*", _patches(1.72, 1536, 1536)),
    (r"o[13](-pro)?(-\d{4}.*)?", _tiles(75, 150)),
    (r"computer-use-preview.*", _tiles(65, 129)),
    (r"gpt-5-mini.*", _patches(1.62, 1536, 1536)),
    (r"gpt-5-nano.*", _patches(2.46, 1536, 1536)),
    (r"gpt-5(\.1)?(-chat.*|-pro.*|-\d{4}.*)?", _tiles(70, 140)),
    (r"gpt-5\.[234].*|gpt-5-codex.*|gpt-5\.1-codex.*", _patches(1.62, 2500, 10_000)),
    (r"gpt-(5\.[5-9]|[6-9]).*", _patches(1.62, 2500, 30_000)),
)
_ANTHROPIC_STANDARD = re.compile(r"claude-(2|3|instant|v1|opus-4(-[0156])?(-\d{8})?$|sonnet-4|haiku-4).*")


@lru_cache(maxsize=4096)
def image_maximum(provider: str, model: str) -> ImageMaximum | None:
    """Give the most tokens one image can cost, or None where nothing is published that we know."""
    source, name = price_provider(provider), bare_model(model)
    if source in ("openai", "azure"):
        return next((most for pattern, most in _OPENAI if re.fullmatch(pattern, name)), None)
    if name.startswith("claude"):
        most = 1_600 if _ANTHROPIC_STANDARD.match(name) else 4_784
        return ImageMaximum(most, most, most)
    return None
