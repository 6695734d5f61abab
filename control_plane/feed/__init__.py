"""Events to readers: live, and from the past."""
