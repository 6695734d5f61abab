"""Snapshots: where they lie, who may write them, what is kept, and the keys that seal them."""
