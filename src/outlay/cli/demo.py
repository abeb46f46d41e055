"""`outlay demo`: the gateway on this machine, with a key to try and commands to paste."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from outlay.cli.serve import Server, load_server, say
from outlay.errors import InvalidValueError

if TYPE_CHECKING:
    from socket import socket

    from outlay.gateway.demo import Scene
    from outlay.gateway.keys import NewKey

_HOST = "127.0.0.1"
_TERMINATED = 143


def run_demo(
    port: Annotated[
        int, typer.Option(metavar="N", min=0, max=65535, help="The port; a free one if it is busy.")
    ] = 4000,
    folder: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Keep the database there; else it goes at the end.")
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Call the provider whose key is in the environment: costs money.")
    ] = False,
) -> None:
    """Try the gateway: on this machine only, with a key of $0.05 a day and three commands to paste.

    A fake provider answers, which it starts, and nothing costs money. With --live it calls the provider whose
    key is in the environment (such as OPENAI_API_KEY), which bills that. Ctrl-C ends it all.

    \b
    Examples:
      outlay demo
      outlay demo --folder ./demo
      outlay demo --live
    """
    server = load_server()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))  # so that what was begun is ended
    with ExitStack() as stack:
        database = stack.enter_context(_place(folder)) / "outlay.db"
        scene = _scene(stack, database, is_live=live)
        code = _serve(server, scene, database, port, is_kept=folder is not None)
    say(_ended(scene, database.parent, is_kept=folder is not None))
    raise typer.Exit(code)


def _serve(server: Server, scene: Scene, database: Path, port: int, *, is_kept: bool) -> int:
    from outlay.gateway.config import Config
    from outlay.gateway.master_key import keep_master_key

    master, key = keep_master_key(database).secret, _key(database)
    config = Config(scene.routes, master_key=master, database_url=str(database))

    def show(address: str) -> None:
        _show(scene, address, master=master, key=key, database=database, is_kept=is_kept)

    with _listen(server, port) as listener:
        return server.serve(config, listener, started=show)


def _scene(stack: ExitStack, database: Path, *, is_live: bool) -> Scene:
    from outlay.bootstrap import open_price_book
    from outlay.gateway.demo import fake_scene, real_scene
    from outlay.settings import Settings

    if not is_live:
        return stack.enter_context(fake_scene())
    return real_scene(os.environ, open_price_book(Settings.from_environment(database_url=str(database))))


def _ended(scene: Scene, folder: Path, *, is_kept: bool) -> str:
    """What is left of it."""
    provider = "" if scene.is_live else "The fake provider has ended. "
    if is_kept:
        return f"\nEnded. {provider}Kept: {folder}, with the database and the master key."
    return f"\nEnded. {provider}Removed: {folder}, with the database and the keys. Nothing is left behind."


@contextmanager
def _place(folder: Path | None) -> Iterator[Path]:
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="outlay-demo-") as temporary:
            yield Path(temporary)
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidValueError(f"--folder {folder} cannot be used: {error.strerror}") from error
    yield folder.resolve()


def _key(database: Path) -> NewKey:
    """A key that nobody had before: in a folder that is kept there may be others."""
    from outlay.bootstrap import open_ledger
    from outlay.gateway.demo import BUDGET_USD
    from outlay.gateway.keys import key_of_alias, make_key
    from outlay.settings import Settings

    ledger = open_ledger(Settings(database))
    try:
        with ledger.read() as reader:
            names = ("demo", *(f"demo-{number}" for number in range(2, 10_000)))
            alias = next(name for name in names if key_of_alias(reader, name) is None)
        fields = {"key_alias": alias, "max_budget": BUDGET_USD, "budget_duration": "1d"}
        return make_key(ledger, fields, by="demo")
    finally:
        ledger.close()


def _listen(server: Server, port: int) -> socket:
    """Take this port, or any other if somebody has it."""
    try:
        return server.listen(_HOST, port)
    except InvalidValueError:
        say(f"Port {port} is busy: taking a free one.\n")
        return server.listen(_HOST, 0)


def _show(scene: Scene, address: str, *, master: str, key: NewKey, database: Path, is_kept: bool) -> None:
    from outlay.gateway.demo import BUDGET_USD, commands

    say(f"""\
Outlay demo: {scene.tells}.

  Address     {address}
  Model       {scene.model}
  Master key  {master}
  A key       {key.secret}
              (alias {key.record.key_alias}; ${BUDGET_USD} a day)
  Database    {database}{"" if is_kept else "  (gone when this ends)"}

Paste into another terminal:
""")
    for number, (tells, command) in enumerate(commands(scene, address, key.secret), 1):
        say(f"# {number}. {tells}\n{command}\n")
    outlay = "outlay" if shutil.which("outlay") else f"{shlex.quote(sys.executable)} -m outlay"
    say(f"# What is left of the budget:\n{outlay} balance --database {shlex.quote(str(database))}\n")
    say("# What docs/tutorial-gateway.md calls by these names:")
    say(f"export GATEWAY={address} KEY={key.secret} MASTER_KEY={shlex.quote(master)}\n")
    say("Ctrl-C ends it. Requests are logged below.")
