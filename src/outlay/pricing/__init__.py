"""What a call may cost (the Estimate), and what it did cost (Usage × Price → Cost)."""

from outlay.pricing.book import PriceBook, price_from_fields
from outlay.pricing.bound.caps import Endpoint
from outlay.pricing.bound.estimate import Estimate, Method, estimate
from outlay.pricing.metering import Claim, Metered, meter
from outlay.pricing.overrides import is_price_field
from outlay.pricing.price import Price
from outlay.pricing.rates import BoundRates
from outlay.pricing.text import TextCost, cost_of_prompt, cost_of_text
from outlay.pricing.tokens import Count, count_messages, count_text
from outlay.pricing.usage import Usage

__all__ = [
    "BoundRates",
    "Claim",
    "Count",
    "Endpoint",
    "Estimate",
    "Metered",
    "Method",
    "Price",
    "PriceBook",
    "TextCost",
    "Usage",
    "cost_of_prompt",
    "cost_of_text",
    "count_messages",
    "count_text",
    "estimate",
    "is_price_field",
    "meter",
    "price_from_fields",
]
