"""One sample of everything that crosses the bus or is kept, with every field set.

The bytes of each stand in `golden/<n>.jsonl`, a file a wire change; `python -m
tests.contract.golden_samples` appends what is new as the next file. An old line is never edited:
it is what a node of an older release still sends.
"""

import json
from pathlib import Path
from typing import Any

import msgspec

from schemas import (
    audit,
    chats,
    commands,
    envelope,
    errors,
    events,
    history,
    messages,
    records,
    snapshot_requests,
    snapshots,
)
from schemas.states import (
    Ack,
    DesiredState,
    EngineKind,
    MessageDirection,
    MessageKind,
    MessageState,
    SessionState,
)

FOLDER = Path(__file__).parent / "golden"

SESSION = "ses_" + "0" * 25 + "1"
EVENT = "evt_" + "0" * 25 + "2"
MEDIA = "med_" + "0" * 25 + "3"
MESSAGE = "3EB0AABBCCDDEEFF001122"
CHAT = "15550000002@c.us"
LID = "999@lid"
GROUP = "120363000000000001@g.us"
SHA = "ab" * 32

_snapshot = snapshots.SnapshotObject(
    name=f"{SESSION}/3-2",
    baseline=True,
    size_bytes=524_290,
    sha256=SHA,
    captured_at=1_790_000_000.5,
    plain_bytes=700_000,
    clean=True,
)
_generation = snapshots.SnapshotGeneration(
    generation=5,
    epoch=3,
    node_id="node-a",
    manifest=snapshots.SnapshotManifest(
        engine=EngineKind.CHROMIUM, storage_format=1, chromium_build="156.0.1"
    ),
    objects=(_snapshot,),
    proven=True,
    linked_epoch=2,
)
_ref = messages.MediaRef(
    media_id=MEDIA, mimetype="image/png", size_bytes=68, sha256=SHA, filename="a.png"
)
_text = messages.Text(
    text="hi ✓", reply_to="3EB0000000000000000001", mentions=(CHAT,), link_preview=False
)
_media = messages.Media(
    kind=MessageKind.IMAGE, media=_ref, caption="cap", reply_to="3EB0000000000000000001"
)
_target = messages.MessageRef(message_id=MESSAGE, chat_id=GROUP, from_me=True, author=CHAT)
_card = messages.ContactCard(name="Ann", phone="15550000002", organization="Shop")
_reply_to = "3EB0000000000000000001"
_location = messages.Location(
    latitude=-6.2, longitude=106.8, name="Shop", address="1 Road", reply_to=_reply_to
)
_poll = messages.Poll(question="When?", options=("now", "later"), choices_max=2, reply_to=_reply_to)
_kinds: tuple[messages.Content, ...] = (
    _location,
    messages.Contacts(contacts=(_card,), reply_to=_reply_to),
    _poll,
    messages.Reaction(target=_target, emoji="👍"),
    messages.Edit(target=_target, text="new", mentions=(CHAT,)),
    messages.Delete(target=_target),
    messages.Forward(target=_target),
)
_chat_message = messages.ChatMessage(
    message_id=MESSAGE,
    session_id=SESSION,
    direction=MessageDirection.INBOUND,
    kind=MessageKind.DOCUMENT,
    state=MessageState.RECEIVED,
    chat_id=CHAT,
    created_at=1_790_000_000.5,
    from_id=CHAT,
    text="hi",
    media=messages.InboundMedia(mimetype="text/plain", size_bytes=5, filename="a.txt"),
    reply_to="3EB0000000000000000001",
    ack=Ack.READ,
    state_at=1_790_000_001.5,
    error_code="message_refused",
    error_detail="why",
    reactions={CHAT: "👍"},
    edited=True,
    deleted=True,
    mentions=(CHAT,),
    forwarded=True,
    location=_location,
    contacts=(_card,),
    poll=_poll,
    poll_votes={"now": (CHAT,)},
    target_id=_reply_to,
)
_item = records.OutboxItem(
    message_id=MESSAGE,
    tenant_id="acme",
    session_id=SESSION,
    to=CHAT,
    content=_media,
    accepted_at=1_790_000_000.5,
)


