"""The node's settings, as the process reads them: nested fields, and what is refused by name."""

from pathlib import Path

import pytest

from cli import settings_file
from schemas.errors import BlazzError, ErrorCode
from schemas.states import EngineKind
from schemas.timing import CLUSTER
from swarm_node.config import NodeSettings

BASE = 'node_id = "n1"\ndata_dir = "data"\n'


def read(folder: Path, text: str, environ: dict[str, str] | None = None) -> NodeSettings:
    file = folder / "node.toml"
    file.write_text(text)
    return settings_file.load(NodeSettings, file, environ or {})


def test_a_node_is_set_by_file_and_environment(tmp_path: Path) -> None:
    settings = read(
        tmp_path,
        BASE + 'sessions_max = 5\n[bus]\nservers = ["nats://one:4222"]\n'
        "[session.backoff]\nfirst_s = 3\n",
        {
            "BLAZZ_SESSIONS_MAX": "6",
            "BLAZZ_TIMING": "cluster",
            "BLAZZ_ENGINES": '["loopback"]',
            "BLAZZ_BUS__NKEY_SEED_FILE": "seed",
        },
    )
    assert (settings.sessions_max, settings.data_dir) == (6, Path("data"))
    assert settings.engines == (EngineKind.LOOPBACK,)
    assert settings.session.backoff.first_s == 3
    bus = settings.bus_settings()
    assert bus.servers == ("nats://one:4222",)
    assert (bus.name, bus.inbox_prefix, bus.profile) == ("n1", "_INBOX_n1", CLUSTER)
    assert bus.nkey_seed_file == "seed"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("sesions_max = 3", "sesions_max"),
        ("[session.backoff]\nfrist_s = 1", "frist_s"),
        ("[bus]\nserver = 1", "server"),
        ("sessions_max = -1", "sessions_max"),
        ('timing = "slow"', "timing"),
        ("[loopback.faults]\nnever = true", "never"),
        ("[chromium]\nno_such_thing = 1", "no_such_thing"),
    ],
)
def test_a_wrong_key_or_value_is_refused_by_name(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(BlazzError) as raised:
        read(tmp_path, BASE + text)
    assert raised.value.code is ErrorCode.CONFIG_INVALID
    assert named in raised.value.detail
