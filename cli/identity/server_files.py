"""What nats-servers are given: their include, and signed accounts compared by what they say.

Owns these texts. Never signs or writes.
"""

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from schemas.bus_credentials import from_base64url


def server_include(
    operator: str, *, system_account: str, resolver_dir: str, preload: Mapping[str, str]
) -> str:
    """What a nats-server's file includes. Accounts that were pushed are kept in `resolver_dir` and
    win over the preloaded ones where they are newer."""
    accounts = "".join(f"  {key}: {jwt}\n" for key, jwt in preload.items())
    return (
        "# Written by `blazz identity`; no secrets. Include it in every nats-server's file.\n"
        f"operator: {operator}\n"
        f"system_account: {system_account}\n"
        "resolver {\n"
        f"  type: full\n  dir: {json.dumps(resolver_dir)}\n"
        '  allow_delete: false\n  interval: "2m"\n  timeout: "1.9s"\n'
        "}\n"
        f"resolver_preload {{\n{accounts}}}\n"
    )


def said(jwt: str) -> dict[str, Any]:
    """What a JWT says, but for when it was said."""
    claims: dict[str, Any] = msgspec.json.decode(from_base64url(jwt.strip().split(".")[1]))
    return {key: value for key, value in claims.items() if key not in ("iat", "jti")}
