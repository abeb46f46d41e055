"""The catalogue: who serves models, where, with which key, and how each differs from its wire.

Data, checked against each provider's public documentation and reported faults; a difference stands here
only where it changes what is sent or what is charged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from outlay.errors import InvalidValueError
from outlay.providers.request import FREE_FAILURES

WireName = Literal["openai", "anthropic"]
Endpoint = Literal["chat", "completions", "embeddings", "responses", "messages"]


@dataclass(frozen=True, slots=True)
class Quirks:
    """How a provider differs from its wire.

    `has_stream_options`: whether it takes `stream_options.include_usage` (Mistral refuses the whole request
    with 422, and sends usage anyway). `chat_cap_field`: the name of the output cap of a chat (OpenAI's
    reasoning models refuse `max_tokens`, Mistral refuses and DeepSeek ignores `max_completion_tokens`).
    `is_reasoning_streamed`: whether all that is billed as reasoning can be seen in the stream, so that it can
    be counted without usage. `is_reasoning_beside_output`: whether a usage that states no total counts
    reasoning next to `completion_tokens` instead of in it (xAI); a total tells by itself. `free_failures`:
    the statuses that are not billed, of the 5xx, 408 and 499.
    """

    has_stream_options: bool = True
    chat_cap_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    is_reasoning_streamed: bool = True
    is_reasoning_beside_output: bool = False
    free_failures: frozenset[int] = FREE_FAILURES


USD: Final = 0
"""The exponent of an amount in dollars."""
TICKS: Final = 10
"""That of xAI's ticks, of which 10,000,000,000 are a dollar."""


