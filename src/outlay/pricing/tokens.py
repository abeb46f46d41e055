"""Tokens: counting text offline with the vocabulary a model uses, or the nearest that ships with us.

Which OpenAI model uses which vocabulary: tiktoken's `model.py`
(https://github.com/openai/tiktoken/blob/main/tiktoken/model.py); models it does not name are only *near*
o200k. The others: the tokenizer files their makers published with the weights. Texts are encoded as
ordinary text: `<|endoftext|>` written by a user counts as the characters it is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Literal

from outlay.errors import InvalidValueError
from outlay.pricing.names import bare_model

if TYPE_CHECKING:
    from splintr import AnyTokenizer

Quality = Literal["exact", "nearest"]

TOKENS_PER_MESSAGE: Final = 3
TOKENS_PER_NAME: Final = 1
REPLY_PRIMER: Final = 3
"""OpenAI's overheads of a chat: https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken.

gpt-3.5-turbo-0301 had 4 per message and -1 per name: a bound takes 4 and 1.
"""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A vocabulary that ships with splintr, and whether it is the model's own."""

    name: str
    is_exact: bool


@dataclass(frozen=True, slots=True)
class Count:
    """A number of tokens, and whether the model's own vocabulary gave it."""

    tokens: int
    quality: Quality


_VOCABULARIES: Final[tuple[tuple[str, str, bool], ...]] = (
    (r"gpt-oss.*", "o200k_base", True),
    (r"(chatgpt-4o|gpt-4o|gpt-4\.1|gpt-4\.5|gpt-5|o1|o3|o4-mini)(-.*)?", "o200k_base", True),
    (r"(gpt-4|gpt-3\.5-turbo|gpt-35-turbo)(-.*)?|gpt-3\.5", "cl100k_base", True),
    (r"text-embedding-(ada-002|3-(small|large))|(davinci|babbage)-002", "cl100k_base", True),
    (r"deepseek-r1-distill-llama.*", "llama3", True),
    (r"deepseek-r1-distill-qwen.*", "qwen2", True),
    (r"deepseek-(v3(\.[12])?|r1)(-.*)?", "deepseek_v3", True),
    (r".*deepseek.*", "deepseek_v3", False),
    (r"(meta-)?llama-?v?3([.p][123])?(-.*)?", "llama3", True),
    (r".*llama.*", "llama3", False),
    (r"(open-)?mistral-nemo.*|mistral-small-(24b|3\.[12]).*", "mistral_v3", True),
    (r".*(mistral|mixtral|codestral|devstral|magistral|pixtral|ministral|voxtral).*", "mistral_v3", False),
    (r"qwen-?(2(\.5)?|3)(-coder)?-\d.*", "qwen3", True),
    (r".*(qwen|qwq|qvq).*", "qwen3", False),
    (r"glm-4-\d.*", "glm4", True),
    (r".*glm.*", "glm4", False),
    (r".*kimi.*", "kimi_k2", False),
    (r".*gemma.*|gemini.*", "gemma3", False),
    (r".*phi-?4.*", "phi4", False),
)
_NEAREST: Final = Vocabulary("o200k_base", is_exact=False)
LONGEST_COUNTED: Final = 1_000_000
_LONG_TEXT: Final = 20_000
"""A longer text is encoded without keeping other threads from running. Only the batch encoder can do that; it
would take a special token in the text as one token, where a provider takes it as text."""
_TOKEN_BYTES: Final = 4
_is_child = False
_loaded: dict[str, AnyTokenizer] = {}
_loading = Lock()


def _forget_in_child() -> None:
    """Another thread may have been counting at the fork: what it had locked stays locked in the child.

    The threads of the batch encoder are not there either.
    """
    global _is_child  # noqa: PLW0603 # a fact of the process
    _is_child = True
    _loaded.clear()
    _loading.release()


os.register_at_fork(
    before=_loading.acquire, after_in_parent=_loading.release, after_in_child=_forget_in_child
)


