"""The `blazz` command: parses words, loads what a command needs, runs it, picks the exit code.

Owns the grammar. Everything behind a command is imported when it runs, so `blazz --help` needs no
browser, server or terminal library. Data goes to stdout, words for people to stderr; no secret is
ever taken from a flag.
"""

import asyncio
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NoReturn

from cyclopts import App, Group, Parameter

from cli.access_commands import (
    add_audit_commands,
    add_event_commands,
    add_key_commands,
    add_tenant_commands,
)
from cli.api_command import add_api_command
from cli.backup_commands import add_backup_commands
from cli.bench_commands import add_bench_commands
from cli.config_commands import add_config_commands
from cli.context_commands import add_context_commands
from cli.exit_codes import Exit, exit_code
from cli.identity.commands import add_identity_commands
from cli.message_commands import add_message_commands, add_trace_command
from cli.operate_commands import add_node_commands
from cli.options import HERE, Form, Target
from cli.pacing_commands import add_opt_out_commands, add_pacing_commands
from cli.plan_commands import add_plan_command
from cli.session_commands import add_session_commands
from cli.view_commands import add_tui_command
from cli.webhook_commands import add_webhook_commands
from schemas.errors import BlazzError

DEMO_PORT: Final = 8080
DEMO_PHONE_PORT: Final = 8090

_run = Group("Run", sort_key=0)
_parts = Group("Parts of a fleet", sort_key=1)
_look = Group("Look", sort_key=2)
_operate = Group("Operate", sort_key=3)

app = App(
    name="blazz",
    help="Keeps WhatsApp Web sessions alive on a fleet of machines, behind one HTTP API.",
    version=lambda: version("blazz"),
)
bench = App(
    name="bench",
    group=_look,
    help="Measure this very machine; the last line is one JSON object.",
)
app.command(bench)
_node = App(
    name="node",
    group=_parts,
    help="Run a node (it holds sessions and does what the control plane asks), or operate those of "
    "a fleet.",
)
app.command(_node)
key = App(name="key", group=_operate, help="API keys, and the vault's master keys.")
app.command(key)
message = App(name="message", group=_operate, help="Messages: send, read, what waits or failed.")
app.command(message)
session = App(name="session", group=_operate, help="Sessions: make, link, steer, drill.")
app.command(session)
_webhook = App(name="webhook", group=_operate, help="Webhooks: events sent to your server.")
app.command(_webhook)
_pacing = App(name="pacing", group=_operate, help="How fast is sent, and when not.")
app.command(_pacing)
_opt_out = App(name="opt-out", group=_operate, help="Who wants no messages from you.")
app.command(_opt_out)
_event = App(name="event", group=_look, help="What happens, as it happens.")
app.command(_event)
_tenant = App(name="tenant", group=_operate, help="Your tenant's settings; erasing a tenant.")
app.command(_tenant)
_audit = App(name="audit", group=_look, help="Who did what.")
app.command(_audit)
_context = App(name="context", group=_operate, help="The fleets you operate, by name.")
app.command(_context)
_identity = App(
    name="identity", group=_operate, help="Who may speak on the fleet's bus: NATS credentials."
)
app.command(_identity)
_backup = App(name="backup", group=_operate, help="Backups of all state: take, list, prove.")
app.command(_backup)
_config = App(name="config", group=_operate, help="Your own configuration, key by key.")
app.command(_config)

Verbose = Annotated[bool, Parameter(name=["--verbose", "-v"], help="Log more.")]
FleetConfig = Annotated[
    Path | None, Parameter(help="A control plane's TOML file; it runs on that machine.")
]
FleetDir = Annotated[Path | None, Parameter(help="Instead: the data directory of `blazz up`.")]
MongoUriFile = Annotated[
    Path | None,
    Parameter(help="Keep snapshots in MongoDB GridFS: a file (mode 0600) that holds its URI."),
]
JsonOut = Annotated[bool, Parameter(help="Print one JSON object.", negative="")]
ReadyFile = Annotated[Path | None, Parameter(help="Write one JSON object there when ready.")]


@app.command(group=_run)
def up(
    *,
    port: Annotated[int, Parameter(help="Where the API and link page listen.")] = DEMO_PORT,
    host: Annotated[str, Parameter(help="Address the API listens on.")] = "127.0.0.1",
    data_dir: Annotated[Path | None, Parameter(help="Where everything is kept.")] = None,
    sessions_max: Annotated[int, Parameter(help="Most sessions on this machine.")] = 30,
    mongo_uri_file: MongoUriFile = None,
    verbose: Verbose = False,
) -> None:
    """Run it all on this machine, against the real WhatsApp Web: NATS, control plane, one node."""
    from cli.up import UpOptions, run_up

    _pretty_logs(verbose)
    options = UpOptions(host, port, data_dir, sessions_max, mongo_uri_file)
    _finish(lambda stop: run_up(options, stop))


