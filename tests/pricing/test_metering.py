"""Which usage is charged when a provider's claim is right, missing, wrong or absurd."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outlay.pricing.metering import meter
from outlay.pricing.usage import Usage

pytestmark = pytest.mark.once("rules that are the same on every Python")

COUNTED = Usage.of(100, 50)


@pytest.mark.parametrize(
    "claim",
    [
        {"input_tokens": 100, "output_tokens": 50},
        {"input_tokens": 51, "output_tokens": 26},
        {"input_tokens": 100.0, "output_tokens": 900, "output_reasoning_tokens": 850},
        {"input_tokens": 100, "output_tokens": 50, "cache_read_tokens": None, "total_tokens": "150"},
    ],
)
def test_a_sound_claim_is_charged_as_it_is(claim: dict[str, object]) -> None:
    metered = meter(claim, counted=COUNTED, has_text=True)
    assert (metered.source, metered.is_disputed, metered.claimed) == ("provider", False, claim)
    assert metered.usage is not None
    assert metered.usage.output_tokens == claim["output_tokens"]


@pytest.mark.parametrize(
    ("claim", "input_tokens", "output_tokens"),
    [
        (None, 100, 50),
        ("nonsense", 100, 50),
        ({}, 100, 50),
        ({"input_tokens": 120}, 120, 50),
        ({"input_tokens": 120, "output_tokens": -3}, 120, 50),
        ({"input_tokens": 120, "output_tokens": 2.5}, 120, 50),
        ({"input_tokens": 120, "output_tokens": "60"}, 120, 60),
        ({"input_tokens": 120, "output_tokens": "sixty"}, 120, 50),
        ({"input_tokens": 120, "output_tokens": 60.5}, 120, 61),
        ({"input_tokens": 120, "output_tokens": True}, 120, 50),
        ({"input_tokens": 120, "output_tokens": math.nan}, 120, 50),
        ({"input_tokens": 120, "output_tokens": math.inf}, 120, 50),
        ({"input_tokens": 120, "output_tokens": 10**12}, 120, 50),
        ({"input_tokens": 120, "output_tokens": 0}, 120, 50),
        ({"input_tokens": 120, "output_tokens": 24}, 120, 50),
        ({"input_tokens": 120, "output_tokens": 25}, 120, 50),
        ({"input_tokens": 49, "output_tokens": 60}, 100, 60),
        ({"input_tokens": 120, "output_tokens": 60, "cache_read_tokens": 130}, 250, 60),
        ({"input_tokens": 120, "output_tokens": 60, "cache_read_tokens": -1}, 120, 60),
    ],
)
def test_a_claim_that_cannot_be_is_disputed_and_the_larger_is_charged(
    claim: object, input_tokens: int, output_tokens: int
) -> None:
    metered = meter(claim, counted=COUNTED, has_text=True)
    assert metered.is_disputed
    assert metered.usage is not None
    assert (metered.usage.input_tokens, metered.usage.output_tokens) == (input_tokens, output_tokens)
    assert metered.claimed == (claim if isinstance(claim, dict) else None)


@pytest.mark.parametrize(
    "claim",
    [
        None,
        {"output_tokens": 5},
        {"input_tokens": 10, "output_tokens": 0},
        {"input_tokens": 10, "output_tokens": -5},
        {"input_tokens": -10, "output_tokens": 5},
    ],
)
def test_without_a_count_a_claim_without_its_totals_presumes_the_hold(
    claim: dict[str, object] | None,
) -> None:
    metered = meter(claim, counted=None, has_text=True)
    assert (metered.usage, metered.source, metered.is_disputed) == (None, "presumed", True)


def test_hidden_reasoning_cannot_be_counted_so_a_missing_claim_presumes_the_hold() -> None:
    assert meter(None, counted=COUNTED, has_text=True, can_count=False).source == "presumed"
    assert meter(
        {"input_tokens": 9, "output_tokens": 9}, counted=COUNTED, has_text=True, can_count=False
    ) == meter({"input_tokens": 9, "output_tokens": 9}, counted=COUNTED, has_text=True, can_count=False)
    below = meter({"input_tokens": 100, "output_tokens": 9}, counted=COUNTED, has_text=True, can_count=False)
    assert below.usage is None


def test_an_embedding_claims_input_alone() -> None:
    metered = meter({"input_tokens": 7}, counted=Usage.of(7, 0), has_text=False)
    assert metered.usage == Usage.of(7, 0)
    assert not metered.is_disputed


def test_a_count_above_what_the_window_allows_is_absurd() -> None:
    claim = {"input_tokens": 100, "output_tokens": 300_000}
    assert meter(claim, counted=COUNTED, has_text=True, most_tokens=128_000).is_disputed


@given(
    claim=st.none()
    | st.dictionaries(
        st.sampled_from(["input_tokens", "output_tokens", "cache_read_tokens", "output_reasoning_tokens"]),
        st.integers(-5, 10**10) | st.floats() | st.none() | st.text() | st.booleans(),
    ),
    counted=st.none() | st.builds(Usage.of, st.integers(0, 1000), st.integers(0, 1000)),
    has_text=st.booleans(),
    can_count=st.booleans(),
)
@settings(derandomize=True, deadline=None, max_examples=1000)
def test_what_is_charged_is_always_valid_and_never_below_half_the_count(
    claim: dict[str, object] | None, counted: Usage | None, has_text: bool, can_count: bool
) -> None:
    metered = meter(claim, counted=counted, has_text=has_text, can_count=can_count)
    assert (metered.usage is None) == (metered.source == "presumed")
    if metered.usage is None:
        assert metered.is_disputed
        return
    assert all(type(count) is int and count >= 0 for count in metered.usage.counts.values())
    if counted is not None:
        assert 2 * metered.usage.input_tokens >= counted.input_tokens
        assert 2 * metered.usage.output_tokens >= counted.output_tokens
        if metered.is_disputed and can_count:
            assert metered.usage.input_tokens >= counted.input_tokens
            assert metered.usage.output_tokens >= counted.output_tokens
