"""Benchmarks: how fast Outlay is, each figure beside a baseline measured in the same run.

    python -m bench                                   all, a few minutes
    python -m bench ledger --quick                    one of them, seconds
    python -m bench --peers .venv-peers/bin/python    beside LiteLLM too

Speed is measured here and never asserted in a test: machines are noisy, so a target is reported as met or
missed. Each module measures one thing and gives a `Report`.
"""