@lru_cache(maxsize=4096)
def vocabulary(provider: str, model: str) -> Vocabulary:  # noqa: ARG001 - a provider may need its own rule
    """Give the vocabulary of a model: its own if it ships with us, else the nearest."""
    name = bare_model(model)
    for pattern, vocabulary_name, is_exact in _VOCABULARIES:
        if re.fullmatch(pattern, name):
            return Vocabulary(vocabulary_name, is_exact)
    return _NEAREST


def tokenizer(name: str) -> AnyTokenizer:
    """Load a vocabulary when it is first needed: 30–90 ms and up to 30 MB each. Thread-safe."""
    found = _loaded.get(name)
    if found is None:
        from splintr import Tokenizer  # not under the lock: a fork that waits for the lock stops imports

        with _loading:
            found = _loaded.get(name)
            if found is None:
                found = _loaded[name] = Tokenizer.from_pretrained(name)
    return found


@lru_cache(maxsize=32)
def _specials(name: str) -> tuple[str, ...]:
    return tuple(tokenizer(name).special_tokens())


def count_ordinary(text: str, name: str) -> int:
    """Count a text's tokens in a vocabulary.

    Raises:
        InvalidValueError: the text holds a lone surrogate, which no UTF-8 can carry.
    """
    used = tokenizer(name)
    try:
        if len(text) >= _LONG_TEXT and not _is_child and not any(each in text for each in _specials(name)):
            tokens, _ = used.encode_batch_flat([text])  # other threads run meanwhile
            return len(tokens) // _TOKEN_BYTES
        return len(used.encode_ordinary(text))
    except UnicodeEncodeError:
        raise InvalidValueError("The text holds a lone surrogate: send valid Unicode") from None


def count_text(text: str, provider: str, model: str) -> Count:
    """Count a text as the model would, or as nearly as the shipped vocabularies allow.

    A very long text is taken as a token for four bytes: to count it would hold up everyone.
    """
    used = vocabulary(provider, model)
    if len(text) > LONGEST_COUNTED:
        return Count(_quarter(text), "nearest")
    return Count(count_ordinary(text, used.name), "exact" if used.is_exact else "nearest")


def count_messages(messages: Sequence[Mapping[str, Any]], provider: str, model: str) -> Count:
    """Count the prompt of a chat: its texts and OpenAI's documented overheads. Not a bound.

    Content may be text, a list of parts, or None; parts that are no text are not counted.

    Raises:
        InvalidValueError: a message is no mapping, or its content or tool calls are of another type.
    """
    if not isinstance(messages, list | tuple):
        raise InvalidValueError(f"messages must be a list of messages, not {type(messages).__name__}")
    total, is_exact = REPLY_PRIMER, vocabulary(provider, model).is_exact
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        if not isinstance(message, Mapping):
            raise InvalidValueError(f"{where} must be a mapping, not {type(message).__name__}")
        total += TOKENS_PER_MESSAGE + (TOKENS_PER_NAME if message.get("name") else 0)
        for text in _texts(message, where):
            count = count_text(text, provider, model)
            total += count.tokens
            is_exact = is_exact and count.quality == "exact"
    return Count(total, "exact" if is_exact else "nearest")


def _quarter(text: str) -> int:
    try:
        return len(text.encode()) // 4
    except UnicodeEncodeError:
        raise InvalidValueError("The text holds a lone surrogate: send valid Unicode") from None


def _texts(message: Mapping[str, Any], where: str) -> list[str]:
    texts = [message[key] for key in ("role", "name") if isinstance(message.get(key), str)]
    content = message.get("content")
    if isinstance(content, str):
        texts.append(content)
    elif isinstance(content, list):
        for part in content:
            text = part if isinstance(part, str) else part.get("text") if isinstance(part, Mapping) else None
            if isinstance(text, str):
                texts.append(text)
    elif content is not None:
        raise InvalidValueError(f"{where}.content must be text, a list of parts or null")
    calls = message.get("tool_calls") or ()
    if not isinstance(calls, Sequence):
        raise InvalidValueError(f"{where}.tool_calls must be a list, not {type(calls).__name__}")
    for call in calls:
        function = call.get("function") if isinstance(call, Mapping) else None
        if isinstance(function, Mapping):
            texts += [
                text for text in (function.get("name"), function.get("arguments")) if isinstance(text, str)
            ]
    return texts
