"""Whom a request names: phone numbers and chat ids in its fields, read with the tenant's region.

Owns the naming of the wrong field. Never repeats a number in an error.
"""

from collections.abc import Callable

from control_plane.http.problems import InvalidFields
from control_plane.ports import Principal, Services
from control_plane.recipients import chat_id_of, person_of, phone_digits
from schemas.api import FieldProblem
from schemas.errors import BlazzError
from schemas.ids import ChatId


class People:
    """Reads for one tenant. All raise `recipient_invalid` with the field's `path`."""

    def __init__(self, region: str | None) -> None:
        self._region = region

    def chat(self, text: str, path: str) -> ChatId:
        """A person or a group."""
        return _named(path, lambda: chat_id_of(text, region=self._region))

    def person(self, text: str, path: str) -> ChatId:
        """A person."""
        return _named(path, lambda: person_of(text, region=self._region))

    def phone(self, text: str, path: str) -> str:
        """A phone number, as E.164 digits without +."""
        return _named(path, lambda: phone_digits(text, region=self._region))


async def people_of(services: Services, caller: Principal) -> People:
    """Reads phone numbers as the caller's tenant writes them."""
    return People(await services.tenants.region(caller.tenant_id))


def _named(path: str, read: Callable[[], str]) -> str:
    try:
        return read()
    except BlazzError as error:
        raise InvalidFields(FieldProblem(path, error.detail), code=error.code) from None
