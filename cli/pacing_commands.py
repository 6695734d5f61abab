"""The words of `blazz pacing …` and `blazz opt-out …`.

Owns their grammar. `cli.pacing` does the work and is imported when a command runs.
"""

from typing import Annotated

from cyclopts import App, Parameter

from cli.operate_commands import Run
from cli.options import ACT, HERE, Acting, Target

OfSession = Annotated[
    str | None, Parameter(help="One session's; without it what all of the tenant's go by.")
]


def add_pacing_commands(pacing: App, run: Run) -> None:
    """`blazz pacing show|set`"""

    @pacing.command
    def show(*, session: OfSession = None, target: Target = HERE) -> None:
        """Show the rules in force, and which of them were set at this level."""
        from cli.pacing import show_pacing

        run(lambda _stop: show_pacing(target, session))

    @pacing.command(name="set")
    def set_(
        *rules: Annotated[str, Parameter(help="RULE=VALUE; RULE=- takes it from above again.")],
        session: OfSession = None,
        target: Target = HERE,
        acting: Acting = ACT,
    ) -> None:
        """Change rules, as `per_minute=20 quiet_from=22:00`; what is not named stays."""
        from cli.pacing import set_pacing

        run(lambda _stop: set_pacing(target, acting, session, rules))


def add_opt_out_commands(opt_out: App, run: Run) -> None:
    """`blazz opt-out list|add|remove`"""

    @opt_out.command(name="list")
    def list_opt_outs(*, target: Target = HERE) -> None:
        """List recipients who want no messages from you."""
        from cli.pacing import list_opt_outs

        run(lambda _stop: list_opt_outs(target))

    @opt_out.command
    def add(*recipients: str, target: Target = HERE, acting: Acting = ACT) -> None:
        """Send these phone numbers or chat ids nothing more, from any of your sessions."""
        from cli.pacing import add_opt_outs

        run(lambda _stop: add_opt_outs(target, acting, recipients))

    @opt_out.command
    def remove(*recipients: str, target: Target = HERE, acting: Acting = ACT) -> None:
        """Take recipients off the list; only if they asked you to."""
        from cli.pacing import remove_opt_outs

        run(lambda _stop: remove_opt_outs(target, acting, recipients))
