"""Money: read exactly, rounded once, and shown without a digit too many."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, localcontext
from math import nextafter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outlay.domain.money import (
    MAX_NANOS,
    float_at_most,
    limit_float,
    parse_limit,
    parse_usd,
    round_half_up,
    round_up,
    usd_float,
    usd_text,
)
from outlay.errors import InvalidAmountError

pytestmark = pytest.mark.once("rules that are the same on every Python")

PROOF = settings(derandomize=True, deadline=None, max_examples=300)
NANOS = st.integers(0, MAX_NANOS)


@pytest.mark.parametrize(
    ("value", "nanos"),
    [
        (0, 0),
        (1, 1_000_000_000),
        (0.1, 100_000_000),
        (0.1 + 0.2, 300_000_000),
        ("0.000000001", 1),
        ("0.0000000004", 0),
        ("0.0000000005", 1),
        ("1e-9", 1),
        (Decimal("2.5"), 2_500_000_000),
        (10**9, MAX_NANOS),
        ("-0", 0),
    ],
)
def test_usd_is_read_exactly_and_rounded_half_up(value: object, nanos: int) -> None:
    assert parse_usd(value) == nanos


@pytest.mark.parametrize("value", ["", "ten", "1,5", None, True, [], b"1", "0x10", "１０", "٣"])
@pytest.mark.parametrize("parse", [parse_usd, parse_limit, limit_float])
def test_what_is_no_number_is_refused_by_name(parse: Callable[[object, str], object], value: object) -> None:
    with pytest.raises(InvalidAmountError, match="max_budget must be a number of USD"):
        parse(value, "max_budget")


@pytest.mark.parametrize(
    ("value", "nanos"),
    [
        ("0.0000000019", 1),
        ("1e-9", 1),
        (1.9999999999, 1_999_999_999),
        (Decimal("0.99999999999999999999"), 999_999_999),
        (0, 0),
        ("0.000", 0),
        ("-0", 0),
        (0.1, 100_000_000),
        (10**9, MAX_NANOS),
    ],
)
def test_a_limit_is_rounded_down(value: object, nanos: int) -> None:
    assert parse_limit(value) == nanos


@pytest.mark.parametrize("value", [5e-10, "5e-10", "0.0000000009999", Decimal("1e-400"), 5e-324, "1e-99999"])
@pytest.mark.parametrize("parse", [parse_limit, limit_float])
def test_a_limit_above_zero_never_becomes_zero(parse: Callable[[object, str], object], value: object) -> None:
    with pytest.raises(InvalidAmountError, match=r"max_budget is .* less than the smallest amount"):
        parse(value, "max_budget")


@pytest.mark.parametrize(
    "text",
    ["0.1", "123456789.123456789", "0.99999999999999999999", "1.0000000000000000001", "3", "1e-9", "0"],
)
def test_the_float_of_a_text_is_the_nearest_that_is_not_above_it(text: str) -> None:
    number = float_at_most(text)
    assert Decimal(repr(number)) <= Decimal(text)
    assert number in (float(text), nextafter(float(text), 0))


@pytest.mark.parametrize("text", ["1e-400", "1e-99999999999999999999999", "-1e-400"])
def test_a_text_too_small_for_a_float_is_no_zero(text: str) -> None:
    with pytest.raises(ValueError, match="too small"):
        float_at_most(text)


@PROOF
@given(st.decimals(Decimal("1e-9"), 10**9, places=14))
def test_a_limit_is_at_most_what_it_says_in_every_form(stated: Decimal) -> None:
    for form in (stated, str(stated), float_at_most(str(stated)), limit_float(stated)):
        assert 0 < parse_limit(form) <= stated * 10**9


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (-1, "negative"),
        (-1e-12, "negative"),
        (float("nan"), "finite"),
        (float("inf"), "finite"),
        ("Infinity", "finite"),
        (1e9 + 1, "at most"),
        (10**400, "at most"),
        ("1e999999", "at most"),
    ],
)
def test_absurd_amounts_are_refused_with_the_reason(value: object, why: str) -> None:
    with pytest.raises(InvalidAmountError, match=why):
        parse_usd(value)


def test_the_rounding_of_the_program_does_not_round_money() -> None:
    with localcontext() as context:
        context.prec = 2
        assert parse_usd(1.2399) == 1_239_900_000
        assert round_half_up(Decimal("12345.5")) == 12_346


def test_a_number_of_thousands_of_digits_is_refused_by_name() -> None:
    with pytest.raises(InvalidAmountError, match="total_budget must be a number"):
        parse_usd(10**5000, "total_budget")


@PROOF
@given(NANOS)
def test_the_text_of_an_amount_reads_back_as_the_amount(nanos: int) -> None:
    text = usd_text(nanos)
    assert parse_usd(text) == nanos
    assert "e" not in text
    assert not (text.endswith("0") and "." in text)


@PROOF
@given(NANOS)
def test_the_float_of_an_amount_is_the_nearest_one(nanos: int) -> None:
    assert usd_float(nanos) == float(Decimal(nanos) / 10**9)


@PROOF
@given(st.floats(0, 1e6))
def test_a_float_is_read_by_its_shortest_text(value: float) -> None:
    assert parse_usd(value) == round_half_up(Decimal(repr(value)) * 10**9)


@PROOF
@given(st.decimals(0, 10**15, places=6))
def test_an_estimate_is_never_below_the_cost_it_bounds(nanos: Decimal) -> None:
    assert round_half_up(nanos) <= round_up(nanos) < nanos + 1
    assert abs(round_half_up(nanos) - nanos) <= Decimal("0.5")


def test_debts_have_a_sign() -> None:
    assert usd_text(-1_500_000_000) == "-1.5"
    assert usd_text(0) == "0"
