"""Usage: how much of what a call used, as counts by kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Usage:
    """Counts by kind, whole numbers ≥ 0, named as genai-prices names its units.

    `input_tokens` and `output_tokens` are totals: `cache_read_tokens`, `cache_write_tokens`,
    `input_audio_tokens` … are parts of the first, `output_reasoning_tokens`, `output_audio_tokens` … of
    the second. Units beyond tokens (`web_searches`, `audio_seconds` …) stand beside them.
    """

    counts: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, input_tokens: int = 0, output_tokens: int = 0, **others: int) -> Usage:
        """Make a Usage from its totals and any other kinds; zeros of the other kinds are left out."""
        parts = {kind: count for kind, count in others.items() if count}
        return cls({"input_tokens": input_tokens, "output_tokens": output_tokens, **parts})

    @property
    def input_tokens(self) -> int:
        """All input tokens, cached ones included."""
        return self.counts.get("input_tokens", 0)

    @property
    def output_tokens(self) -> int:
        """All output tokens, reasoning included."""
        return self.counts.get("output_tokens", 0)

    @property
    def total_tokens(self) -> int:
        """Input and output tokens together: what a `tokens` budget counts."""
        return self.input_tokens + self.output_tokens
