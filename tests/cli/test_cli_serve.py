"""`outlay serve`: its master key, its configuration, and how it stops; a real process on a real port."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator

import httpx2
import pytest
from command_line import CommandLine, Server

from outlay.testing.provider import FakeProvider

LISTENS = "Outlay listens on "
MASTER = "sk-master-0123456789abcdef"
CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 100}
WORDS = pytest.mark.once("what the server says at its start")


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as provider:
        yield provider


def address_of(server: Server) -> str:
    return server.says(LISTENS).removeprefix(LISTENS)


def models(address: str, key: str) -> int:
    return httpx2.get(f"{address}/v1/models", headers={"Authorization": f"Bearer {key}"}).status_code


def chat(address: str, key: str) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx2.post(f"{address}/v1/chat/completions", headers=headers, json=CHAT)


def assert_served(server: Server, answer: httpx2.Response) -> None:
    assert answer.status_code == 200, (answer.text, server.stop().err)


@WORDS
def test_a_master_key_is_made_shown_once_and_kept_for_the_owner_alone(outlay: CommandLine) -> None:
    kept = outlay.folder / "outlay.db.master-key"
    with outlay.runs("serve", "--port", "0") as server:
        key = server.says("Master key").rpartition(" ")[2]
        address = address_of(server)
        assert str(kept) in server.said
        assert (models(address, key), models(address, f"{key}x")) == (200, 401)
    assert (kept.read_text().strip(), kept.stat().st_mode & 0o777) == (key, 0o600)
    with outlay.runs("serve", "--port", "0") as server:
        assert models(address_of(server), key) == 200
        assert key not in server.said
    assert [path for path in outlay.folder.iterdir() if key in path.read_bytes().decode("latin-1")] == [kept]


@WORDS
def test_a_master_key_that_is_given_is_used_and_none_is_made(outlay: CommandLine) -> None:
    with outlay.runs("serve", "--port", "0", OUTLAY_MASTER_KEY=MASTER) as server:
        assert models(address_of(server), MASTER) == 200
        assert MASTER not in server.said
    assert not (outlay.folder / "outlay.db.master-key").exists()


@WORDS
def test_a_master_key_that_could_be_guessed_is_served_with_a_warning(outlay: CommandLine) -> None:
    for key, is_short in (("sk-1234", True), (MASTER, False)):
        with outlay.runs("serve", "--port", "0", OUTLAY_MASTER_KEY=key) as server:
            assert models(address_of(server), key) == 200
            told = server.stop().err
        assert ("The master key is short" in told) is is_short
        assert key not in told


def test_without_a_master_key_it_refuses_to_serve_others_or_a_configuration(outlay: CommandLine) -> None:
    config = outlay.folder / "config.yaml"
    config.write_text("litellm_settings: {}\n")
    line = outlay.fails("serve", "--config", "config.yaml", "--port", "0")
    assert "there is no master key: set OUTLAY_MASTER_KEY, or general_settings.master_key" in line
    line = outlay.fails("serve", "--host", "0.0.0.0", "--port", "0")  # noqa: S104 # that is refused
    assert "there is no master key, and others may call 0.0.0.0" in line
    assert list(outlay.folder.iterdir()) == [config]


@pytest.mark.parametrize(
    ("text", "mode", "message"), [("", 0o600, "no master key"), (MASTER, 0o644, "chmod")]
)
def test_a_kept_master_key_that_cannot_be_trusted_is_refused(
    outlay: CommandLine, text: str, mode: int, message: str
) -> None:
    kept = outlay.folder / "outlay.db.master-key"
    kept.write_text(text)
    kept.chmod(mode)
    assert message in outlay.fails("serve", "--port", "0")
    assert kept.read_text() == text


def test_a_configuration_is_served_and_what_it_cannot_do_is_told_once(outlay: CommandLine) -> None:
    (outlay.folder / "config.yaml").write_text(
        "model_list:\n"
        "- model_name: small\n"
        "  litellm_params: {model: openai/gpt-4o-mini, api_key: os.environ/MY_KEY}\n"
        "general_settings: {master_key: os.environ/MY_MASTER, alerting: [slack]}\n"
        "router_settings: {redis_host: nowhere}\n"
    )
    arguments = ("serve", "--config", "config.yaml", "--port", "0", "--database-url", "other.db")
    with outlay.runs(*arguments, MY_KEY="sk-upstream", MY_MASTER=MASTER) as server:
        address = address_of(server)
        found = httpx2.get(f"{address}/v1/models", headers={"x-api-key": MASTER}).json()
        ran = server.stop()
    assert [each["id"] for each in found["data"]] == ["small"]
    assert ran.code == 0
    for key in ("general_settings.alerting", "router_settings.redis_host"):
        assert ran.err.count(key) == 1
    assert (outlay.folder / "other.db").exists()
    assert not outlay.database.exists()


@WORDS
def test_without_a_file_it_serves_the_environments_providers_or_says_that_there_are_none(
    outlay: CommandLine,
) -> None:
    warning = "No provider's key is in the environment"
    with outlay.runs("serve", "--port", "0", OUTLAY_MASTER_KEY=MASTER) as server:
        address_of(server)
        assert warning in server.said
    environ = {"OUTLAY_MASTER_KEY": MASTER, "GROQ_API_KEY": "sk-upstream"}
    with outlay.runs("serve", "--port", "0", **environ) as server:
        address = address_of(server)
        listed = httpx2.get(f"{address}/v1/models", headers={"x-api-key": MASTER}).json()["data"]
        assert {each["id"].partition("/")[0] for each in listed} == {"groq"}
        assert warning not in server.said


def test_a_configuration_with_a_fault_is_one_line_that_names_it(outlay: CommandLine) -> None:
    (outlay.folder / "config.yaml").write_text("litellm_settings: {timezone: Mars}\n")
    line = outlay.fails("serve", "--config", "config.yaml")
    assert "config.yaml" in line
    assert "litellm_settings.timezone" in line
    assert "nowhere.yaml cannot be read" in outlay.fails("serve", "--config", "nowhere.yaml")


def test_a_port_that_is_busy_is_one_line_with_the_remedy(outlay: CommandLine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        line = outlay.fails("serve", "--port", port, OUTLAY_MASTER_KEY=MASTER)
    assert f"cannot listen on http://127.0.0.1:{port}" in line
    assert "choose another --port" in line
    assert "Invalid value for '--port'" in outlay.fails("serve", "--port", "99999")


@pytest.mark.parametrize(
    ("arguments", "missing"),
    [(["serve"], "uvicorn"), (["serve", "--config", "config.yaml"], "yaml"), (["demo"], "fastapi")],
)
def test_without_the_server_extra_it_says_what_to_install(
    outlay: CommandLine, arguments: list[str], missing: str
) -> None:
    absent = outlay.folder / "absent"
    absent.mkdir()
    message = f"raise ModuleNotFoundError('No module named {missing}', name='{missing}')\n"
    (absent / f"{missing}.py").write_text(message)
    (outlay.folder / "config.yaml").write_text("litellm_settings: {}\n")
    line = outlay.fails(*arguments, PYTHONPATH=str(absent), OUTLAY_MASTER_KEY=MASTER)
    assert line == f"outlay: the gateway needs {missing}: pip install 'outlay[server]'\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_gracefully(outlay: CommandLine, number: signal.Signals) -> None:
    with outlay.runs("serve", "--port", "0", OUTLAY_MASTER_KEY=MASTER) as server:
        address = address_of(server)
        assert models(address, MASTER) == 200
        ran = server.stop(number)
    assert ran.code == 0
    assert "Traceback" not in ran.err
    with pytest.raises(httpx2.ConnectError):
        models(address, MASTER)


def test_keys_and_budgets_of_the_command_line_count_at_the_next_request(
    outlay: CommandLine, provider: FakeProvider
) -> None:
    environ = {"OPENAI_API_KEY": "sk-upstream", "OPENAI_BASE_URL": provider.base_url}
    with outlay.runs("serve", "--port", "0", **environ) as server:
        address = address_of(server)
        key = outlay("key", "create", "--alias", "web", "--user", "ada").out.strip()
        assert_served(server, chat(address, key))
        assert outlay("budget", "set", "user:ada", "0.0000001", "daily").code == 0
        refused = chat(address, key)
        assert (refused.status_code, refused.json()["error"]["budget"]) == (402, "user:ada/usd-daily")
        assert outlay("budget", "remove", "user:ada/usd-daily").code == 0
        assert_served(server, chat(address, key))
        assert outlay("key", "block", "web").code == 0
        assert chat(address, key).status_code in (401, 403)
        assert outlay("key", "unblock", "web").code == 0
        assert_served(server, chat(address, key))
        assert outlay("key", "delete", "web").code == 0
        assert chat(address, key).status_code in (401, 403)
    assert len(provider.bill.calls) == 3
