"""Files of a configuration: what is read, what is refused, and how `include` puts them together."""

from __future__ import annotations

from pathlib import Path

import pytest

from outlay.gateway.config_file import ConfigError, load_config
from outlay.gateway.config_yaml import MAX_BYTES

pytestmark = pytest.mark.once("rules that are the same on every Python")

MODEL = "{{model_name: {0}, litellm_params: {{model: gpt-4o}}}}"
ENVIRON = {"OPENAI_API_KEY": "sk-test"}


def problem(folder: Path, text: str | bytes) -> str:
    path = folder / "config.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as caught:
        load_config(path, ENVIRON)
    (only,) = caught.value.problems
    return only.replace(f"{folder}/", "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: b: c", "config.yaml, line 1, column 5 is not YAML: mapping values are not allowed here"),
        ("x: [1, 2", "config.yaml, line 1, column 9 is not YAML: expected ',' or ']'"),
        (
            "model_list: []\n\nmodel_list: []",
            'config.yaml, line 3, column 1 is not YAML: the key "model_list" is',
        ),
        ("a: {b: 1, c: 2, b: 3}", 'config.yaml, line 1, column 17 is not YAML: the key "b" is there twice'),
        ("\n\tx: 1", "config.yaml, line 2, column 1 is not YAML"),
        ("x: !!python/object/apply:os.system [id]", "config.yaml, line 1, column 4 is not YAML"),
        ("x: 1\ny: 2024-13-40", "config.yaml, line 2 is no date or number that can be: put it in quotes"),
        ("x: " + "9" * 5000, "config.yaml, line 1 is no date or number that can be"),
        ("x: 1\ny: \x07", "config.yaml, line 2 is not YAML: it holds a character that no text has"),
        ("- a\n- b", "config.yaml must be a mapping with keys such as model_list"),
        ("just text", "config.yaml must be a mapping with keys such as model_list"),
        ("a: 1\n---\nb: 2", "config.yaml, line 2, column 1 is not YAML"),
        (b"x: \xff\xfe", "config.yaml is not UTF-8 text (byte 3): save it as UTF-8"),
        ("1: 2", "config.yaml: 1 must be text: put the key in quotes"),
        ("router_settings: {on: x}", "config.yaml: router_settings.True must be text: put the key in quotes"),
        ("? [a]\n: b", "config.yaml, line 1, column 3 is not YAML"),
        ("outlay: {a: }\nrouter_settings: text", "config.yaml: router_settings must be a mapping, not str"),
    ],
)
def test_what_is_no_plain_mapping_is_told_with_its_place(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    assert problem(tmp_path, text).startswith(message)


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 45))]),
        "\n".join(["a0: &a0 {k: v}", *(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}" for n in range(1, 45))]),
        "a: &a x\nb: [" + "*a, " * 2000 + "]",
        "a: &a [*a]",
        "a: " + "[" * 2000 + "]" * 2000,
        "a: " + "{b: " * 100 + "x" + "}" * 100,
    ],
    ids=["lists that double", "merges that double", "many aliases", "a list in itself", "deep", "deep maps"],
)
def test_a_small_file_cannot_grow(tmp_path: Path, text: str) -> None:
    told = problem(tmp_path, text)
    assert "too many" in told or "holds more than 200,000 values, or 50 levels" in told


def test_a_huge_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    assert "more than 4 MiB" in problem(tmp_path, b"# " + b"x" * MAX_BYTES)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.yaml", tmp_path):
        with pytest.raises(ConfigError) as caught:
            load_config(path, {})
        assert caught.value.message.startswith(f"{path} cannot be read (")
        assert caught.value.message.endswith("name the configuration with --config FILE")


def test_a_mistake_in_yaml_does_not_show_the_line(tmp_path: Path) -> None:
    for text in (
        "api_key: *sk-canary-123",
        "k: 'sk-canary-123' x: 1",
        "k: !sk-canary-123 x",
        "k: @sk-canary",
    ):
        told = problem(tmp_path, text)
        assert told.startswith("config.yaml, line 1")
        assert "canary" not in told


def test_an_empty_file_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    for text in ("", "# only a comment\n", "router_settings:\noutlay:\n"):
        path.write_text(text)
        config = load_config(path, ENVIRON)
        assert (config.unknown, config.budgets, config.master_key) == ((), (), "")


def test_anchors_and_merges_work(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        "model_list:\n"
        "  - {model_name: a, litellm_params: &p {model: gpt-4o, weight: 2}}\n"
        "  - {model_name: b, litellm_params: {<<: *p, weight: 5}}\n"
    )
    routes = load_config(path, ENVIRON).routes
    group = routes.find("b")
    assert group is not None
    assert [(each.target.model, each.weight) for each in group.deployments] == [("gpt-4o", 5)]


def test_include_adds_models_and_settings_of_other_files(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    main = tmp_path / "config.yaml"
    main.write_text(
        f"include: [models.yaml, more/budgets.yaml]\nmodel_list: [{MODEL.format('a')}]\n"
        "general_settings: {master_key: sk-main}\nlitellm_settings: {timezone: Europe/Berlin}"
    )
    (tmp_path / "models.yaml").write_text(f"model_list: [{MODEL.format('b')}]\nnothing_known: 1")
    (tmp_path / "more" / "budgets.yaml").write_text(
        f"include: [deeper.yaml]\nlitellm_settings: {{max_budget: 5}}\nmodel_list: [{MODEL.format('c')}]"
    )
    (tmp_path / "more" / "deeper.yaml").write_text(f"model_list: [{MODEL.format('d')}]")
    config = load_config(main, ENVIRON)
    assert config.routes.names() == ["a", "b", "c", "d"]
    assert [(budget.account, budget.limit) for budget in config.budgets] == [("global", 5_000_000_000)]
    assert (config.master_key, config.time_zone) == ("sk-main", "Europe/Berlin")
    assert config.unknown == ("nothing_known",)


def test_a_problem_names_the_file_that_it_is_in(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "include: [other.yaml]\nlitellm_settings: {max_budget: 1}\nrouter_settings: {timeout: 0}"
    )
    (tmp_path / "other.yaml").write_text(
        "litellm_settings: {max_budget: 2, request_timeout: -1}\nmodel_list: [{model_name: x}]"
    )
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "config.yaml", ENVIRON)
    told = [each.replace(f"{tmp_path}/", "") for each in caught.value.problems]
    begins = (
        "other.yaml: litellm_settings.max_budget is in config.yaml too: keep one",
        "other.yaml: litellm_settings.request_timeout must be a number",
        "config.yaml: router_settings.timeout must be a number",
        "other.yaml: model_list[0].litellm_params.model is missing",
    )
    for line, begin in zip(told, begins, strict=True):
        assert line.startswith(begin)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("include: config.yaml", "config.yaml: include must be a list of file names"),
        ("include: [1]", "config.yaml: include must be a list of file names"),
        ("include: [config.yaml]", "config.yaml: include names 'config.yaml' twice"),
        (
            "include: [none.yaml]",
            "none.yaml cannot be read (No such file or directory): correct the include of",
        ),
    ],
)
def test_a_bad_include_is_refused(tmp_path: Path, text: str, message: str) -> None:
    assert problem(tmp_path, text).startswith(message)
