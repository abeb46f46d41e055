"""Databases for the ledger: memory and SQLite."""
