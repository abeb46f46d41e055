"""Rules: what a field of a request may do to its cost.

Three classes. *Harmless*: it puts nothing into the prompt and changes no price (`HARMLESS`). *Bounded*: the
bound reads it (`READ`), or the bytes of its JSON are no fewer than the tokens it adds (`COUNTED`), or its own
fields have rules (`Fields`). *Refused*: nothing bounds it (`Refused`), but for some of its values (`Only`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Final


class Treatment(Enum):
    """How the bound treats a field that passes with any value."""

    HARMLESS = auto()
    READ = auto()
    COUNTED = auto()


HARMLESS: Final = Treatment.HARMLESS
READ: Final = Treatment.READ
COUNTED: Final = Treatment.COUNTED


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing bounds what it costs; `why` completes "The cost of … cannot be bounded: …"."""

    why: str


@dataclass(frozen=True, slots=True)
class Only:
    """It passes with one of these values, or a text that begins with a prefix; any other is refused."""

    values: tuple[object, ...]
    why: str
    prefixes: tuple[str, ...] = ()
    treatment: Treatment = HARMLESS

    def admits(self, value: Any) -> bool:
        """Whether it passes with this value."""
        return value in self.values or (isinstance(value, str) and value.startswith(self.prefixes or ("\0",)))


@dataclass(frozen=True, slots=True)
class Fields:
    """An object, or a list of objects, whose own fields have rules. A value of another kind passes.

    `others` refuses every field without a rule. `names` are those that pass with any value, `folded` all of
    them as `fold` writes them.
    """

    rules: Mapping[str, Rule]
    treatment: Treatment = HARMLESS
    others: Refused | None = None
    names: frozenset[str] = field(init=False, repr=False)
    folded: frozenset[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        passing = (name for name, rule in self.rules.items() if isinstance(rule, Treatment))
        object.__setattr__(self, "names", frozenset(passing))
        object.__setattr__(self, "folded", frozenset(map(fold, self.rules)))


Rule = Treatment | Refused | Only | Fields


def each(names: Iterable[str] | str, rule: Rule) -> dict[str, Rule]:
    """Give names, or a text of names with blanks between them, the same rule."""
    return dict.fromkeys(names.split() if isinstance(names, str) else names, rule)


def treatment_of(rule: Rule) -> Treatment:
    """How the bound treats a field that passes under this rule."""
    if isinstance(rule, Treatment):
        return rule
    return COUNTED if isinstance(rule, Refused) else rule.treatment


def fold(name: str) -> str:
    """A name as a reader that ignores case may read it: `Max_Tokens`, and `max_toKens` with a Kelvin sign."""
    if name.isascii():
        return name.lower()
    from unicodedata import normalize

    return normalize("NFKC", normalize("NFKC", name).casefold()).casefold()


def asks_for_nothing(value: Any) -> bool:
    """Whether a value is null, false, or an empty text, list or object: as if the field were absent."""
    return not value and (value is False or not isinstance(value, int | float))
