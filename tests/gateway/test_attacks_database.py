"""A database that is put back to an older state while a call runs."""

from __future__ import annotations

import pytest
from gateways import Gateway
from journal import eventually, run_script

pytest_plugins = ["gateway_fixtures"]

FORGET = """
import apsw, sys
connection = apsw.Connection(sys.argv[1])
connection.set_busy_timeout(5000)
connection.execute("delete from reservations")
connection.close()
"""


def test_a_charge_whose_hold_is_gone_is_told_once_and_not_tried_for_ever(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    gateway.provider.set({"hang_after_chunks": 2})
    with (
        gateway.openai() as client,
        client.chat.completions.create(
            model="demo", messages=[{"role": "user", "content": "Hello"}], max_tokens=5, stream=True
        ) as stream,
    ):
        next(iter(stream))
        run_script(FORGET, str(gateway.path))
        gateway.provider.release()
        assert list(stream)
    eventually(lambda: gateway.services.running.count == 0)
    assert not gateway.services.unsettled
    assert [each.levelname for each in caplog.records if "settle" in each.message] == ["ERROR"]
    gateway.provider.set({"hang_after_chunks": None})
    assert gateway.chat().status_code == 200
