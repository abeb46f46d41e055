"""The ledger: commands in, durable decisions out, by one writer thread with group commit."""
