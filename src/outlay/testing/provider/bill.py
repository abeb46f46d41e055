"""The bill: what the fake provider would invoice, kept apart from anything Outlay believes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, ClassVar

import msgspec


@dataclass(frozen=True, slots=True)
class Rate:
    """Integer nano-dollars a token."""

    input_nanos: int
    output_nanos: int


DEFAULT_RATE = Rate(2_500, 10_000)  # USD 2.50 and 10.00 a million


class Call(msgspec.Struct):
    """One billed call. `outcome` is `serving` while it runs, then one of:

    `served`, `hung_up` (the client left), `cut` (the provider reset the connection), `failed` (an error
    after it had begun, or a billed failure status).
    """

    id: str
    model: str
    endpoint: str
    input_tokens: int
    output_tokens: int
    nanos: int
    outcome: str = "serving"
    stated_nanos: int | None = None
    """What it is billed whatever its tokens."""


@dataclass(slots=True)
class Bill:
    """All calls, in the order they began, and their total.

    With `path`, every change is appended there as a line of JSON, at once, so that the bill outlives a
    process that is killed; `Bill.read` makes the bill again from such a file.
    """

    rates: Mapping[str, Rate] = field(default_factory=dict)
    default_rate: Rate = DEFAULT_RATE
    path: Path | None = None
    calls: list[Call] = field(default_factory=list)
    serving: int = 0
    _file: IO[bytes] | None = None

    _encode: ClassVar[Any] = msgspec.json.Encoder().encode

    def __post_init__(self) -> None:
        if self.path is not None:
            self._file = self.path.open("ab", buffering=0)

    @property
    def total_nanos(self) -> int:
        """What all calls cost so far."""
        return sum(call.nanos for call in self.calls)

    @property
    def input_tokens(self) -> int:
        """Input tokens of all calls."""
        return sum(call.input_tokens for call in self.calls)

    @property
    def output_tokens(self) -> int:
        """Output tokens of all calls."""
        return sum(call.output_tokens for call in self.calls)

    def begin(
        self,
        call_id: str,
        model: str,
        endpoint: str,
        *,
        input_tokens: int,
        output_tokens: int,
        stated_nanos: int | None = None,
    ) -> Call:
        """Put a call on the bill at the moment it starts to be served."""
        call = Call(call_id, model, endpoint, input_tokens, output_tokens, 0, stated_nanos=stated_nanos)
        call.nanos = self._nanos(call)
        self.calls.append(call)
        self.serving += 1
        self._write(call)
        return call

    def finish(self, call: Call, outcome: str, output_tokens: int) -> None:
        """End a call with what it really produced. A call ends once; later ends are ignored."""
        if call.outcome != "serving":
            return
        call.output_tokens = output_tokens
        call.nanos = self._nanos(call)
        call.outcome = outcome
        self.serving -= 1
        self._write(call)

    def as_dict(self) -> dict[str, Any]:
        """The bill as JSON-ready data: `total_nanos`, token totals, `serving` and `calls`."""
        return {
            "total_nanos": self.total_nanos,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "serving": self.serving,
            "count": len(self.calls),
            "calls": [msgspec.structs.asdict(call) for call in self.calls],
        }

    def close(self) -> None:
        """Close the file behind the bill, if there is one."""
        if self._file is not None:
            self._file.close()
            self._file = None

    @classmethod
    def read(cls, path: Path) -> Bill:
        """Make a bill again from its file: the last line of each call counts, a torn last line does not."""
        calls: dict[str, Call] = {}
        for line in path.read_bytes().splitlines():
            try:
                call = msgspec.json.decode(line, type=Call)
            except msgspec.DecodeError:
                continue
            calls[call.id] = call
        serving = sum(call.outcome == "serving" for call in calls.values())
        return cls(calls=list(calls.values()), serving=serving)

    def _nanos(self, call: Call) -> int:
        if call.stated_nanos is not None:
            return call.stated_nanos
        rate = self.rates.get(call.model, self.default_rate)
        return call.input_tokens * rate.input_nanos + call.output_tokens * rate.output_nanos

    def _write(self, call: Call) -> None:
        if self._file is not None:
            self._file.write(self._encode(call) + b"\n")
