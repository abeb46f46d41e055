"""Callers: many at once, each of whom tries again when it is told to wait, as SDKs do."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import aiohttp
import uvloop

CALL_SECONDS = 600.0
PATIENCE_SECONDS = 5.0
DOWN_SECONDS = 300.0
_RECONNECT_SECONDS = 0.5
_MOST_WAIT_SECONDS = 60.0
_WAITABLE = (429, 503)
_SAID = 160


@dataclass(slots=True)
class Tally:
    """What the callers met: how many were served, and the other statuses; 0 is a broken connection.

    `said` is what the first answer of each such status had to say.
    """

    served: int = 0
    met: Counter[int] = field(default_factory=Counter)
    said: dict[int, str] = field(default_factory=dict)
    progress_at: float = field(default_factory=time.monotonic)

    def serve(self) -> None:
        """Somebody was served."""
        self.served += 1
        self.note_progress()

    def note_progress(self) -> None:
        """Something happened that is worth waiting after."""
        self.progress_at = time.monotonic()


class Callers:
    """Sends one body so often, `at_once` of them at a time.

    A caller tries again after 429 or 503 with `Retry-After`, and after a broken connection; any other refusal
    ends it. All give up when nobody was served for `PATIENCE_SECONDS`.
    """

    def __init__(
        self, root_url: str, key: str, body: Mapping[str, object], *, is_leaving: bool = False
    ) -> None:
        self._url = f"{root_url}/v1/chat/completions"
        self._headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        self._data = json.dumps(body).encode()
        self._is_leaving = is_leaving
        self.tally = Tally()

    def run(self, calls: int, at_once: int) -> Tally:
        """Make all calls."""
        return uvloop.run(self._run(calls, at_once))

    async def _run(self, calls: int, at_once: int) -> Tally:
        left = iter(range(calls))
        self.tally.note_progress()
        timeout = aiohttp.ClientTimeout(total=CALL_SECONDS)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

            async def several() -> None:
                for _ in left:
                    await self._call(session)

            await asyncio.gather(*(several() for _ in range(min(at_once, calls))))
        return self.tally

    async def _call(self, session: aiohttp.ClientSession) -> None:
        ends_at = time.monotonic() + DOWN_SECONDS
        while time.monotonic() < ends_at:
            wait = await self._try(session)
            if wait is None:
                return
            await asyncio.sleep(wait)

    async def _try(self, session: aiohttp.ClientSession) -> float | None:
        """One try; gives the seconds to wait before the next, or None if there is to be none."""
        try:
            async with session.post(self._url, data=self._data, headers=self._headers) as response:
                if response.status == 200:
                    await self._read(response)
                    self.tally.serve()
                    return None
                self.tally.met[response.status] += 1
                self.tally.said.setdefault(response.status, (await response.text())[:_SAID])
                return self._wait_after(response)
        except (aiohttp.ClientError, TimeoutError):
            self.tally.met[0] += 1
            return _RECONNECT_SECONDS

    async def _read(self, response: aiohttp.ClientResponse) -> None:
        if not self._is_leaving:
            await response.read()
            return
        seen = b""
        while b"data:" not in seen and (piece := await response.content.readany()):
            seen += piece
        response.close()

    def _wait_after(self, response: aiohttp.ClientResponse) -> float | None:
        told = response.headers.get("retry-after", "")
        if response.status not in _WAITABLE or not told.isdigit():
            return None
        is_tired = time.monotonic() - self.tally.progress_at > PATIENCE_SECONDS
        return None if is_tired else min(float(told), _MOST_WAIT_SECONDS)
