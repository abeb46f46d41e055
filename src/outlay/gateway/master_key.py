"""Master key: the secret that may do anything, as the operator gave it, or made once and kept in a file."""

from __future__ import annotations

import os
import secrets
import stat
from ipaddress import ip_address
from pathlib import Path
from typing import Final, NamedTuple

from outlay.errors import InvalidValueError

SUFFIX: Final = ".master-key"
_RANDOM_BYTES: Final = 32
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_MOST_BYTES: Final = 512


class KeptKey(NamedTuple):
    """A master key that lies in a file beside the database. `is_new`: it was made just now."""

    secret: str
    path: Path
    is_new: bool

    def __repr__(self) -> str:
        return f"KeptKey({str(self.path)!r})"


def keep_master_key(database: Path) -> KeptKey:
    """Give the master key beside a database, made (with 256 random bits, mode 600) if there is none.

    Raises:
        InvalidValueError: the file cannot be read or written, is empty, or may be read by others.
    """
    path = database.absolute().with_name(f"{database.name}{SUFFIX}")
    try:
        if not path.exists() and _make(path):
            return KeptKey(_read(path), path, True)
        return KeptKey(_read(path), path, False)
    except OSError as error:
        raise InvalidValueError(
            f"the master key's file {path} cannot be used ({error.strerror}): set OUTLAY_MASTER_KEY instead"
        ) from error


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _make(path: Path) -> bool:
    """Write a new key whole, or not at all; whoever comes second takes the first one's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.fchmod(descriptor, 0o600)  # whatever the umask
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"sk-{secrets.token_urlsafe(_RANDOM_BYTES)}\n")
            file.flush()
            os.fsync(descriptor)
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    return True


def _read(path: Path) -> str:
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_mode & _OTHERS:
            raise InvalidValueError(f"the master key's file {path} may be read by others: chmod 600 {path}")
        text = file.read(_MOST_BYTES).decode("latin-1").strip()
    if not text.isprintable() or not text.isascii() or len(text) < 16:
        raise InvalidValueError(f"{path} holds no master key: delete it, so that one is made, or write one")
    return text
