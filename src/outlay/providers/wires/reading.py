"""Reading: what an answer says, taken off the wire and not yet believed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from outlay.errors import ProviderConnectionError, ProviderError, ProviderFailedError
from outlay.pricing.dimensions import ANSWERED
from outlay.pricing.figures import is_count
from outlay.providers.wires.usage import Claim, Tally, with_uses

PENDING: Final = frozenset({"queued", "in_progress", "pending", "processing", "running", "deferred"})
"""Words for an answer that is yet to come."""


@dataclass(slots=True)
class Reading:
    """What is known of an answer so far.

    `tally` is its usage, `is_final` whether the wire's own end was seen (`[DONE]`, `response.completed`,
    `message_stop`, or a whole body), `finish_reasons` are by choice, `error` is an error sent in the middle
    of an answer, `malformed` counts events that could not be read. `is_accepted` (202) and `is_pending`
    (`queued`, `in_progress`): the provider has yet to answer. `has_data`: an embedding came.
    `tool_uses` are the uses of the provider's own tools that the answer shows, by the unit that is billed.
    `is_output_told` is False while the usage has no more than a placeholder for the output. `stated_cost` is
    a header's. `served` is how the answer says it was served, in lower case: `service_tier`, `speed`,
    `inference_geo`.
    """

    response_id: str | None = None
    model: str | None = None
    served: dict[str, str] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)
    finish_reasons: dict[int, str] = field(default_factory=dict)
    choices: int = 0
    is_final: bool = False
    is_accepted: bool = False
    is_pending: bool = False
    has_data: bool = False
    is_output_told: bool = True
    stated_cost: str | None = None
    tool_uses: dict[str, int] = field(default_factory=dict)
    error: Mapping[str, Any] | None = None
    malformed: int = 0
    _claim: Claim | None = None
    _pieces: dict[int, list[str]] = field(default_factory=dict)

    @property
    def claim(self) -> Claim | None:
        """The largest of each counter that a usage had so far; None: no usage yet.

        Of the tools' uses, the larger of what the usage tells and what the answer shows.
        """
        if self._claim is None or not self.tool_uses:
            return self._claim
        return with_uses(self._claim, self.tool_uses)

    @property
    def is_doubtful(self) -> bool:
        """Whether its usage cannot be its last word."""
        return not self.is_output_told or self.tally.is_doubtful

    @property
    def is_finished(self) -> bool:
        """Whether each choice says why it ended, or the embeddings came."""
        return self.has_data or 0 < self.choices <= len(self.finish_reasons)

    @property
    def is_complete(self) -> bool:
        """Whether all of the answer came, even from a provider that leaves out the end mark."""
        return self.is_final or self.is_finished

    @property
    def finish_reason(self) -> str | None:
        """Why the first choice ended."""
        return self.finish_reasons.get(0)

    @property
    def is_to_come(self) -> bool:
        """Whether the provider says that it has yet to answer."""
        return self.is_accepted or self.is_pending

    @property
    def has_usable_usage(self) -> bool:
        """Whether it said in the end what it used: some tokens, and how much of them came out."""
        claim = self.claim
        if claim is None or not self.is_complete or not self.is_output_told:
            return False
        counts = [count for unit in ("input_tokens", "output_tokens") if is_count(count := claim.get(unit))]
        return any(counts) and (is_count(claim.get("output_tokens")) or self.has_data)

    @property
    def is_unknown(self) -> bool:
        """Whether it is no answer and does not say what it used: anything up to the hold may be billed."""
        if self.is_to_come:
            return True
        if self.has_usable_usage:
            return False
        return self.error is not None or not (self.is_finished and (self.has_text or self.has_data))

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

    def note_uses(self, units: Iterable[str]) -> None:
        """Note the uses of tools that the whole of an answer shows, or all of a stream so far."""
        for unit, uses in Counter(units).items():
            self.tool_uses[unit] = max(uses, self.tool_uses.get(unit, 0))

    def read_usage(self, document: Mapping[str, Any]) -> bool:
        """Take in the usage of a document, if it has one."""
        is_found = self.tally.add_all(document)
        if is_found:
            self._claim = self.tally.claim()
        return is_found

    def note_state(self, document: Mapping[str, Any]) -> None:
        """Note the state that a document says it is in."""
        status = document.get("status")
        self.is_pending = isinstance(status, str) and status.strip().lower() in PENDING

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
            for name in ANSWERED & place.keys():
                value = place[name]
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

    def end_failure(self, provider: str) -> ProviderError | None:
        """The error of an answer that is over: one sent inside it, or an end that came too soon."""
        if self.error is not None or self.is_complete:
            return self.failure(provider)
        return ProviderConnectionError(
            f"{provider} ended its stream without an end mark. It may have been billed.",
            is_unknown_outcome=True,
        )
