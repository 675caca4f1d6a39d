"""An ensemble of real processes, on whatever links there are."""

import contextlib
import os
import re
import resource
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from .disk import BadDisk
from .links import Links

ROOT = Path(__file__).parent.parent.parent
#: Of `Processes`: sessions last as long as clients wish, up to this.
TICK_MS = 200
SESSION_TIMEOUT_MS = 20 * TICK_MS
SETTINGS = (
    f"tickTime={TICK_MS}",
    "initLimit=25",
    "syncLimit=5",
    "snapCount=400",
    "preAllocSize=64",
    "maxClientCnxns=0",
    "admin.enableServer=false",
    "4lw.commands.whitelist=*",
)
DISK_BYTES = 24 * 1024 * 1024
_LEADING = re.compile(r"event=role .*role=leading phase=broadcast")


class EndedError(Exception):
    """A server has ended that was to serve."""


class Processes:
    """Servers 1 to ``count``, each with a zoo.cfg, a disk and a log of its own below ``directory``."""

    def __init__(
        self,
        directory: Path,
        count: int,
        links: Links,
        *,
        settings: Sequence[str] = (),
        module: Sequence[str] = ("zabpy",),
    ) -> None:
        """``module``: what ``python -m`` runs, with ``serve`` and the file behind."""
        self.directory, self.count, self.links = directory, count, links
        self.ids = range(1, count + 1)
        self._module = module
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        self.stopped: set[int] = set()
        #: Servers that may end by themselves now, having no disk to write to.
        self.excused: set[int] = set()
        self.disks = {id: Disk(directory / str(id) / "data") for id in self.ids}
        self.bad_disks: dict[int, BadDisk] = {}
        secret = directory / "secret"
        secret.write_text(f"{secrets.token_hex(32)}\n")
        secret.chmod(0o600)
        for id in self.ids:
            home = directory / str(id)
            (home / "data").mkdir(parents=True)
            self.disks[id].mount()
            (home / "data" / "myid").write_text(f"{id}\n")
            members = []
            for other in self.ids:
                host, port = links.seen_by(id, other)
                members.append(f"server.{other}={host}:{port}:{port}" if count > 1 else "")
            listening = [f"clientPort={links.client_port(id)}", f"clientPortAddress={links.host(id)}"]
            proof = f"zabpy.peerSecretFile={secret}"  # peers prove who they are wherever a port is not on loopback
            lines = [*SETTINGS, *settings, f"dataDir={home}/data", *listening, *members, proof]
            (home / "zoo.cfg").write_text("\n".join(lines) + "\n")
            if BadDisk.possible():
                self.bad_disks[id] = BadDisk(home, home / "data")

    @property
    def addresses(self) -> list[tuple[str, int]]:
        return [(self.links.host(id), self.links.client_port(id)) for id in self.ids]

    def start(self, id: int) -> None:
        home = self.directory / str(id)
        self.excused.discard(id)
        self.stopped.discard(id)
        environment = dict(os.environ, PYTHONPATH=f"{ROOT}")
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        if id in self.bad_disks:
            self.bad_disks[id].power_stayed()  # unless `power_cut` came before
            environment |= self.bad_disks[id].environment()
        command = self.links.command(id, [sys.executable, "-m", *self._module, "serve", str(home / "zoo.cfg")])
        with open(home / "log", "ab") as log:
            self.processes[id] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=home, env=environment
            )

    def runs(self, id: int) -> bool:
        return id in self.processes and self.processes[id].poll() is None

    def kill(self, id: int) -> None:
        """kill -9; also one that is stopped."""
        self.processes[id].kill()
        self.processes[id].wait()
        self.stopped.discard(id)

    def pause(self, id: int) -> None:
        self.processes[id].send_signal(signal.SIGSTOP)
        self.stopped.add(id)

    def go_on(self, id: int) -> None:
        if id in self.stopped:
            self.stopped.discard(id)
            self.processes[id].send_signal(signal.SIGCONT)

    def limit_files(self, id: int, size: int) -> None:
        """Of a running server: no file of it grows over so many bytes; -1: as long as it likes."""
        resource.prlimit(self.processes[id].pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def log(self, id: int) -> str:
        with contextlib.suppress(FileNotFoundError):  # it has not been started
            return (self.directory / str(id) / "log").read_text(errors="replace")
        return ""

    def reigns(self) -> int:
        """How often a server began to lead."""
        return sum(len(_LEADING.findall(self.log(id))) for id in self.ids)

    async def mode(self, id: int) -> str:
        """leader, follower, ...; empty while it does not serve, or does not answer soon."""
        text = b""
        with trio.move_on_after(0.5):
            try:
                stream = await trio.open_tcp_stream(self.links.host(id), self.links.client_port(id))
                async with stream:
                    await stream.send_all(b"srvr")
                    async for data in stream:
                        text += data
            except (OSError, trio.BrokenResourceError):
                pass  # it does not serve
        return text.decode().partition("Mode: ")[2].partition("\n")[0]

    async def leader(self) -> int | None:
        for id in self.ids:
            if self.runs(id) and id not in self.stopped and await self.mode(id) in ("leader", "standalone"):
                return id
        return None

    async def wait_serving(self, *ids: int) -> None:
        for id in ids or self.ids:
            while not await self.mode(id):
                if not self.runs(id):
                    raise EndedError(f"server {id} has ended:\n{self.log(id)[-3000:]}")
                await trio.sleep(0.02)  # another process: it can only be asked

    def died(self) -> list[int]:
        """Who has ended by itself, and may not."""
        return [id for id in self.processes if not self.runs(id) and id not in self.excused]

    def close(self) -> None:
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.wait()
        for disk in self.disks.values():
            disk.unmount()


class Disk:
    """A server's data directory: a small file system of its own where we may mount one."""

    def __init__(self, path: Path) -> None:
        self.path, self.mounted = path, False
        self._filler = path / "filler"

    def mount(self) -> None:
        if os.geteuid() == 0:
            command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "zabpy-test", str(self.path)]
            self.mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0

    def unmount(self) -> None:
        if self.mounted:
            subprocess.run(["umount", "-l", str(self.path)], capture_output=True, check=False)
            self.mounted = False

    def fill(self) -> None:
        """To the last byte. Only where it is mounted."""
        assert self.mounted
        # Until there is no room: that is the end that is wanted.
        with contextlib.suppress(OSError), open(self._filler, "ab", buffering=0) as file:
            while True:
                file.write(bytes(65536))

    def free(self) -> None:
        self._filler.unlink(missing_ok=True)


@asynccontextmanager
async def processes(
    directory: Path, count: int, links: Links, *, settings: Sequence[str] = (), module: Sequence[str] = ("zabpy",)
) -> AsyncIterator[Processes]:
    """Started, and serving."""
    async with trio.open_nursery() as nursery:
        servers = None
        try:
            await nursery.start(links.run)
            servers = Processes(directory, count, links, settings=settings, module=module)
            for id in servers.ids:
                servers.start(id)
            with trio.fail_after(60):
                await servers.wait_serving()
            yield servers
        finally:
            if servers is not None:
                servers.close()
            links.close()
            nursery.cancel_scope.cancel()
