"""Names: how Outlay's provider ids and model names map to genai-prices' and to families of models."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

PRICE_PROVIDERS: Final[dict[str, str]] = {
    "amazon_bedrock": "aws",
    "arcee_ai": "arcee",
    "azure_ai": "azure",
    "azure_openai": "azure",
    "azure_text": "azure",
    "bedrock": "aws",
    "bedrock_converse": "aws",
    "cohere_chat": "cohere",
    "copilot": "github-copilot",
    "fireworks_ai": "fireworks",
    "fireworks-ai": "fireworks",
    "gemini": "google",
    "github_copilot": "github-copilot",
    "google_ai_studio": "google",
    "meta_llama": "meta",
    "mistralai": "mistral",
    "moonshot": "moonshotai",
    "novita_ai": "novita",
    "text-completion-openai": "openai",
    "together-ai": "together",
    "together_ai": "together",
    "vertex_ai": "google",
    "vertex": "google",
    "voyage": "voyageai",
    "xai": "x-ai",
    "z-ai": "zai",
    "zhipu": "zhipuai",
}
"""Provider ids, Outlay's and LiteLLM's, whose id in genai-prices is another one."""

_REASONING = re.compile(
    r"^(o[1-9]|gpt-(5|[6-9]|oss)|codex|grok-(3-mini|4|build|code)|gemini-(2\.5|[3-9])|deepseek-(reasoner|r\d)"
    r"|qwq|magistral|minimax-m|glm-(4\.[5-9]|[5-9])|kimi-k[3-9])"
    r"|(^|[-_.])(r1|thinking|reasoning|reasoner|deep-research)([-_.]|$)"
)
_NOT_REASONING = re.compile(r"non-reasoning|^gpt-5-chat|-distill-")


_NAMED_LIKE_PRICED: Final = frozenset(
    {"azure", "cohere", "google", "perplexity", "aws", "anthropic", "replicate"}
)
"""Providers that share their id with genai-prices and whose models may be named `provider/model`."""

_PRICED_FAMILIES: Final = (("gemini-", "google"), ("command-", "cohere"), ("sonar", "perplexity"))
"""How a bare model name begins, and whose price it has, where Outlay has no wire to that provider."""


_MAKERS: Final = (
    (re.compile(r"gpt-|chatgpt-|o\d(-|$)|codex-|text-embedding-"), "openai"),
    (re.compile(r"claude-"), "anthropic"),
    (re.compile(r"gemini-"), "google"),
    (re.compile(r"grok-"), "x-ai"),
    (re.compile(r"sonar(-|$)"), "perplexity"),
)
"""How a model's own name begins, and genai-prices' id of who made it."""


@lru_cache(maxsize=4096)
def maker_of(model: str) -> str | None:
    """Give genai-prices' id of who made a model, by the model's own name; None if that does not tell."""
    name = bare_model(model)
    return next((maker for pattern, maker in _MAKERS if pattern.match(name)), None)


def is_priced_provider(name: str) -> bool:
    """Whether a part before a slash names a provider whose prices are known, with or without a wire to it."""
    key = name.strip().lower()
    return key in PRICE_PROVIDERS or key in _NAMED_LIKE_PRICED


def priced_family(model: str) -> str | None:
    """Whose price a bare model name has by how it begins, if Outlay's catalogue does not know."""
    key = model.lower()
    return next((provider for prefix, provider in _PRICED_FAMILIES if key.startswith(prefix)), None)


@lru_cache(maxsize=4096)
def price_provider(provider: str) -> str:
    """Give genai-prices' id of a provider: its own id unless the table knows another."""
    wanted = provider.strip().lower()
    return PRICE_PROVIDERS.get(wanted, wanted)


@lru_cache(maxsize=4096)
def bare_model(model: str) -> str:
    """Give a model's own name: lower case, without vendor path, `ft:` in front or `:variant` behind."""
    name = model.strip().lower().rsplit("/", 1)[-1].removeprefix("ft:")
    return name.split(":", 1)[0]


@lru_cache(maxsize=4096)
def is_reasoning_model(model: str) -> bool:
    """Whether a model spends output tokens on reasoning by itself (so that a small cap yields no text)."""
    name = bare_model(model)
    return bool(_REASONING.search(name)) and not _NOT_REASONING.search(name)
