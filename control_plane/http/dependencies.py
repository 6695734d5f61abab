"""What handlers are given, and the few checks that several of them share.

Owns the typed dependencies and parameters. Never a route.
"""

from typing import Annotated
from urllib.parse import urlsplit

from litestar.di import NamedDependency, Provide
from litestar.params import QueryParameter, SkipValidation

from control_plane.http.auth import principal_of
from control_plane.http.bodies import AnyRequest
from control_plane.http.event_stream import Streams
from control_plane.http.problems import invalid
from control_plane.http.settings import HttpSettings
from control_plane.ports import Principal, Services

Ports = NamedDependency[SkipValidation[Services]]
Settings = NamedDependency[SkipValidation[HttpSettings]]
Caller = NamedDependency[SkipValidation[Principal]]
OpenStreams = NamedDependency[SkipValidation[Streams]]

Limit = Annotated[int, QueryParameter(name="limit", ge=1, le=200, description="Items a page.")]
Cursor = Annotated[
    str | None,
    QueryParameter(
        name="cursor", max_length=1_000, description="`next_cursor` of the page before."
    ),
]


def provided(services: Services, settings: HttpSettings, streams: Streams) -> dict[str, Provide]:
    """The app's dependencies by name.

    Each depends on the one before although it needs nothing of it: Litestar resolves independent
    ones at once, in a task group that costs more than a third of a request.
    """

    def provide_settings(services: Ports) -> HttpSettings:
        del services
        return settings

    def provide_streams(settings: Settings) -> Streams:
        del settings
        return streams

    def provide_caller(request: AnyRequest, settings: Settings) -> Principal:
        del settings
        return principal_of(request)

    return {
        "services": Provide(lambda: services, sync_to_thread=False),
        "settings": Provide(provide_settings, sync_to_thread=False),
        "streams": Provide(provide_streams, sync_to_thread=False),
        "caller": Provide(provide_caller, sync_to_thread=False),
    }


def public_base(request: AnyRequest, settings: HttpSettings) -> str:
    """Where customers reach us, without a slash at the end."""
    return (settings.public_url or str(request.base_url)).rstrip("/")


def check_return_url(url: str | None) -> str | None:
    """An absolute http(s) address without a password in it, or none; else `validation_failed`."""
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        good = (
            parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
        )
    except ValueError:
        good = False
    if not good or any(ord(c) <= 32 or ord(c) == 127 for c in url):
        raise invalid("return_url", "It must be an absolute http or https address.")
    return url
