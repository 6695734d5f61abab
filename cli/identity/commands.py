"""`blazz identity …`: who may speak on the fleet's bus.

Owns the grammar and the words. No secret is taken from a flag or printed: secrets go into files
of mode 0600 alone.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NoReturn

import msgspec
from cyclopts import App, Parameter

from cli.exit_codes import Exit
from cli.options import Form

Operating = Callable[[Callable[[asyncio.Event], Coroutine[Any, Any, Exit]]], NoReturn]
Do = Callable[[Callable[[], Exit]], NoReturn]
Dir = Annotated[
    Path, Parameter(name="--dir", help="The authority's directory; it holds the fleet's keys.")
]
Output = Annotated[
    Literal[Form.TABLE, Form.JSON], Parameter(name=["--output", "-o"], help="How to print.")
]
KindName = Literal["node", "control-plane", "viewer", "backup"]
_RESOLVER_DIR: Final = "/var/lib/blazz/nats/accounts"


def add_identity_commands(identity: App, do: Do, operating: Operating) -> None:
    """`blazz identity init|issue|renew|revoke|list|push|mongo-roles`"""

    @identity.command
    def init(
        *,
        directory: Dir,
        name: Annotated[str, Parameter(help="The fleet's name.")] = "blazz",
        resolver_dir: Annotated[
            str, Parameter(help="Where each nats-server keeps the accounts it was given.")
        ] = _RESOLVER_DIR,
        disk_gb: Annotated[
            int, Parameter(help="What JetStream may store, all replicas together; -1: anything.")
        ] = -1,
        output: Output = Form.TABLE,
    ) -> None:
        """Make the operator, its accounts and the nats-servers' include; safe to repeat."""
        do(lambda: _init(directory, name, resolver_dir, disk_gb, output))

    @identity.command
    def issue(
        kind: KindName,
        name: str,
        *,
        directory: Dir,
        ttl: Annotated[
            str | None, Parameter(help="90s, 24h, 30d. Nodes 24h, viewers 30d, the others 90d.")
        ] = None,
        out: Annotated[Path | None, Parameter(help="The credentials file to write.")] = None,
        force: Annotated[
            bool, Parameter(help="With a new key, though a good one is there.", negative="")
        ] = False,
        output: Output = Form.TABLE,
    ) -> None:
        """Write a credentials file for one identity; `blazz identity push` makes it known.

        Repeating it changes nothing while more than half of the credential's life is left, and
        keeps the key afterwards.
        """
        do(lambda: _issue(directory, kind, name, ttl, out, force=force, output=output))

    @identity.command
    def renew(
        file: Annotated[Path, Parameter(help="The credentials file.")],
        *,
        directory: Dir,
        ttl: Annotated[str | None, Parameter(help="90s, 24h, 30d.")] = None,
        output: Output = Form.TABLE,
    ) -> None:
        """Give a credentials file a new end, for the same key. Nodes do this by themselves."""
        do(lambda: _renew(directory, file, ttl, output))

    @identity.command
    def revoke(
        name: str,
        *,
        directory: Dir,
        kind: Annotated[KindName, Parameter(help="Whose.")] = "node",
        output: Output = Form.TABLE,
    ) -> None:
        """Refuse all that an identity was given so far. `blazz identity push` makes it effective,
        on live connections too."""
        do(lambda: _revoke(directory, kind, name, output))

    @identity.command(name="list")
    def list_(*, directory: Dir, output: Output = Form.TABLE) -> None:
        """List the identities, and when what they were given here ends."""
        do(lambda: _list(directory, output))

    @identity.command
    def push(
        *,
        directory: Dir,
        server: Annotated[str, Parameter(help="Any of the fleet's: tls://host:4222.")],
        tls_ca: Annotated[Path | None, Parameter(help="Whom to trust with TLS.")] = None,
        output: Output = Form.TABLE,
    ) -> None:
        """Give the nats-servers every account that is new or changed; safe to repeat."""

        async def run(_stop: asyncio.Event) -> Exit:
            from cli.identity.authority import Authority
            from cli.identity.push import push as push_accounts

            done = await push_accounts(Authority(directory), server, tls_ca=tls_ca)
            _print(done, f"{done.changed} of {done.accounts} accounts pushed", output)
            return Exit.OK

        operating(run)

    @identity.command(name="mongo-roles")
    def mongo_roles(
        *,
        database: Annotated[str, Parameter(help="The fleet's database.")] = "blazz",
        output: Output = Form.TABLE,
    ) -> None:
        """Print what control planes and backups may do in MongoDB, as commands for mongosh.

        Nodes have no account there. Users get a role with `db.createUser`, where mongosh asks for
        the password: `passwordPrompt()`.
        """
        do(lambda: _mongo_roles(database, output))


