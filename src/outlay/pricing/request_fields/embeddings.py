"""Embeddings: the fields of `/v1/embeddings`: `openai.types.embedding_create_params`, and those of servers.

vLLM takes `messages` with pictures there, and a `chat_template`:
https://github.com/vllm-project/vllm/blob/main/vllm/entrypoints/pooling/embed/protocol.py. Mistral's name
of the input is `inputs`, llama.cpp's also `content`. An instruction stands before each input.
"""

from __future__ import annotations

from typing import Final

from outlay.pricing.request_fields.rules import HARMLESS, READ, Fields, Refused, each
from outlay.pricing.request_fields.shared import EVERYWHERE, PROGRAM

_ANOTHER_INPUT: Final = Refused("the texts to embed stand in input")
_BEFORE_EACH: Final = Refused("it may stand before each input")

EMBEDDINGS: Final = Fields(
    {
        **EVERYWHERE,
        "input": READ,
        **each(
            "dimensions encoding_format output_dimension output_dtype embedding_type embedding_types",
            HARMLESS,
        ),
        **each(
            "embed_dtype endianness embd_normalize input_type task task_type normalize normalized", HARMLESS
        ),
        **each("truncate truncate_prompt_tokens truncation truncation_side late_chunking", HARMLESS),
        **each(
            "add_special_tokens use_activation priority request_id rid cache_salt session_id trace", HARMLESS
        ),
        **each("keep_alive add_generation_prompt continue_final_message", HARMLESS),
        **each("messages inputs content prompt text texts documents input_ids", _ANOTHER_INPUT),
        **each("instruction instruct prompt_name task_instruction query_instruction", _BEFORE_EACH),
        **each("chat_template_kwargs mm_processor_kwargs media_io_kwargs", PROGRAM),
    }
)
