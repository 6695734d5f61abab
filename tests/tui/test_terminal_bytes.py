"""The terminal on a real pty sends less than Textual's own table would for the same fleet."""

from __future__ import annotations

from bench.tui import TuiOptions, measure


def test_fewer_bytes_than_a_stock_table_and_keys_are_answered() -> None:
    options = TuiOptions(True, nodes=60, sessions=2_000, changing=0.01, seconds=4.0, keys=4)
    ours = measure("fleet", options, lambda: False)
    stock = measure("datatable", options, lambda: False)
    assert 0 < ours.bytes_s < stock.bytes_s
    assert len(ours.keys_s) == options.keys
