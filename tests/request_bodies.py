"""A request of each format, and how to send it with other fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx2 as httpx
from gateways import HELLO, Gateway

CLAUDE = "claude-sonnet-4-6"
PATHS = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "embeddings": "/v1/embeddings",
    "responses": "/v1/responses",
    "messages": "/v1/messages",
}
BODIES: Mapping[str, dict[str, Any]] = {
    "chat": {"model": "demo", "messages": HELLO, "max_tokens": 5},
    "completions": {"model": "demo", "prompt": "Name three rivers.", "max_tokens": 5},
    "embeddings": {"model": "demo", "input": "Rivers"},
    "responses": {"model": "demo", "input": "Name three rivers.", "max_output_tokens": 16},
    "messages": {"model": CLAUDE, "messages": HELLO, "max_tokens": 5},
}


def post(
    gateway: Gateway, endpoint: str, more: Mapping[str, Any], budget: str = "", **headers: str
) -> httpx.Response:
    tags = {"x-outlay-tags": budget} if budget else {}
    with gateway.http(headers={**tags, **headers}) as client:
        return client.post(PATHS[endpoint], json={**BODIES[endpoint], **more})


def error_of(answer: httpx.Response) -> dict[str, Any]:
    error: dict[str, Any] = answer.json()["error"]
    return error
