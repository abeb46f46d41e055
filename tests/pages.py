"""The pages of the documentation, as tests read them: blocks, links, headings, terms."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCES_OF_OUTLAY = ROOT / "src" / "outlay"
REFERENCE = ROOT / "docs" / "reference"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

_FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (?P<title>.+)$", re.MULTILINE)
_TERM = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page, and the line of its first line of text."""

    info: str
    body: str
    line: int


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(match["info"].strip(), match["body"], text.count("\n", 0, match.start("body")))
        for match in _FENCE.finditer(text)
    ]


def python_of(page: Path) -> list[tuple[Block, str | None]]:
    """The Python of a page that is to run, each with the output that the page says it has, if it says."""
    found = blocks(page)
    return [
        (block, after.body if after is not None and after.info == "output" else None)
        for block, after in zip_longest(found, found[1:])
        if block.info == "python"
    ]


def prose(page: Path) -> str:
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def terms(name: str) -> set[str]:
    """All that a page of the reference has in backticks, and each word of it."""
    page = (REFERENCE / name).read_text(encoding="utf-8")
    found = set(_TERM.findall(_FENCE.sub("", page)))
    return found | {word for term in found for word in re.findall(r"[\w#./-]+", term)}


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives to the headings of a page."""
    titles = (match["title"] for match in _HEADING.finditer(prose(page)))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))
