"""OpenAI's wire: building requests, and reading whole answers.

Chat, completions, embeddings and responses, after OpenAI's API reference, and what those who speak its
wire do otherwise: DeepSeek's `prompt_cache_hit_tokens`, Groq's `x_groq`, xAI's reasoning beside the output,
Mistral's content in parts, OpenRouter's and vLLM's `reasoning`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from outlay.errors import InvalidValueError
from outlay.providers.body import encode
from outlay.providers.catalogue import Endpoint, Quirks
from outlay.providers.request import Request
from outlay.providers.target import Target
from outlay.providers.wires.reading import Claim, Reading, counted, total

_PATHS: dict[Endpoint, str] = {
    "chat": "/chat/completions",
    "completions": "/completions",
    "embeddings": "/embeddings",
    "responses": "/responses",
}
_CHAT_USAGE: dict[str, tuple[str, ...]] = {
    "input_tokens": ("prompt_tokens",),
    "output_tokens": ("completion_tokens",),
    "cache_read_tokens": ("prompt_tokens_details", "cached_tokens"),
    "cache_write_tokens": ("prompt_tokens_details", "cache_write_tokens"),
    "input_audio_tokens": ("prompt_tokens_details", "audio_tokens"),
    "output_audio_tokens": ("completion_tokens_details", "audio_tokens"),
    "output_reasoning_tokens": ("completion_tokens_details", "reasoning_tokens"),
    "web_searches": ("server_tool_use", "web_search_requests"),
}
_RESPONSES_USAGE: dict[str, tuple[str, ...]] = {
    "input_tokens": ("input_tokens",),
    "output_tokens": ("output_tokens",),
    "cache_read_tokens": ("input_tokens_details", "cached_tokens"),
    "cache_write_tokens": ("input_tokens_details", "cache_write_tokens"),
    "output_reasoning_tokens": ("output_tokens_details", "reasoning_tokens"),
}
_CACHE_READ_ELSEWHERE = ("prompt_cache_hit_tokens", "cached_tokens")  # DeepSeek; Moonshot


def build(
    target: Target,
    endpoint: Endpoint,
    body: Mapping[str, Any],
    _headers: Mapping[str, str] | None = None,
) -> Request:
    """Make the request: the caller's body with the provider's model name; a stream is asked for its usage.

    No header of a caller's goes along.

    Raises:
        InvalidValueError: this wire has no such endpoint, or the body is not JSON.
    """
    path = _PATHS.get(endpoint)
    if path is None:
        raise InvalidValueError(f"{target.provider.name} has no endpoint called {endpoint!r}.")
    content = {**body, "model": target.model}
    if content.get("stream") and endpoint in {"chat", "completions"}:
        _ask_for_usage(content, target.provider.quirks)
    headers = {"content-type": "application/json", "accept-encoding": "identity", "user-agent": "outlay"}
    headers["accept"] = "text/event-stream" if content.get("stream") else "application/json"
    if target.credential:
        headers["authorization"] = f"Bearer {target.credential}"
    return Request(
        url=_base_url(target) + path,
        headers=headers,
        body=encode(content),
        provider=target.provider.name,
        credential=target.credential,
        free_failures=target.provider.quirks.free_failures,
    )


def read(body: Mapping[str, Any], endpoint: Endpoint, quirks: Quirks | None = None) -> Reading:
    """Read a whole answer."""
    reading = Reading(is_final=True)
    reading.identify(body)
    error = body.get("error")
    if error:
        reading.error = error if isinstance(error, Mapping) else {"message": str(error)}
    reading.claim = read_usage(body, endpoint, quirks)
    if endpoint == "responses":
        read_output(body, reading)
        return reading
    for position, choice in enumerate(_objects(body.get("choices"))):
        read_choice(choice, reading, position)
    return reading


def read_usage(body: Mapping[str, Any], endpoint: Endpoint, quirks: Quirks | None = None) -> Claim | None:
    """What an answer or a chunk claims to have used, or None if it does not say."""
    usage = body.get("usage")
    if usage is None:
        groq = body.get("x_groq")
        usage = groq.get("usage") if groq and isinstance(groq, Mapping) else None
    if usage is None:
        return None
    if not isinstance(usage, Mapping):
        return {}
    if endpoint == "responses":
        return _responses_claim(body, usage)
    claim = counted(usage, _CHAT_USAGE)
    for key in _CACHE_READ_ELSEWHERE:
        if "cache_read_tokens" not in claim and usage.get(key) is not None:
            claim["cache_read_tokens"] = usage[key]
    if quirks is not None and quirks.is_reasoning_beside_output:
        whole = total(claim.get("output_tokens"), claim.get("output_reasoning_tokens", 0))
        claim.update({} if whole is None else {"output_tokens": whole})
    return claim


def read_choice(choice: Mapping[str, Any], reading: Reading, position: int = 0) -> None:
    """Read one choice of an answer (`message`, `text`) or of a chunk (`delta`, `text`)."""
    index = choice.get("index")
    index = index if isinstance(index, int) else position
    if index >= reading.choices:
        reading.choices = index + 1
    reason = choice.get("finish_reason")
    if isinstance(reason, str) and reason:
        reading.finish_reasons[index] = reason
    if "text" in choice:
        reading.add(choice["text"], index)
    message = choice.get("delta") or choice.get("message")
    if not message or not isinstance(message, dict | Mapping):
        return
    if len(message) == 1 and isinstance(message.get("content"), str):  # nearly every chunk of a stream
        reading.add(message["content"], index)
    else:
        for text in _written(message):
            reading.add(text, index)


def read_output(response: Mapping[str, Any], reading: Reading) -> None:
    """Read the state and the output items of a Responses answer."""
    reading.choices = 1
    status = response.get("status")
    if isinstance(status, str):
        details = response.get("incomplete_details")
        reason = details.get("reason") if isinstance(details, Mapping) else None
        reading.finish_reasons[0] = reason if isinstance(reason, str) else status
    if isinstance(response.get("error"), Mapping):
        reading.error = response["error"]
    for item in _objects(response.get("output")):
        for text in (item.get("name"), item.get("arguments"), item.get("input"), item.get("code")):
            reading.add(text)
        for part in _objects(item.get("content")):
            reading.add(part.get("text"))
            reading.add(part.get("refusal"))


def _base_url(target: Target) -> str:
    """Where this wire is spoken: Anthropic's base URL goes without the `/v1` that others have in theirs."""
    if target.provider.wire == "anthropic":
        return f"{target.base_url.removesuffix('/v1')}/v1"
    return target.base_url


