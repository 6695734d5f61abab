"""What every test gets: bounds on browser tests, and proof that no process stays behind.

And a list of the few that failed for want of time alone, which `just test` runs once more when the
machine is quiet: three workers a core on a shared machine stand still for seconds now and then. A
test that failed for any other reason, a lost message say, is never tried again.

Owns only what is generic. Fixtures of one part live beside that part's tests.
"""

from __future__ import annotations

import os
import re
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

BROWSER_TIMEOUT_S = 240
GONE_WITHIN_S = 5.0
# A test's layer is its directory; contract suites that also run on real parts mark themselves.
MARK_OF_LAYER = {"integration": "nats", "e2e": "browser"}
_MARK = "PYTEST_PROCESS_MARK"
_TRIED_AGAIN_MAX = 5
_WANT_OF_TIME = re.compile(
    r"not within [\d.]+ s|nats_unavailable|no_node_available|lease_lost|TimeoutError|"
    r"\btimeout: |Timeout \(?>|ReadTimeout"
)
_failures: dict[str, str] = {}
# Python's own helper, which ends with the interpreter.
_OURS_TO_KEEP = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by layer; let browser tests take longer and share a worker by module.

    Sharing means that a module's browser fixtures start once, not once a worker. There are three
    workers a core, for most tests wait most of the time; browsers do not, so that only as many
    groups of them run at once as there are cores.
    """
    cores = os.cpu_count() or 1
    for item in items:
        layer = MARK_OF_LAYER.get(item.path.relative_to(Path(__file__).parent).parts[0])
        if layer is not None:
            item.add_marker(layer)
        if item.get_closest_marker("browser") is None:
            continue
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(BROWSER_TIMEOUT_S))
        if item.get_closest_marker("xdist_group") is None:
            group = zlib.crc32(item.path.stem.encode()) % cores
            item.add_marker(pytest.mark.xdist_group(f"browser-{group}"))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember why it failed; of two reasons the one that is not for want of time."""
    if report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        why = crash.message if crash is not None else ""
        known = _failures.get(report.nodeid)
        if known is None or _WANT_OF_TIME.search(known):
            _failures[report.nodeid] = why


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write down what may be tried once more: nothing, unless each failed for want of time."""
    if hasattr(session.config, "workerinput"):
        return
    again = session.config.rootpath / ".pytest_cache" / "again"
    again.unlink(missing_ok=True)
    late = all(_WANT_OF_TIME.search(why) for why in _failures.values())
    if _failures and late and len(_failures) <= _TRIED_AGAIN_MAX:
        again.parent.mkdir(exist_ok=True)
        again.write_text("".join(f"{nodeid}\n" for nodeid in _failures))


@pytest.fixture(scope="session", autouse=True)
def _no_process_left_behind() -> Iterator[None]:
    """Fail this worker's session when a process that a test started is still there at its end.

    A mark in the environment also finds those that outlived their parent and now belong to init.
    """
    mark = uuid.uuid4().hex
    os.environ[_MARK] = mark
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    yield
    os.environ.pop(_MARK, None)
    _, left = psutil.wait_procs(_started_here(mark, before), timeout=GONE_WITHIN_S)
    told = [_describe(process) for process in left]
    for process in left:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(left, timeout=GONE_WITHIN_S)
    assert not told, "processes left behind by tests:\n  " + "\n  ".join(told)


def _started_here(mark: str, before: set[int]) -> list[psutil.Process]:
    own = psutil.Process().children(recursive=True)
    found = {process.pid: process for process in own if process.pid not in before}
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(_MARK) == mark:
                found.setdefault(process.pid, process)
        except psutil.Error:
            continue
    return [process for process in found.values() if not _expected(process)]


def _expected(process: psutil.Process) -> bool:
    try:
        line = " ".join(process.cmdline())
    except psutil.Error:
        return False
    return any(known in line for known in _OURS_TO_KEEP)


def _describe(process: psutil.Process) -> str:
    try:
        return f"{process.pid} {' '.join(process.cmdline())[:200] or process.name()}"
    except psutil.Error:
        return f"{process.pid} (ended meanwhile)"
