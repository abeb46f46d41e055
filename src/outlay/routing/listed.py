"""Listed models: which models of a provider genai-prices knows, and how it writes their names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Final

from outlay.pricing.bundled import BundledPrices
from outlay.pricing.names import price_provider

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo

_NO_CHAT: Final = re.compile(
    r"audio-preview|embed|image|moderation|realtime|rerank|tts|transcri|translate|whisper|orpheus|gpt-live|^ada"
    r"|^babbage|^curie|^davinci|^text-|^gpt-3\.5-turbo-instruct|-ocr|guard|-voice"
)
_PART_OF_A_NAME: Final = re.compile(r"[-.:]$|\s")


@cache
def listed_models(provider: str) -> Mapping[str, str]:
    """The models of a provider (by Outlay's id): small letters → as they are written."""
    listed: dict[str, str] = {}
    for info in _infos(provider):
        if not _PART_OF_A_NAME.search(info.id):
            listed.setdefault(info.id.lower(), info.id)
    return listed


@cache
def chat_models(provider: str) -> tuple[str, ...]:
    """Those that chat, as far as their names and prices tell, and that are not withdrawn."""
    return tuple(info.id for info in _infos(provider) if _is_chat(info))


def spelled(provider: str, model: str) -> str | None:
    """How a model is written that is listed, however the caller writes its letters; None if it is not."""
    return listed_models(provider).get(model.lower())


def _infos(provider: str) -> list[ModelInfo]:
    wanted = price_provider(provider)
    for source in BundledPrices().snapshot().providers:
        if source.id == wanted:
            return source.models
    return []


def _is_chat(info: ModelInfo) -> bool:
    if info.deprecated or _PART_OF_A_NAME.search(info.id) or _NO_CHAT.search(info.id.lower()):
        return False
    stated = info.prices[-1].prices if isinstance(info.prices, list) else info.prices
    return stated.output_mtok is not None or stated.input_mtok is None
