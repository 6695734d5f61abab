"""The phone's plain HTTP listener: accounts, chats, linking, faults, and the log.

Owns the routes and their errors; binds to 127.0.0.1 and answers no other Host or Origin, because
it needs no login. Never serves the page.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import msgspec
from aiohttp import web

from sandbox.switch import phone_bodies as bodies
from sandbox.switch.faults import EVERYONE
from sandbox.switch.linking import LinkError
from sandbox.switch.model import CONTENT_FIELDS, Account, Device, RefusedError
from sandbox.switch.qr_picture import NoReaderError, read_qr
from sandbox.switch.switch import Switch, unix_ms
from schemas import switch_wire as wire

_PHONE_PAGE = Path(__file__).resolve().parent.parent / "phone_page"
_PAGE_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self'; media-src 'self'; form-action 'none'; base-uri 'none'; "
        "frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_LOCAL_NAMES = {"127.0.0.1", "localhost"}
T = TypeVar("T")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def phone_app(switch: Switch, chromium_args: Callable[[], list[str]]) -> web.Application:
    """The listener's application."""
    api = _PhoneApi(switch, chromium_args)
    app = web.Application(
        client_max_size=wire.MEDIA_BYTES_MAX, middlewares=[_only_local, _told_errors]
    )
    one = "/api/accounts/{number}"
    app.add_routes(
        [
            web.get("/", api.page),
            web.get("/phone/{name}", api.page),
            web.get("/api/accounts", api.accounts),
            web.post("/api/accounts", api.add_account),
            web.patch(one, api.change_account),
            web.post(one + "/scan", api.scan),
            web.post(one + "/pairing-code", api.pairing_code),
            web.post(one + "/passkey", api.passkey),
            web.get(one + "/devices", api.devices),
            web.delete(one + "/devices/{device_id}", api.unlink),
            web.get(one + "/chats", api.chats),
            web.get(one + "/chats/{wid}/messages", api.messages),
            web.post(one + "/messages", api.send),
            web.post(one + "/read", api.read),
            web.post(one + "/{act:react|edit|delete}", api.change_message),
            web.post(one + "/vote", api.vote),
            web.post(one + "/presence", api.show_presence),
            web.post(one + "/calls", api.call),
            web.delete(one + "/calls/{call_id}", api.give_up_call),
            web.get(one + "/profile", api.profile),
            web.post(one + "/groups/{wid}", api.change_group),
            web.post("/api/groups", api.add_group),
            web.put("/api/media", api.put_media),
            web.get("/api/media/{media_id}", api.get_media),
            web.post("/api/qr", api.read_picture),
            web.get("/api/faults", api.faults),
            web.patch("/api/faults", api.set_faults),
            web.delete("/api/faults", api.clear_faults),
            web.get("/api/log", api.log),
            web.get("/api/sandbox", api.about),
        ]
    )
    return app


@web.middleware
async def _only_local(request: web.Request, handler: Handler) -> web.StreamResponse:
    host = request.host.partition(":")[0]
    origin = request.headers.get("Origin")
    if host not in _LOCAL_NAMES or (origin and origin != f"http://{request.host}"):
        return _json(bodies.Problem(error="forbidden"), 403)
    return await handler(request)


@web.middleware
async def _told_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPNotFound:
        return _json(bodies.Problem(error="not_found"), 404)
    except (msgspec.MsgspecError, ValueError) as error:
        return _json(bodies.Problem(error="invalid", detail=str(error)), 422)
    except (RefusedError, LinkError) as refusal:
        return _json(bodies.Problem(error=refusal.reason), 409)
    except NoReaderError as error:
        return _json(bodies.Problem(error="no_qr_reader", detail=str(error)), 501)


def _json(value: object, code: int = 200) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(value), content_type="application/json", status=code
    )


async def _body(request: web.Request, shape: type[T]) -> T:
    return msgspec.json.decode(await request.read(), type=shape)


