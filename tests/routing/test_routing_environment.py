"""Routes of the environment: every provider that it has a key for."""

from __future__ import annotations

import pytest

from outlay.errors import InvalidValueError
from outlay.routing.deployments import ModelGroup
from outlay.routing.environment import MAX_CACHED, EnvironmentRoutes
from outlay.routing.listed import chat_models, spelled

pytestmark = pytest.mark.once("rules that are the same on every Python")

KEYS = {"OPENAI_API_KEY": "sk-openai-of-the-test", "GROQ_API_KEY": "gsk-of-the-test"}


def found(routes: EnvironmentRoutes, model: str) -> ModelGroup:
    group = routes.find(model)
    assert group is not None, model
    return group


def test_a_model_is_found_by_its_bare_name_and_by_its_provider() -> None:
    routes = EnvironmentRoutes(KEYS)
    for name in ("gpt-4o", "openai/gpt-4o", "GPT-4o", "OpenAI/GPT-4O"):
        group = found(routes, name)
        assert group.name == "gpt-4o"
        assert group.deployments[0].target.model == "gpt-4o"
        assert group.deployments[0].target.credential == "sk-openai-of-the-test"


def test_a_model_has_one_name_and_one_id_however_it_is_written() -> None:
    routes = EnvironmentRoutes(KEYS)
    names = ("groq/llama-3.3-70b-versatile", "GROQ/Llama-3.3-70B-Versatile")
    assert {found(routes, name).name for name in names} == {"groq/llama-3.3-70b-versatile"}
    assert len({found(routes, name).deployments[0].id for name in names}) == 1


def test_ids_are_the_same_in_another_process_with_another_key() -> None:
    one = found(EnvironmentRoutes(KEYS), "gpt-4o").deployments[0].id
    other = found(EnvironmentRoutes({"OPENAI_API_KEY": "sk-another"}), "gpt-4o").deployments[0].id
    assert one == other


@pytest.mark.parametrize(
    "model",
    ["claude-sonnet-4-5", "anthropic/claude-sonnet-4-5", "acme/x", "", "/", "gpt 4o", "gpt-4o/", "a\nb"],
)
def test_what_the_environment_has_no_key_for_is_not_found(model: str) -> None:
    assert EnvironmentRoutes(KEYS).find(model) is None


def test_without_any_key_there_is_no_model() -> None:
    routes = EnvironmentRoutes({})
    assert (routes.find("gpt-4o"), routes.names(), routes.providers) == (None, [], ())


def test_models_that_chat_are_listed_and_can_all_be_found() -> None:
    routes = EnvironmentRoutes(KEYS)
    names = routes.names()
    assert "gpt-4o" in names
    assert not [name for name in names if "embedding" in name or "whisper" in name]
    assert [found(routes, name).name for name in names] == names
    assert routes.providers == ("openai", "groq")


def test_a_server_behind_openais_name_keeps_the_names_that_it_is_asked_for() -> None:
    routes = EnvironmentRoutes({**KEYS, "OPENAI_BASE_URL": "http://localhost:9/v1"})
    assert found(routes, "My-Model").deployments[0].target.model == "My-Model"


def test_names_that_callers_make_up_do_not_pile_up() -> None:
    routes = EnvironmentRoutes(KEYS)
    for number in range(MAX_CACHED + 10):
        found(routes, f"made-up-{number}")
    assert len(routes._found) <= MAX_CACHED


def test_a_key_that_cannot_be_used_is_named_and_not_shown() -> None:
    with pytest.raises(InvalidValueError, match="OpenAI") as caught:
        EnvironmentRoutes({"OPENAI_API_KEY": "sk with-a-space"})
    assert "with-a-space" not in caught.value.message


def test_models_are_written_as_their_provider_writes_them() -> None:
    assert spelled("openai", "GPT-4O") == "gpt-4o"
    assert spelled("openai", "nobody-has-this") is None
    assert "gpt-4o" in chat_models("openai")
    assert "text-embedding-3-small" not in chat_models("openai")
    assert chat_models("openai_compatible") == ()
