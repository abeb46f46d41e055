"""Paths: where callers reach each endpoint."""

from __future__ import annotations

from typing import Final

from outlay.pricing.bound.caps import Endpoint

PATHS: Final[tuple[tuple[Endpoint, tuple[str, ...]], ...]] = (
    ("chat", ("/v1/chat/completions", "/chat/completions")),
    ("messages", ("/v1/messages",)),
    ("responses", ("/v1/responses", "/responses")),
    ("embeddings", ("/v1/embeddings", "/embeddings")),
    ("completions", ("/v1/completions", "/completions")),
)
"""What callers use, and LiteLLM's names for it without `/v1`."""
COUNTING: Final = "/v1/messages/count_tokens"