@dataclass(frozen=True, slots=True)
class BillRecord:
    """Where a provider's answers state what it bills for them: a path in the usage, as its `source` says.

    10 ** `exponent` of its unit are a dollar. `upstream` is what is billed beside it where the caller's own
    key at another provider was used (`is_byok`).
    """

    path: tuple[str, ...]
    source: str
    exponent: int = USD
    upstream: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider. `pricing_id` is its name in genai-prices; the first of `key_env` that is set is the key.

    `base_path` is put behind a base URL that was given without a path (Ollama's variables hold none).
    `is_free`: what it serves costs nothing where nobody states a price. For the library; a gateway, whose
    configuration names each model, is told so there.
    `bill` says where answers of its own host state what they are billed; None: nowhere.
    """

    id: str
    name: str
    wire: WireName
    base_url: str
    key_env: tuple[str, ...] = ()
    base_env: tuple[str, ...] = ()
    pricing_id: str = ""
    quirks: Quirks = Quirks()
    requires_key: bool = True
    base_path: str = ""
    is_free: bool = False
    bill: BillRecord | None = None


PROVIDERS: dict[str, Provider] = {
    provider.id: provider
    for provider in (
        Provider(
            id="openai",
            name="OpenAI",
            wire="openai",
            base_url="https://api.openai.com/v1",
            key_env=("OPENAI_API_KEY",),
            base_env=("OPENAI_BASE_URL", "OPENAI_API_BASE"),
            pricing_id="openai",
            quirks=Quirks(chat_cap_field="max_completion_tokens", is_reasoning_streamed=False),
        ),
        Provider(
            id="anthropic",
            name="Anthropic",
            wire="anthropic",
            base_url="https://api.anthropic.com",
            key_env=("ANTHROPIC_API_KEY",),
            base_env=("ANTHROPIC_BASE_URL", "ANTHROPIC_API_BASE"),
            pricing_id="anthropic",
            quirks=Quirks(is_reasoning_streamed=False),  # thinking comes as a summary
        ),
        Provider(
            id="groq",
            name="Groq",
            wire="openai",
            base_url="https://api.groq.com/openai/v1",
            key_env=("GROQ_API_KEY",),
            base_env=("GROQ_API_BASE",),
            pricing_id="groq",
            quirks=Quirks(chat_cap_field="max_completion_tokens"),
        ),
        Provider(
            id="mistral",
            name="Mistral",
            wire="openai",
            base_url="https://api.mistral.ai/v1",
            key_env=("MISTRAL_API_KEY",),
            base_env=("MISTRAL_API_BASE",),
            pricing_id="mistral",
            quirks=Quirks(has_stream_options=False),
        ),
        Provider(
            id="deepseek",
            name="DeepSeek",
            wire="openai",
            base_url="https://api.deepseek.com/v1",
            key_env=("DEEPSEEK_API_KEY",),
            base_env=("DEEPSEEK_API_BASE",),
            pricing_id="deepseek",
        ),
        Provider(
            id="openrouter",
            name="OpenRouter",
            wire="openai",
            base_url="https://openrouter.ai/api/v1",
            key_env=("OPENROUTER_API_KEY",),
            base_env=("OPENROUTER_API_BASE",),
            pricing_id="openrouter",
            quirks=Quirks(is_reasoning_streamed=False),  # it serves models of all kinds
            bill=BillRecord(
                ("cost",),
                "https://openrouter.ai/docs/use-cases/usage-accounting",
                upstream=("cost_details", "upstream_inference_cost"),
            ),
        ),
        Provider(
            id="perplexity",
            name="Perplexity",
            wire="openai",
            base_url="https://api.perplexity.ai",
            key_env=("PERPLEXITYAI_API_KEY", "PERPLEXITY_API_KEY"),
            base_env=("PERPLEXITY_BASE_URL", "PERPLEXITY_API_BASE"),
            pricing_id="perplexity",
            quirks=Quirks(has_stream_options=False, is_reasoning_streamed=False),  # each chunk has the usage
            bill=BillRecord(
                ("cost", "total_cost"), "https://docs.perplexity.ai/api-reference/chat-completions-post"
            ),
        ),
        Provider(
            id="together",
            name="Together AI",
            wire="openai",
            base_url="https://api.together.ai/v1",
            key_env=("TOGETHER_API_KEY", "TOGETHERAI_API_KEY"),
            base_env=("TOGETHER_BASE_URL",),
            pricing_id="together",
        ),
        Provider(
            id="fireworks",
            name="Fireworks AI",
            wire="openai",
            base_url="https://api.fireworks.ai/inference/v1",
            key_env=("FIREWORKS_API_KEY", "FIREWORKS_AI_API_KEY"),
            base_env=("FIREWORKS_API_BASE",),
            pricing_id="fireworks",
            quirks=Quirks(has_stream_options=False),  # its last chunk has the usage unasked
        ),
        Provider(
            id="xai",
            name="xAI",
            wire="openai",
            base_url="https://api.x.ai/v1",
            key_env=("XAI_API_KEY",),
            base_env=("XAI_API_BASE",),
            pricing_id="x-ai",
            quirks=Quirks(
                chat_cap_field="max_completion_tokens",
                is_reasoning_streamed=False,
                is_reasoning_beside_output=True,
            ),
            bill=BillRecord(
                ("cost_in_usd_ticks",), "https://docs.x.ai/developers/cost-tracking", exponent=TICKS
            ),
        ),
        Provider(
            id="cerebras",
            name="Cerebras",
            wire="openai",
            base_url="https://api.cerebras.ai/v1",
            key_env=("CEREBRAS_API_KEY",),
            base_env=("CEREBRAS_API_BASE",),
            pricing_id="cerebras",
            quirks=Quirks(chat_cap_field="max_completion_tokens"),
        ),
        Provider(
            id="ollama",
            name="Ollama",
            wire="openai",
            base_url="http://localhost:11434/v1",
            key_env=("OLLAMA_API_KEY",),
            base_env=("OLLAMA_API_BASE", "OLLAMA_HOST"),
            pricing_id="ollama",
            requires_key=False,
            base_path="/v1",
            is_free=True,
        ),
        Provider(
            id="openai_compatible",
            name="The OpenAI-compatible server",
            wire="openai",
            base_url="",
            key_env=("OPENAI_COMPATIBLE_API_KEY",),
            base_env=("OPENAI_COMPATIBLE_API_BASE",),
            pricing_id="openai_compatible",
            requires_key=False,
        ),
    )
}

ALIASES: dict[str, str] = {
    "custom_openai": "openai_compatible",
    "fireworks_ai": "fireworks",
    "hosted_vllm": "openai_compatible",
    "lm_studio": "openai_compatible",
    "ollama_chat": "ollama",
    "openai_like": "openai_compatible",
    "text-completion-openai": "openai",
    "together_ai": "together",
    "vllm": "openai_compatible",
    "x-ai": "xai",
}
"""Other names for a provider before the slash of a model, mostly LiteLLM's."""

FAMILIES: tuple[tuple[str, str], ...] = (
    ("claude-", "anthropic"),
    ("codestral-", "mistral"),
    ("deepseek-", "deepseek"),
    ("devstral-", "mistral"),
    ("grok-", "xai"),
    ("magistral-", "mistral"),
    ("ministral-", "mistral"),
    ("mistral-", "mistral"),
    ("open-mistral-", "mistral"),
    ("open-mixtral-", "mistral"),
    ("pixtral-", "mistral"),
    ("sonar", "perplexity"),
)
"""How a bare model name begins, and whose it is. What is not here is taken as OpenAI's."""


def provider_named(name: str) -> Provider | None:
    """The provider of this id or alias, in any case, or None."""
    key = name.lower()
    return PROVIDERS.get(ALIASES.get(key, key))


def provider_of_family(model: str) -> Provider:
    """The provider a bare model name belongs to."""
    key = model.lower()
    return PROVIDERS[next((id_ for prefix, id_ in FAMILIES if key.startswith(prefix)), "openai")]


def known_provider(name: str) -> Provider:
    """The provider of this id or alias.

    Raises:
        InvalidValueError: there is none; the message lists those there are.
    """
    provider = provider_named(name)
    if provider is None:
        raise InvalidValueError(
            f"There is no provider called {name!r}: choose one of {', '.join(sorted(PROVIDERS))}, or pass "
            "api_base for any server that speaks OpenAI's wire."
        )
    return provider
