"""`blazz node` and `blazz control-plane` under systemd: what they tell its socket."""

from pathlib import Path

import pytest

from cli.stack import NodePlan, StackPlan, open_stack
from schemas.states import EngineKind
from tests.notify_socket import Systemd
from tests.waiting import eventually


async def test_both_tell_that_they_are_ready_live_and_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    systemd = Systemd(tmp_path / "notify")
    for name, value in systemd.environ(WATCHDOG_USEC="2000000").items():
        monkeypatch.setenv(name, value)
    nodes = (NodePlan("local", sessions_max=5),)
    plan = StackPlan(data_dir=tmp_path / "data", nodes=nodes, port=0, engine=EngineKind.LOOPBACK)
    try:
        async with open_stack(plan):
            assert systemd.heard.count("READY=1") == 2
            fed = systemd.heard.count("WATCHDOG=1")
            await eventually(lambda: systemd.heard.count("WATCHDOG=1") >= fed + 4, timeout_s=30)
            assert "STATUS=0 of 5 sessions, 0 online; bus connected, lease held" in systemd.heard
            assert any(said.startswith("STATUS=serving on port ") for said in systemd.heard)
            assert "STOPPING=1" not in systemd.heard
        assert systemd.heard.count("STOPPING=1") == 2
    finally:
        systemd.close()
