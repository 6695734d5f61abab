"""The words of `blazz bench …`.

Owns their grammar. The benches do the work and are imported when a command runs.
"""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

from cyclopts import App, Parameter

from cli.exit_codes import Exit

Run = Callable[[Callable[[asyncio.Event], Coroutine[Any, Any, Exit]]], NoReturn]
Logs = Annotated[
    Path | None, Parameter(help="Keep Ansible's output and the hosts' journals there.")
]
LabSessions = Annotated[int | None, Parameter(help="By default 12 loopback, 4 Chromium.")]
Json = Annotated[bool, Parameter(help="Print only the JSON line.", negative="")]


def add_bench_commands(bench: App, run: Run) -> None:
    """`blazz bench first|rounds|failover|snapshot|send|chaos|rollout|partition|tui`"""

    @bench.command
    def first(
        *,
        json: Json = False,
        sends: Annotated[int, Parameter(help="How many messages to send.")] = 200,
        memory_sessions: Annotated[
            tuple[int, ...], Parameter(help="Session counts at which memory is read.", negative="")
        ] = (1, 5, 10),
        engine: Literal["chromium", "loopback"] = "chromium",
    ) -> None:
        """Time to a QR, to online, to sent; memory of a node with some sessions."""
        from bench.first import FirstOptions, run_first

        run(lambda stop: run_first(FirstOptions(json, sends, memory_sessions, engine), stop))

    @bench.command
    def rounds(
        *,
        json: Json = False,
        rounds: Annotated[int, Parameter(help="How often to stop and start.")] = 50,
        engine: Literal["chromium", "loopback"] = "chromium",
    ) -> None:
        """Start and stop a session again and again: what stays behind?"""
        from bench.rounds import RoundsOptions, run_rounds

        run(lambda stop: run_rounds(RoundsOptions(json, rounds, engine), stop))

    @bench.command
    def failover(
        *,
        json: Json = False,
        engine: Annotated[
            Literal["chromium", "loopback"] | None,
            Parameter(help="Only this one; by default both."),
        ] = None,
        sessions: Annotated[
            int | None, Parameter(help="On the node; by default 30 loopback, 6 Chromium.")
        ] = None,
    ) -> None:
        """A node is drained, and one is killed: when are its sessions online elsewhere?"""
        from bench.failover import FailoverOptions, run_failover

        run(lambda stop: run_failover(FailoverOptions(json, engine, sessions), stop))

    @bench.command
    def snapshot(
        *,
        json: Json = False,
        captures: Annotated[int, Parameter(help="How many of each kind.")] = 6,
        period_s: Annotated[float, Parameter(help="Seconds between two captures.")] = 10.0,
    ) -> None:
        """Bytes and CPU of a session's snapshots, against zipping its storage whole each time."""
        from bench.snapshot import SnapshotOptions, run_snapshot

        run(lambda stop: run_snapshot(SnapshotOptions(json, captures, period_s), stop))

    @bench.command
    def send(
        *,
        json: Json = False,
        engine: Annotated[
            Literal["chromium", "loopback"] | None,
            Parameter(help="Only this one; by default both."),
        ] = None,
        seconds: Annotated[float, Parameter(help="For each measurement of acceptance.")] = 6.0,
        sends: Annotated[int, Parameter(help="Messages followed to WhatsApp, each engine.")] = 200,
        control_planes: Annotated[int, Parameter(help="How many share the clients.")] = 1,
    ) -> None:
        """Messages accepted per second, beside raw JetStream; and how soon WhatsApp has them."""
        from bench.send import SendOptions, run_send

        run(lambda stop: run_send(SendOptions(json, engine, seconds, sends, control_planes), stop))

    @bench.command
    def chaos(
        *,
        json: Json = False,
        minutes: Annotated[float, Parameter(help="How long things break.")] = 5.0,
        seed: Annotated[
            int | None, Parameter(help="Break the same things in the same order.")
        ] = None,
        engine: Literal["chromium", "loopback"] = "loopback",
        sessions: Annotated[
            int | None, Parameter(help="By default 12 loopback, 3 Chromium.")
        ] = None,
    ) -> None:
        """A fleet under load while its processes are killed and cut off at every step."""
        from bench.chaos import ChaosOptions, run_chaos

        run(lambda stop: run_chaos(ChaosOptions(json, minutes, seed, engine, sessions), stop))

    @bench.command
    def rollout(
        *,
        json: Json = False,
        hosts: Annotated[int, Parameter(help="Node hosts, at least 4.")] = 4,
        sessions: LabSessions = None,
        engine: Literal["chromium", "loopback"] = "loopback",
        logs: Logs = None,
    ) -> None:
        """Hosts made on this machine (as root) are rolled to a new release by the playbooks."""
        from bench.lab_run import LabOptions
        from bench.rollout import run_rollout

        options = LabOptions(quiet=json, engine=engine, sessions=sessions, logs=logs, nodes=hosts)
        run(lambda stop: run_rollout(options, stop))

    @bench.command
    def partition(
        *,
        json: Json = False,
        sessions: LabSessions = None,
        engine: Literal["chromium", "loopback"] = "loopback",
        logs: Logs = None,
    ) -> None:
        """Two regions of such hosts, the way between them cut and healed."""
        from bench.lab_run import LabOptions
        from bench.partition import run_partition

        options = LabOptions(quiet=json, engine=engine, sessions=sessions, logs=logs)
        run(lambda stop: run_partition(options, stop))

    @bench.command
    def tui(
        *,
        json: Json = False,
        nodes: Annotated[int, Parameter(help="Nodes of the made-up fleet.")] = 300,
        sessions: Annotated[int, Parameter(help="Its sessions.")] = 10_000,
        changing: Annotated[float, Parameter(help="Share that changes each second.")] = 0.01,
        seconds: Annotated[float, Parameter(help="How long CPU and bytes are counted.")] = 20.0,
    ) -> None:
        """The terminal on a pty with a large fleet, beside a stock DataTable with the same."""
        from bench.tui import TuiOptions, run_tui

        run(lambda stop: run_tui(TuiOptions(json, nodes, sessions, changing, seconds), stop))
