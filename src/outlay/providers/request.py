"""Request and Answer: what goes to a provider and what comes back, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from outlay.errors import ProviderNonsenseError
from outlay.providers.body import decode

FREE_FAILURES = frozenset({500, 501, 502, 503, 529})
"""The 5xx statuses that prove, before any content, that nothing was billed.

Not 504 and Cloudflare's 520–527: a gateway in between gave up waiting, and the model may have run on.
"""


@dataclass(frozen=True, slots=True)
class Request:
    """One POST to a provider, ready to send.

    `credential` is what must never show in an error; it is part of `headers` already. `provider` names the
    provider in messages. `free_failures` are the provider's statuses from 5xx, and 408 and 499, after which
    nothing is billed.
    """

    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    provider: str = "The provider"
    credential: str = field(default="", repr=False)
    free_failures: frozenset[int] = FREE_FAILURES


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole 2xx answer. `headers` have lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    provider: str = "The provider"

    def document(self) -> dict[str, Any]:
        """Parse the body.

        Raises:
            ProviderNonsenseError: it is not a JSON object; the request may have been billed.
        """
        try:
            document = decode(self.body)
        except ValueError as error:
            raise self._nonsense("is not JSON") from error
        if not isinstance(document, dict):
            raise self._nonsense("is JSON, but not an object")
        return document

    def _nonsense(self, what: str) -> ProviderNonsenseError:
        kind = self.headers.get("content-type", "no content type")
        return ProviderNonsenseError(
            f"{self.provider} answered {self.status} with a body that {what} ({kind}, {len(self.body):,} "
            "bytes): check that api_base points at its API. The request may have been billed.",
            status=self.status,
            is_unknown_outcome=True,
        )
