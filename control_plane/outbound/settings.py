"""Settings of requests to customers' addresses.

Owns defaults and their reasons. Closed by default: each setting here opens something.
"""

import msgspec


class OutboundSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where customers' URLs may lead besides `https` on the public internet.

    - `allow_networks`: networks such as `127.0.0.0/8` that are reached although they are not
      public: for the demo, for tests, for receivers inside one's own network.
    - `allow_http`: take `http://` as well. Signatures still prove who sent it, but anybody on the
      way can read it.
    """

    allow_networks: tuple[str, ...] = ()
    allow_http: bool = False
    connect_timeout_s: float = 10.0
    redirects_max: int = 3
    """For fetches; a webhook follows none."""


LOOPBACK_TOO = OutboundSettings(allow_networks=("127.0.0.0/8", "::1/128"), allow_http=True)
"""For a stack that lives on one machine with those it talks to."""
