"""The guard: no request of ours reaches a place that its author could not reach himself.

Owns the rules for URLs and the resolver. A name is resolved once, here, and the connection goes to
the very addresses that were looked at: an answer that changes afterwards (DNS rebinding) changes
nothing. Never connects by itself.
"""

import socket
from typing import Final

import structlog
from aiohttp import ThreadedResolver
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from control_plane.core.addresses import networks, refusal
from control_plane.outbound.settings import OutboundSettings
from schemas.errors import BlazzError, ErrorCode

log = structlog.get_logger()

URL_CHARS_MAX: Final = 2_048
_WELL_KNOWN_PORTS: Final = 1_024
_WEB_PORTS: Final = frozenset({80, 443})


def refused(detail: str) -> BlazzError:
    """`url_not_allowed`, with why."""
    return BlazzError(ErrorCode.URL_NOT_ALLOWED, detail)


class Guard:
    """The rules of one set of settings. Raises `config_invalid` for a network that is none."""

    def __init__(self, settings: OutboundSettings) -> None:
        try:
            self._allowed = networks(settings.allow_networks)
        except ValueError as error:
            raise BlazzError(ErrorCode.CONFIG_INVALID, f"`allow_networks`: {error}") from error
        self._allow_http = settings.allow_http

    def check_url(self, text: str) -> URL:
        """The URL, if its form and a numeric host are allowed; names are checked when they are
        resolved. Raises `url_not_allowed`."""
        if len(text) > URL_CHARS_MAX:
            raise refused(f"It is longer than {URL_CHARS_MAX} characters.")
        if any(ord(c) <= 32 or ord(c) == 127 for c in text):
            raise refused("It holds blanks or control characters.")
        try:
            url = URL(text)
            host, port = url.host, url.port
        except ValueError:
            raise refused("That is not a URL.") from None
        if url.scheme not in ("https", "http") or not host:
            raise refused("It must begin with https:// and name a host.")
        if url.scheme == "http" and not self._allow_http:
            raise refused("Only https is allowed.")
        if url.user is not None or url.password is not None:
            raise refused("It must not hold a user name or password.")
        if port is None or (port < _WELL_KNOWN_PORTS and port not in _WEB_PORTS):
            raise refused("Ports below 1024 other than 80 and 443 are closed.")
        if _is_address(host):
            self.check_address(host)
        return url

    def check_address(self, address: str) -> None:
        """Raises `url_not_allowed` unless connections to it may be made."""
        why = refusal(address, self._allowed)
        if why is not None:
            raise refused(f"The host's address is not on the public internet ({why}).")


class GuardedResolver(AbstractResolver):
    """Resolves as the system does, and hands out only addresses that the guard lets through."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._inner = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Raises `url_not_allowed` when no address is left, `OSError` when there is none."""
        good, error = [], None
        for found in await self._inner.resolve(host, port, family):
            try:
                self._guard.check_address(found["host"])
            except BlazzError as refusal_:
                error = refusal_
            else:
                good.append(found)
        if error is not None:
            log.info("outbound.address_refused", left=len(good))
            if not good:
                raise error
        return good

    async def close(self) -> None:
        """Nothing is held."""
        await self._inner.close()


def _is_address(host: str) -> bool:
    try:
        refusal(host)
    except ValueError:
        return False
    return True
