"""The words of `blazz key …`, `blazz tenant …`, `blazz audit …` and `blazz event …`.

Owns their grammar. `cli.access` and `cli.events` do the work and are imported when a command runs.
"""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from cli.operate_commands import Run
from cli.options import ACT, HERE, ONCE, Acting, Target, Watch


def add_key_commands(key: App, run: Run) -> None:
    """`blazz key list|create|revoke`"""

    @key.command(name="list")
    def list_keys(*, target: Target = HERE) -> None:
        """List your tenant's API keys."""
        from cli.access import list_keys

        run(lambda _stop: list_keys(target))

    @key.command
    def create(
        *,
        name: Annotated[str | None, Parameter(help="Who uses it; the audit log says it.")] = None,
        scope: Annotated[
            list[str] | None,
            Parameter(help="sessions, messages, webhooks, keys or operator; may be repeated."),
        ] = None,
        expires_in: Annotated[str | None, Parameter(help="Such as 90d.")] = None,
        to_file: Annotated[
            Path | None, Parameter(help="Write its text there (0600) and don't print it.")
        ] = None,
        target: Target = HERE,
        acting: Acting = ACT,
    ) -> None:
        """Make an API key. Its text is shown this once."""
        from cli.access import create_key
        from cli.times import seconds
        from schemas.api import NewApiKey

        run(
            lambda _stop: create_key(
                target,
                acting,
                NewApiKey(
                    name=name,
                    scopes=tuple(scope or ("sessions", "messages")),
                    tenant_id=target.tenant,
                    expires_in_s=None if expires_in is None else int(seconds(expires_in)),
                ),
                to_file,
            )
        )

    @key.command
    def revoke(*keys: str, target: Target = HERE, acting: Acting = ACT) -> None:
        """Make API keys stop working, within seconds."""
        from cli.access import revoke_keys

        run(lambda _stop: revoke_keys(target, acting, keys))


def add_tenant_commands(tenant: App, run: Run) -> None:
    """`blazz tenant show|set|erase|erasure`"""

    @tenant.command
    def show(*, target: Target = HERE) -> None:
        """Show your key's own tenant."""
        from cli.access import show_tenant

        run(lambda _stop: show_tenant(target))

    @tenant.command(name="set")
    def set_(
        *,
        name: Annotated[str | None, Parameter(help="For people.")] = None,
        region: Annotated[
            str | None,
            Parameter(help="Country of numbers without one, as ID; `-` takes the fleet's."),
        ] = None,
        retention: Annotated[
            str | None, Parameter(help="How long messages are kept, as 90d; `-` as the fleet says.")
        ] = None,
        target: Target = HERE,
        acting: Acting = ACT,
    ) -> None:
        """Change your tenant's settings; what is left out stays."""
        from cli.access import set_tenant
        from cli.times import seconds
        from schemas.api_accounts import TenantChange

        fields: dict[str, str | float | None] = {}
        if name is not None:
            fields["name"] = name
        if region is not None:
            fields["default_region"] = None if region == "-" else region
        if retention is not None:
            fields["message_retention_s"] = None if retention == "-" else seconds(retention)
        run(lambda _stop: set_tenant(target, acting, TenantChange(**fields)))  # type: ignore[arg-type]

    @tenant.command
    def erase(tenant_id: str, *, target: Target = HERE, acting: Acting = ACT) -> None:
        """Erase all of a tenant, for good: its keys, sessions, messages and snapshots."""
        from cli.access import erase_tenant

        run(lambda _stop: erase_tenant(target, acting, tenant_id))

    @tenant.command
    def erasure(tenant_id: str, *, target: Target = HERE, watch: Watch = ONCE) -> None:
        """Show how far a tenant's erasure is."""
        from cli.access import show_erasure

        run(lambda stop: show_erasure(target, tenant_id, watch, stop))


def add_audit_commands(audit: App, run: Run) -> None:
    """`blazz audit list`"""

    @audit.command(name="list")
    def list_acts(
        *,
        since: Annotated[
            str | None, Parameter(help="2h, 7d, or 2026-11-23T10:00:00Z; by default a week.")
        ] = None,
        key: Annotated[str | None, Parameter(help="Only those by this API key's id.")] = None,
        operation: Annotated[str | None, Parameter(help="Only such, as drainNode.")] = None,
        about: Annotated[
            str | None, Parameter(help="Only those on this node, session, key, …: its id.")
        ] = None,
        limit: Annotated[int, Parameter(help="At most so many.")] = 50,
        target: Target = HERE,
        watch: Watch = ONCE,
    ) -> None:
        """List who did what, the newest first."""
        from cli.access import ActsWanted, list_acts
        from cli.times import moment_of

        run(
            lambda stop: list_acts(
                target,
                ActsWanted(
                    since=None if since is None else moment_of(since),
                    key=key,
                    operation=operation,
                    about=about,
                    limit=limit,
                ),
                watch,
                stop,
            )
        )


def add_event_commands(event: App, run: Run) -> None:
    """`blazz event tail`"""

    @event.command
    def tail(
        *,
        session: Annotated[str | None, Parameter(help="Only this session's.")] = None,
        fleet: Annotated[
            bool, Parameter(help="All tenants' (operators only; from now on).", negative="")
        ] = False,
        type: Annotated[
            list[str] | None,
            Parameter(help="message.received or message.*; may be repeated."),
        ] = None,
        after: Annotated[
            int | None, Parameter(help="Begin after this sequence instead of now.")
        ] = None,
        count: Annotated[int | None, Parameter(help="End after so many.")] = None,
        target: Target = HERE,
    ) -> None:
        """Follow events; a broken stream is resumed where it was. `-o jsonl` for scripts."""
        from cli.events import Tail, tail

        wanted = Tail(
            session_id=session, fleet=fleet, types=tuple(type or ()), after=after, count=count
        )
        run(lambda stop: tail(target, wanted, stop))
