"""OpenAI's wire: building requests, and reading whole answers.

Chat, completions, embeddings and responses, after OpenAI's API reference, and what those who speak its
wire do otherwise: Mistral's content in parts, OpenRouter's and vLLM's `reasoning`. Usage is read in `usage`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from outlay.errors import InvalidValueError
from outlay.providers.body import encode
from outlay.providers.catalogue import Endpoint, Quirks
from outlay.providers.request import Request
from outlay.providers.target import Target
from outlay.providers.wires.reading import Reading

_PATHS: dict[Endpoint, str] = {
    "chat": "/chat/completions",
    "completions": "/completions",
    "embeddings": "/embeddings",
    "responses": "/responses",
}
_UNITS: Final = {"web_search_call": "web_searches", "file_search_call": "storage_searches"}
_NO_END: Final = frozenset({"error", "failed", "cancelled", "canceled", "expired"})
"""How an answer says that it broke off: what it wrote until then is not all that it used."""


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


def read(body: Mapping[str, Any], endpoint: Endpoint, _quirks: Quirks | None = None) -> Reading:
    """Read a whole answer."""
    reading = Reading(is_final=True)
    reading.identify(body)
    reading.note_state(body)
    error = body.get("error")
    if error:
        reading.error = error if isinstance(error, Mapping) else {"message": str(error)}
    if endpoint == "responses":
        read_response_usage(body, reading)
        read_output(body, reading)
        return reading
    reading.read_usage(body)
    if endpoint == "embeddings":
        reading.has_data = bool(body.get("data"))
    for position, choice in enumerate(_objects(body.get("choices"))):
        read_choice(choice, reading, position)
    return reading


def read_choice(choice: Mapping[str, Any], reading: Reading, position: int = 0) -> None:
    """Read one choice of an answer (`message`, `text`) or of a chunk (`delta`, `text`)."""
    index = choice.get("index")
    index = index if isinstance(index, int) else position
    if index >= reading.choices:
        reading.choices = index + 1
    reason = choice.get("finish_reason")
    if isinstance(reason, str) and reason:
        if reason not in _NO_END:
            reading.finish_reasons[index] = reason
    elif index in reading.finish_reasons and _is_written(choice):
        del reading.finish_reasons[index]  # it goes on
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
    reading.note_state(response)
    status = response.get("status")
    if isinstance(status, str) and not reading.is_pending and status not in _NO_END:
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


def read_response_usage(response: Mapping[str, Any], reading: Reading) -> None:
    """Take in the usage of a Responses answer, and the uses of tools among its output."""
    reading.note_uses(used_units(response.get("output")))
    reading.read_usage(response)


def used_units(items: object) -> list[str]:
    """The unit that is billed for each use of a tool among the items of an output."""
    kinds = [item.get("type") for item in _objects(items)]
    return [_UNITS[kind] for kind in kinds if isinstance(kind, str) and kind in _UNITS]


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


def _is_written(choice: Mapping[str, Any]) -> bool:
    message = choice.get("delta") or choice.get("message")
    return bool(choice.get("text")) or (isinstance(message, Mapping) and any(_written(message)))


def _texts(content: Any) -> Iterable[Any]:
    """The texts in content, which may be parts, and those parts too (Mistral's `thinking`)."""
    if isinstance(content, str):
        yield content
    for part in _objects(content):
        yield part.get("text")
        yield from _texts(part.get("thinking"))


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
