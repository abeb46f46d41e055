"""Inputs: an upper bound of the tokens a provider will count in a request's body.

Texts are measured by the model's own vocabulary or by their UTF-8 bytes (a byte-level tokenizer never makes
more tokens than bytes); tools, schemas and every field not known here by the bytes of their JSON. What the
provider writes around them is covered by `overheads`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from json import dumps
from typing import Any, Final

from outlay.errors import InvalidValueError
from outlay.pricing.bound.byte_bound import byte_bound
from outlay.pricing.bound.media import ImageMaximum
from outlay.pricing.bound.overheads import PER_FIELD, PER_IMAGE, PER_PART, Overheads, tool_overhead
from outlay.pricing.rates import CacheWrites

Measure = Callable[[str], int]

_TEXT_PARTS: Final = frozenset({"text", "input_text", "output_text", "refusal", "thinking", "summary_text"})
_IMAGE_PARTS: Final = frozenset({"image_url", "input_image", "image"})
_JSON_PARTS: Final = frozenset(
    {
        *("apply_patch_call", "apply_patch_call_output", "computer_call", "local_shell_call"),
        *("local_shell_call_output", "shell_call", "shell_call_output", "tool_search_call"),
        *("tool_search_output", "mcp_approval_request", "mcp_approval_response"),
        "function_call",
        "custom_tool_call",
        "reasoning",
        "redacted_thinking",
        "search_result",
        "server_tool_use",
        "tool_reference",
        "tool_use",
        "web_search_tool_result",
    }
)
_RESULT_PARTS: Final = frozenset({"tool_result", "function_call_output", "custom_tool_call_output"})
_UNCOUNTED_KEYS: Final = frozenset({"type", "cache_control", "annotations", "detail", "status", "index"})


class InputBound:
    """Adds up a bound; notes what it cannot see (`outside`: the field) and whether there is media.

    `uncounted` are the fields of the body whose own bytes put nothing into the prompt.
    """

    def __init__(
        self,
        measure: Measure,
        overheads: Overheads,
        image: ImageMaximum | None,
        uncounted: frozenset[str],
    ) -> None:
        self.tokens = 0
        self.outside: str | None = None
        self.has_media = False
        self.has_audio = False
        self.cache_writes: CacheWrites = "none"
        self._measure = measure
        self._overheads = overheads
        self._image = image
        self._uncounted = uncounted

    def chat(self, body: Mapping[str, Any]) -> None:
        """Add a body of `/v1/chat/completions`."""
        self.tokens += self._overheads.base
        self._messages(body.get("messages"), "messages")
        self._rest(body)

    def messages(self, body: Mapping[str, Any]) -> None:
        """Add a body of Anthropic's `/v1/messages`."""
        self.tokens += self._overheads.base
        self._content(body.get("system"), "system")
        self._messages(body.get("messages"), "messages")
        self._rest(body)

    def responses(self, body: Mapping[str, Any]) -> None:
        """Add a body of `/v1/responses`."""
        self.tokens += self._overheads.base
        self._content(body.get("instructions"), "instructions")
        given = body.get("input")
        if isinstance(given, list):
            for index, item in enumerate(given):
                self._item(item, f"input[{index}]")
        elif given is not None:
            self.tokens += self._overheads.per_message
            self._text(given, "input")
        self._rest(body)

    def prompts(self, value: object, field: str) -> int:
        """Add text, token ids, or a list of either; give the number of prompts.

        Raises:
            InvalidValueError: it is none of these, or empty.
        """
        prompts = value if isinstance(value, list) and not _is_token_ids(value) else [value]
        for index, prompt in enumerate(prompts):
            self.tokens += self._overheads.base
            where = field if prompts is not value else f"{field}[{index}]"
            if isinstance(prompt, list) and _is_token_ids(prompt):
                self.tokens += len(prompt)
            else:
                self._text(prompt, where)
        if not prompts:
            raise InvalidValueError(f"{field} must not be empty")
        return len(prompts)

    def completions(self, body: Mapping[str, Any]) -> int:
        """Add a body of `/v1/completions`; give the number of prompts, each of which is answered."""
        prompt = body.get("prompt")
        count = self.prompts("" if prompt is None else prompt, "prompt")
        if body.get("suffix") is not None:
            self._text(body["suffix"], "suffix")
            self.tokens *= count
        self._rest(body)
        return count

    def embeddings(self, body: Mapping[str, Any]) -> None:
        """Add a body of `/v1/embeddings`."""
        self.prompts(body.get("input"), "input")
        self._rest(body)

    def prediction(self, body: Mapping[str, Any]) -> int:
        """Give the most tokens of a predicted output: rejected ones are billed as output.

        https://platform.openai.com/docs/guides/predicted-outputs
        """
        predicted = body.get("prediction")
        if predicted is None:
            return 0
        if not isinstance(predicted, Mapping):
            raise InvalidValueError("prediction must be a mapping")
        before = self.tokens
        self._content(predicted.get("content"), "prediction.content")
        return self.tokens - before

    def _note_cache(self, holder: Mapping[str, Any]) -> None:
        """Take over the lifetime of a cache that a part, a message or the body asks for."""
        control = holder.get("cache_control")
        if control is not None:
            is_short = isinstance(control, Mapping) and control.get("ttl") in (None, "5m")
            self.cache_writes = "5m" if is_short and self.cache_writes != "any" else "any"

    def _messages(self, messages: object, where: str) -> None:
        if not isinstance(messages, list):
            raise InvalidValueError(f"{where} must be a list of messages")
        for index, message in enumerate(messages):
            self._message(message, f"{where}[{index}]")

    def _message(self, message: object, where: str) -> None:
        if not isinstance(message, Mapping):
            raise InvalidValueError(f"{where} must be a mapping, not {type(message).__name__}")
        self.tokens += self._overheads.per_message
        self._note_cache(message)
        for key, value in message.items():
            if key == "content":
                self._content(value, f"{where}.content")
            elif isinstance(value, str):
                self._text(value, f"{where}.{key}")
            elif key == "audio" and value is not None:
                self._unseen(f"{where}.audio")
                self.has_audio = True
            elif key not in _UNCOUNTED_KEYS:
                self._json(value, f"{where}.{key}")

    def _item(self, item: object, where: str) -> None:
        """Add one input item of the Responses API: a message, a call, its output, or a reference."""
        if not isinstance(item, Mapping):
            raise InvalidValueError(f"{where} must be a mapping, not {type(item).__name__}")
        if item.get("type", "message") == "message" and not _is_reference(item):
            self._message(item, where)
        elif item.get("type") == "reasoning" and _is_stored(item):
            self._unseen(where)
        else:
            self.tokens += self._overheads.per_message
            self._part(item, where)

    def _content(self, content: object, where: str) -> None:
        if isinstance(content, str):
            self._text(content, where)
        elif isinstance(content, list):
            for index, part in enumerate(content):
                self._part(part, f"{where}[{index}]")
        elif content is not None:
            raise InvalidValueError(
                f"{where} must be text, a list of parts or null, not {type(content).__name__}"
            )

    def _part(self, part: object, where: str) -> None:
        self.tokens += PER_PART
        if isinstance(part, str):
            self._text(part, where)
            return
        if not isinstance(part, Mapping):
            raise InvalidValueError(f"{where} must be text or a mapping, not {type(part).__name__}")
        self._note_cache(part)
        kind = part.get("type")
        if kind in _TEXT_PARTS:
            self._fields(part, where)
        elif kind in _IMAGE_PARTS:
            self._add_image(part, where)
        elif kind in _RESULT_PARTS:
            self._content(part.get("content"), f"{where}.content")
            self._content(part.get("output"), f"{where}.output")
            rest = {key: value for key, value in part.items() if key not in ("content", "output")}
            self._json(rest, where)
        elif kind in _JSON_PARTS:
            self._json(part, where)
        elif kind == "document":
            self._document(part, where)
        else:
            self.has_media = True
            self.has_audio = self.has_audio or kind in ("input_audio", "audio")
            self._unseen(where)

    def _fields(self, part: Mapping[str, Any], where: str) -> None:
        for key, value in part.items():
            if key in _UNCOUNTED_KEYS:
                continue
            if isinstance(value, str) or key == "text":
                self._text(value, f"{where}.{key}")
            else:
                self._json(value, f"{where}.{key}")

    def _document(self, part: Mapping[str, Any], where: str) -> None:
        source = part.get("source")
        kind = source.get("type") if isinstance(source, Mapping) else None
        rest = {key: value for key, value in part.items() if key != "source"}
        self._json(rest, where)
        self._beside(source, f"{where}.source", "media_type", "content" if kind == "content" else "data")
        if kind == "text":
            self._text(source.get("data"), f"{where}.source.data")  # type: ignore[union-attr]
        elif kind == "content":
            self._content(source.get("content"), f"{where}.source.content")  # type: ignore[union-attr]
        else:
            self.has_media = True
            self._unseen(where)

    def _add_image(self, part: Mapping[str, Any], where: str) -> None:
        self.has_media = True
        if self._image is None:
            self._unseen(where)
            return
        image = part.get("image_url")
        detail = image.get("detail") if isinstance(image, Mapping) else part.get("detail")
        self.tokens += self._image.at(detail) + PER_IMAGE
        self._beside(part, where, "image_url", "source", "file_id")
        self._beside(image, f"{where}.image_url", "url", "format")
        self._beside(part.get("source"), f"{where}.source", "media_type", "data", "url", "file_id")

    def _beside(self, part: object, where: str, *known: str) -> None:
        """Add what stands in a part of media beside the media: a provider may read it."""
        if isinstance(part, Mapping):
            given = {key: value for key, value in part.items() if key not in known and value is not None}
            self._fields(given, where)
        elif isinstance(part, list):
            self._json(part, where)

    def _rest(self, body: Mapping[str, Any]) -> None:
        """Add every other field that may reach the prompt: `request_fields` says which do not."""
        self._note_cache(body)
        uncounted = self._uncounted
        for key, value in body.items():
            if key in uncounted or not isinstance(value, str | list | dict) or not value:
                continue
            is_tools = key in ("tools", "functions")
            self._json(value, key, self._overheads.tool_indent if is_tools else None)
            self.tokens += PER_FIELD
            if is_tools:
                self.tokens += self._overheads.tools + sum(tool_overhead(tool) for tool in value)

    def _text(self, text: object, where: str) -> None:
        if not isinstance(text, str):
            raise InvalidValueError(f"{where} must be text, not {type(text).__name__}")
        try:
            self.tokens += self._measure(text)
        except (UnicodeEncodeError, InvalidValueError):
            raise InvalidValueError(f"{where} holds a lone surrogate: send valid Unicode") from None

    def _json(self, value: object, where: str, indent: int | None = None) -> None:
        """Add a value by the bytes of its JSON, non-ASCII escaped or not: templates write it either way."""
        if value is None or isinstance(value, bool | int | float):
            self.tokens += PER_PART
            return
        try:
            written = dumps(value, allow_nan=False, indent=indent)
            tokens = len(written)
            if "\\u" in written:  # a template may write it unescaped, where some characters grow
                tokens = max(tokens, byte_bound(dumps(value, ensure_ascii=False, indent=indent)))
        except (TypeError, ValueError, RecursionError):
            raise InvalidValueError(f"{where} must be plain JSON of valid Unicode") from None
        if '"cache_control"' in written:
            self.cache_writes = "any"
        self.tokens += tokens

    def _unseen(self, where: str) -> None:
        if self.outside is None:
            self.outside = where


def _is_reference(item: Mapping[str, Any]) -> bool:
    """Whether an item stands for one that is stored: a reference needs no type, only an id."""
    return "id" in item and "content" not in item


def _is_stored(reasoning: Mapping[str, Any]) -> bool:
    """Whether reasoning is stored at the provider under an id; its summary is not what goes in.

    https://developers.openai.com/api/docs/guides/reasoning ("Encrypted reasoning items")
    """
    return bool(reasoning.get("id")) and not any(map(reasoning.get, ("encrypted_content", "content")))


def _is_token_ids(value: list[object]) -> bool:
    return bool(value) and all(
        isinstance(each, int) and not isinstance(each, bool) and each >= 0 for each in value
    )
