"""The check: which fields of a request cannot be bounded, and which nobody here knows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from outlay.errors import InvalidValueError
from outlay.pricing.bound.hosted import is_caller_run
from outlay.pricing.names import price_provider
from outlay.pricing.request_fields.betas import BETAS, HEADER, beta_names
from outlay.pricing.request_fields.chat import CHAT
from outlay.pricing.request_fields.completions import COMPLETIONS
from outlay.pricing.request_fields.contents import (
    FUNCTION_TOOL,
    MESSAGE,
    OTHER_TOOL,
    PART,
    PARTS,
    REFUSED_PARTS,
    TOOLS,
)
from outlay.pricing.request_fields.embeddings import EMBEDDINGS
from outlay.pricing.request_fields.litellm import litellm_name
from outlay.pricing.request_fields.messages import MESSAGES
from outlay.pricing.request_fields.providers import OF_PROVIDER
from outlay.pricing.request_fields.responses import RESPONSES
from outlay.pricing.request_fields.rules import (
    COUNTED,
    Fields,
    Only,
    Refused,
    Rule,
    Treatment,
    asks_for_nothing,
    fold,
    treatment_of,
)

FORMATS: Final[Mapping[str, Fields]] = {
    "chat": CHAT,
    "completions": COMPLETIONS,
    "embeddings": EMBEDDINGS,
    "responses": RESPONSES,
    "messages": MESSAGES,
}
_MOST_SHOWN: Final = 100
_MOST_NAMED: Final = 8
_NO_PARTS: Final = (str, type(None))


class FieldNameError(InvalidValueError):
    """A name differs from that of a known field only in the case of its letters; `field` is its path."""


class FieldFindings(NamedTuple):
    """What stands in a request: the first field that nothing bounds, with the reason; the unknown ones."""

    refused: tuple[str, str] | None = None
    unknown: tuple[str, ...] = ()


NOTHING_FOUND: Final = FieldFindings()


@lru_cache(maxsize=1024)
def table_of(endpoint: str, provider: str) -> Fields:
    """The rules for a format, as they are at a provider."""
    base = FORMATS[endpoint]
    own = OF_PROVIDER.get((price_provider(provider), endpoint))
    return Fields({**base.rules, **own}) if own else base


@lru_cache(maxsize=1024)
def uncounted_fields(endpoint: str, provider: str) -> frozenset[str]:
    """The fields whose own bytes put nothing into the prompt, or that the bound reads elsewhere."""
    rules = table_of(endpoint, provider).rules
    return frozenset(name for name, rule in rules.items() if treatment_of(rule) is not COUNTED)


def check_fields(
    body: Mapping[str, Any],
    *,
    endpoint: str,
    provider: str,
    betas: str | None = None,
    allowed: frozenset[str] = frozenset(),
) -> FieldFindings:
    """Look at the names of a request's fields, those of nested objects, and the values of `anthropic-beta`.

    `allowed` are paths of unknown fields that an operator vouches for. A field that asks for nothing (null,
    false, or empty) is not found.

    Raises:
        FieldNameError: a name differs from a known one only in the case of its letters.
        InvalidValueError: it is nested too deeply to look at.
    """
    table = table_of(endpoint, provider)
    found = _Findings(allowed)
    names = table.names
    for name, value in body.items():
        if name not in names:
            found.field(table, name, value, name)
    try:
        found.contents(endpoint, body)
    except RecursionError:
        raise InvalidValueError("The body is nested too deeply") from None
    if endpoint == "messages":
        found.betas(betas, body)
    return found.result()


class _Findings:
    """What was found so far."""

    def __init__(self, allowed: frozenset[str]) -> None:
        self._allowed = allowed
        self._refused: tuple[str, str] | None = None
        self._unknown: list[str] = []

    def result(self) -> FieldFindings:
        if self._refused is None and not self._unknown:
            return NOTHING_FOUND
        return FieldFindings(self._refused, tuple(dict.fromkeys(self._unknown)))

    def contents(self, endpoint: str, body: Mapping[str, Any]) -> None:
        """Look at the messages and the tools of a body."""
        if endpoint in ("chat", "messages"):
            self.messages(body.get("messages"))
        elif endpoint == "responses":
            self.items(body.get("input"))
        if endpoint == "messages":
            self.parts(body.get("system"), "system")
        if body.get("tools"):
            self.tools(body["tools"])

    def field(self, table: Fields, name: str, value: Any, path: str) -> None:
        """Look at one field that does not pass at once."""
        rule = table.rules.get(name)
        if isinstance(rule, Treatment):
            return
        if isinstance(rule, Fields):
            self._nested(rule, value, path)
        elif rule is None:
            self._missing(table, name, value, path)
        elif not asks_for_nothing(value) and not (isinstance(rule, Only) and rule.admits(value)):
            self._refuse(path, rule)

    def messages(self, messages: Any) -> None:
        if not isinstance(messages, list):
            return
        known = MESSAGE.names
        for index, message in enumerate(messages):
            if type(message) is not dict:
                continue
            if not known.issuperset(message):
                self._object(MESSAGE, message, f"messages[{index}]")
            content = message.get("content")
            if type(content) not in _NO_PARTS:
                self.parts(content, f"messages[{index}].content")

    def items(self, items: Any) -> None:
        """Items of `/v1/responses`: messages, and parts."""
        if not isinstance(items, list):
            return
        for index, item in enumerate(items):
            if type(item) is dict and item.get("type", "message") == "message":
                if not MESSAGE.names.issuperset(item):
                    self._object(MESSAGE, item, f"input[{index}]")
                self.parts(item.get("content"), f"input[{index}].content")
            else:
                self.parts([item], "input", index)

    def parts(self, parts: Any, where: str, start: int = 0) -> None:
        if not isinstance(parts, list):
            return
        for index, part in enumerate(parts, start):
            if type(part) is not dict:
                continue
            kind = part.get("type")
            table = PARTS.get(kind) if type(kind) is str else None
            if table is None:
                self._other_part(part, kind, f"{where}[{index}]")
            elif not table.names.issuperset(part):
                self._object(table, part, f"{where}[{index}]")

    def _other_part(self, part: dict[str, Any], kind: Any, where: str) -> None:
        """Look at a part that may hold others."""
        if not PART.names.issuperset(part):
            self._object(PART, part, where)
        if isinstance(kind, str) and kind in REFUSED_PARTS:
            self._refuse(f"{where} ({kind})", REFUSED_PARTS[kind])
        for name in ("tools", "tool"):
            if part.get(name) and not _is_harmless_tool(part[name]):
                self._refuse(f"{where}.{name}", TOOLS)
        self.parts(part.get("content"), f"{where}.content")
        self.parts(part.get("output"), f"{where}.output")
        source = part.get("source")
        if isinstance(source, dict):
            self.parts(source.get("content"), f"{where}.source.content")

    def tools(self, tools: Any) -> None:
        if not isinstance(tools, list):
            return
        for index, tool in enumerate(tools):
            if type(tool) is dict:
                is_function = tool.get("type", "function") in ("function", "custom")
                self._object(FUNCTION_TOOL if is_function else OTHER_TOOL, tool, f"tools[{index}]")

    def betas(self, header: str | None, body: Mapping[str, Any]) -> None:
        names = beta_names(header) if header else []
        for field in ("betas", "anthropic_beta"):
            stated = body.get(field)
            if stated:
                names += (
                    [each for each in stated if isinstance(each, str)] if isinstance(stated, list) else []
                )
        for name in names:
            rule = BETAS.get(name)
            if isinstance(rule, Refused):
                self._refuse(f"{HEADER}: {name}", rule)
            elif rule is None:
                self._note(f"{HEADER}: {name}")

    def _nested(self, table: Fields, value: Any, path: str) -> None:
        if isinstance(value, Mapping):
            self._object(table, value, path)
        elif isinstance(value, list):
            for index, part in enumerate(value):
                if isinstance(part, Mapping):
                    self._object(table, part, f"{path}[{index}]")

    def _object(self, table: Fields, value: Mapping[str, Any], path: str) -> None:
        names = table.names
        for name, part in value.items():
            if name not in names:
                self.field(table, name, part, f"{path}.{name}")

    def _missing(self, table: Fields, name: str, value: Any, path: str) -> None:
        folded = fold(name)
        if folded in table.folded:
            known = next(known for known in table.rules if fold(known) == folded)
            raise _misspelled(path, known)
        if path == name and (litellms := litellm_name(name)) is not None:
            raise _misspelled(name, litellms)
        if asks_for_nothing(value):
            return
        if table.others is not None:
            self._refuse(path, table.others)
        else:
            self._note(path)

    def _note(self, path: str) -> None:
        if plain_path(path) not in self._allowed and len(self._unknown) < _MOST_NAMED:
            self._unknown.append(path[:_MOST_SHOWN])

    def _refuse(self, path: str, rule: Refused | Only) -> None:
        if self._refused is None:
            self._refused = path[:_MOST_SHOWN], rule.why


def _is_harmless_tool(tool: Any) -> bool:
    """Whether tools that a conversation brings are the caller's own, or only named."""
    if isinstance(tool, list):
        return all(map(_is_harmless_tool, tool))
    if not isinstance(tool, Mapping):
        return True
    kind = tool.get("type", "function")
    inner = (
        {"namespace": "tools", "tool_definition": "definition"}.get(kind) if isinstance(kind, str) else None
    )
    if inner is not None:
        return _is_harmless_tool(tool.get(inner))
    return kind == "tool_reference" or is_caller_run(tool)


