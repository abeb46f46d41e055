"""Keys whose people are gone: what was known of them a moment ago lets nobody in."""

from __future__ import annotations

from gateways import Gateway
from management import done

pytest_plugins = ["gateway_fixtures"]


def test_a_blocked_user_calls_with_no_key_of_a_team_either(gateway: Gateway) -> None:
    done(gateway, "/user/new", {"user_id": "ada", "auto_create_key": False})
    done(gateway, "/team/new", {"team_id": "sea"})
    key = gateway.new_key(user_id="ada", team_id="sea")
    assert gateway.chat(key).status_code == 200
    done(gateway, "/user/update", {"user_id": "ada", "blocked": True})
    assert gateway.chat(key).status_code == 401
    done(gateway, "/user/update", {"user_id": "ada", "blocked": False})
    assert gateway.chat(key).status_code == 200
    assert len(gateway.provider.bill.calls) == 2
