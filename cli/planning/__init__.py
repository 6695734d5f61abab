"""Planning a fleet: from sessions wanted to machines, their spread and what they cost.

Pure: no I/O, no clock. `cli.plan` reads and prints.
"""
