"""The control plane: HTTP API, placement, reconciliation and dispatch for all sessions."""
