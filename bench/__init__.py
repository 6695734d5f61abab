"""Benchmarks of Blazz; each prints its figures and goals as one JSON line."""
