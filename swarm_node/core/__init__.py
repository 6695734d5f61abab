"""Pure decisions of the node; no event loop, clock, randomness, logging or I/O."""