def _mongo_roles(database: str, output: Form) -> Exit:
    from control_plane.core import mongo_roles

    commands = [role.command(database) for role in mongo_roles.mongo_roles()]
    lines = [f"use {database}"]
    lines += [f"db.runCommand({msgspec.json.encode(each).decode()})" for each in commands]
    for role, user in (("blazz_control_plane", "blazz"), ("blazz_backup", "blazz-backup")):
        made = {"user": user, "roles": [{"role": role, "db": database}]}
        words = msgspec.json.encode(made).decode().removesuffix("}")
        lines.append(f'db.createUser({words},"pwd":passwordPrompt()}})')
    _print(commands, "\n".join(lines), output)
    return Exit.OK


def _init(directory: Path, name: str, resolver_dir: str, disk_gb: int, output: Form) -> Exit:
    from cli.identity.authority import Authority
    from control_plane.core.bus_jwt import JetStreamLimits

    authority = Authority(directory)
    limits = JetStreamLimits(disk_bytes=disk_gb * 2**30 if disk_gb >= 0 else -1)
    changed = authority.init(name, resolver_dir=resolver_dir, jetstream=limits)
    made = {
        "changed": changed,
        "server_include": str(authority.server_include),
        "node_signer": str(authority.node_signer),
        "system_creds": str(authority.system_creds),
    }
    words = (
        f"The authority is in {directory}. Keep it here and back it up: it can make any identity.\n"
        f"nats-servers   include {authority.server_include}\n"
        f"control planes get {authority.node_signer} as credential `node-signer`\n"
        "then           blazz identity issue node|control-plane|viewer|backup NAME, and push"
    )
    _print(made, words, output)
    return Exit.OK


def _issue(
    directory: Path,
    kind: str,
    name: str,
    ttl: str | None,
    out: Path | None,
    *,
    force: bool,
    output: Form,
) -> Exit:
    from cli.identity.authority import Authority
    from cli.identity.records import TTL_S, Kind
    from cli.times import seconds

    wanted = Kind(kind)
    ttl_s = TTL_S[wanted] if ttl is None else seconds(ttl)
    done = Authority(directory).issue(wanted, name, ttl_s=ttl_s, out=out, force=force)
    what = "written" if done.changed else "good already"
    ends = _moment(done.identity.expires_at)
    _print(done, f"{done.path} {what}; it ends {ends}. Now: blazz identity push", output)
    return Exit.OK


def _renew(directory: Path, file: Path, ttl: str | None, output: Form) -> Exit:
    from cli.identity.authority import Authority
    from cli.times import seconds

    done = Authority(directory).renew(file, ttl_s=None if ttl is None else seconds(ttl))
    _print(done, f"{file} now ends {_moment(done.identity.expires_at)}", output)
    return Exit.OK


def _revoke(directory: Path, kind: str, name: str, output: Form) -> Exit:
    from cli.identity.authority import Authority
    from cli.identity.records import Kind

    done = Authority(directory).revoke(name, Kind(kind))
    _print(done, f"{name} is revoked once it is pushed: blazz identity push", output)
    return Exit.OK


def _list(directory: Path, output: Form) -> Exit:
    from cli.identity.authority import Authority

    found = Authority(directory).all()
    now = time.time()
    lines = [f"{'kind':<14} {'name':<30} {'ends':<17} left"]
    for each in found:
        left = "revoked" if each.revoked else _left(each.expires_at - now)
        lines.append(f"{each.kind:<14} {each.name:<30} {_moment(each.expires_at):<17} {left}")
    _print(found, "\n".join(lines), output)
    return Exit.OK


def _left(seconds: float) -> str:
    if seconds <= 0:
        return "ended"
    return f"{seconds / 3600:.0f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} d"


def _moment(unix_s: int) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%MZ")


def _print(value: object, words: str, output: Form) -> None:
    print(msgspec.json.encode(value).decode() if output is Form.JSON else words)
