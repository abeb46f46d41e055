"""A fake LLM provider: a real HTTP server with scripted behaviour and its own bill.

In a test: `with FakeProvider() as provider: …`. As a process: `python -m outlay.testing.provider --port 0`.
"""

from outlay.testing.provider.behaviour import Behaviour
from outlay.testing.provider.bill import Bill, Call, Rate
from outlay.testing.provider.fake import FakeProvider
from outlay.testing.provider.server import Received

__all__ = ["Behaviour", "Bill", "Call", "FakeProvider", "Rate", "Received"]
