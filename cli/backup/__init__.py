"""Backups: all of a fleet's state taken out, proven, and put back."""