def _event(data: events.EventData) -> events.Event:
    return events.Event(
        event_id=EVENT,
        at=1_790_000_000.5,
        tenant_id="acme",
        session_id=SESSION,
        node_id="node-a",
        epoch=7,
        data=data,
    )


_failure = records.PlacementFailure(node_id="node-a", at=1_790_000_000.5)
_redriven = msgspec.structs.replace(
    _item, redrives=2, redriven_at=1_790_000_100.5, doubt="page_timeout"
)
_on: dict[str, Any] = {"session_id": SESSION, "epoch": 7}
SAMPLES: list[msgspec.Struct] = [
    commands.CreateSession(**_on, tenant_id="acme", engine=EngineKind.LOOPBACK, proxy="http://p"),
    commands.StartSession(**_on, tenant_id="acme", engine=EngineKind.CHROMIUM, proxy="http://p"),
    commands.StopSession(**_on),
    commands.RestartSession(**_on),
    commands.MoveSession(**_on),
    commands.LogoutSession(**_on),
    commands.DestroySession(**_on, logout=True),
    commands.SessionAnswer(**_on, state=SessionState.STARTING, reason="r"),
    commands.SendMessage(
        **_on, message_id=MESSAGE, to=CHAT, content=_text, attempt=2, dispatcher_epoch=3
    ),
    commands.SendMessage(**_on, message_id=MESSAGE, to=CHAT, content=_media),
    commands.SendAnswer(
        message_id=MESSAGE,
        state=MessageState.SENT,
        chat_id=CHAT,
        ack=Ack.SENT,
        found_before=True,
        error_code="message_refused",
        error_detail="why",
    ),
    *(commands.SendMessage(**_on, message_id=MESSAGE, to=CHAT, content=one) for one in _kinds),
    commands.SetPresence(**_on, chat_id=CHAT, presence=chats.ChatPresence.TYPING),
    commands.SubscribePresence(**_on, chat_id=CHAT),
    commands.MarkSeen(**_on, chat_id=CHAT),
    commands.ChatActDone(),
    commands.CheckNumber(**_on, phone="15550000002"),
    chats.NumberCheck(phone="15550000002", exists=True, chat_id=CHAT, lid=LID, business=True),
    commands.ReadChats(**_on, limit=2, after="next", groups_only=True),
    commands.ChatsAnswer(
        chats=(
            chats.Chat(
                chat_id=CHAT,
                name="Ann",
                is_group=True,
                unread=2,
                last_message_at=1_790_000_000.5,
                phone="15550000002",
                archived=True,
                pinned=True,
                muted=True,
            ),
        ),
        next="next",
    ),
    commands.ReadContacts(**_on, limit=2, after="next"),
    commands.ContactsAnswer(
        contacts=(
            chats.Contact(
                contact_id=CHAT,
                name="Ann",
                push_name="A",
                phone="15550000002",
                lid=LID,
                saved=True,
                business=True,
                blocked=True,
            ),
        ),
        next="next",
    ),
    commands.ReadGroup(**_on, chat_id=GROUP),
    chats.Group(
        chat_id=GROUP,
        name="Shop",
        members=(chats.GroupMember(member_id=LID, admin=True, phone="15550000002"),),
        description="what we sell",
        owner_id=CHAT,
        created_at=1_790_000_000.5,
        announce_only=True,
    ),
    commands.ReadProfile(**_on),
    chats.Profile(
        phone="15550000001", lid=LID, name="Me", about="hi", picture_url="https://example.test/p"
    ),
    commands.SetProfile(**_on, name="Me", about="hi", picture=_ref, remove_picture=True),
    commands.ReadPicture(**_on, chat_id=CHAT),
    commands.PictureAnswer(url="https://example.test/p"),
    commands.GetQr(**_on, renew=True),
    commands.QrAnswer(value="2@x,y,z,w", index=1, count=6, expires_in_s=59.5),
    commands.GetPairingCode(**_on, phone="15550000001"),
    commands.PairingCodeAnswer(code="ABCD1234", expires_in_s=180.0),
    commands.GetMedia(
        **_on, message_id=MESSAGE, chat_id=CHAT, from_me=True, participant=CHAT, offset=5
    ),
    commands.MediaChunk(data=b"\x00\xffab", offset=0, total_bytes=4, mimetype="image/png"),
    commands.FetchMedia(node_id="node-a", session_id=SESSION, media_id=MEDIA, offset=1),
    commands.AskTold(node_id="node-a", tenant_id="acme", session_id=SESSION, after_seq=9),
    commands.Told(seq=12, event_ids=(EVENT,), more=True),
    commands.RenewCredential(node_id="node-a", jwt="e30.e30.c2ln"),
    commands.Renewed(jwt="e30.e30.c2ln", expires_at=1_795_493_142),
    snapshot_requests.PutSnapshotChunk(
        node_id="node-a",
        session_id=SESSION,
        epoch=3,
        name=_snapshot.name,
        offset=524_288,
        data=b"\x00\xff",
        last=True,
    ),
    snapshot_requests.CommitSnapshot(
        node_id="node-a",
        session_id=SESSION,
        epoch=3,
        snapshot=_snapshot,
        manifest=_generation.manifest,
        proven_generation=4,
        linked_epoch=2,
    ),
    snapshot_requests.SnapshotStored(name=_snapshot.name, committed=True),
    snapshot_requests.GetSnapshotChunk(
        node_id="node-a", session_id=SESSION, epoch=3, name=_snapshot.name, offset=524_288
    ),
    snapshot_requests.SnapshotChunk(data=b"\x00\xff", offset=524_288, total_bytes=524_290),
    snapshots.SnapshotPointer(session_id=SESSION, tenant_id="acme", generations=(_generation,)),
    snapshots.SnapshotHead(
        session_id=SESSION,
        tenant_id="acme",
        epoch=3,
        generations=1,
        objects=1,
        size_bytes=524_290,
        captured_at=1_790_000_000.5,
        clean=True,
        gone_at=1_790_000_009.5,
        chromium_build="156.0.1",
        node_id="node-a",
    ),
    snapshots.DataKeyRecord(session_id=SESSION, wrapped=b"\x00\xff", master_key_id="0" * 16),
    commands.Ping(),
    commands.Pong(node_id="node-a", incarnation="i", sessions=3, sessions_max=30),
    envelope.Reply(ok=msgspec.Raw(b'{"a":1}')),
    envelope.Reply(
        error=envelope.ErrorBody.of(
            errors.BlazzError(errors.ErrorCode.NODE_AT_CAPACITY, "full", sessions_max=30)
        )
    ),
    _event(events.SessionStateChanged(SessionState.ONLINE, SessionState.SYNCING, "probe_ok")),
    _event(events.SessionQr(index=1, count=6, expires_in_s=60.0)),
    _event(events.SessionQrIdle()),
    _event(events.SessionLinked(phone="15550000001", lid="999@lid", name="Ann")),
    _event(events.SessionSync(percent=40)),
    _event(events.MessageSent(message_id=MESSAGE, chat_id=CHAT, ack=Ack.SENT)),
    _event(events.MessageFailed(MESSAGE, CHAT, "message_refused", "why")),
    _event(events.MessageUnknown(MESSAGE, CHAT, "page_timeout", "why")),
    _event(events.MessageAck(MESSAGE, CHAT, Ack.DELIVERED)),
    _event(events.MessageReceived(_chat_message)),
    _event(events.MessageReaction(MESSAGE, CHAT, CHAT, "👍", cause="3EB0000000000000000001")),
    _event(events.MessageEdited(MESSAGE, CHAT, "new", cause="3EB0000000000000000001")),
    _event(events.MessageDeleted(MESSAGE, CHAT, cause="3EB0000000000000000001")),
    _event(events.PollVote(MESSAGE, CHAT, CHAT, ("yes",))),
    _event(events.PresenceChanged(GROUP, CHAT, chats.ChatPresence.RECORDING)),
    _event(events.GroupChanged(GROUP, chats.GroupChange.NAME, CHAT, (LID,), "Shop")),
    _event(events.Call("call-1", CHAT, chats.CallState.RINGING, video=True, group_id=GROUP)),
    records.NodeRecord(
        node_id="node-a",
        incarnation="i",
        version="0.1.0",
        sessions_max=30,
        engines=(EngineKind.CHROMIUM, EngineKind.LOOPBACK),
        started_at=1_790_000_000.5,
        region="sgp",
        provider="vultr",
        address="127.0.0.1",
        http_url="http://127.0.0.1:1",
        chromium_build="156.0.0.0",
        chromium_sandbox=False,
        cordoned=True,
        stopped=True,
    ),
    records.Heartbeat(
        node_id="node-a",
        incarnation="i",
        sequence=9,
        sessions_max=30,
        sessions=(records.SessionLoad(SESSION, "acme", 7, SessionState.ONLINE, 1_790_000_000.5),),
        memory_used_bytes=1,
        memory_free_bytes=2,
        cpu_load=0.5,
        uptime_s=3.5,
    ),
    records.CapacityRecord(node_id="node-a", reserved=3),
    records.SessionRecord(
        session_id=SESSION,
        tenant_id="acme",
        desired=DesiredState.RUNNING,
        created_at=1_790_000_000.5,
        engine=EngineKind.LOOPBACK,
        name="shop",
        region="sgp",
        metadata={"a": "b"},
        restart_generation=1,
    ),
    records.SessionNameRecord(session_id=SESSION, tenant_id="acme"),
    records.Assignment(session_id=SESSION, tenant_id="acme", node_id="node-a", epoch=7),
    records.Assignment(
        session_id=SESSION,
        tenant_id="acme",
        node_id=None,
        epoch=8,
        moving_to="node-b",
        unplaceable="every suitable node is full",
        reason="node_lost",
        ended=SessionState.LOGGED_OUT,
        ended_reason="r",
        failures=(_failure,),
    ),
    _failure,
    records.NodeIntent(
        node_id="node-a",
        cordoned=True,
        draining=True,
        drain_deadline_at=1_790_000_000.5,
        reason="r",
    ),
    records.SessionObserved(
        session_id=SESSION,
        tenant_id="acme",
        node_id="node-a",
        incarnation="i",
        epoch=7,
        state=SessionState.FAILED,
        since=1_790_000_000.5,
        reason="page_not_ready",
        phone="15550000001",
        lid="999@lid",
        push_name="Ann",
        linked_epoch=2,
    ),
    records.LeaseRecord(holder="node-a", incarnation="i", acquired_at=1_790_000_000.5),
    records.EpochRecord(epoch=3),
    records.TenantRecord(
        tenant_id="acme",
        created_at=1_790_000_000.5,
        name="Acme",
        sessions_max=10,
        message_retention_s=86_400.0,
        default_region="ID",
        media_policy=messages.MediaPolicy(
            messages.MediaMode.AUTO, (MessageKind.IMAGE,), bytes_max=1_000
        ),
    ),
    records.UploadRecord(
        media_id=MEDIA, mimetype="image/png", size_bytes=70_000, sha256=SHA, filename="a.png"
    ),
    records.ErasureRecord(
        tenant_id="acme",
        requested_at=1_790_000_000.5,
        requested_by="0123456789ab",
        finished_at=1_790_000_100.5,
    ),
    records.ApiKeyRecord(
        key_id="0123456789ab",
        tenant_id="acme",
        secret_sha256=SHA,
        created_at=1_790_000_000.5,
        scopes=("operator",),
        name="ci",
        expires_at=1_790_000_009.5,
        revoked=True,
    ),
    records.LinkTokenRecord(
        token_sha256=SHA,
        tenant_id="acme",
        session_id=SESSION,
        expires_at=1_790_000_009.5,
        return_url="https://example.test/",
        browser_sha256=SHA,
    ),
    records.EventTicketRecord(
        tenant_id="acme",
        key_id="0123456789ab",
        scopes=("messages",),
        expires_at=1_790_000_000.5,
    ),
    records.IdempotencyRecord(body_sha256=SHA, done=True, http_code=202, body="{}"),
    _item,
    records.DeadLetter(
        item=_item,
        attempts=8,
        error_code="page_timeout",
        died_at=1_790_000_009.5,
        error_detail="why",
    ),
    _redriven,
    records.DeadLetter(
        item=_redriven,
        attempts=8,
        error_code="page_timeout",
        died_at=1_790_000_009.5,
        error_detail="why",
        state=MessageState.UNKNOWN,
    ),
    _event(events.MessageFailed(MESSAGE, CHAT, "message_refused", "why", redrives=2)),
    _event(events.MessageUnknown(MESSAGE, CHAT, "page_timeout", "why", redrives=2)),
    audit.AuditRecord(
        audit_id="aud_" + "0" * 25 + "4",
        at=1_790_000_000.5,
        operation="drainNode",
        tenant_id="acme",
        key_id="0123456789ab",
        source=audit.AuditSource.COMMAND,
        key_name="ann",
        address="127.0.0.1",
        target=("node-a",),
        parameters={"deadline_s": 600.0, "all": True, "scopes": ["keys"], "name": None},
        request_id="req_1",
        http=409,
        error_code="conflict",
        ended_at=1_790_000_001.5,
    ),
    history.HistoryPage(
        at=1_790_000_000.5,
        writes=(
            history.HistoryWrite("assignment.s", 7, msgspec.Raw(b'{"epoch":2}')),
            history.HistoryWrite("assignment.t", 8, msgspec.Raw(b"null")),
        ),
        baseline=True,
    ),
    history.HistoryBaseline(began_at=1_790_000_000.5, ended_at=1_790_000_001.5),
    history.HistoryPulses(
        at=1_790_000_000.5,
        nodes=(history.PastPulse("node-a", "i", 9, 30, 1, 2, 0.5),),
    ),
    records.MessageIdSecret(secret=b"\x00\xff" * 16),
    _event(events.MediaReady(MESSAGE, CHAT, "image/png", 68, SHA)),
    _event(events.MediaFailed(MESSAGE, CHAT, "session_not_online", "why")),
    records.StoredMedia("image/png", 68, SHA),
    commands.Told(seq=12, erased=True),
]


FORMERLY = {"schemas.snapshot_requests": "schemas.commands"}
"""Modules whose structs stand in golden files under the module they were declared in then."""


def line(sample: msgspec.Struct) -> str:
    """A sample as it stands in a golden file."""
    kind = type(sample)
    module = FORMERLY.get(kind.__module__, kind.__module__)
    return json.dumps(
        {"type": f"{module}.{kind.__name__}", "wire": msgspec.json.encode(sample).decode()}
    )


def recorded() -> list[str]:
    """Every line of every golden file, oldest first."""
    return [
        text
        for path in sorted(FOLDER.glob("*.jsonl"), key=lambda p: int(p.stem))
        for text in path.read_text(encoding="utf-8").splitlines()
    ]


if __name__ == "__main__":
    known = set(recorded())
    new = [text for sample in SAMPLES if (text := line(sample)) not in known]
    if new:
        number = 1 + max((int(p.stem) for p in FOLDER.glob("*.jsonl")), default=0)
        (FOLDER / f"{number}.jsonl").write_text("\n".join(new) + "\n", encoding="utf-8")
