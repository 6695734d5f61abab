"""Tenant data: everywhere on the bus that something of a tenant lies under its name.

Owns the list by which a tenant is erased; a test sees to it that no stream is forgotten. What is
kept under other names (sessions' records, snapshots, API keys, link tokens) is listed in
`BY_OTHER_NAMES` with who removes it, and what is kept on purpose, with why.
"""

from typing import Final

from schemas.keys import NAMES_PREFIX, PACING_PREFIXES, pacing_settings_key, webhooks_prefix
from schemas.resources import (
    ACCESS,
    AUDIT,
    DEAD_LETTERS,
    EVENTS,
    FLEET,
    FLEET_HISTORY,
    IDEMPOTENCY,
    INBOUND_MEDIA,
    LEDGER,
    MEDIA,
    OUTBOX,
    PACING,
    VAULT,
    WEBHOOK_LOG,
    WEBHOOK_QUEUE,
    WEBHOOKS,
    bucket_stream,
    bucket_subject,
)
from schemas.subjects import (
    dead_of_tenant,
    events_of_tenant,
    history_of_tenant,
    hook_log_of_tenant,
    hook_queue_of_tenant,
    inbound_media_of_tenant,
    ledger_tenant,
    media_of_tenant,
    outbox_of_tenant,
)


def tenant_subjects(tenant_id: str) -> tuple[tuple[str, str], ...]:
    """(stream, filter) of all that is purged when a tenant is erased. The ledger is here too: with
    MongoDB as its store the stream is empty."""
    return (
        (OUTBOX, outbox_of_tenant(tenant_id)),
        (DEAD_LETTERS, dead_of_tenant(tenant_id)),
        (MEDIA, media_of_tenant(tenant_id)),
        (INBOUND_MEDIA, inbound_media_of_tenant(tenant_id)),
        (LEDGER, ledger_tenant(tenant_id)),
        # First the webhooks, so that nothing more is sent of what goes next.
        (bucket_stream(WEBHOOKS), bucket_subject(WEBHOOKS, f"{webhooks_prefix(tenant_id)}>")),
        (WEBHOOK_QUEUE, hook_queue_of_tenant(tenant_id)),
        (WEBHOOK_LOG, hook_log_of_tenant(tenant_id)),
        (EVENTS, events_of_tenant(tenant_id)),
        (FLEET_HISTORY, history_of_tenant(tenant_id)),
        (bucket_stream(IDEMPOTENCY), bucket_subject(IDEMPOTENCY, f"{tenant_id}.>")),
        (bucket_stream(PACING), bucket_subject(PACING, pacing_settings_key(tenant_id))),
        *(
            (bucket_stream(PACING), bucket_subject(PACING, f"{prefix}{tenant_id}.>"))
            for prefix in PACING_PREFIXES
        ),
        (bucket_stream(FLEET), bucket_subject(FLEET, f"{NAMES_PREFIX}{tenant_id}.>")),
    )


BY_OTHER_NAMES: Final = {
    bucket_stream(FLEET): "the reconciler drops the records of a deleted session",
    bucket_stream(ACCESS): "keys, link tokens and the tenant are found by what they hold",
    AUDIT: "kept, as the proof of who asked for what (the erasure too): it holds ids, no content",
    VAULT: "the pruner removes a deleted session's snapshots and its data key",
}
