"""Routes of uploads in pieces, over a real socket."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from schemas.errors import ErrorCode
from tests.integration.http_server import Running, problem, running

DATA = b"%PDF-1.7 " + bytes(range(256)) * 8
NO_MEDIA = "med_00000000000000000000000000"


@pytest.fixture
async def api() -> AsyncIterator[Running]:
    async with running() as served:
        yield served


def announced(**fields: Any) -> dict[str, Any]:
    return {
        "sha256": hashlib.sha256(DATA).hexdigest(),
        "size_bytes": len(DATA),
        "mimetype": "application/pdf",
        "filename": "menu.pdf",
        **fields,
    }


async def test_an_upload_goes_on_where_it_stopped_and_is_media_when_whole(api: Running) -> None:
    begun = await api.client.post("/v1/media/uploads", json=announced())
    assert (begun.status_code, begun.json()["offset"]) == (201, 0)
    path = begun.headers["location"]
    half = await api.client.patch(path, content=DATA[:900], headers={"Upload-Offset": "0"})
    assert (half.status_code, half.headers["upload-offset"]) == (200, "900")
    assert half.json()["media"] is None
    # The client lost its id: asked again, it gets the same upload.
    found = await api.client.post("/v1/media/uploads", json=announced())
    assert (found.status_code, found.headers["location"]) == (200, path)
    assert found.json() == half.json() | {"expires_at": found.json()["expires_at"]}
    wrong = await api.client.patch(path, content=DATA[:900], headers={"Upload-Offset": "0"})
    assert problem(wrong, ErrorCode.UPLOAD_OFFSET_MISMATCH)["fields"] == {"offset": 900}
    done = await api.client.patch(path, content=DATA[900:], headers={"Upload-Offset": "900"})
    media = done.json()["media"]
    assert (media["media_id"], media["sha256"]) == (
        begun.json()["upload_id"],
        announced()["sha256"],
    )
    assert (await api.client.get(f"/v1/media/{media['media_id']}")).json()["filename"] == "menu.pdf"
    again = await api.client.post("/v1/media/uploads", json=announced())
    assert (again.status_code, again.json()["media"]["media_id"]) == (200, media["media_id"])
    assert (await api.client.delete(f"/v1/media/{media['media_id']}")).status_code == 204
    problem(await api.client.get(f"/v1/media/{media['media_id']}"), ErrorCode.MEDIA_NOT_FOUND)


async def test_wrong_uploads_are_refused(api: Running) -> None:
    for body, code in (
        (announced(sha256="xyz"), ErrorCode.VALIDATION_FAILED),
        (announced(size_bytes=0), ErrorCode.VALIDATION_FAILED),
        (announced(size_bytes=10**9), ErrorCode.VALIDATION_FAILED),
        (announced(mimetype="image/x-nothing"), ErrorCode.MEDIA_UNSUPPORTED),
    ):
        problem(await api.client.post("/v1/media/uploads", json=body), code)
    path = (await api.client.post("/v1/media/uploads", json=announced())).headers["location"]
    silent = await api.client.patch(path, content=DATA)
    assert problem(silent, ErrorCode.VALIDATION_FAILED)["errors"][0]["path"] == "Upload-Offset"
    negative = await api.client.patch(path, content=DATA, headers={"Upload-Offset": "-1"})
    problem(negative, ErrorCode.VALIDATION_FAILED)
    more = await api.client.patch(path, content=DATA + b"x", headers={"Upload-Offset": "0"})
    problem(more, ErrorCode.MEDIA_TOO_LARGE)
    for method in ("GET", "PATCH"):
        answer = await api.client.request(
            method, f"/v1/media/uploads/{NO_MEDIA}", headers={"Upload-Offset": "0"}
        )
        problem(answer, ErrorCode.MEDIA_NOT_FOUND)
    problem(await api.client.delete("/v1/media/nonsense"), ErrorCode.MEDIA_NOT_FOUND)
    async with api.client_for("rival", "messages") as rival:
        problem(await rival.get(path), ErrorCode.MEDIA_NOT_FOUND)
        other = await rival.post("/v1/media/uploads", json=announced())
        assert other.headers["location"] != path
