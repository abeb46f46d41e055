"""Paging: one page of a list, as LiteLLM counts them."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Annotated, NamedTuple, TypeVar

from fastapi import Query

T = TypeVar("T")

PageNumber = Annotated[int, Query(ge=1, le=1_000_000)]
PageSize = Annotated[int, Query(ge=1, le=500)]


class Page(NamedTuple):
    """Which page of how many rows and pages."""

    total: int
    number: int
    pages: int


def page_of(rows: Sequence[T], number: int, size: int) -> tuple[Sequence[T], Page]:
    """Give the rows of one page, the first being 1; a page beyond the last is empty."""
    return rows[(number - 1) * size : number * size], Page(len(rows), number, ceil(len(rows) / size))