def _misspelled(path: str, known: str) -> FieldNameError:
    shown = path[:_MOST_SHOWN]
    return FieldNameError(
        f"{shown!r} differs from {known!r} only in the case of its letters, and some servers take one for "
        f"the other: write {known!r}, or leave it out.",
        field=shown,
    )


def plain_path(path: str) -> str:
    """A path without the positions in lists: `messages[3].foo` is `messages.foo`."""
    if "[" not in path:
        return path
    from re import sub

    return sub(r"\[\d+\]", "", path)


def unproven_reason(fields: Iterable[str]) -> str:
    """Why a hard budget does not admit unknown fields, and what helps."""
    names = ", ".join(repr(field) for field in fields)
    return (
        f"What {names} may cost is not known here, so the request has no bound, and a hard budget applies. "
        "Leave it out, or have it listed in outlay.allowed_request_fields "
        "(outlay.unknown_request_fields: pass lets all such fields pass, unproven)."
    )


def check_allowed(path: str, where: str) -> str:
    """Check a field that an operator vouches for: nobody can for one that is known to have no bound.

    Raises:
        InvalidValueError: every format that has the field refuses it.
    """
    rules = [rule for table in FORMATS.values() if (rule := _rule_of(table, path)) is not None]
    beta = BETAS.get(path.removeprefix(f"{HEADER}: "))
    rules += [beta] if beta is not None else []
    if rules and all(isinstance(rule, Refused) for rule in rules):
        why = next(rule.why for rule in rules if isinstance(rule, Refused))
        raise InvalidValueError(f"{where} must not name {path!r}, which is known to have no bound: {why}")
    return path


def _rule_of(table: Fields, path: str) -> Rule | None:
    name, _, rest = path.partition(".")
    rule = table.rules.get(name)
    if not rest:
        return rule
    return _rule_of(rule, rest) if isinstance(rule, Fields) else None
