"""The registry: every id, state, error, record, command, event, subject, stream and bucket of Blazz."""
