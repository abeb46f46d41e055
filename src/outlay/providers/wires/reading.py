"""Reading: what an answer says, taken off the wire and not yet believed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from outlay.errors import ProviderFailedError
from outlay.pricing.dimensions import ANSWERED

Claim = dict[str, object]
"""What a provider says it used: genai-prices' unit names → the raw values it sent, unjudged.

`input_tokens` and `output_tokens` are totals with their parts in them. A value that is null or absent is
left out; a negative one, a text or a fraction is passed on as it is.
"""


@dataclass(slots=True)
class Reading:
    """What is known of an answer so far.

    `claim` is the newest usage (None: none yet), `is_final` whether the wire's own end was seen (`[DONE]`,
    `response.completed`, `message_stop`, or a whole body), `finish_reasons` are by choice, `error` is an
    error sent in the middle of an answer, `malformed` counts events that could not be read. `served` is how
    the answer says it was served, in lower case: `service_tier`, `speed`, `inference_geo`.
    """

    response_id: str | None = None
    model: str | None = None
    served: dict[str, str] = field(default_factory=dict)
    claim: Claim | None = None
    finish_reasons: dict[int, str] = field(default_factory=dict)
    choices: int = 0
    is_final: bool = False
    error: Mapping[str, Any] | None = None
    malformed: int = 0
    _pieces: dict[int, list[str]] = field(default_factory=dict)

    @property
    def finish_reason(self) -> str | None:
        """Why the first choice ended."""
        return self.finish_reasons.get(0)

    @property
    def is_complete(self) -> bool:
        """Whether all of the answer came, even from a provider that leaves out the end mark."""
        return self.is_final or (self.choices > 0 and len(self.finish_reasons) >= self.choices)

    @property
    def texts(self) -> tuple[str, ...]:
        """All that the model wrote, a text a choice: content, visible reasoning, refusals, tool calls."""
        return tuple("".join(self._pieces[index]) for index in sorted(self._pieces))

    @property
    def text(self) -> str:
        """The texts of all choices together."""
        return "".join(self.texts)

    @property
    def has_text(self) -> bool:
        """Whether the model wrote anything."""
        return bool(self._pieces)

    def add(self, text: Any, choice: int = 0) -> None:
        """Take in a piece of what the model wrote; what is not text is ignored."""
        if isinstance(text, str) and text:
            pieces = self._pieces.get(choice)
            if pieces is None:
                pieces = self._pieces[choice] = []
            pieces.append(text)

    def identify(self, document: Mapping[str, Any]) -> None:
        """Take over the answer's id and model, each when it is given, and how it was served."""
        for name, key in (("response_id", "id"), ("model", "model")):
            value = document.get(key)
            if isinstance(value, str) and value:
                setattr(self, name, value)
        self.note_served(document)

    def note_served(self, document: Mapping[str, Any]) -> None:
        """Take over how the answer was served, as it says at its top or in its usage; the newest counts."""
        usage = document.get("usage")
        for place in (document, usage) if isinstance(usage, Mapping) else (document,):
            for name in ANSWERED:
                value = place.get(name)
                if value and isinstance(value, str) and value != self.served.get(name):
                    self.served[name] = value.strip().lower()

    def failure(self, provider: str = "The provider") -> ProviderFailedError | None:
        """The error to raise when the provider sent one inside its answer, else None."""
        if self.error is None:
            return None
        said = str(self.error.get("message") or self.error)[:500]
        return ProviderFailedError(
            f"{provider} broke off its answer: {said}", body=said, is_unknown_outcome=True
        )


def counted(usage: Mapping[str, Any], fields: Mapping[str, tuple[str, ...]]) -> Claim:
    """Pick values out of a usage object: unit → the path to it; null and absent ones are left out."""
    claim: Claim = {}
    for unit, path in fields.items():
        value: Any = usage
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is not None:
            claim[unit] = value
    return claim


def total(*values: object) -> int | None:
    """The sum of counts, or None if one of them is no whole number."""
    numbers = [value for value in values if isinstance(value, int) and not isinstance(value, bool)]
    return sum(numbers) if len(numbers) == len(values) else None
