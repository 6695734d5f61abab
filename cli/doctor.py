"""`blazz doctor`: does this machine, and the fleet it is pointed at, have what Blazz needs?

Owns which checks are made: those of the machine always; those of a fleet's API where a fleet is
named or in use; those of the bus where there is a control plane's settings file. Looks only: it
never changes anything.
"""

import asyncio
import time
from pathlib import Path

import msgspec

from cli.doctor_machine import CHECKS
from cli.findings import Finding, Format, Verdict, exit_for, from_error, written
from cli.options import HERE, Target
from schemas.errors import BlazzError

__all__ = ["DoctorOptions", "Finding", "Verdict", "run_doctor"]


class DoctorOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Where to look. `target`: a fleet; None: this machine alone. `config`: a control plane's
    settings file, for the bus. `backups`: the directory where they are."""

    target: Target | None = None
    config: Path | None = None
    machine: bool = True
    backups: Path | None = None


def run_doctor(form: Format, options: DoctorOptions | None = None) -> int:
    """Run the checks and print. Answers the exit code: 1 if a check fails, and for `nagios` those
    of its plugins."""
    options = options or DoctorOptions()
    findings = [check() for check in CHECKS] if options.machine else []
    if options.backups is not None:
        from cli.doctor_backup import check_backups

        findings.append(check_backups(options.backups))
    findings += asyncio.run(_elsewhere(options))
    print(written(findings, form, time.time()), end="")
    return exit_for(findings, form)


async def _elsewhere(options: DoctorOptions) -> list[Finding]:
    findings: list[Finding] = []
    with_bus = options.config is not None
    if options.target is not None:
        # Imported here, as below: looking at a machine alone needs neither.
        from cli.doctor_fleet import check_fleet
        from cli.target import LOCAL, find_fleet

        unnamed = options.target == HERE
        try:
            fleet = await asyncio.to_thread(find_fleet, options.target)
        except BlazzError as error:
            # Where nobody named one, there is none to look at.
            return [] if unnamed and not with_bus else [from_error("fleet", error)]
        findings = await check_fleet(fleet)
        runs = findings[0].verdict is Verdict.OK
        if unnamed and fleet.name == LOCAL and not runs:
            findings = [Finding("fleet", Verdict.OK, "the last `blazz up` here is not running")]
        with_bus = with_bus or (fleet.name == LOCAL and runs)
    if with_bus:
        from cli.doctor_bus import check_bus
        from cli.vault_commands import ControlPlaneChoice

        data_dir = options.target.data_dir if options.target else None
        try:
            settings = await asyncio.to_thread(ControlPlaneChoice(options.config, data_dir).load)
        except BlazzError as error:
            findings.append(from_error("bus", error))
        else:
            findings += await check_bus(settings, options.backups)
    return findings
