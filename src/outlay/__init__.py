"""Outlay: budgets for LLM calls that hold."""

__version__ = "0.1.0"
