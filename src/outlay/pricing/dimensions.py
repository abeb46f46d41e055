"""Dimensions: what changes the price of a call."""

from __future__ import annotations

from typing import Final

ANSWERED: Final = ("service_tier", "speed", "inference_geo")
"""What an answer may say about how it was served, at its top or in its usage."""
