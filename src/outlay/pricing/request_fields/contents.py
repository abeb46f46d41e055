"""Contents: the fields of messages, of the parts of their content, and of tools.

After OpenAI's and Anthropic's SDKs (`ChatCompletionMessageParam`, `ResponseInputItemParam`, `MessageParam`,
`ContentBlockParam`, `ToolParam`), and the fields of answers that clients send back: LiteLLM's, OpenRouter's,
vLLM's and DeepSeek's. What a tool of a known type may cost is `hosted`'s to say.
"""

from __future__ import annotations

from typing import Final

from outlay.pricing.request_fields.rules import COUNTED, READ, Fields, Refused, each
from outlay.pricing.request_fields.shared import MEDIA, UNSEEN

TOOLS: Final = Refused("it brings tools of the provider's into the conversation: state them in tools")

TOOL_CALL: Final = Fields(
    {
        **each("id type index name input arguments extra_content provider_specific_fields", COUNTED),
        **each("thought_signature signature cache_control caller namespace status", COUNTED),
        "function": Fields(each("name arguments description parameters output", COUNTED), COUNTED),
        "custom": Fields(each("name input", COUNTED), COUNTED),
    },
    COUNTED,
)

MESSAGE: Final = Fields(
    {
        **each("role content name tool_call_id tool_name refusal audio", READ),
        **each("reasoning reasoning_content reasoning_details thinking thinking_blocks signature", COUNTED),
        **each("annotations citations provider_specific_fields cache_control prefix partial phase", COUNTED),
        **each("id type status index object weight recipient channel prompt_cache_breakpoint", COUNTED),
        **each("output_config created created_at finish_reason stop_reason stop_sequence logprobs", COUNTED),
        **each("model usage clear_at metadata function_calls tool_plan participant_name", COUNTED),
        **each("images videos audios files", MEDIA),
        **each("extra_content executed_tools search_results reasoning_opaque", COUNTED),
        "tool_calls": TOOL_CALL,
        "function_call": Fields(each("name arguments", COUNTED), COUNTED),
        "tools": TOOLS,
    }
)

_SAME: Final = each("type text id status index cache_control prompt_cache_breakpoint phase", COUNTED)
TEXT_PART: Final = Fields(
    {
        **_SAME,
        **each("annotations citations thinking signature refusal summary logprobs data metadata", COUNTED),
    }
)
IMAGE_PART: Final = Fields(
    {
        **_SAME,
        **each("source file_id detail image transformations media_type mime_type format uuid", COUNTED),
        **each("modalities filename", COUNTED),
        "image_url": Fields(
            each("url detail format content_hash max_dynamic_patch min_dynamic_patch uuid", COUNTED), COUNTED
        ),
    }
)
PART: Final = Fields(
    {
        **TEXT_PART.rules,
        **IMAGE_PART.rules,
        **each(
            "role content output input name arguments call_id caller tool_use_id tool_name is_error", COUNTED
        ),
        **each(
            "input_audio audio_url video_url file file_url file_data audio video document_url url", COUNTED
        ),
        **each("title context encrypted_content retrieved_at page_age error_code tool_references", COUNTED),
        **each("action actions acknowledged_safety_checks pending_safety_checks operation commands", COUNTED),
        **each(
            "server_label server_name mcp_server_name namespace execution environment code result", COUNTED
        ),
        **each(
            "results queries outputs container_id fingerprint toolset_name tool_changes trigger to", COUNTED
        ),
        **each("from stderr stdout return_code max_output_length error approval_request_id approve", COUNTED),
        **each("reason revised_prompt size quality background output_format svg_usage tabs", COUNTED),
        **each("state_changes stop_reason lines new_lines new_start old_lines old_start file_type", COUNTED),
        **each("num_lines start_line total_lines is_file_update function custom tool_calls", COUNTED),
        **each("tools tool definition extra_content reasoning_opaque server_tool_name", COUNTED),
    }
)

REFUSED_PARTS: Final = {
    "mcp_tool_listing": TOOLS,
    "compaction_trigger": Refused("compaction calls the model more often than the request says"),
    "container_upload": UNSEEN,
}
"""Parts, and items of `/v1/responses`, that ask for more than their text."""

PARTS: Final = {
    **dict.fromkeys(("text", "input_text", "output_text", "refusal", "thinking", "summary_text"), TEXT_PART),
    **dict.fromkeys(("image_url", "input_image", "image"), IMAGE_PART),
}
"""The fields of a part by its type; of the others, `PART`."""

_GOOGLE: Final = Refused("the provider runs it and it has no price")
_FUNCTION: Final = Fields(
    each(
        "name description parameters strict defer_loading input_schema output_schema response examples",
        COUNTED,
    ),
    COUNTED,
)
FUNCTION_TOOL: Final = Fields(
    {
        **each("type name description parameters input_schema strict cache_control defer_loading", COUNTED),
        **each("allowed_callers input_examples eager_input_streaming output_schema format async", COUNTED),
        "function": _FUNCTION,
        "custom": Fields(each("name description format", COUNTED), COUNTED),
        **each(
            "google_search googleSearch google_search_retrieval googleSearchRetrieval code_execution"
            " codeExecution url_context urlContext google_maps googleMaps retrieval enterprise_web_search"
            " computer_use",
            _GOOGLE,
        ),
    },
    COUNTED,
)
"""A tool that the caller runs. Gemini's own tools are named by their field, not by a type."""

OTHER_TOOL: Final = Fields(
    {
        **FUNCTION_TOOL.rules,
        **each("max_uses allowed_domains blocked_domains user_location search_context_size filters", COUNTED),
        **each(
            "max_content_tokens citations external_web_access search_content_types max_characters", COUNTED
        ),
        **each("display_width_px display_height_px display_number display_width display_height", COUNTED),
        **each("environment enable_zoom vector_store_ids max_num_results ranking_options container", COUNTED),
        **each(
            "server_label server_url connector_id authorization headers allowed_tools tools model", COUNTED
        ),
        **each("require_approval server_description execution web_search mcp_server_name configs", COUNTED),
        **each("default_config caching response_inclusion use_cache max_tokens", COUNTED),
    },
    COUNTED,
)
