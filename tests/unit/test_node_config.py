"""The node's settings: the order of the sources, and what is refused by name."""

from pathlib import Path

import pytest

from schemas.errors import BlazzError, ErrorCode
from schemas.states import EngineKind
from schemas.timing import CLUSTER
from swarm_node.config import NodeSettings, load_settings

BASE = {"node_id": "n1", "data_dir": "data"}


def refused(**given: object) -> str:
    with pytest.raises(BlazzError) as raised:
        load_settings(**given)  # type: ignore[arg-type]
    assert raised.value.code is ErrorCode.CONFIG_INVALID
    return raised.value.detail


def test_file_then_environment_then_arguments(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text(
        'node_id = "from-file"\ndata_dir = "data"\nsessions_max = 5\nregion = "file"\n'
        '[bus]\nservers = ["nats://one:4222"]\nnkey_seed_file = "seed"\n'
        "[session.backoff]\nfirst_s = 3\n"
    )
    settings = load_settings(
        file=file,
        environ={
            "BLAZZ_SESSIONS_MAX": "6",
            "BLAZZ_REGION": "environment",
            "BLAZZ_BUS__SERVERS": '["nats://two:4222"]',
            "BLAZZ_ENGINES": '["loopback"]',
            "BLAZZ_CHROMIUM": "/opt/chromium",
            "BLAZZ_API_KEY": "another program's",
            "HOME": "nothing of ours",
        },
        arguments={"sessions_max": 7, "timing": "cluster"},
    )
    assert isinstance(settings, NodeSettings)
    assert (settings.node_id, settings.region, settings.sessions_max) == (
        "from-file",
        "environment",
        7,
    )
    assert settings.bus.servers == ("nats://two:4222",)
    assert settings.bus.nkey_seed_file == "seed"
    assert settings.engines == (EngineKind.LOOPBACK,)
    assert settings.session.backoff.first_s == 3
    assert settings.chromium.executable == Path("/opt/chromium")
    assert settings.data_dir == Path("data")
    bus = settings.bus_settings()
    assert (bus.name, bus.inbox_prefix, bus.profile) == ("from-file", "_INBOX_from-file", CLUSTER)


def test_unknown_keys_are_named(tmp_path: Path) -> None:
    assert "`sesions_max`" in refused(arguments={**BASE, "sesions_max": 3})
    deep = refused(arguments={**BASE, "session": {"backoff": {"frist_s": 1}}})
    assert "`frist_s`" in deep
    assert "$.session.backoff" in deep
    assert "`server`" in refused(arguments=BASE, environ={"BLAZZ_BUS__SERVER": "x"})
    file = tmp_path / "node.toml"
    file.write_text("node_id = \n")
    assert "not TOML" in refused(file=file)
    assert "No such file" in refused(file=tmp_path / "none.toml")


def test_wrong_values_are_named_without_their_value() -> None:
    assert "$.sessions_max" in refused(arguments={**BASE, "sessions_max": -1})
    assert "$.timing" in refused(arguments={**BASE, "timing": "slow"})
    assert "$.node_id" in refused(arguments={**BASE, "node_id": "No Dots.Please"})
    assert "`node_id`" in refused(arguments={"data_dir": "data"})
    detail = refused(arguments=BASE, environ={"BLAZZ_ENGINES": "[secret"})
    assert "BLAZZ_ENGINES" in detail
    assert "secret" not in detail
