"""Marks of the chaos tests: long, and never two of a kind at once.

Owns only that. Fleets without a browser are a group of their own; those with one go where other
browsers are: on two cores a third fleet would make waits mean nothing.
"""

from __future__ import annotations

from pathlib import Path

import pytest

TIMEOUT_S = 120
BROWSER_TIMEOUT_S = 240


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent not in item.path.parents:
            continue
        browser = item.path.stem.endswith("chromium")
        item.add_marker(pytest.mark.browser if browser else pytest.mark.nats)
        item.add_marker(pytest.mark.timeout(BROWSER_TIMEOUT_S if browser else TIMEOUT_S))
        item.add_marker(pytest.mark.xdist_group("browser-1" if browser else "chaos"))
