"""Body: JSON to bytes and back, the same for every wire."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from itertools import accumulate
from typing import Any, Final

from outlay.errors import InvalidValueError

DEEPEST: Final = 100
"""No answer nests deeper; one that does could end in a RecursionError of whoever reads it."""
_ODD_NUMBER: Final = re.compile(rb"NaN|Infinity|\d[eE]\+?\d{3}")
"""What Python and others write that is no JSON, or more than a float holds: it is read, and not believed."""
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b'[]{}"'))


def encode(content: Mapping[str, Any]) -> bytes:
    """Encode a request's body; pydantic models in it (an SDK's message, say) become plain objects.

    Raises:
        InvalidValueError: something in it has no place in JSON; the message says what.
    """
    import msgspec

    try:
        return msgspec.json.encode(content, enc_hook=_plain)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidValueError(f"The request cannot be written as JSON: {error}") from error


def plain(content: Mapping[str, Any]) -> dict[str, Any]:
    """Copy a request's body as what its JSON says, whatever objects it was made of.

    What is estimated is then what is sent: nobody can change it in between, and nothing hides in a type that
    only the encoder knows.

    Raises:
        InvalidValueError: something in it has no place in JSON; the message says what.
    """
    try:
        copy: dict[str, Any] = decode(encode(content))
    except InvalidValueError:
        raise
    except ValueError as error:
        raise InvalidValueError(f"The request cannot be read as JSON: {error}") from error
    return copy


def decode(data: bytes) -> Any:
    """Decode JSON that a provider sent; text in it that is no Unicode is mended.

    Raises:
        ValueError: it is not JSON, or nests more than a hundred deep.
    """
    if data.count(b"[") + data.count(b"{") > DEEPEST and _depth(data) > DEEPEST:
        raise ValueError(f"not JSON that can be read: it nests more than {DEEPEST} deep")
    try:
        return _decoder()(data)
    except UnicodeDecodeError:
        return decode(data.decode("utf-8", "replace").encode())
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        if b"\\ud" in data.lower():
            return _without_halves(data)
        if _ODD_NUMBER.search(data):
            return json.loads(data)
        raise ValueError(f"not JSON: {error}") from error


def decode_object(data: bytes) -> dict[str, Any] | None:
    """Decode a JSON object that a provider sent; None if it is anything else."""
    try:
        document = decode(data)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


@cache
def _decoder() -> Callable[[bytes], Any]:
    import msgspec

    return msgspec.json.Decoder().decode


def _without_halves(data: bytes) -> Any:
    """Decode JSON in which a text was cut in the middle of a surrogate pair: the half becomes a `?`."""
    import msgspec

    mended = json.dumps(json.loads(data), ensure_ascii=False).encode("utf-8", "replace")
    try:
        return msgspec.json.decode(mended)
    except msgspec.DecodeError as error:
        raise ValueError(f"not JSON: {error}") from error


def _depth(data: bytes) -> int:
    """How deep JSON nests, by its brackets outside of texts."""
    unescaped = data.replace(rb"\\", b"").replace(rb"\"", b"")
    brackets = b"".join(unescaped.translate(None, _NO_BRACKETS).split(b'"')[::2])
    return max(accumulate(1 if each in b"[{" else -1 for each in brackets), default=0)


def _plain(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    if dump is None:
        raise TypeError(f"{type(value).__name__} is not a JSON value")
    return dump(exclude_none=True, mode="json")
