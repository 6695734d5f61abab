"""The flags that many commands share, as dataclasses which cyclopts spreads out.

Owns their words. Never acts on them, and imports nothing heavy: `blazz --help` reads this.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter


class Form(StrEnum):
    """How data is printed."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    JSONL = "jsonl"
    YAML = "yaml"
    NAME = "name"


@Parameter(name="*")
@dataclass(frozen=True)
class Target:
    """A fleet and a form, as the flags say."""

    data_dir: Annotated[
        Path | None, Parameter(help="The data directory of a `blazz up` or demo on this machine.")
    ] = None
    json: Annotated[bool, Parameter(help="The same as -o json.", negative="")] = False
    context: Annotated[str | None, Parameter(help="A fleet by its name; see `blazz context`.")] = (
        None
    )
    tenant: Annotated[str | None, Parameter(help="Operators: speak for this tenant.")] = None
    api_url: Annotated[str | None, Parameter(help="The API of a fleet, with --key-file.")] = None
    key_file: Annotated[Path | None, Parameter(help="A file that holds an API key.")] = None
    output: Annotated[Form, Parameter(name=["--output", "-o"], help="How to print.")] = Form.TABLE

    @property
    def form(self) -> Form:
        """How to print."""
        return Form.JSON if self.json else self.output


HERE: Final = Target()


@Parameter(name="*")
@dataclass(frozen=True)
class Watch:
    """Whether to print again and again."""

    watch: Annotated[
        bool, Parameter(name=["--watch", "-w"], help="Print again until ctrl-C.", negative="")
    ] = False
    every: Annotated[float, Parameter(help="Seconds between, with --watch.")] = 2.0


ONCE: Final = Watch()


@Parameter(name="*")
@dataclass(frozen=True)
class Acting:
    """How to act."""

    dry_run: Annotated[
        bool, Parameter(help="Print what would be asked of the API; do nothing.", negative="")
    ] = False
    yes: Annotated[
        bool,
        Parameter(name=["--yes", "-y"], help="Don't ask before what can't be undone.", negative=""),
    ] = False
    no_input: Annotated[
        bool, Parameter(help="Never ask; fail where --yes is missing.", negative="")
    ] = False


ACT: Final = Acting()
