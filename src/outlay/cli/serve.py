"""`outlay serve`: the gateway, in the foreground."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from outlay.cli.context import database_of
from outlay.cli.output import printable
from outlay.errors import InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from socket import socket

    from outlay.gateway.config import Config

_EXTRA = frozenset({"fastapi", "httptools", "prometheus_client", "starlette", "uvicorn", "uvloop", "yaml"})
_SHORT = 16  # characters; LiteLLM's examples have `sk-1234`


def serve_gateway(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A configuration, in LiteLLM's format too.")
    ] = None,
    host: Annotated[str, typer.Option(metavar="HOST", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="N", min=0, max=65535, help="The port; 0 takes any free one.")
    ] = 4000,
    database_url: Annotated[
        str | None,
        typer.Option("--database-url", "--database", metavar="URL", help="A path, or sqlite:///path."),
    ] = None,
) -> None:
    """Serve an OpenAI-compatible gateway, until Ctrl-C or SIGTERM; then requests under way may end.

    Without --config it serves the providers whose keys are in the environment. The master key is that of the
    configuration or of OUTLAY_MASTER_KEY. Without either, and without --config, one is made where only this
    machine can call: it is shown once, and kept beside the database.

    \b
    Examples:
      outlay serve
      outlay serve --config config.yaml --host 0.0.0.0 --port 80
    """
    server = load_server()
    read = load(config, os.environ, database_url=database_of(context, database_url))
    tell_unknown(read, config)
    check_master_key(read, host, config)

    def started(address: str) -> None:
        if not read.routes.names():
            say("No provider's key is in the environment: set one such as OPENAI_API_KEY, or give --config.")
        say(f"Outlay listens on {address}")

    with server.listen(host, port) as listener:
        raise typer.Exit(server.serve(with_master_key(read), listener, started=started))


class Server(NamedTuple):
    """What listens, from the server extra."""

    serve: Callable[..., int]
    listen: Callable[[str, int], socket]


def load(path: Path | None, environ: Mapping[str, str], *, database_url: str | None = None) -> Config:
    """Read the configuration. Raises as `load_config`, and if the server extra is not installed."""
    try:
        from outlay.gateway.config_file import load_config
    except ModuleNotFoundError as error:
        raise _not_installed(error) from error
    return load_config(path, environ, database_url=database_url)


def load_server() -> Server:
    """Import the server.

    Raises:
        InvalidValueError: the server extra is not installed.
    """
    try:
        from outlay.gateway.server import listen, serve
    except ModuleNotFoundError as error:
        raise _not_installed(error) from error
    return Server(serve, listen)


def tell_unknown(config: Config, path: Path | None) -> None:
    """Name what the configuration says and Outlay does not implement or use; once, on stderr."""
    if config.unknown:
        typer.echo(f"{path}: these keys are not implemented, and have no effect:", err=True)
        for key in config.unknown:
            typer.echo(f"  {printable(key)}", err=True)
    for note in config.notes:
        typer.echo(printable(note), err=True)


def check_master_key(config: Config, host: str, path: Path | None) -> None:
    """Check that there is a master key, or that one may be made.

    Raises:
        InvalidValueError: there is none, and none may be made.
    """
    from outlay.gateway.master_key import is_loopback

    if config.master_key:
        if len(config.master_key) < _SHORT:
            typer.echo(
                "The master key is short, and opens everything: take a long random text, such as that of "
                "`openssl rand -hex 32`.",
                err=True,
            )
    elif path is not None:
        raise InvalidValueError(
            f"there is no master key: set OUTLAY_MASTER_KEY, or general_settings.master_key in {path}"
        )
    elif not is_loopback(host):
        raise InvalidValueError(
            f"there is no master key, and others may call {host}: set OUTLAY_MASTER_KEY to a long random text"
        )


def with_master_key(config: Config) -> Config:
    """The configuration with a master key: its own, or one that is made and kept beside the database.

    Raises:
        InvalidValueError: its file cannot be used.
    """
    if config.master_key:
        return config
    from outlay.gateway.build import database_path
    from outlay.gateway.master_key import keep_master_key

    kept = keep_master_key(database_path(config))
    if kept.is_new:
        say(f"Master key, shown this once: {kept.secret}")
    say(f"The master key is kept in {kept.path}")
    return replace(config, master_key=kept.secret)


def say(text: str = "") -> None:
    """Print at once, also into a pipe."""
    print(text, flush=True)


def _not_installed(error: ModuleNotFoundError) -> Exception:
    if error.name is None or error.name.partition(".")[0] not in _EXTRA:
        return error
    return InvalidValueError(f"the gateway needs {error.name}: pip install 'outlay[server]'")
