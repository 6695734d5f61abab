"""The HTTP API's bodies of what can be read and done on a session's account, and of the tenant.

Owns these request and answer structs. The records of chats, contacts and groups themselves are in
`chats`. Never holds a route.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from schemas.api import Page, Request
from schemas.chats import Chat, Contact, NumberCheck
from schemas.ids import MediaId, TenantId
from schemas.messages import MediaPolicy
from schemas.resources import RETENTION_MIN_S

NUMBERS_MAX = 50
"""Numbers of one check. WhatsApp watches who asks for many."""

Region = Annotated[
    str, Meta(pattern=r"^[A-Z]{2}$", description="An ISO 3166 country code, such as `ID`.")
]


class PresenceRequest(Request, frozen=True):
    """`POST …/chats/{chat_id}/presence`"""

    state: Literal["typing", "recording", "paused"]


class NumbersRequest(Request, frozen=True):
    """`POST …/numbers/check`"""

    phones: Annotated[
        tuple[Annotated[str, Meta(min_length=3, max_length=32)], ...],
        Meta(min_length=1, max_length=NUMBERS_MAX),
    ]


class ProfileChange(Request, frozen=True):
    """`PATCH …/profile`: what is left out stays; an empty `about` removes it."""

    name: Annotated[str, Meta(min_length=1, max_length=25)] | None = None
    about: Annotated[str, Meta(max_length=139)] | None = None


class ProfilePicture(Request, frozen=True):
    """`PUT …/profile/picture`: an upload that is a JPEG or PNG."""

    media_id: MediaId


class PictureView(msgspec.Struct, frozen=True):
    """Where WhatsApp serves a picture, for a while; null: there is none, or it is hidden."""

    url: str | None


class TenantView(msgspec.Struct, frozen=True):
    """The tenant of the key. `default_region` is its own, or the server's."""

    tenant_id: TenantId
    name: str | None
    default_region: str | None
    sessions_max: int
    message_retention_s: float | None = None
    """None: as long as the installation says."""
    media_policy: MediaPolicy | None = None
    """None: as the installation says."""


class TenantChange(Request, frozen=True):
    """`PATCH /v1/tenant`: what is left out stays; `default_region` null: the server's again."""

    name: Annotated[str, Meta(max_length=100)] | msgspec.UnsetType | None = msgspec.UNSET
    default_region: Region | msgspec.UnsetType | None = msgspec.UNSET
    message_retention_s: Annotated[float, Meta(ge=RETENTION_MIN_S)] | msgspec.UnsetType | None = (
        msgspec.UNSET
    )
    media_policy: MediaPolicy | msgspec.UnsetType | None = msgspec.UNSET


ChatPage = Page[Chat]
ContactPage = Page[Contact]
NumberPage = Page[NumberCheck]
