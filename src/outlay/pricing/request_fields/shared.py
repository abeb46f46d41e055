"""Shared: fields that mean the same wherever text is generated, and the objects nested in them.

Sources, besides the parameters of OpenAI's SDK:
vLLM, https://github.com/vllm-project/vllm/blob/main/vllm/entrypoints/openai/chat_completion/protocol.py;
SGLang, https://github.com/sgl-project/sglang/blob/main/python/sglang/srt/entrypoints/openai/protocol.py;
llama.cpp, https://github.com/ggml-org/llama.cpp/blob/master/tools/server/server-task.cpp, server-common.cpp;
Ollama, https://github.com/ollama/ollama/blob/main/openai/openai.go, docs/modelfile.mdx (`options`);
OpenRouter, https://openrouter.ai/docs/api-reference/overview, and its SDK; Groq, Together, Mistral, Cerebras,
Perplexity: the request types of their SDKs on PyPI; xAI, https://docs.x.ai/docs/api-reference.
"""

from __future__ import annotations

from typing import Final

from outlay.pricing.request_fields.rules import (
    COUNTED,
    HARMLESS,
    READ,
    Fields,
    Only,
    Refused,
    Rule,
    each,
)

CAP: Final = Refused("it is another name of the output cap, which not every server reads: state max_tokens")
COUNT: Final = Refused("it is another name of the number of answers: state n")
PROGRAM: Final = Refused("it is a program, and may write a prompt of any length")
ROUTED: Final = Refused("the router may serve it at another price")
UNSEEN: Final = Refused("the provider runs it unseen")
STORED: Final = Refused("it brings input that the request does not show")
MEDIA: Final = Refused("its bytes say nothing of the tokens it costs: put it into the content of a message")
SETTINGS: Final = Refused("what it sets is not read: state its settings as fields of the request")
COMPACTS: Final = Refused("compaction calls the model more often than the request says")
PREFILLED: Final = Refused("it refers to what another server prepared")

SAMPLING: Final[dict[str, Rule]] = {
    **each(
        "temperature top_p top_k top_a min_p typical_p tfs_z epsilon_cutoff eta_cutoff seed random_seed"
        " frequency_penalty presence_penalty repetition_penalty repeat_penalty repeat_last_n penalize_nl"
        " length_penalty no_repeat_ngram_size use_beam_search do_sample logit_bias bad_words"
        " allowed_token_ids stop stop_sequences stop_token_ids stop_regex no_stop_trim"
        " include_stop_str_in_output ignore_eos min_tokens min_completion_tokens skip_special_tokens"
        " spaces_between_special_tokens watermark watermarking repetition_detection",
        HARMLESS,
    ),
    **each(
        "mirostat mirostat_lr mirostat_target mirostat_tau mirostat_eta dynatemp_range dynatemp_exponent"
        " xtc_probability xtc_threshold dry_multiplier dry_base dry_allowed_length dry_penalty_last_n"
        " dry_sequence_breakers top_n_sigma adaptive_target adaptive_decay samplers sampler_seed"
        " temperature_last smoothing_factor smoothing_curve min_keep backend_sampling",
        HARMLESS,
    ),
}
"""How tokens are chosen: the cap holds whatever is chosen."""

OUTPUT: Final[dict[str, Rule]] = each(
    "logprobs top_logprobs prompt_logprobs top_prompt_logprobs logprob_token_ids n_probs"
    " post_sampling_probs cum_logprobs return_tokens return_tokens_as_token_ids return_token_ids"
    " return_token_offsets return_prompt_text return_prompt_token_ids return_mm_kwargs return_meta_info"
    " return_hidden_states return_routed_experts routed_experts_start_len routed_experts_prompt_start"
    " return_cached_tokens_details return_progress return_full_text details decoder_input_details"
    " timings_per_token response_fields verbose stream_interval stream_mode raw_output"
    " perf_metrics_in_response tool_stream include_reasoning reasoning_format separate_reasoning"
    " stream_reasoning reasoning_split clear_thinking disable_reasoning disable_tool_validation"
    " citation_options __verbose _debug_render_only",
    HARMLESS,
)
"""What an answer tells beside its text."""

SERVER: Final[dict[str, Rule]] = {
    **each(
        "cache_prompt id_slot n_keep n_discard n_indent n_cache_reuse t_max_predict_ms lora priority"
        " request_id rid extra_key cache_salt ngram_corpus_id session_id custom_labels routed_dp_rank"
        " disagg_prefill_dp_rank data_parallel_rank prompt_cache_isolation_key keep_alive trace debug"
        " transforms compliance context_length_exceeded_behavior truncate truncate_prompt_tokens"
        " truncation_side prompt_truncate_len prompt_truncate_length queue_threshold user_security_context",
        HARMLESS,
    ),
    **each(
        "speculative.n_max speculative.n_min speculative.p_min speculative.type speculative.ngram_size_n"
        " speculative.ngram_size_m speculative.ngram_m_hits",
        HARMLESS,
    ),
    **each(
        "bootstrap_host bootstrap_port bootstrap_room kv_transfer_params ec_transfer_params session_params",
        PREFILLED,
    ),
    **each("custom_logit_processor logits_processors", Refused("it is a program that the server runs")),
    **each("custom_params vllm_xargs", Refused("only an extension of the server knows what it does")),
    "lora_path": Refused("it loads another model"),
}
"""How a server that one runs oneself goes about it."""

