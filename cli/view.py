"""`blazz tui`: finds the fleet's bus and opens the terminal on it.

Owns only that finding.
"""

from pathlib import Path

from cli.exit_codes import Exit
from cli.stack import read_info
from cli.up import default_data_dir
from schemas.errors import BlazzError, ErrorCode
from tui.app import run_tui
from tui.settings import TuiSettings


def run_tui_command(data_dir: Path | None, server: str | None, seed_file: Path | None) -> Exit:
    """Open the terminal until the person quits. Raises `config_invalid` when there is no fleet."""
    run_tui(_settings(data_dir, server, seed_file))
    return Exit.OK


def _settings(data_dir: Path | None, server: str | None, seed_file: Path | None) -> TuiSettings:
    if server is not None:
        return TuiSettings(
            servers=(server,),
            nkey_seed_file=str(seed_file) if seed_file else None,
            context=server.rpartition("@")[2].removeprefix("nats://"),
        )
    folder = data_dir or default_data_dir()
    info = read_info(folder)
    if info is None:
        raise BlazzError(
            ErrorCode.CONFIG_INVALID,
            f"no fleet was started in {folder}: run `blazz up`, or name one with "
            "--data-dir or --server",
        )
    return TuiSettings(
        servers=(info.nats_url,),
        identity=info.viewer,
        nkey_seed_file=info.viewer_seed_file,
        context="local",
    )
