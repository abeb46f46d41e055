"""Chat: the fields of `/v1/chat/completions`.

The parameters of `openai.types.chat.completion_create_params`, and those of the providers and servers that
`shared` lists. OpenRouter's: https://openrouter.ai/docs/api-reference/parameters; Perplexity's:
https://docs.perplexity.ai/api-reference/chat-completions-post; Azure's `data_sources`:
https://learn.microsoft.com/azure/ai-services/openai/references/on-your-data.
"""

from __future__ import annotations

from typing import Final

from outlay.pricing.request_fields.rules import COUNTED, HARMLESS, READ, Fields, Only, Refused, each
from outlay.pricing.request_fields.shared import (
    CAP,
    CHAT_SERVERS,
    GENERATION,
    GOOGLE,
    REASONING,
    RESPONSE_FORMAT,
    THINKING,
    TOOL_CHOICE,
    WEB_SEARCH_OPTIONS,
)

CHAT: Final = Fields(
    {
        **GENERATION,
        **CHAT_SERVERS,
        **each("messages max_tokens max_completion_tokens n best_of", READ),
        **each("modalities data_sources", READ),
        "prediction": Fields(each("type content", READ), READ),
        "web_search_options": WEB_SEARCH_OPTIONS,
        "tool_choice": TOOL_CHOICE,
        "audio": Fields(each("format voice", HARMLESS), READ),
        **each("tools functions function_call verbosity", COUNTED),
        "response_format": RESPONSE_FORMAT,
        **each("parallel_tool_calls reasoning_effort", HARMLESS),
        "reasoning": REASONING,
        "thinking": THINKING,
        "max_output_tokens": CAP,
        "extra_body": GOOGLE,
        **each("prompt input inputs", Refused("the messages are the prompt of a chat")),
        "echo": Refused("the prompt may be billed as output too"),
        "speculation": Refused("rejected tokens may be billed: use prediction"),
        **each("safe_prompt document_image_limit document_page_limit", HARMLESS),
        "prompt_mode": Only(("reasoning",), "it may bring a prompt of the provider's own"),
        **each(
            "country disable_search enable_search_classifier image_domain_filter image_format_filter"
            " language_preference last_updated_after_filter last_updated_before_filter latitude longitude"
            " num_images num_search_results response_formatting_locale return_citations return_images"
            " return_related_questions return_videos safe_search search_after_date_filter"
            " search_before_date_filter search_domain_filter search_language_filter search_mode"
            " search_recency_filter diverse_first_token has_image_url",
            HARMLESS,
        ),
    }
)
