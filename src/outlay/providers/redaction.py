"""Redaction: what a provider said, without the credential that it repeats, however it writes that.

A credential is looked for as it is, with JSON's escapes (`\\/`, `\\u0073`; in a text of JSON in JSON too),
and percent-encoded. Not in base64: no request carries it so.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

LEAST_SECRET: Final = 8
"""A credential of fewer characters is no secret (`none`, `ollama`): its letters stand in anybody's words."""

REDACTED: Final = "[redacted]"
_MARK: Final = REDACTED.encode()
_LIKE_A_KEY: Final = re.compile(
    rf"\b(sk|pk|gsk|xai|key)-[A-Za-z0-9_\-]{{{LEAST_SECRET},}}|(?i:bearer)\s+\S{{{LEAST_SECRET},}}"
)
_MOST_BYTES_OF_A_CHARACTER: Final = 12  # `\\\\\\\u0073`


class _Forms(NamedTuple):
    """A credential as it is; what is in bytes that may have it in another form; and any form of it."""

    plain: bytes
    marks: tuple[bytes, ...]
    any_form: re.Pattern[bytes]


def without_credential(data: bytes, credential: str) -> bytes:
    """Give the bytes without the credential; the same object if it is not in them."""
    if len(credential) < LEAST_SECRET:
        return data
    forms = _forms_of(credential)
    for mark in forms.marks:
        if mark in data:
            return forms.any_form.sub(_MARK, data)
    return data.replace(forms.plain, _MARK) if forms.plain in data else data


def redact(body: bytes, credential: str, *, is_cut: bool = False) -> str:
    """Decode what a provider said, without the credential.

    Of a body that is cut, the end goes as far as the start of a credential may reach into it.
    """
    if is_cut and len(credential) >= LEAST_SECRET:
        longest = _MOST_BYTES_OF_A_CHARACTER * len(credential.encode())
        whole = without_credential(body, credential)
        body = whole[: max(len(whole) - longest, 0)]
    return without_credential(body, credential).decode("utf-8", "replace")


def without_keys(text: str) -> str:
    """Take out whatever looks like a key, of whomever."""
    return _LIKE_A_KEY.sub(REDACTED, text)


@lru_cache(maxsize=256)
def _forms_of(credential: str) -> _Forms:
    plain = credential.encode()
    # A longer run of backslashes is not for the first character: the rest of it would escape the mark.
    any_form = re.compile(b"".join(_any_form(byte) for byte in plain).replace(b"(?:", rb"(?:(?<!\\)", 1))
    has_escapes = re.search(rb'[/"\\]', plain) is not None
    return _Forms(plain, (b"\\" if has_escapes else b"\\u00", b"%"), any_form)


def _any_form(byte: int) -> bytes:
    r"""One character: as it is, escaped (`\/`, `\u002f`), or percent-encoded, at some depth.

    The counts are bounded: a text of nothing but backslashes must not take long.
    """
    character, code = re.escape(bytes([byte])), b"%02x" % byte
    return rb"(?:\\\\{0,6}(?:%b|u00(?i:%b))|%%(?:25){0,3}(?i:%b)|%b)" % (character, code, code, character)
