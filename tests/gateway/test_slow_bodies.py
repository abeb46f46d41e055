"""Bodies that come slowly: they take nobody's room, and their key may have changed when they are there."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gateways import HELLO, Gateway, run_gateway
from journal import eventually

from outlay.gateway import pipeline
from outlay.gateway.config import Limits
from outlay.testing.provider import FakeProvider

pytest_plugins = ["gateway_fixtures"]

BODY = json.dumps({"model": "demo", "messages": HELLO, "max_tokens": 5}).encode()


def begin(gateway: Gateway, key: str) -> socket.socket:
    """Send a head, and half of the body it announces."""
    place = urlsplit(gateway.root_url)
    opened = socket.create_connection((place.hostname, place.port), timeout=10)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n"
    opened.sendall(head.encode() + b"content-length: %d\r\n\r\n" % len(BODY) + BODY[:20])
    return opened


def status_of(answering: socket.socket) -> int:
    """Send the rest, and give the answer's status."""
    with answering:
        answering.sendall(BODY[20:])
        return int(answering.recv(65_536).split()[1])


def test_slow_bodies_leave_room_for_other_callers(provider: FakeProvider, tmp_path: Path) -> None:
    with run_gateway(provider, tmp_path, limits=Limits(max_concurrency=2, drain_seconds=5)) as gateway:
        slow = [begin(gateway, gateway.master_key) for _ in range(5)]
        eventually(lambda: gateway.services.metrics.in_flight == len(slow))
        assert gateway.chat().status_code == 200
        assert [status_of(each) for each in slow] == [200] * len(slow)


def test_a_user_blocked_while_the_body_arrives_is_not_served(gateway: Gateway, monkeypatch: Any) -> None:
    monkeypatch.setattr(pipeline, "LONG_SECONDS", 0.0)
    gateway.post("/user/new", {"user_id": "ada", "auto_create_key": False})
    gateway.post("/team/new", {"team_id": "red"})
    key = gateway.new_key(user_id="ada", team_id="red")
    assert gateway.chat(key).status_code == 200
    billed = gateway.provider.bill.total_nanos
    slow = begin(gateway, key)
    eventually(lambda: gateway.services.metrics.in_flight == 1)
    assert gateway.post("/user/delete", {"user_ids": ["ada"]}).status_code == 200
    assert status_of(slow) == 401
    assert gateway.provider.bill.total_nanos == billed
