"""Messages: the fields of Anthropic's `/v1/messages`: `anthropic.types.message_create_params`, and its betas.

https://platform.claude.com/docs/en/api/messages/create. `user_profile_id` and `workspace_id` are the SDK's
headers, which do not pass. Fallbacks retry on other models, at their prices:
https://platform.claude.com/docs/en/build-with-claude/refusals-and-fallback
"""

from __future__ import annotations

from typing import Final

from outlay.pricing.request_fields.rules import COUNTED, HARMLESS, READ, Fields, Refused, each
from outlay.pricing.request_fields.shared import (
    CAP,
    CHAT_SERVERS,
    COMPACTS,
    COUNT,
    GENERATION,
    RESPONSE_FORMAT,
    STORED,
    THINKING,
    TOOL_CHOICE,
)

MESSAGES: Final = Fields(
    {
        **GENERATION,
        **CHAT_SERVERS,
        **each("messages system max_tokens speed inference_geo betas anthropic_beta", READ),
        "thinking": THINKING,
        **each("tools output_format", COUNTED),
        "tool_choice": TOOL_CHOICE,
        "output_config": Fields(
            {
                "effort": HARMLESS,
                "format": RESPONSE_FORMAT,
                "task_budget": Fields(each("type total remaining", COUNTED), COUNTED),
            },
            COUNTED,
        ),
        **each("diagnostics billing_policy user_profile_id workspace_id", HARMLESS),
        "fallback_credit_token": HARMLESS,
        "anthropic_version": HARMLESS,
        "compaction": COMPACTS,
        "thread": STORED,
        **each("max_completion_tokens max_output_tokens", CAP),
        **each("n best_of", COUNT),
        **each("prompt input inputs", Refused("the messages are the prompt")),
    }
)
