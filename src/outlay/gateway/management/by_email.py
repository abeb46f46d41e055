"""By e-mail: finds the user who has an address."""

from __future__ import annotations

from outlay.errors import InvalidValueError
from outlay.gateway.directory import NoSuchAccountError, live
from outlay.gateway.records import UserRecord, folded
from outlay.ledger.store import Reader


def find_email(reader: Reader, user_email: str) -> str | None:
    """Find the id of the user with this address, in whatever case."""
    wanted = folded(user_email).casefold()
    found = (
        account.id.partition(":")[2]
        for account, user in live(reader, "user", UserRecord)
        if user.user_email is not None and folded(user.user_email).casefold() == wanted
    )
    return next(found, None)


def user_by_email(reader: Reader, user_email: str | None) -> str:
    """Find the user whom a request names by the address, not having said a `user_id`.

    Raises:
        NoSuchAccountError: nobody has the address.
        InvalidValueError: there is no address either.
    """
    if user_email is None:
        raise InvalidValueError("user_id is missing: name the user, by user_id or user_email")
    user_id = find_email(reader, user_email)
    if user_id is None:
        raise NoSuchAccountError("user_email", f"there is no user {user_email!r}")
    return user_id
