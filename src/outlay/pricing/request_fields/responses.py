"""Responses: the fields of `/v1/responses`: `openai.types.responses.response_create_params`, and `shared`.

A stored prompt brings tools and settings of its own:
https://developers.openai.com/api/docs/guides/text?api-mode=responses#version-prompts-in-code
"""

from __future__ import annotations

from typing import Final

from outlay.pricing.request_fields.rules import COUNTED, HARMLESS, READ, Fields, Refused, each
from outlay.pricing.request_fields.shared import (
    CAP,
    COMPACTS,
    COUNT,
    GENERATION,
    REASONING,
    RESPONSE_FORMAT,
    THINKING,
    TOOL_CHOICE,
)

RESPONSES: Final = Fields(
    {
        **GENERATION,
        **each("input instructions max_output_tokens max_tool_calls", READ),
        **each("previous_response_id", READ),
        "conversation": Fields(each("id", READ), READ),
        **each("tools verbosity", COUNTED),
        "tool_choice": TOOL_CHOICE,
        "text": Fields({"format": RESPONSE_FORMAT, "verbosity": COUNTED}, COUNTED),
        "reasoning": REASONING,
        "thinking": THINKING,
        **each(
            "include parallel_tool_calls truncation access_programs reasoning_effort client_metadata",
            HARMLESS,
        ),
        "image": Fields(each("context_compression", HARMLESS)),
        "modalities": READ,
        "prompt": Refused("a stored prompt brings input, tools and settings that the request does not show"),
        "context_management": COMPACTS,
        **each("max_tokens max_completion_tokens", CAP),
        **each("n best_of", COUNT),
        **each("messages previous_input_messages input_messages", Refused("the input stands in input")),
        **each("enable_response_messages mm_processor_kwargs media_io_kwargs", HARMLESS),
    }
)
