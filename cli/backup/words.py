"""What `blazz backup` and `blazz restore` print for people.

Owns the words. Data goes to stdout, what is wrong to stderr.
"""

import sys
from typing import Final

from cli.backup.prove import Drill
from cli.backup.put_back import Plan, Restored
from schemas.backup import BackupManifest, StateCounts

_DAY_S: Final = 86_400.0


def say_manifest(manifest: BackupManifest, about: str) -> None:
    """What a backup says of itself; `about`: how it came about."""
    counts = manifest.counts
    print(f"{size(manifest.size_bytes)}, {about}, by Blazz {manifest.made_by}.")
    print(_counted(counts))
    if manifest.master_key_ids:
        print(f"Its snapshots need master key {', '.join(manifest.master_key_ids)}: not in here.")
    for each in manifest.findings:
        print(f"  {each}", file=sys.stderr)
    print("Complete." if manifest.complete else "NOT COMPLETE: do not rely on it alone.")


def _counted(counts: StateCounts) -> str:
    return (
        f"{counts.tenants} tenants, {counts.api_keys} API keys, {counts.sessions} sessions; "
        f"{counts.snapshots_opened} of {counts.sessions_with_snapshot} snapshots opened; "
        f"{counts.messages_waiting} messages wait in {counts.lanes} lanes, "
        f"{counts.ledger_messages} in the ledger; {counts.webhooks} webhooks."
    )


def say_drill(found: Drill) -> None:
    """What a drill found."""
    print(f"{found.backup_id}, {age(found.age_s)} old: restored in {found.duration_s:.1f} s.")
    print(_counted(found.counts))
    for each in found.findings:
        print(f"  {each}", file=sys.stderr)
    print("A fleet would come up on it." if found.ok else "It would NOT bring everything back.")


def say_plan(plan: Plan) -> None:
    """What a restore would do."""
    held = sum(plan.present.values())
    print(f"{plan.backup_id}, {age(plan.age_s)} old: {plan.messages} messages.")
    print(f"The bus holds {held} messages in {len(plan.present)} streams.")
    print("What was accepted, told or changed since the backup is lost by restoring it.")
    for each in plan.refusals:
        print(f"  refused: {each}", file=sys.stderr)


def say_step(stream: str) -> None:
    """The stream that is being restored."""
    print(f"  {stream}", file=sys.stderr)


def say_restored(done: Restored) -> None:
    """What a restore did."""
    print(
        f"Restored {done.messages} messages in {done.duration_s:.1f} s; {done.epochs_raised} "
        f"epochs raised, {done.ended_unknown} messages ended as unknown, {done.documents_added} "
        "documents added to MongoDB."
    )
    for each in done.findings:
        print(f"  {each}", file=sys.stderr)
    print("Start the control planes, then the nodes.")


def age(seconds: float) -> str:
    """Seconds, for people."""
    if seconds >= 2 * _DAY_S:
        return f"{seconds / _DAY_S:.0f} d"
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds:.0f} s"


def size(count: int) -> str:
    """Bytes, for people."""
    return f"{count / 1e3:.0f} kB" if count < 1e6 else f"{count / 1e6:.1f} MB"
