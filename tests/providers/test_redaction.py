"""Redaction: no error shows a credential, nor does anything that hangs on it; and it never takes long."""

from __future__ import annotations

import asyncio
import json
import logging
from time import process_time

import pytest
from raw_provider import raw_provider

from outlay.errors import ProviderError
from outlay.gateway.logs import JsonFormatter
from outlay.providers.redaction import LEAST_SECRET, redact, without_credential
from outlay.providers.request import Request
from outlay.providers.transport import Transport

pytestmark = pytest.mark.once("rules that are the same on every Python")

KEY = "sk-very-secret-0123456789"
SAID = {
    "no HTTP": b"HTTP/9 " + KEY.encode() + b"\r\n\r\n",
    "bad chunks": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + KEY.encode() + b"\r\n",
    "a header without end": b"HTTP/1.1 200 OK\r\nx-" + KEY.encode() * 5_000,
    "nothing": b"",
    "half of it": b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n" + KEY.encode(),
    "no JSON": b"HTTP/1.1 200 OK\r\n\r\nyour key: " + KEY.encode(),
    "a redirect": b"HTTP/1.1 302 Go\r\nlocation: /" + KEY.encode() + b"\r\n\r\n",
    "a refusal": b"HTTP/1.1 400 Bad\r\nretry-after: " + KEY.encode() + b"\r\n\r\n" + KEY.encode(),
}


@pytest.mark.parametrize("said", SAID.values(), ids=SAID)
def test_no_error_and_no_cause_of_one_shows_the_credential(said: bytes) -> None:
    with raw_provider() as provider:
        provider.says(said)
        request = Request(f"{provider.base_url}/x", {"authorization": f"Bearer {KEY}"}, b"{}", "P", KEY)

        async def main() -> None:
            async with Transport() as transport:
                (await transport.send(request)).document()

        with pytest.raises(ProviderError) as caught:
            asyncio.run(main())
    error: BaseException | None = caught.value
    while error is not None:
        shown = f"{error} {error!r} {error.args!r} {getattr(error, '__dict__', {})!r}"
        assert KEY not in shown
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize("credential", ["", "e", "ex", "none", "ollama", "expecte"])
def test_a_short_credential_leaves_every_word_as_it_is(credential: str) -> None:
    assert len(credential) < LEAST_SECRET
    said = b"none of ollama's words was expected"
    assert without_credential(said, credential) == said
    assert redact(said, credential) == said.decode()
    assert redact(said, credential, is_cut=True) == said.decode()


def test_a_credential_of_eight_characters_is_taken_out() -> None:
    assert redact(b'{"k": "expected"}', "expected") == '{"k": "[redacted]"}'


@pytest.mark.parametrize("count", range(12))
def test_backslashes_before_a_credential_leave_json_that_can_be_read(count: int) -> None:
    document = {"said": "\\" * count + KEY, "then": 1}
    told = json.loads(redact(json.dumps(document).encode(), KEY))
    assert told["said"].endswith("[redacted]")
    assert told["then"] == 1


@pytest.mark.parametrize("said", [b"\\" * 10**6, b"%25" * 10**6, b"\\u0073" * 10**6, b"sk-very-%" * 10**5])
def test_no_text_takes_long(said: bytes) -> None:
    started = process_time()
    assert without_credential(said, KEY) == said
    assert process_time() - started < 3


def test_what_is_logged_keeps_its_words_and_no_keys() -> None:
    record = logging.LogRecord(
        "outlay", 20, "x", 1, "a key-word, no key: sk-0123456789 Bearer 0123456789", None, None
    )
    line = JsonFormatter().format(record)
    assert "a key-word, no key: [redacted] [redacted]" in line
