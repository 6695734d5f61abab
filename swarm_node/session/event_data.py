"""What an engine reports, as the world's events.

Owns the mapping from engine events that need no decision (messages, receipts, presence, calls,
progress), and what a sent message of ours did to another. Those that may move the session's state
go through the runner's table first. Pure.
"""

from schemas import events
from schemas.commands import SendMessage
from schemas.messages import Delete, Edit, Reaction
from swarm_node.engines import contract

StateBearing = (
    contract.QrShown
    | contract.QrExpired
    | contract.PasskeyAsked
    | contract.Linked
    | contract.ConnectionChanged
    | contract.Replaced
    | contract.LoggedOut
    | contract.EngineFailed
)
"""Engine events that the session's table must see."""

Plain = (
    contract.SyncProgress
    | contract.MessageArrived
    | contract.AckChanged
    | contract.Reacted
    | contract.Edited
    | contract.Deleted
    | contract.PollVoted
    | contract.PresenceSeen
    | contract.GroupAltered
    | contract.CallSeen
)
"""Engine events that are passed on as they are."""


def event_data(seen: Plain) -> events.EventData:
    """The event to publish for what the engine saw."""
    match seen:
        case contract.SyncProgress(percent=percent):
            return events.SessionSync(percent=percent)
        case contract.MessageArrived(message=message):
            return events.MessageReceived(message=message)
        case contract.AckChanged():
            return events.MessageAck(message_id=seen.message_id, chat_id=seen.chat_id, ack=seen.ack)
        case contract.Reacted():
            return events.MessageReaction(
                message_id=seen.message_id,
                chat_id=seen.chat_id,
                from_id=seen.from_id,
                emoji=seen.emoji,
                reacted_at=seen.reacted_at,
            )
        case contract.Edited():
            return events.MessageEdited(
                message_id=seen.message_id,
                chat_id=seen.chat_id,
                text=seen.text,
                edited_at=seen.edited_at,
            )
        case contract.Deleted():
            return events.MessageDeleted(message_id=seen.message_id, chat_id=seen.chat_id)
        case contract.PollVoted():
            return events.PollVote(
                message_id=seen.message_id,
                chat_id=seen.chat_id,
                from_id=seen.from_id,
                options=seen.options,
                voted_at=seen.voted_at,
            )
        case contract.PresenceSeen():
            return events.PresenceChanged(
                chat_id=seen.chat_id, from_id=seen.from_id, presence=seen.presence
            )
        case contract.GroupAltered():
            return events.GroupChanged(
                chat_id=seen.chat_id,
                change=seen.change,
                by=seen.by,
                members=seen.members,
                value=seen.value,
                changed_at=seen.changed_at,
            )
        case contract.CallSeen():
            return events.Call(
                call_id=seen.call_id,
                from_id=seen.from_id,
                state=seen.state,
                video=seen.video,
                group_id=seen.group_id,
            )


def applied(command: SendMessage, me: str) -> events.EventData | None:
    """What a reaction, edit or delete of ours, once it is sent, did to its target; None: it was a
    message of its own. `me`: our wid. Engines don't report these."""
    content = command.content
    match content:
        case Reaction(target=target):
            return events.MessageReaction(
                target.message_id, target.chat_id, me, content.emoji, cause=command.message_id
            )
        case Edit(target=target):
            return events.MessageEdited(
                target.message_id, target.chat_id, content.text, cause=command.message_id
            )
        case Delete(target=target):
            return events.MessageDeleted(
                target.message_id, target.chat_id, cause=command.message_id
            )
        case _:
            return None
