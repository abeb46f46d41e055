"""Database URLs of other programs: they stop nothing, are told once, and never opened."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from outlay.bootstrap import open_ledger
from outlay.errors import InvalidValueError
from outlay.gateway.config_file import load_config
from outlay.settings import Settings

pytestmark = pytest.mark.once("rules that are the same on every Python")

CANARY = "the-password-of-it"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


OTHERS = [
    f"postgres://user:{CANARY}@db:5432/app",
    f"postgresql://user:{CANARY}@db/app?sslmode=require",
    f"postgresql+asyncpg://user:{CANARY}@db/app",
    f"POSTGRES://user:{CANARY}@db/app",
    f"mysql://user:{CANARY}@db/app",
    f"mongodb+srv://user:{CANARY}@cluster/app",
    f"sqlserver://db:1433;password={CANARY}",
    f"prisma://accelerate.example/?api_key={CANARY}",
    "sqlite://:memory:",
    "sqlite:///app.db?mode=ro",
    "file:./dev.db",
    ":memory:",
]


@pytest.mark.parametrize("url", OTHERS)
def test_another_programs_database_url_is_noted_and_not_used(folder: Path, url: str) -> None:
    config = load_config(None, {"DATABASE_URL": url})
    assert config.database_url is None
    (note,) = config.notes
    assert note.startswith("DATABASE_URL names ")
    assert "is not used" in note
    assert CANARY not in note
    ours = load_config(None, {"DATABASE_URL": url, "OUTLAY_DATABASE_URL": "ours.db"})
    assert (ours.database_url, ours.notes) == ("ours.db", ())


def test_the_sqlite_file_of_another_program_is_not_opened(folder: Path) -> None:
    with sqlite3.connect("theirs.db") as connection:
        connection.execute("CREATE TABLE django_migrations (id)")
    connection.close()
    for url in ("theirs.db", "sqlite:///theirs.db"):
        config = load_config(None, {"DATABASE_URL": url})
        assert config.database_url is None
        assert "the database of another program" in config.notes[0]


def test_a_database_url_that_can_be_outlays_is_used(folder: Path) -> None:
    for _ in range(2):  # a file that is not there yet, and one that Outlay made
        config = load_config(None, {"DATABASE_URL": "sqlite:///ours.db"})
        assert (config.database_url, config.notes) == ("sqlite:///ours.db", ())
        ledger = open_ledger(Settings(folder / "ours.db"))
        with ledger.read() as reader:
            reader.now()
        ledger.close()


@pytest.mark.parametrize("value", ["postgresql://u:the-password-of-it@db/x", "os.environ/DATABASE_URL"])
def test_litellms_postgresql_in_the_file_is_noted_and_not_used(folder: Path, value: str) -> None:
    path = folder / "config.yaml"
    path.write_text(f"general_settings: {{database_url: '{value}'}}", encoding="utf-8")
    environ = {"DATABASE_URL": f"postgresql://u:{CANARY}@db/x"} if "environ" in value else {}
    config = load_config(path, environ)
    assert config.database_url is None
    assert config.notes[0].startswith(f"{path}: general_settings.database_url names a PostgreSQL database")
    assert CANARY not in " ".join(config.notes)
    assert len(config.notes) == 1
    assert load_config(path, {**environ, "OUTLAY_DATABASE_URL": "ours.db"}).database_url == "ours.db"
    assert load_config(path, environ, database_url="flag.db").database_url == "flag.db"


@pytest.mark.parametrize("url", ["mysql://u@db/x", "sqlite://two-slashes.db", ":memory:"])
def test_any_other_url_in_the_file_is_still_a_problem(folder: Path, url: str) -> None:
    path = folder / "config.yaml"
    path.write_text(f"general_settings: {{database_url: '{url}'}}", encoding="utf-8")
    with pytest.raises(InvalidValueError, match=r"general_settings\.database_url"):
        load_config(path, {})