STRUCTURE: Final[dict[str, Rule]] = each(
    "guided_json guided_regex guided_choice guided_grammar guided_decoding_backend"
    " guided_whitespace_pattern structured_outputs structural_tag grammar grammar_lazy grammar_triggers"
    " preserved_tokens json_schema regex ebnf format chat_format chat_parser parse_tool_calls"
    " thinking_forced_open",
    COUNTED,
)
"""The form of the answer, some of which servers show to the model."""

OTHER_CAPS: Final[dict[str, Rule]] = {
    **each(
        "n_predict num_predict max_new_tokens max_length max_gen_len max_gen_tokens max_tokens_to_sample"
        " max_decode_steps maxTokens maxOutputTokens max_output_length tokens_to_generate",
        CAP,
    ),
    **each(
        "n_cmpl num_return_sequences candidate_count candidateCount num_completions num_generations"
        " num_beams num_outputs num_results",
        COUNT,
    ),
    **each("generation_config generationConfig sampling_params parameters model_parameters", SETTINGS),
}
"""Other names of the cap and of the count. llama.cpp takes `n_predict` before `max_tokens`."""

OLLAMA_OPTIONS: Final = Fields(
    {
        **each(
            "num_ctx num_keep num_batch num_gpu main_gpu num_thread numa low_vram f16_kv use_mmap"
            " use_mlock vocab_only logits_all embedding_only",
            HARMLESS,
        ),
        **SAMPLING,
        **OTHER_CAPS,
        **each("n best_of", COUNT),
        **each("max_tokens max_completion_tokens max_output_tokens", CAP),
    }
)

REASONING: Final = Fields(
    {
        **each("effort summary generate_summary context exclude enabled reasoning_effort", HARMLESS),
        "max_tokens": READ,
        "mode": Only(("standard",), "its other modes may run the model more often than the request says"),
    },
    READ,
)
THINKING: Final = Fields(
    {
        **each("type display block_binding enabled include_thoughts clear_thinking keep", HARMLESS),
        "budget_tokens": READ,
    },
    READ,
)
STREAM_OPTIONS: Final = Fields(
    each(
        "include_usage include_obfuscation continuous_usage_stats chunk_include_usage include_cost", HARMLESS
    )
)
JSON_SCHEMA: Final = Fields(each("name description schema strict schema_", COUNTED), COUNTED)
RESPONSE_FORMAT: Final = Fields(
    {
        **each("type schema regex grammar pattern value structures triggers at_least_one format", COUNTED),
        **each("name description strict syntax definition response_schema", COUNTED),
        "json_schema": JSON_SCHEMA,
    },
    COUNTED,
)
_PLACE: Final = Fields(each("type city country region timezone", HARMLESS))
WEB_SEARCH_OPTIONS: Final = Fields(
    {
        **each("search_context_size search_type filters latitude longitude", HARMLESS),
        "user_location": Fields({**_PLACE.rules, "approximate": _PLACE}),
    },
    READ,
)
TOOL_CHOICE: Final = Fields(
    {
        **each("type name mode tools server_label disable_parallel_tool_use", COUNTED),
        "function": Fields(each("name", COUNTED), COUNTED),
        "custom": Fields(each("name", COUNTED), COUNTED),
        "allowed_tools": Fields(each("mode tools", COUNTED), COUNTED),
    },
    COUNTED,
)
CACHE_CONTROL: Final = Fields(each("type ttl", HARMLESS))
CACHE_OPTIONS: Final = Fields(
    {
        **each("mode prewarm comparison_response_id", HARMLESS),
        "ttl": Only(("30m",), "a longer life in the cache may cost more"),
    }
)
"""https://developers.openai.com/api/docs/guides/prompt-caching"""

TEMPLATE_KWARGS: Final = Fields(
    {
        **each(
            "enable_thinking thinking thinking_budget thinking_mode reasoning_effort reasoning"
            " add_generation_prompt continue_final_message preserve_thinking clear_thinking"
            " keep_all_reasoning low_effort add_bos_token date_string documents custom_instructions"
            " system_message model_identity builtin_tools",
            COUNTED,
        ),
        **each("chat_template template", PROGRAM),
        **each("messages conversation tools tools_in_user_message", Refused("it is a second prompt")),
    },
    COUNTED,
)
"""What templates of published models read: each writes it at most once."""

