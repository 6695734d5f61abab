"""The words of `blazz message …` and `blazz trace`.

Owns their grammar. `cli.message_sending` and `cli.messages` do the work and are imported when a
command runs.
"""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Group, Parameter

from cli.operate_commands import Run
from cli.options import ACT, HERE, ONCE, Acting, Target, Watch

Force = Annotated[
    bool,
    Parameter(help="Also what ended as `unknown`: the recipient may get it twice.", negative=""),
]


def add_message_commands(message: App, run: Run) -> None:
    """`blazz message send|show|list|queue|dead|redrive|drop`"""
    _add_sending(message, run)

    @message.command
    def trace(
        session_id: str, message_id: str, *, target: Target = HERE, watch: Watch = ONCE
    ) -> None:
        """Show a message's whole way, with times."""
        from cli.tracing import trace

        run(lambda stop: trace(target, session_id, message_id, watch, stop))

    @message.command
    def queue(session_id: str, *, target: Target = HERE) -> None:
        """Show how many messages wait for a session, and for what."""
        from cli.messages import show_queue

        run(lambda _stop: show_queue(target, session_id))

    @message.command
    def dead(session_id: str | None = None, *, target: Target = HERE) -> None:
        """List a session's messages that failed, or whose end nobody knows.

        Without a session: how many each has, of all tenants where your key is an operator's.
        """
        from cli.messages import list_dead

        run(lambda _stop: list_dead(target, session_id))

    @message.command
    def redrive(
        session_id: str,
        message_id: str | None = None,
        *,
        everything: Annotated[
            bool, Parameter(name="--all", help="All of the session's.", negative="")
        ] = False,
        force: Force = False,
        target: Target = HERE,
        acting: Acting = ACT,
    ) -> None:
        """Send a dead letter again, under its id, or all of a session's."""
        from cli.messages import redrive

        run(
            lambda _: redrive(
                target, acting, session_id, message_id, everything=everything, force=force
            )
        )

    @message.command
    def drop(
        session_id: str, message_id: str, *, target: Target = HERE, acting: Acting = ACT
    ) -> None:
        """Forget a dead letter; how it ended stays readable with the messages."""
        from cli.messages import drop

        run(lambda _stop: drop(target, acting, session_id, message_id))


def add_trace_command(app: App, group: Group, run: Run) -> None:
    """`blazz trace`"""

    @app.command(group=group)
    def trace(
        message_id: str,
        *,
        session: Annotated[
            str | None, Parameter(help="Whose it is; without it all sessions are asked.")
        ] = None,
        target: Target = HERE,
        watch: Watch = ONCE,
    ) -> None:
        """Show a message's whole way, with times: accepted, sent, receipts, webhooks."""
        from cli.tracing import trace

        run(lambda stop: trace(target, session, message_id, watch, stop))


def _add_sending(message: App, run: Run) -> None:
    @message.command
    def send(
        session_id: str,
        to: str,
        text: str | None = None,
        *,
        file: Annotated[Path | None, Parameter(help="Upload it and send it.")] = None,
        url: Annotated[str | None, Parameter(help="Media that the server fetches.")] = None,
        kind: Annotated[
            Literal["image", "video", "audio", "voice", "sticker", "document"] | None,
            Parameter(help="How media is shown; by default what it is."),
        ] = None,
        caption: str | None = None,
        reply_to: Annotated[str | None, Parameter(help="A message's id.")] = None,
        body: Annotated[
            str | None,
            Parameter(
                help="More of the API's fields, as JSON; - reads stdin. For all other kinds: "
                """`--body '{"poll": {"question": "When?", "options": ["6", "7"]}}'`."""
            ),
        ] = None,
        key: Annotated[
            str | None, Parameter(help="Idempotency key: repeated with it, it is one message.")
        ] = None,
        wait: Annotated[bool, Parameter(help="Stay until it is sent.")] = True,
        timeout: Annotated[float, Parameter(help="Seconds to stay, at most 60.")] = 25.0,
        target: Target = HERE,
    ) -> None:
        """Send a message of any kind to a phone number or chat id."""
        from cli.message_sending import Draft, send_message

        draft = Draft(
            to=to,
            text=text,
            file=file,
            url=url,
            kind=kind,
            caption=caption,
            reply_to=reply_to,
            body=body,
        )
        wait_s = timeout if wait else None
        run(lambda _stop: send_message(target, session_id, draft, key=key, wait_s=wait_s))

    @message.command
    def show(
        session_id: str,
        message_id: str,
        *,
        target: Target = HERE,
    ) -> None:
        """Show one message and where it stands."""
        from cli.message_sending import show_message

        run(lambda _stop: show_message(target, session_id, message_id))

    @message.command(name="list")
    def list_(
        session_id: str,
        *,
        chat: Annotated[str | None, Parameter(help="Only this number or chat id.")] = None,
        text: Annotated[str | None, Parameter(help="Only with all of these words.")] = None,
        limit: Annotated[int, Parameter(help="At most 200.")] = 50,
        target: Target = HERE,
    ) -> None:
        """List a session's messages, newest first."""
        from cli.message_sending import list_messages

        run(lambda _: list_messages(target, session_id, chat=chat, text=text, limit=limit))