@app.command(group=_run)
def demo(
    *,
    once: Annotated[bool, Parameter(help="Walk the whole story by itself, then exit.")] = False,
    port: Annotated[int | None, Parameter(help="Where the API and link page listen.")] = None,
    phone_port: Annotated[int | None, Parameter(help="Where the phone page listens.")] = None,
    engine: Annotated[
        Literal["chromium", "loopback"], Parameter(help="`loopback` needs no browser.")
    ] = "chromium",
    verbose: Verbose = False,
) -> None:
    """Run it all with two nodes and a stand-in for WhatsApp: no phone, no internet needed."""
    from cli.demo import DemoOptions, run_demo

    _pretty_logs(verbose)
    _finish(
        lambda stop: run_demo(
            DemoOptions(
                once=once,
                # By itself the demo takes any free port; for people the addresses stay the same.
                port=port if port is not None else (0 if once else DEMO_PORT),
                phone_port=phone_port
                if phone_port is not None
                else (0 if once else DEMO_PHONE_PORT),
                engine=engine,
            ),
            stop,
        )
    )


@_node.default
def node(
    *,
    config: Annotated[
        Path | None, Parameter(help="A TOML file; BLAZZ_* in the environment wins.")
    ] = None,
    ready_file: ReadyFile = None,
) -> None:
    """Run a node: it holds sessions and does what the control plane asks."""
    from cli.parts import run_node_process

    _finish(lambda stop: run_node_process(config, ready_file, stop), logs=True)


@_node.command(name="self-test")
def self_test(
    *,
    config: Annotated[Path, Parameter(help="The node's TOML file.")],
    expect_version: Annotated[
        str | None, Parameter(help="Fail unless this release is installed and runs.")
    ] = None,
    expect_chromium: Annotated[str | None, Parameter(help="Fail for another build.")] = None,
    output: Annotated[
        Literal["table", "json"], Parameter(name=["--output", "-o"], help="How to print.")
    ] = "table",
) -> None:
    """Check, on its host, that a node can hold sessions, runs, and is on the bus.

    Run it as the node's user. It touches no session: it starts one scratch browser without any
    network, and signs in to the bus once more. Exit codes: 0 nothing failed, 1 something did.
    """
    from cli.findings import exit_for, written
    from cli.self_test import Expected, self_test

    async def run(_stop: asyncio.Event) -> Exit:
        findings = await self_test(config, Expected(expect_version, expect_chromium))
        form: Literal["json", "text"] = "json" if output == "json" else "text"
        print(written(findings, form, time.time()), end="")
        return Exit(exit_for(findings, form))

    _operating(run)


@app.command(name="control-plane", group=_parts)
def control_plane(
    *,
    config: Annotated[
        Path | None, Parameter(help="A TOML file; BLAZZ_* in the environment wins.")
    ] = None,
    ready_file: ReadyFile = None,
) -> None:
    """Run a control plane: HTTP API, link page, placement, dispatch."""
    from cli.parts import run_control_plane_process

    _finish(lambda stop: run_control_plane_process(config, ready_file, stop), logs=True)


@app.command(group=_look)
def doctor(
    *,
    format: Annotated[
        Literal["text", "json", "nagios", "prometheus"], Parameter(help="How to print.")
    ] = "text",
    machine: Annotated[bool, Parameter(help="Look at this machine.")] = True,
    fleet: Annotated[bool, Parameter(help="Look at the fleet that is named or in use.")] = True,
    config: FleetConfig = None,
    backups: Annotated[Path | None, Parameter(help="The directory of the backups.")] = None,
    target: Target = HERE,
) -> None:
    """Check what this machine and its fleet need; each finding prints its fix.

    Exit codes: 0 nothing failed, 1 something did; with --format nagios its plugins' 0, 1, 2. With
    --config (or a `blazz up` that runs here) it looks at the bus and the stores as well.
    """
    from cli.doctor import DoctorOptions, run_doctor

    form = "json" if target.form is Form.JSON else format
    options = DoctorOptions(
        target=target if fleet else None, config=config, machine=machine, backups=backups
    )
    _exit(_guarded(lambda: run_doctor(form, options)))


