"""Pure decisions of the control plane; no event loop, clock, randomness, logging or I/O."""
