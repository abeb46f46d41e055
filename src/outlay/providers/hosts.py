"""Hosts: whether an address is a provider's own."""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import urlsplit


@lru_cache(maxsize=256)
def is_own_host(base_url: str | None, own_url: str) -> bool:
    """Whether an address is the provider's own: its host, or one below it (`eu-west-1.api.x.ai`)."""
    if base_url is None or base_url == own_url:
        return True
    given, own = urlsplit(base_url), urlsplit(own_url)
    host, own_host = given.hostname or "", own.hostname or ""
    is_same = host == own_host or (bool(own_host) and host.endswith(f".{own_host}"))
    return is_same and given.scheme == own.scheme and given.port == own.port
