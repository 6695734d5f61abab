"""The words of `blazz session …` that go through the API.

Owns their grammar. `cli.sessions` does the work and is imported when a command runs.
"""

from typing import Annotated, Literal

from cyclopts import App, Parameter

from cli.operate_commands import Run
from cli.options import ACT, HERE, ONCE, Acting, Target, Watch

_VERBS = {
    "start": "Have sessions run.",
    "stop": "Have sessions' browsers closed; their links stay.",
    "restart": "Have sessions' browsers started anew.",
    "logout": "Unlink sessions from their phones; each needs a new QR code after that.",
    "delete": "Unlink sessions and delete them, with their messages' places and snapshots.",
}


def add_session_commands(session: App, run: Run) -> None:
    """`blazz session list|show|snapshots|create|start|stop|restart|logout|delete|move|link|…`"""
    _add_looking(session, run)
    _add_linking(session, run)
    for verb, words in _VERBS.items():
        _add_act(session, run, verb, words)

    @session.command
    def create(
        *,
        name: Annotated[str | None, Parameter(help="Yours alone; unique in your tenant.")] = None,
        engine: Literal["chromium", "loopback"] | None = None,
        region: Annotated[str | None, Parameter(help="Where it should run.")] = None,
        start: Annotated[bool, Parameter(help="Have it run at once.")] = True,
        target: Target = HERE,
        acting: Acting = ACT,
    ) -> None:
        """Make a session."""
        from cli.sessions import create
        from schemas.api import NewSession
        from schemas.states import EngineKind

        kind = None if engine is None else EngineKind(engine)
        new = NewSession(name=name, engine=kind, region=region, start=start)
        run(lambda _stop: create(target, acting, new))

    @session.command
    def move(
        session_id: str,
        *,
        to: Annotated[str | None, Parameter(help="A node; by default the best other one.")] = None,
        target: Target = HERE,
        acting: Acting = ACT,
    ) -> None:
        """Move a session to another node; its link goes along."""
        from cli.sessions import move

        run(lambda _stop: move(target, acting, session_id, to))


def _add_looking(session: App, run: Run) -> None:
    @session.command(name="list")
    def list_sessions(
        *,
        state: Annotated[str | None, Parameter(help="Only those in this state.")] = None,
        node: Annotated[str | None, Parameter(help="Only those on this node.")] = None,
        target: Target = HERE,
        watch: Watch = ONCE,
    ) -> None:
        """List all tenants' sessions, or your own where your key is no operator's."""
        from cli.sessions import list_sessions

        run(lambda stop: list_sessions(target, watch, stop, state=state, node=node))

    @session.command
    def snapshots(session_id: str, *, target: Target = HERE, watch: Watch = ONCE) -> None:
        """List what is kept of a session's state, newest first, and what it is good for."""
        from cli.sessions import list_snapshots

        run(lambda stop: list_snapshots(target, session_id, watch, stop))

    @session.command(name=["show", "describe"])
    def show(session_id: str, *, target: Target = HERE, watch: Watch = ONCE) -> None:
        """Show one of your sessions."""
        from cli.sessions import show_session

        run(lambda stop: show_session(target, session_id, watch, stop))


def _add_act(session: App, run: Run, verb: str, words: str) -> None:
    def act(*sessions: str, target: Target = HERE, acting: Acting = ACT) -> None:
        from cli.sessions import act

        run(lambda _stop: act(target, acting, sessions, verb))

    session.command(act, name=verb, help=words)


def _add_linking(session: App, run: Run) -> None:
    @session.command
    def qr(session_id: str, *, target: Target = HERE) -> None:
        """Show the QR code to scan, each while it lives, until the phone is linked.

        Without a terminal, or with -o, it prints the code on show once.
        """
        from cli.sessions import show_qr

        run(lambda stop: show_qr(target, session_id, stop))

    @session.command
    def pair(session_id: str, phone: str, *, target: Target = HERE) -> None:
        """Get a code to type on the phone, instead of scanning."""
        from cli.sessions import pair

        run(lambda _stop: pair(target, session_id, phone))

    @session.command
    def link(
        session_id: str,
        *,
        expires_in: Annotated[str, Parameter(help="How long it works, as 30m or 2d.")] = "1h",
        return_url: Annotated[str | None, Parameter(help="Where it leads afterwards.")] = None,
        target: Target = HERE,
        acting: Acting = ACT,
    ) -> None:
        """Make a page on which somebody without an API key links a phone."""
        from cli.sessions import link
        from cli.times import seconds
        from schemas.api import NewLink

        run(
            lambda _stop: link(
                target,
                acting,
                session_id,
                NewLink(expires_in_s=int(seconds(expires_in)), return_url=return_url),
            )
        )
