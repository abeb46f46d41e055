"""Test doubles that ship: a clock, a fake provider, a conformance suite, a simulator."""
