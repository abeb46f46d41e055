"""Completions: the fields of `/v1/completions`: `openai.types.completion_create_params`, and `shared`."""

from __future__ import annotations

from typing import Final

from outlay.pricing.request_fields.rules import HARMLESS, READ, Fields, Refused, each
from outlay.pricing.request_fields.shared import CAP, GENERATION, RESPONSE_FORMAT

COMPLETIONS: Final = Fields(
    {
        **GENERATION,
        **each("prompt suffix echo max_tokens n best_of", READ),
        **each("max_completion_tokens max_output_tokens", CAP),
        "response_format": RESPONSE_FORMAT,
        "add_special_tokens": HARMLESS,
        **each("messages input inputs prompt_token_ids input_ids", Refused("the prompt stands in prompt")),
        "speculation": Refused("rejected tokens may be billed"),
    }
)