def _ask_for_usage(content: dict[str, Any], quirks: Quirks) -> None:
    if not quirks.has_stream_options:
        content.pop("stream_options", None)
        return
    options = content.get("stream_options")
    given = options if isinstance(options, Mapping) else {}
    content["stream_options"] = {**given, "include_usage": True}


def _responses_claim(body: Mapping[str, Any], usage: Mapping[str, Any]) -> Claim:
    claim = counted(usage, _RESPONSES_USAGE)
    searches = sum(item.get("type") == "web_search_call" for item in _objects(body.get("output")))
    return {**claim, "web_searches": searches} if searches else claim


def _written(message: Mapping[str, Any]) -> Iterable[Any]:
    """The texts in a message or a delta; `reasoning` is a second name for `reasoning_content`."""
    yield message.get("reasoning_content") or message.get("reasoning")
    yield from _texts(message.get("content"))
    yield message.get("refusal")
    for call in _objects(message.get("tool_calls")):
        for part in (call.get("function"), call.get("custom")):
            if isinstance(part, Mapping):
                yield from (part.get("name"), part.get("arguments"), part.get("input"))
    old_call = message.get("function_call")
    if isinstance(old_call, Mapping):
        yield from (old_call.get("name"), old_call.get("arguments"))
    audio = message.get("audio")
    if isinstance(audio, Mapping):
        yield audio.get("transcript")


def _texts(content: Any) -> Iterable[Any]:
    """The texts in content, which may be parts, and those parts too (Mistral's `thinking`)."""
    if isinstance(content, str):
        yield content
    for part in _objects(content):
        yield part.get("text")
        yield from _texts(part.get("thinking"))


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
