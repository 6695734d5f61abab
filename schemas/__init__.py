"""The registry: ids, states, errors, records, commands, events, subjects, streams, buckets."""
