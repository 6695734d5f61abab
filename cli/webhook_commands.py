"""The words of `blazz webhook …`.

Owns their grammar. `cli.webhooks` does the work and is imported when a command runs.
"""

from typing import Annotated, Literal

from cyclopts import App, Parameter

from cli.operate_commands import Run
from cli.options import ACT, HERE, Acting, Target

Events = Annotated[
    list[str] | None,
    Parameter(name="--event", help="Such as message.received or message.*; may be repeated."),
]
SessionsOf = Annotated[
    list[str] | None,
    Parameter(name="--session", help="Only this session's events; may be repeated."),
]


def add_webhook_commands(webhook: App, run: Run) -> None:
    """`blazz webhook list|add|show|change|remove|test|deliveries|resend|recover|rotate-secret|…`"""
    _add_listing(webhook, run)
    _add_changes(webhook, run)
    _add_deliveries(webhook, run)


def _add_listing(webhook: App, run: Run) -> None:
    @webhook.command(name="list")
    def list_webhooks(*, where: Target = HERE) -> None:
        """List your webhooks."""
        from cli import webhooks as work

        run(lambda _stop: work.list_webhooks(where))

    @webhook.command
    def show(webhook_id: str, *, where: Target = HERE) -> None:
        """Show a webhook and what it has not got yet."""
        from cli import webhooks as work

        run(lambda _stop: work.show(where, webhook_id))


def _add_changes(webhook: App, run: Run) -> None:
    @webhook.command
    def add(
        url: str,
        *,
        event: Events = None,
        session: SessionsOf = None,
        description: str = "",
        where: Target = HERE,
        acting: Acting = ACT,
    ) -> None:
        """Have events from now on sent to a URL. Prints the signing secret, this once."""
        from cli import webhooks as work

        wanted = work.new_webhook(url, event, session, description)
        run(lambda _stop: work.add(where, acting, wanted))

    @webhook.command
    def change(
        webhook_id: str,
        *,
        url: str | None = None,
        event: Events = None,
        session: SessionsOf = None,
        all_sessions: Annotated[
            bool, Parameter(help="Events of all sessions again.", negative="")
        ] = False,
        description: str | None = None,
        where: Target = HERE,
        acting: Acting = ACT,
    ) -> None:
        """Change where events go, and which; what is left out stays, so does its place."""
        from cli import webhooks as work

        wanted = work.webhook_change(url, event, session, description, all_sessions=all_sessions)
        run(lambda _stop: work.change(where, acting, webhook_id, wanted))

    @webhook.command
    def remove(webhook_id: str, *, where: Target = HERE, acting: Acting = ACT) -> None:
        """Remove a webhook, its deliveries and its place."""
        from cli import webhooks as work

        run(lambda _stop: work.remove(where, acting, webhook_id))

    @webhook.command
    def enable(webhook_id: str, *, where: Target = HERE, acting: Acting = ACT) -> None:
        """Go on where it was."""
        from cli import webhooks as work

        run(lambda _stop: work.switch(where, acting, webhook_id, "enable"))

    @webhook.command
    def disable(webhook_id: str, *, where: Target = HERE, acting: Acting = ACT) -> None:
        """Send nothing, and keep its place."""
        from cli import webhooks as work

        run(lambda _stop: work.switch(where, acting, webhook_id, "disable"))

    @webhook.command
    def rotate_secret(
        webhook_id: str,
        *,
        overlap: Annotated[str, Parameter(help="How long the old one signs as well.")] = "1d",
        where: Target = HERE,
        acting: Acting = ACT,
    ) -> None:
        """Make a new signing secret; prints it, this once."""
        from cli import webhooks as work

        run(lambda _stop: work.rotate(where, acting, webhook_id, overlap))


def _add_deliveries(webhook: App, run: Run) -> None:
    @webhook.command
    def test(webhook_id: str, *, where: Target = HERE, acting: Acting = ACT) -> None:
        """Send a signed test event now. Exit 0 only if it was taken."""
        from cli import webhooks as work

        run(lambda _stop: work.test(where, acting, webhook_id))

    @webhook.command
    def deliveries(
        webhook_id: str,
        *,
        state: Annotated[
            Literal["waiting", "delivered", "dead"] | None, Parameter(help="Only these.")
        ] = None,
        limit: int = 50,
        where: Target = HERE,
    ) -> None:
        """List deliveries, the last tried first."""
        from cli import webhooks as work

        run(lambda _stop: work.deliveries(where, webhook_id, state, limit))

    @webhook.command
    def resend(
        webhook_id: str, event_id: str, *, where: Target = HERE, acting: Acting = ACT
    ) -> None:
        """Send one event again, under the same id."""
        from cli import webhooks as work

        run(lambda _stop: work.resend(where, acting, webhook_id, event_id))

    @webhook.command
    def recover(
        webhook_id: str,
        *,
        since: Annotated[str, Parameter(help="`2h`, `3d`, or 2026-11-23T10:00:00Z.")],
        all: Annotated[
            bool, Parameter(help="Also what was delivered, as far as it is kept.", negative="")
        ] = False,
        where: Target = HERE,
        acting: Acting = ACT,
    ) -> None:
        """Try at once what waits or was given up since a time."""
        from cli import webhooks as work

        run(lambda _stop: work.recover(where, acting, webhook_id, since, all))
