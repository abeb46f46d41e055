"""Sections: the mappings of a configuration, whose keys are taken one by one; what is left is unknown.

A value that begins with `os.environ/` is that variable's. What is wrong is collected in a `Report`, so that
all of it is told at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from outlay.domain.accounts import check_name
from outlay.errors import InvalidValueError
from outlay.gateway.config_values import (
    read_choice,
    read_flag,
    read_names,
    read_number,
    read_whole,
    shown_value,
)
from outlay.providers.redaction import LEAST_SECRET

T = TypeVar("T")

VARIABLE: Final = "os.environ/"
_HIDDEN_PREFIX: Final = 16


@dataclass(slots=True)
class Report:
    """What a configuration's reading found: problems, notes on what is not used, and the paths of keys that
    nobody reads.

    `environ` is where `os.environ/NAME` values come from. No problem shows such a value, or a secret.
    """

    environ: dict[str, str] = field(repr=False)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    _hidden: dict[str, str] = field(default_factory=dict, repr=False)

    def problem(self, message: str) -> None:
        """Note what is wrong, and with what."""
        for value, shown in self._hidden.items():
            end = next((n for n in range(len(value), _HIDDEN_PREFIX - 1, -1) if value[:n] in message), 0)
            end = end or (len(value) if value in message else 0)
            message = message.replace(value[:end], shown) if end else message
        self.problems.append(message)

    def hide(self, value: object, shown: str = "***") -> None:
        """Keep a value out of all problems."""
        if isinstance(value, str) and len(value) >= LEAST_SECRET:
            self._hidden[value] = shown

    def check(self, where: str, check: Callable[[], T]) -> T | None:
        """Give what `check` gives; what it refuses is a problem of `where`, and None."""
        try:
            return check()
        except InvalidValueError as error:
            self.problem(f"{where}: {error.message}")
            return None

    def resolve(self, value: Any, where: str) -> Any:
        """Give a value with the variables that it names in their places, at any depth.

        Raises:
            InvalidValueError: a variable is not set, or blank.
        """
        if isinstance(value, Mapping):
            return {key: self.resolve(each, f"{where}.{key}") for key, each in value.items()}
        if isinstance(value, list):
            return [self.resolve(each, f"{where}[{n}]") for n, each in enumerate(value)]
        if not isinstance(value, str) or not value.startswith(VARIABLE):
            return value
        name = value.removeprefix(VARIABLE).strip()
        found = self.environ.get(name, "").strip()
        if not found:
            raise InvalidValueError(
                f"{where} is {VARIABLE}{name}, and {name} is not set: set it, or write a value"
            )
        self.used.add(name)
        self.hide(found, f"{VARIABLE}{name}")
        return found


class Section:
    """A mapping of one file, or of several by `files` (key → name).

    Each `take…` gives a key's value; None if it is absent or null, or if it is a problem.
    """

    def __init__(
        self,
        values: Mapping[Any, Any],
        path: str,
        report: Report,
        *,
        file: str,
        files: Mapping[Any, str] | None = None,
    ) -> None:
        self.path, self.report, self.file = path, report, file
        self._left = dict(values)
        self._files = files or {}

    def where(self, key: object) -> str:
        """The path of a key of this section."""
        return f"{self.path}.{key}" if self.path else str(key)

    def at(self, key: object) -> str:
        """The path of a key with the file that it is in."""
        return f"{self.file_of(key)}: {self.where(key)}"

    def file_of(self, key: object) -> str:
        """The file that a key is in."""
        return self._files.get(key, self.file)

    def refuse(self, key: object, message: str) -> None:
        """Note that a key's value cannot be used; the message goes on after the key's path."""
        self.report.problem(f"{self.at(key)} {message}")

    def take(self, key: str, *, is_secret: bool = False) -> Any:
        """A value as it is, with the variables that it names in their places."""
        try:
            value = self.report.resolve(self._left.pop(key, None), self.where(key))
        except InvalidValueError as error:
            self.report.problem(f"{self.file_of(key)}: {error.message}")
            return None
        if is_secret:
            self.report.hide(value, self.where(key))
        return value

    def take_as(self, key: str, read: Callable[[Any, str], T]) -> T | None:
        """A value that `read(value, field)` checks; it raises InvalidValueError with the field in front."""
        value = self.take(key)
        if value is None:
            return None
        try:
            return read(value, self.where(key))
        except InvalidValueError as error:
            self.report.problem(f"{self.file_of(key)}: {error.message}")
            return None

    def take_text(self, key: str, *, is_secret: bool = False) -> str | None:
        """A text that can be stored; a secret one is not shown when it cannot be used."""
        value = self.take(key, is_secret=is_secret)
        if value is None:
            return None
        if isinstance(value, str) and value.strip():
            return self._named(key, value.strip(), is_secret)
        if isinstance(value, str):
            self.refuse(key, "is blank: write a value, or take the key out")
        else:
            shown = type(value).__name__ if is_secret else shown_value(value)
            self.refuse(key, f"must be text, not {shown}: put it in quotes")
        return None

    def take_number(self, key: str, *, least: float, most: float) -> float | None:
        """A finite number from `least` to `most`."""
        return self.take_as(key, lambda value, field: read_number(value, field, least=least, most=most))

    def take_whole(self, key: str, *, least: int, most: int) -> int | None:
        """A whole number from `least` to `most`."""
        return self.take_as(key, lambda value, field: read_whole(value, field, least=least, most=most))

    def take_flag(self, key: str) -> bool | None:
        """`true` or `false`."""
        return self.take_as(key, read_flag)

    def take_choice(self, key: str, choices: Sequence[T]) -> T | None:
        """One of some values."""
        return self.take_as(key, lambda value, field: read_choice(value, field, choices))

    def take_names(self, key: str) -> tuple[str, ...]:
        """A list of names; empty if it is absent."""
        return self.take_as(key, read_names) or ()

    def section(self, key: str) -> Section:
        """The mapping under a key; an empty one if it is absent. Its own keys are resolved when taken."""
        value = self._left.pop(key, None)
        file = self.file_of(key)
        if value is not None and not isinstance(value, Mapping):
            self.refuse(key, f"must be a mapping, not {type(value).__name__}")
            value = None
        return Section(value or {}, self.where(key), self.report, file=file)

    def sections(self, key: str) -> list[Section]:
        """The mappings of the list under a key; empty if it is absent."""
        value = self._left.pop(key, None)
        file = self.file_of(key)
        if value is None:
            return []
        if not isinstance(value, list):
            self.refuse(key, f"must be a list, not {type(value).__name__}")
            return []
        found = []
        for n, each in enumerate(value):
            if isinstance(each, Mapping):
                found.append(Section(each, f"{self.where(key)}[{n}]", self.report, file=file))
            else:
                self.refuse(f"{key}[{n}]", f"must be a mapping, not {type(each).__name__}")
        return found

    def has(self, key: str) -> bool:
        """Whether the key is there, not null, and not taken yet."""
        return self._left.get(key) is not None

    def raw(self, key: str) -> Any:
        """A value as the file writes it, which is not taken: for an id that shows no secret."""
        return self._left.get(key)

    def left(self) -> list[str]:
        """The keys that are left, in the file's order; one that is no text is a problem."""
        for key in [key for key in self._left if not isinstance(key, str)]:
            del self._left[key]
            self.refuse(repr(key), "must be text: put the key in quotes")
        return list(self._left)

    def end(self) -> None:
        """All that is implemented was taken: what is left is unknown, but for nulls."""
        for key in self.left():
            if self._left[key] is not None:
                self.report.unknown.append(self.where(key))

    def _named(self, key: str, value: str, is_secret: bool) -> str | None:
        try:
            return check_name(value, self.where(key))
        except InvalidValueError as error:
            if is_secret:
                self.refuse(key, "is too long, or holds a control character: copy it again")
            else:
                self.report.problem(f"{self.file_of(key)}: {error.message}")
            return None


def merged(sections: Sequence[Section], key: str) -> Section:
    """The sections under a key of several files as one. A key in two of them is a problem."""
    values: dict[Any, Any] = {}
    files: dict[Any, str] = {}
    parts = [part.section(key) for part in sections]
    for part in parts:
        for name in part.left():
            if name in values:
                part.refuse(name, f"is in {files[name]} too: keep one")
            else:
                values[name], files[name] = part.raw(name), part.file
    return Section(values, key, sections[0].report, file=sections[0].file, files=files)
