"""What an engine reports, as the world's events.

Owns the mapping from engine events that need no decision (messages, receipts, progress). Those
that may move the session's state go through the runner's table first. Pure.
"""

from schemas import events
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
            )
        case contract.Edited():
            return events.MessageEdited(
                message_id=seen.message_id, chat_id=seen.chat_id, text=seen.text
            )
        case contract.Deleted():
            return events.MessageDeleted(message_id=seen.message_id, chat_id=seen.chat_id)
