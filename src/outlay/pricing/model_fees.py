"""Model fees: what a model costs beside its text, whoever resells it.

A search model searches for every answer, an image model writes dearer tokens: that goes by the model that
answers. Prices of a reseller, or of one's own, often state the tokens of text alone; what they leave out is
taken from here, or from the maker's own price.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import Final

from outlay.pricing.names import bare_model
from outlay.pricing.rates import Rate, Rates

_ONE: Final = Fraction(1)


@dataclass(frozen=True, slots=True)
class ModelFees:
    """What one model adds: `rates` in nanos, request fees by `search_context_size`, factors of regions.

    `regional_host` is by what a host of one region multiplies what tokens cost.
    `tiers` are factors of tiers that genai-prices lacks, `preview_search` is the fee of a search with
    OpenAI's `web_search_preview`. `is_search` says that every answer is searched for, `is_content_free` that
    what a search finds bills no tokens.
    """

    rates: Rates = field(default_factory=dict)
    sizes: Mapping[str, Fraction] = field(default_factory=dict)
    regions: Mapping[str, Fraction] = field(default_factory=dict)
    regional_host: Fraction | None = None
    tiers: Mapping[str, Fraction] = field(default_factory=dict)
    preview_search: Fraction | None = None
    is_search: bool = False
    is_content_free: bool = False


def _requests(low: int, medium: int, high: int, *, is_content_free: bool = True) -> ModelFees:
    """Fees of a search model in USD for a thousand requests; without a size the dearest counts."""
    sizes = {"low": low, "medium": medium, "high": high}
    nanos = {size: Fraction(usd * 1_000_000) for size, usd in sizes.items()}
    return ModelFees(
        {"requests": Rate(max(nanos.values()))}, nanos, is_search=True, is_content_free=is_content_free
    )


def _non_reasoning(block: int = 0) -> ModelFees:
    """Fees of a model of OpenAI's that does not reason; `block` nanos are the tokens of what it finds."""
    rates = {"web_searches": Rate(Fraction(10_000_000 + block))}
    return ModelFees(rates, preview_search=Fraction(25_000_000), is_content_free=block > 0)


def _images(usd_per_million: int) -> ModelFees:
    return ModelFees({"output_image_tokens": Rate(Fraction(usd_per_million * 1_000))})


_NOTHING: Final = ModelFees()
_US_ONLY: Final = ModelFees(regions={"us": Fraction(11, 10)})

_FEES: Final[tuple[tuple[str, ModelFees], ...]] = (
    # https://developers.openai.com/api/docs/pricing, "Tool-specific models" and "Web search": a preview model
    # that does not reason pays USD 25 a thousand and nothing for what it reads, others USD 10 and the tokens.
    (r"gpt-4o(-mini)?-search-preview.*", _requests(25, 25, 25)),
    (r"gpt-5-search-api.*", _requests(10, 10, 10, is_content_free=False)),
    # The same page: what a search finds is a block of 8,000 tokens of input with these two.
    (r"gpt-4o-mini(-\d{4}.*)?", _non_reasoning(8_000 * 150)),
    (r"gpt-4\.1-mini(-\d{4}.*)?", _non_reasoning(8_000 * 400)),
    (r"gpt-4(o|\.1)(-\d{4}.*)?", _non_reasoning()),
    # https://docs.perplexity.ai/getting-started/pricing
    (r"sonar", _requests(5, 8, 12)),
    (r"sonar-reasoning", _requests(5, 8, 14)),
    (r"sonar-(pro|reasoning-pro)", _requests(6, 10, 14)),
    # https://openrouter.ai/openai/gpt-5-image
    (r"gpt-5-image", _images(40)),
    (r"gpt-5-image-mini", _images(8)),
    (r"gpt-5\.4-image-2", _images(30)),
    # https://platform.claude.com/docs/en/about-claude/pricing ("Data residency"): × 1.1 from Claude 4.6 on
    (
        r"claude-(opus|sonnet)-4[-.][6-9].*|claude-(opus|sonnet|haiku|fable|mythos)-([5-9]|preview).*",
        _US_ONLY,
    ),
    # https://developers.openai.com/api/docs/guides/ultrafast-mode
    # https://developers.openai.com/api/docs/pricing: regional hosts cost a tenth more from GPT-5.4 on
    (
        r"gpt-6-astra|gpt-6\.1-sol",
        ModelFees(tiers={"ultrafast": Fraction(6)}, regional_host=Fraction(11, 10)),
    ),
    (r"gpt-(5\.[4-9]|[6-9]).*", ModelFees(regional_host=Fraction(11, 10))),
)


@lru_cache(maxsize=4096)
def model_fees(model: str) -> ModelFees:
    """Give what a model adds to the price of its text; nothing for most."""
    name = bare_model(model)
    return next((fees for pattern, fees in _FEES if re.fullmatch(pattern, name)), _NOTHING)
