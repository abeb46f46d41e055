"""The management API as tests ask it: what is done, what is refused, and what is shown."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from gateways import Gateway


def hashed(secret: str) -> str:
    """The hash of a key, as LiteLLM shows keys."""
    return hashlib.sha256(secret.encode()).hexdigest()


def done(gateway: Gateway, path: str, document: dict[str, Any], key: str | None = None) -> dict[str, Any]:
    """What a POST that works answers."""
    answer = gateway.post(path, document, key)
    assert answer.status_code == 200, answer.text
    row: dict[str, Any] = answer.json()
    return row


def refused(
    gateway: Gateway, path: str, document: dict[str, Any], key: str | None = None, *, status: int = 400
) -> str:
    """The message of a POST that is refused, in the gateway's one shape."""
    with gateway.http(key) as client:
        answer = client.post(path, content=json.dumps(document))
    assert answer.status_code == status, answer.text
    return message_of(answer.json())


def message_of(document: dict[str, Any]) -> str:
    """The message of a refusal in the gateway's one shape."""
    error = document["error"]
    assert error.keys() >= {"message", "type", "param", "code"}
    message: str = error["message"]
    return message


def shown(gateway: Gateway, path: str, params: dict[str, Any] | None = None, key: str | None = None) -> Any:
    """What a GET that works answers."""
    with gateway.http(key) as client:
        answer = client.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def info_of(gateway: Gateway, key: str) -> dict[str, Any]:
    """What `/key/info` shows the operator of a key."""
    row: dict[str, Any] = shown(gateway, "/key/info", {"key": key})["info"]
    return row