class _PhoneApi:
    def __init__(self, switch: Switch, chromium_args: Callable[[], list[str]]) -> None:
        self._switch = switch
        self._chromium_args = chromium_args

    def _account(self, request: web.Request) -> Account:
        account = self._switch.directory.accounts.get(request.match_info["number"])
        if account is None:
            raise web.HTTPNotFound
        return account

    async def page(self, request: web.Request) -> web.StreamResponse:
        name = Path(request.match_info.get("name", "index.html")).name
        path = _PHONE_PAGE / name
        if not path.is_file():
            raise web.HTTPNotFound
        return web.FileResponse(path, headers=_PAGE_HEADERS)

    async def accounts(self, _request: web.Request) -> web.Response:
        return _json(list(self._switch.directory.accounts.values()))

    async def add_account(self, request: web.Request) -> web.Response:
        new = await _body(request, bodies.NewAccount)
        account = Account(**msgspec.structs.asdict(new))
        account.name = account.name or account.number
        self._switch.directory.add_account(account)
        return _json(account, 201)

    async def change_account(self, request: web.Request) -> web.Response:
        account = self._account(request)
        change = await _body(request, bodies.AccountChange)
        if {change.name, change.about, change.picture} != {None}:
            self._switch.set_profile(account, change.name, change.about, change.picture)
        account.auto_read = account.auto_read if change.auto_read is None else change.auto_read
        if change.on is not None:
            account.on = change.on
        if account.on:
            self._switch.exchange.phone_switched_on(account)
        return _json(account)

    async def scan(self, request: web.Request) -> web.Response:
        scan = await _body(request, bodies.Scan)
        state = self._switch.office.scan(self._account(request), scan.text, unix_ms() // 1000)
        return _json(bodies.Linking(state=state))

    async def pairing_code(self, request: web.Request) -> web.Response:
        code = await _body(request, bodies.Code)
        state = self._switch.office.enter_code(self._account(request), code.code, unix_ms())
        return _json(bodies.Linking(state=state))

    async def passkey(self, request: web.Request) -> web.Response:
        self._switch.office.confirm_passkey(self._account(request), unix_ms() // 1000)
        return _json(bodies.Linking(state="linked"))

    async def devices(self, request: web.Request) -> web.Response:
        account = self._account(request)
        return _json([_device_info(d) for d in self._switch.devices.of(account.number)])

    async def unlink(self, request: web.Request) -> web.Response:
        device = self._switch.devices.get(request.match_info["device_id"])
        if device is None or device.account != self._account(request).number:
            raise web.HTTPNotFound
        self._switch.devices.unlink(device, "phone")
        return _json(_device_info(device))

    async def chats(self, request: web.Request) -> web.Response:
        return _json(self._switch.directory.chats(self._account(request)))

    async def messages(self, request: web.Request) -> web.Response:
        account = self._account(request)
        directory = self._switch.directory
        key = directory.chat_key(account, request.match_info["wid"])
        if key is None:
            raise web.HTTPNotFound
        return _json(
            [
                bodies.PhoneMessage(
                    n=e.n,
                    message=directory.view(e, account),
                    reactions=e.reactions,
                    votes=e.votes,
                )
                for e in directory.history(key)
            ]
        )

    async def send(self, request: web.Request) -> web.Response:
        out = await _body(request, bodies.Outgoing)
        if out.media is not None and self._switch.media.get(out.media.media_id) is None:
            raise RefusedError("media_missing")
        frame = wire.Send(
            req=0,
            id=out.id or "3A" + secrets.token_hex(9).upper(),
            chat=out.to,
            type=out.type,
            quoted_id=out.quoted_id,
            **{name: getattr(out, name) for name in CONTENT_FIELDS},
        )
        envelope = self._switch.exchange.accept(self._account(request), frame, None)
        if envelope is not None:
            self._switch.exchange.route(envelope)
        return _json(bodies.Created(id=frame.id), 201)

    async def read(self, request: web.Request) -> web.Response:
        seen = await _body(request, bodies.Seen)
        account = self._account(request)
        self._switch.exchange.read(account, seen.chat, seen.ids, seen.ack, None)
        return _json({})

    async def change_message(self, request: web.Request) -> web.Response:
        change = await _body(request, bodies.Change)
        account, changes = self._account(request), self._switch.changes
        match request.match_info["act"]:
            case "react":
                changes.react(account, change.chat, change.id, change.text)
            case "edit":
                changes.edit(account, change.chat, change.id, change.text)
            case _:
                changes.delete(account, change.chat, change.id)
        return _json({})

    async def vote(self, request: web.Request) -> web.Response:
        vote = await _body(request, bodies.Vote)
        self._switch.changes.vote(self._account(request), vote.chat, vote.id, vote.options)
        return _json({})

    async def show_presence(self, request: web.Request) -> web.Response:
        shown = await _body(request, bodies.Shown)
        self._switch.presence.show(self._account(request), shown.chat, shown.state)
        return _json({})

    async def call(self, request: web.Request) -> web.Response:
        calling = await _body(request, bodies.Calling)
        call_id = self._switch.calls.ring(self._account(request), calling.to, video=calling.video)
        return _json(bodies.Created(id=call_id), 201)

    async def give_up_call(self, request: web.Request) -> web.Response:
        self._switch.calls.give_up(self._account(request), request.match_info["call_id"])
        return _json({})

    async def profile(self, request: web.Request) -> web.Response:
        wid = request.query.get("wid", "")
        found = self._switch.directory.profile(self._account(request), wid)
        if found is None:
            raise web.HTTPNotFound
        return _json(found)

    async def change_group(self, request: web.Request) -> web.Response:
        act = await _body(request, bodies.GroupAct)
        wid = request.match_info["wid"]
        self._switch.groups.change(self._account(request), wid, act.change, act.members, act.value)
        return _json({})

    async def add_group(self, request: web.Request) -> web.Response:
        new = await _body(request, bodies.NewGroup)
        group = self._switch.groups.create(new.name, list(new.members))
        return _json(bodies.Created(id=group.wid), 201)

    async def put_media(self, request: web.Request) -> web.Response:
        return _json(self._switch.media.put(await request.read(), request.content_type), 201)

    async def get_media(self, request: web.Request) -> web.Response:
        found = self._switch.media.get(request.match_info["media_id"])
        if found is None:
            raise web.HTTPNotFound
        # Never shown as a page of this origin, whatever its type says.
        headers = {"Content-Security-Policy": "sandbox", "X-Content-Type-Options": "nosniff"}
        return web.Response(body=found[1], content_type=found[0], headers=headers)

    async def read_picture(self, request: web.Request) -> web.Response:
        text = read_qr(await request.read())
        if not text:
            return _json(bodies.Problem(error="no_qr_found"), 422)
        return _json({"text": text})

    async def faults(self, request: web.Request) -> web.Response:
        return _json(self._switch.faults.of(request.query.get("account", EVERYONE)))

    async def set_faults(self, request: web.Request) -> web.Response:
        values = await _body(request, dict[str, object])
        account = str(values.pop("account", EVERYONE))
        if account != EVERYONE and account not in self._switch.directory.accounts:
            raise web.HTTPNotFound
        return _json(self._switch.set_faults(account, values))

    async def clear_faults(self, _request: web.Request) -> web.Response:
        self._switch.faults.clear()
        return _json(self._switch.faults.of())

    async def log(self, request: web.Request) -> web.Response:
        return _json(self._switch.log.since(int(request.query.get("since", "0"))))

    async def about(self, _request: web.Request) -> web.Response:
        return _json(
            {"app_version": self._switch.app_version, "chromium_args": self._chromium_args()}
        )


def _device_info(device: Device) -> bodies.DeviceInfo:
    return bodies.DeviceInfo(
        device_id=device.device_id,
        account=device.account,
        linked_ts=device.linked_ts,
        app_version=device.app_version,
        online=device.active is not None,
        stored_seq=device.stored_seq,
        queued=len(device.queue),
        instances=tuple(line.instance for line in device.lines),
    )