PROVIDER: Final = Fields(
    {
        **each("max_price allow_fallbacks options", HARMLESS),
        "sort": Only(("price",), "the router may choose a dearer provider"),
        **each(
            "order only ignore quantizations require_parameters data_collection zdr"
            " enforce_distillable_text preferred_min_throughput preferred_max_latency",
            Refused("the router may choose a dearer provider"),
        ),
    }
)
"""OpenRouter's choice of who serves: https://openrouter.ai/docs/features/provider-routing"""

SEARCH: Final = Fields(
    {
        "mode": Only(("off",), "the number of sources has no cap"),
        **each("sources from_date to_date return_citations max_search_results", HARMLESS),
    }
)
"""xAI's live search: https://docs.x.ai/docs/guides/live-search"""

_EXTRA_BODY: Final = Refused("servers read it in different ways: put its fields into the request itself")
GOOGLE: Final = Fields(
    {
        "google": Fields(
            {
                "thinking_config": Fields(
                    each("thinking_budget thinking_level include_thoughts", HARMLESS),
                ),
                "cached_content": STORED,
            }
        )
    },
    others=_EXTRA_BODY,
)
"""What Gemini reads of `extra_body`: https://ai.google.dev/gemini-api/docs/openai"""

CLEARING: Final = Fields(
    {
        "edits": Fields(
            {
                "type": Only((), COMPACTS.why, prefixes=("clear_tool_uses_", "clear_thinking_")),
                **each("trigger keep clear_at_least exclude_tools clear_tool_inputs", HARMLESS),
            }
        ),
        "type": COMPACTS,
    }
)
"""Anthropic's edits of a context, of which those that only take input away ask the model no more."""

EVERYWHERE: Final[dict[str, Rule]] = {
    **each("model stream user store metadata safety_identifier", HARMLESS),
    "moderation": Fields(each("model policy", HARMLESS)),
    "cache_control": CACHE_CONTROL,
    **each("service_tier", READ),
    "background": Refused("its end cannot be watched"),
    "background_options": Refused("its end cannot be watched"),
    **each("mcp_servers container connectors", UNSEEN),
    **each("plugins models route preset fallbacks", ROUTED),
    "provider": PROVIDER,
    "usage": Fields(each("include", HARMLESS)),
    "chat_template": PROGRAM,
    "template": PROGRAM,
    **each("prompt_embeds images image_data multimodal_data audio_data video_data videos", MEDIA),
    **each("thread thread_id use_threads file_workspace_id context file_ids", STORED),
    "extra_body": _EXTRA_BODY,
    "options": OLLAMA_OPTIONS,
    "context_management": CLEARING,
    "deferred": Refused("its end cannot be watched"),
}
"""What may stand in any request."""

GENERATION: Final[dict[str, Rule]] = {
    **EVERYWHERE,
    **SAMPLING,
    **OUTPUT,
    **SERVER,
    **STRUCTURE,
    **OTHER_CAPS,
    "stream_options": STREAM_OPTIONS,
    **each("prompt_cache_key prompt_cache_retention", HARMLESS),
    "prompt_cache_options": CACHE_OPTIONS,
    "image_config": Refused("the size of pictures sets their price"),
    "safety_model": Refused("another model reads the answer"),
    "deferred_tools": Refused("it is a second list of tools: state them in tools"),
    "stop_server_tools_when": HARMLESS,
    **each("search_settings compound_custom include_domains exclude_domains", UNSEEN),
    **each("enable_search search_options", Refused("its searches have no cap")),
    "search_parameters": SEARCH,
    **each("agent_count max_turns guidelines", UNSEEN),
    **each("store_messages use_encrypted_content", HARMLESS),
    **each(
        "thinking_budget enable_thinking", Refused("some servers think beyond the cap: use reasoning_effort")
    ),
    "vl_high_resolution_images": Refused("pictures may cost more than their published maximum"),
}
"""What may stand wherever text is generated."""

CHAT_SERVERS: Final[dict[str, Rule]] = {
    **each("add_generation_prompt continue_final_message add_special_tokens", HARMLESS),
    "chat_template_kwargs": TEMPLATE_KWARGS,
    "documents": COUNTED,
    **each("input_ids task think system tool_config", COUNTED),
    **each("mm_processor_kwargs media_io_kwargs max_dynamic_patch min_dynamic_patch images_config", HARMLESS),
    "use_audio_in_video": HARMLESS,
    **each("thinking_token_budget reasoning_budget_tokens reasoning_budget_arm_immediately", HARMLESS),
    **each("reasoning_budget_start_tag reasoning_budget_end_tag reasoning_budget_message", COUNTED),
}
"""What vLLM, SGLang, llama.cpp and Ollama read of a chat. There a picture counts as the whole window."""
