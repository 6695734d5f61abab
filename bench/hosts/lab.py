"""The running lab: its router, its hosts, its operator's key. Runs inside of the lab's namespaces.

Owns starting the hosts, the wait until they answer, and their end. What keeps this machine clean
whatever happens is `namespace.py`, around it.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from bench.hosts import cgroups
from bench.hosts.plan import (
    Host,
    LabPlan,
    Region,
    cable_commands,
    cut_commands,
    hosts_file,
    known_hosts,
    router_commands,
)
from bench.hosts.shell import Ended, call, ip, must
from schemas.errors import BlazzError, ErrorCode

BOOT: Final = Path(__file__).with_name("boot.sh")
NAMESPACES: Final = ("--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup")
UP_MAX_S: Final = 90.0
LOOK_EVERY_S: Final = 0.2
_SSHD: Final = """\
HostKey /etc/ssh/ssh_host_ed25519_key
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
MaxStartups 50:30:100
Subsystem sftp /usr/lib/openssh/sftp-server
"""
_PIP: Final = """\
[global]
no-index = true
find-links = /srv/wheelhouse
disable-pip-version-check = true
[install]
compile = false
"""


class Lab:
    """What one may do with a running lab."""

    def __init__(self, plan: LabPlan, folder: Path, cgroup: Path) -> None:
        self.plan = plan
        self.folder = folder
        self._cgroup = cgroup
        self._processes: dict[str, asyncio.subprocess.Process] = {}

    @property
    def key_file(self) -> Path:
        """The operator's ssh key."""
        return self.folder / "operator"

    def ssh_options(self) -> list[str]:
        """For ssh and for Ansible: this key, these hosts, nothing of the user's own."""
        options = {
            "UserKnownHostsFile": str(self.folder / "known_hosts"),
            "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "yes",
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
            "ConnectTimeout": "10",
        }
        return ["-F", "/dev/null", *(f"-o{name}={value}" for name, value in options.items())]

    async def ssh(self, host: Host, *words: str, timeout_s: float = 60.0) -> Ended:
        """Run a command on a host, as root."""
        return await call(
            "ssh",
            *self.ssh_options(),
            *("-i", str(self.key_file), f"root@{host.address}", "--", *words),
            timeout_s=timeout_s,
        )

    async def on(self, host: Host, *words: str, timeout_s: float = 60.0) -> str:
        """The same, for one that has to succeed; answers its stdout."""
        ended = await self.ssh(host, *words, timeout_s=timeout_s)
        if ended.code != 0:
            raise BlazzError(
                ErrorCode.INTERNAL, f"{host.name}: {words[0]}: {ended.stderr.strip()[-500:]}"
            )
        return ended.stdout

    async def cut(self, one: Region, other: Region) -> None:
        """Nothing passes between two regions from now on."""
        await ip(cut_commands(one, other))

    async def heal(self, one: Region, other: Region) -> None:
        """It does again."""
        await ip(cut_commands(one, other, heal=True))

    # Making it -----------------------------------------------------------------------------------

    async def make_files(self) -> None:
        """The operator's key, and what every host is given."""
        root = self.folder / "files"
        for part in ("etc/ssh", "root/.ssh"):
            (root / part).mkdir(parents=True)
        for path in (self.key_file, root / "etc/ssh/ssh_host_ed25519_key"):
            await must("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(path))
        public = (root / "etc/ssh/ssh_host_ed25519_key.pub").read_text()
        operator = self.key_file.with_suffix(".pub").read_text()
        for where, text in (
            (root / "etc/ssh/sshd_config", _SSHD),
            (root / "etc/pip.conf", _PIP),
            (root / "etc/hosts", hosts_file(self.plan)),
            (root / "root/.ssh/authorized_keys", operator),
            (self.folder / "known_hosts", known_hosts(self.plan.hosts, public)),
        ):
            where.write_text(text)

    async def start(self, host: Host, wheelhouse: Path) -> None:
        """Boot a host; it answers ssh when this returns."""
        folder = self.folder / host.name
        folder.mkdir()
        length = host.region.network.prefixlen
        boot = [str(BOOT), host.name, str(folder), f"{host.address}/{length}"]
        boot += [host.region.gateway, str(wheelhouse)]
        # It waits for its cable: a line on its input says that it is there.
        entered = f'echo $$ >"{self._cgroup / host.name}/cgroup.procs"; exec "$@"'
        inside = 'read -r _; exec </dev/null; exec sh "$@"'
        await asyncio.to_thread(cgroups.make, self._cgroup / host.name)
        with (self.folder / f"{host.name}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *("sh", "-c", entered, "sh", "unshare", *NAMESPACES, "--fork", "--kill-child"),
                *("sh", "-c", inside, "sh", *boot),
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._processes[host.name] = process
        async with asyncio.timeout(UP_MAX_S):
            await ip(cable_commands(host, await _first_child(process.pid)))
            assert process.stdin is not None
            process.stdin.write(b"go\n")
            process.stdin.close()
            while (await self.ssh(host, "systemctl", "is-system-running", "--wait")).code == 255:
                if process.returncode is not None:
                    raise BlazzError(
                        ErrorCode.INTERNAL, f"{host.name} did not boot: {self.said(host)}"
                    )
                await asyncio.sleep(LOOK_EVERY_S)

    def said(self, host: Host) -> str:
        """The end of what a host's boot printed."""
        return (self.folder / f"{host.name}.log").read_text(errors="replace")[-1500:]

    async def stop(self) -> None:
        """The power goes off, everywhere at once."""
        await asyncio.to_thread(cgroups.kill, self._cgroup)
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        await asyncio.to_thread(cgroups.remove, self._cgroup)


@asynccontextmanager
async def open_lab(
    plan: LabPlan, folder: Path, cgroup: Path, wheelhouse: Path
) -> AsyncIterator[Lab]:
    """For the block: every host up and answering ssh."""
    lab = Lab(plan, folder, cgroup)
    try:
        await ip(router_commands(plan))
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")  # noqa: ASYNC240 - not a disk
        await lab.make_files()
        async with asyncio.TaskGroup() as group:
            for host in plan.hosts:
                group.create_task(lab.start(host, wheelhouse))
        yield lab
    finally:
        await asyncio.shield(lab.stop())


async def _first_child(pid: int) -> int:
    """The one child of an `unshare`, once it is in its namespaces."""
    ours = _network_of("self")
    while True:
        children = await _children(pid)
        for child in children:
            with contextlib.suppress(FileNotFoundError):
                if _network_of(str(child)) != ours:
                    return child
        await asyncio.sleep(0.01)


def _network_of(process: str) -> Path:
    return Path(f"/proc/{process}/ns/net").readlink()


async def _children(pid: int) -> Sequence[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()  # noqa: ASYNC240 - not a disk
    except FileNotFoundError as error:
        raise BlazzError(ErrorCode.INTERNAL, "a host ended before it began") from error
    return [int(word) for word in text.split()]
