"""YAML: a configuration file, and those it includes, as plain values; nothing is read that is not plain.

A file is small, has no key twice, and cannot be made to grow by aliases. `include` names further files,
relative to the one that names them.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from math import isfinite
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from outlay.domain.money import float_at_most
from outlay.errors import InvalidValueError

MAX_BYTES: Final = 4 * 2**20
MAX_FILES: Final = 50
MAX_DEPTH: Final = 50
MAX_VALUES: Final = 200_000
"""The most values a file may hold, counted with those that its aliases repeat."""

_MAX_ALIASES: Final = 1_000
_MAX_MERGED: Final = 2_000
_MERGE_TAG: Final = "tag:yaml.org,2002:merge"
_QUOTED: Final = re.compile(r"'([^']*)'")
_MOST_QUOTED: Final = 3


class ReadFile(NamedTuple):
    """One file as it was read: its name for messages, and what it says."""

    name: str
    values: Mapping[str, Any]


def read_files(path: Path) -> list[ReadFile]:
    """Read a file and what it includes, itself first.

    Raises:
        InvalidValueError: a file cannot be read, is no YAML mapping, or is not plain; the message names the
            file, the line if there is one, and the remedy.
    """
    found: list[ReadFile] = []
    _read(path, "name the configuration with --config FILE", found, set())
    return found


def _read(path: Path, advice: str, found: list[ReadFile], seen: set[Path]) -> None:
    name = str(path)
    values = _parsed(_text(path, name, advice), name)
    seen.add(path.resolve())
    found.append(ReadFile(name, {key: value for key, value in values.items() if key != "include"}))
    included = values.get("include")
    if included is not None and not (
        isinstance(included, list) and all(isinstance(each, str) and each for each in included)
    ):
        raise InvalidValueError(f"{name}: include must be a list of file names, such as [models.yaml]")
    for each in included or []:
        other = path.parent / each
        if other.resolve() in seen or len(found) >= MAX_FILES:
            raise InvalidValueError(f"{name}: include names {each!r} twice, or more than {MAX_FILES} files")
        _read(other, f"correct the include of {name}", found, seen)


def _text(path: Path, name: str, advice: str) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidValueError(f"{name} cannot be read ({reason}): {advice}") from error
    if len(content) > MAX_BYTES:
        raise InvalidValueError(f"{name} has more than {MAX_BYTES // 2**20} MiB: split it, or take parts out")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidValueError(f"{name} is not UTF-8 text (byte {error.start}): save it as UTF-8") from None


def _parsed(text: str, name: str) -> Mapping[str, Any]:
    loader = None
    try:
        loader = _PlainLoader(text)
        values = loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        raise InvalidValueError(_marked(name, error)) from None
    except yaml.YAMLError as error:
        at = getattr(error, "position", None)
        line = f", line {text.count(chr(10), 0, at) + 1}" if isinstance(at, int) else ""
        raise InvalidValueError(f"{name}{line} is not YAML: it holds a character that no text has") from None
    except (ValueError, OverflowError):  # such as a date of the 40th, or a number of 5,000 digits
        line = f", line {loader.scalar_line}" if loader else ""
        raise InvalidValueError(f"{name}{line} is no date or number that can be: put it in quotes") from None
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise InvalidValueError(f"{name} must be a mapping with keys such as model_list")
    _check_size(values, name)
    return values


def _marked(name: str, error: yaml.MarkedYAMLError) -> str:
    """What is wrong and where, without the text of the line, which may hold a secret."""
    mark = error.problem_mark or error.context_mark
    line = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return f"{name}{line} is not YAML: {_QUOTED.sub(_unquoted, error.problem or 'it cannot be read')}"


def _unquoted(match: re.Match[str]) -> str:
    """A sign or the name of a token, such as `<block end>`; of any other text, that it is one."""
    return match[0] if len(match[1]) <= _MOST_QUOTED or match[1].startswith("<") else "that text"


def _check_size(values: Any, name: str) -> None:
    ahead, count = [(values, 1)], 0
    while ahead:
        value, depth = ahead.pop()
        count += 1
        if count > MAX_VALUES or depth > MAX_DEPTH:
            raise InvalidValueError(
                f"{name} holds more than {MAX_VALUES:,} values, or {MAX_DEPTH} levels: see what its aliases "
                "repeat"
            )
        if isinstance(value, Mapping | list):
            below = value.values() if isinstance(value, Mapping) else value
            ahead += [(each, depth + 1) for each in below]


class _PlainLoader(yaml.SafeLoader):
    """A safe loader that refuses keys given twice, deep nesting, and aliases that multiply."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = self._aliases = 0
        self.scalar_line = 1

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._aliases += self.check_event(yaml.AliasEvent)
        self._depth += 1
        if self._depth > MAX_DEPTH or self._aliases > _MAX_ALIASES:
            what = "aliases" if self._aliases > _MAX_ALIASES else "levels"
            raise yaml.MarkedYAMLError(problem=f"too many {what}", problem_mark=self.get_mark())
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen: set[Hashable] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE_TAG:
                continue
            if (key.tag, key.value) in seen:
                problem = f'the key "{key.value[:80]}" is there twice: keep one'
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            seen.add((key.tag, key.value))
        return node

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        self.scalar_line = node.start_mark.line + 1
        return super().construct_scalar(node)

    def construct_yaml_float(self, node: yaml.ScalarNode) -> float:
        """A limit of many digits must not grow, nor become 0, by being read as a float."""
        text = node.value.replace("_", "")
        number: float = super().construct_yaml_float(node)
        if not isfinite(number) or ":" in text:  # 1:30.5, a number of base 60
            return number
        try:
            return float_at_most(text)
        except ValueError as error:
            raise yaml.MarkedYAMLError(problem=str(error), problem_mark=node.start_mark) from None

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        super().flatten_mapping(node)
        if len(node.value) > _MAX_MERGED:
            raise yaml.MarkedYAMLError(problem="too many merged keys", problem_mark=node.start_mark)


_PlainLoader.add_constructor("tag:yaml.org,2002:float", _PlainLoader.construct_yaml_float)
