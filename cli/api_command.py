"""The words of `blazz api`.

Owns its grammar. `cli.raw_api` does the work and is imported when the command runs.
"""

from typing import Annotated

from cyclopts import App, Group, Parameter

from cli.operate_commands import Run
from cli.options import ACT, HERE, Acting, Target


def add_api_command(app: App, group: Group, run: Run) -> None:
    """`blazz api PATH`"""

    @app.command(group=group)
    def api(
        path: str,
        *,
        method: Annotated[
            str | None, Parameter(name=["--method", "-X"], help="By default GET; POST with a body.")
        ] = None,
        body: Annotated[str | None, Parameter(help="JSON; - reads stdin.")] = None,
        query: Annotated[list[str] | None, Parameter(help="NAME=VALUE; may be repeated.")] = None,
        target: Target = HERE,
        acting: Acting = ACT,
    ) -> None:
        """Send any request to the HTTP API, as `sessions/ses_…/profile`; prints the answer."""
        from cli.raw_api import call

        run(lambda _stop: call(target, acting, path, method=method, body=body, query=query or ()))
