"""Providers: where a field means something else at one of them than elsewhere.

Gemini's cached contents are bounded by the window, as other stored input is:
https://ai.google.dev/gemini-api/docs/openai.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from outlay.pricing.request_fields.rules import READ, Rule, each

OF_PROVIDER: Final[Mapping[tuple[str, str], Mapping[str, Rule]]] = {
    ("google", "chat"): each("extra_body google cached_content", READ),
}