@key.command
def rotate(
    *,
    config: FleetConfig = None,
    data_dir: FleetDir = None,
    retire: Annotated[
        bool, Parameter(help="Make none; remove older keys that nothing uses.", negative="")
    ] = False,
    json: JsonOut = False,
) -> None:
    """Make a new master key and wrap every session's data key by it; sessions notice nothing.

    Broken off, it goes on where it was. Snapshots themselves are not written anew.
    """
    from cli.vault_commands import ControlPlaneChoice, run_key_rotate

    _pretty_logs(verbose=False)
    choice = ControlPlaneChoice(config, data_dir)
    _finish(lambda stop: run_key_rotate(choice, retire=retire, as_json=json, stop=stop))


@session.command
def drill(
    session_id: str,
    *,
    generation: Annotated[int | None, Parameter(help="Which; by default the newest.")] = None,
    config: FleetConfig = None,
    data_dir: FleetDir = None,
    json: JsonOut = False,
) -> None:
    """Prove that a snapshot can be restored, without touching the session.

    It is fetched, verified, opened and unpacked into a scratch directory, and opened there in a
    scratch browser with no network at all: databases, keys and localStorage must be there and
    work. It does not connect to WhatsApp, for that would be a second browser on the device: that
    WhatsApp still accepts the device is what a failover shows, not a drill.
    """
    from cli.vault_commands import ControlPlaneChoice, run_session_drill

    _pretty_logs(verbose=False)
    choice = ControlPlaneChoice(config, data_dir)
    _finish(
        lambda stop: run_session_drill(
            choice, session_id, generation=generation, as_json=json, stop=stop
        )
    )


def _operating(run: Callable[[asyncio.Event], Coroutine[Any, Any, Exit]]) -> NoReturn:
    _pretty_logs(verbose=False)
    _finish(run)


app.register_install_completion_command(help="Have your shell complete `blazz` commands.")
add_bench_commands(bench, _operating)
add_node_commands(_node, _operating)
add_session_commands(session, _operating)
add_key_commands(key, _operating)
add_tenant_commands(_tenant, _operating)
add_audit_commands(_audit, _operating)
add_event_commands(_event, _operating)
add_context_commands(_context, lambda do: _exit(_guarded(do)))
add_config_commands(_config, lambda do: _exit(_guarded(do)))
add_identity_commands(_identity, lambda do: _exit(_guarded(do)), _operating)
add_message_commands(message, _operating)
add_trace_command(app, _look, _operating)
add_webhook_commands(_webhook, _operating)
add_plan_command(app, _operate, lambda do: _exit(_guarded(do)))
add_backup_commands(app, _backup, _operate, _operating)
add_pacing_commands(_pacing, _operating)
add_opt_out_commands(_opt_out, _operating)
add_api_command(app, _operate, _operating)
add_tui_command(app, _look, _operating, lambda do: _exit(_guarded(do)))


def main() -> NoReturn:
    """Entry point of the `blazz` script."""
    app(exit_on_error=True)
    sys.exit(Exit.OK)


def _pretty_logs(verbose: bool) -> None:
    from cli.log_setup import configure_logging

    configure_logging(level="info" if verbose else "error", pretty=True)


def _finish(
    run: Callable[[asyncio.Event], Coroutine[Any, Any, Exit]], *, logs: bool = False
) -> NoReturn:
    """Run to the end or until SIGINT/SIGTERM sets `stop`, and exit accordingly."""
    import uvloop

    if logs:
        from cli.log_setup import configure_logging

        configure_logging()

    async def with_signals() -> Exit:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        return await run(stop)

    _exit(_guarded(lambda: uvloop.run(with_signals()), machine=logs))


def _guarded(run: Callable[[], int], *, machine: bool = False) -> int:
    """Turn a `BlazzError` into words (or a log line, for a process) and an exit code."""
    try:
        return run()
    except BlazzError as error:
        return _report(error, machine)
    except BaseExceptionGroup as group:
        found = _first_blazz_error(group)
        if found is None:
            raise
        return _report(found, machine)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED


def _first_blazz_error(group: BaseExceptionGroup[BaseException]) -> BlazzError | None:
    for error in group.exceptions:
        if isinstance(error, BlazzError):
            return error
        if isinstance(error, BaseExceptionGroup) and (found := _first_blazz_error(error)):
            return found
    return None


def _report(error: BlazzError, machine: bool) -> Exit:
    if machine:
        import structlog

        structlog.get_logger().error("process.failed", code=error.code.value, detail=error.detail)
    else:
        print(f"blazz: {error.spec.title} ({error.code})", file=sys.stderr)
        for words in (error.detail, error.spec.mend):
            if words:
                print(f"  {words}", file=sys.stderr)
    return exit_code(error.code, error.spec.http)


def _exit(code: int) -> NoReturn:
    sys.exit(int(code))
