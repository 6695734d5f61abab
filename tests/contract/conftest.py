"""What several contract suites use.

Owns the MongoDB of the stores' suites: a real server where `BLAZZ_TEST_MONGO_URI` names one, else a
wire-compatible one in a process of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.mongo_server import URI_VARIABLE, MongoServer, why_not


@pytest.fixture(scope="module")
def mongo() -> Iterator[str]:
    uri = os.environ.get(URI_VARIABLE)
    if uri:
        yield uri
        return
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with MongoServer() as server:
        yield server.uri
