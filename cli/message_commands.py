"""The words of `blazz message …`.

Owns their grammar. `cli.messages` does the work and is imported when a command runs.
"""

from typing import Annotated

from cyclopts import App, Parameter

from cli.operate_commands import DataDir, Json, Run

Force = Annotated[
    bool,
    Parameter(help="Also what ended as `unknown`: the recipient may get it twice.", negative=""),
]


def add_message_commands(message: App, run: Run) -> None:
    """`blazz message queue|dead|redrive|drop`"""

    @message.command
    def queue(session_id: str, *, data_dir: DataDir = None, json: Json = False) -> None:
        """Show how many messages wait for a session, and for what."""
        from cli.messages import show_queue
        from cli.operate import Target

        run(lambda _stop: show_queue(Target(data_dir, json), session_id))

    @message.command
    def dead(session_id: str, *, data_dir: DataDir = None, json: Json = False) -> None:
        """List a session's messages that failed, or whose end nobody knows."""
        from cli.messages import list_dead
        from cli.operate import Target

        run(lambda _stop: list_dead(Target(data_dir, json), session_id))

    @message.command
    def redrive(
        session_id: str,
        message_id: str | None = None,
        *,
        everything: Annotated[
            bool, Parameter(name="--all", help="All of the session's.", negative="")
        ] = False,
        force: Force = False,
        data_dir: DataDir = None,
    ) -> None:
        """Send a dead letter again, under its id, or all of a session's."""
        from cli.messages import redrive
        from cli.operate import Target

        target = Target(data_dir)
        run(lambda _: redrive(target, session_id, message_id, everything=everything, force=force))

    @message.command
    def drop(session_id: str, message_id: str, *, data_dir: DataDir = None) -> None:
        """Forget a dead letter; how it ended stays readable with the messages."""
        from cli.messages import drop
        from cli.operate import Target

        run(lambda _stop: drop(Target(data_dir), session_id, message_id))
