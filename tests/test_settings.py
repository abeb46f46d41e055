"""Settings come from the environment, and what cannot be used says which variable and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from outlay.bootstrap import open_ledger, open_price_book
from outlay.domain.commands import Record
from outlay.errors import InvalidValueError
from outlay.settings import Settings
from outlay.testing.clock import FakeClock


def path_of(url: str) -> Path:
    return Settings.from_environment({"OUTLAY_DATABASE_URL": url}).database_path


@pytest.mark.parametrize("environ", [{}, {"OUTLAY_DATABASE_URL": ""}, {"OUTLAY_DATABASE_URL": "  "}])
def test_without_settings_the_database_is_outlay_db_here_and_there_is_no_price_file(
    environ: dict[str, str],
) -> None:
    assert Settings.from_environment(environ) == Settings(Path("outlay.db"), None)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("data/budget.db", "data/budget.db"),
        ("/var/lib/budget.db", "/var/lib/budget.db"),
        ("sqlite:///budget.db", "budget.db"),
        ("sqlite:///data/a b.db", "data/a b.db"),
        ("sqlite:////var/lib/budget.db", "/var/lib/budget.db"),
        ("SQLite:///budget.db", "budget.db"),
        (" budget.db\n", "budget.db"),
    ],
)
def test_a_database_is_named_by_a_path_or_an_sqlite_url(url: str, path: str) -> None:
    assert path_of(url) == Path(path)


def test_the_home_folder_may_be_written_as_a_tilde(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert path_of("~/outlay.db") == path_of("sqlite:///~/outlay.db") == Path("/home/ada/outlay.db")


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_postgresql_is_refused_with_what_works_and_without_the_password(scheme: str) -> None:
    with pytest.raises(InvalidValueError, match=r"OUTLAY_DATABASE_URL names PostgreSQL.*SQLite") as caught:
        path_of(f"{scheme}://ada:secret@db/outlay")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "mysql://ada:secret@db/outlay",
        "sqlite://outlay.db",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///outlay.db?mode=ro",
        ":memory:",
        "data/",
        "a\0b",
        "~nobody-has-this-name/outlay.db",
    ],
)
def test_other_values_are_refused_by_name_with_a_remedy(url: str) -> None:
    with pytest.raises(InvalidValueError, match=r"OUTLAY_DATABASE_URL.*: .*path") as caught:
        path_of(url)
    assert "secret" not in str(caught.value)


def test_a_folder_is_not_a_database(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match=r"names the folder .*: name a file in it"):
        path_of(str(tmp_path))


def test_an_argument_goes_before_the_environment() -> None:
    environ = {"OUTLAY_DATABASE_URL": "mysql://nonsense"}
    settings = Settings.from_environment(environ, database_url="sqlite:///other.db")
    assert settings.database_path == Path("other.db")
    with pytest.raises(InvalidValueError, match=r"^database does not name a file"):
        Settings.from_environment(environ, database_url="")


def test_a_price_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match=r"OUTLAY_PRICES names .*nowhere.json"):
        Settings.from_environment({"OUTLAY_PRICES": str(tmp_path / "nowhere.json")})


def test_the_price_book_reads_the_price_file(tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    file.write_text('{"models": {"ollama/mine": {"input_mtok": 1, "output_mtok": 2}}}')
    book = open_price_book(Settings.from_environment({"OUTLAY_PRICES": f" {file} "}))
    assert book.price("ollama", "mine", at=0).origin == "user"


def test_the_ledger_is_opened_on_first_use_and_goes_by_the_clock_it_is_given(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    clock = FakeClock()
    ledger = open_ledger(Settings(path), clock)
    assert not path.exists()
    ledger.execute(Record("p", "r", ("user:ada",), 1))
    with ledger.read() as reader:
        assert reader.now() == clock.wall()
    ledger.close()
    assert path.exists()
