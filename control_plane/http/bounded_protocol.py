"""uvicorn's quick HTTP parser, with a bound on a request's head.

Owns that bound. The parser behind it has none of its own: a head that never ends would be collected
for ever. Never anything of what a request means.
"""

from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES_MAX: Final = 32 * 1024
"""Beyond the first read, which is bounded by the socket's own buffer."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """Ends a connection whose request line and headers go on and on."""

    _head_open = False
    _head_bytes = 0

    def on_message_begin(self) -> None:
        """A request begins."""
        self._head_open, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its head is whole."""
        self._head_open = False
        super().on_headers_complete()

    def data_received(self, data: Any) -> None:
        """Take what came in."""
        goes_on = self._head_open
        super().data_received(data)
        if goes_on and self._head_open:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX and not self.transport.is_closing():
                self.send_400_response("The request's headers are too large.")
