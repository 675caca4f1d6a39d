"""Where a tree is, for commands on two of them: here, in another cluster, or in a file.

    /app/db                          a znode of this shell's cluster; patterns are expanded
    zk://host:2181,host2/app/db      a znode of another one
    zk://prod/app/db                 of the profile of that name
    file:backup.ndjson, file:///tmp  a file or folder; ``-`` for the standard streams

What stands in a URL is taken as it is: no patterns, nothing like ``%20``.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import ShellError, Status, UsageError
from .settings import Rules

if TYPE_CHECKING:
    from zabpy.client import Client

    from .cluster import Cluster
    from .shell import Shell

STANDARD = "-"


@dataclass(frozen=True)
class Znode:
    """A znode's full path. ``servers``: of another cluster, or its profile's name; empty for this shell's."""

    path: str
    servers: str = ""

    def __str__(self) -> str:
        return f"zk://{self.servers}{self.path}" if self.servers else self.path

    def below(self, relative: str) -> "Znode":
        """``relative`` begins with a slash, or is empty."""
        return Znode(self.path.rstrip("/") + relative or "/", self.servers)


@dataclass(frozen=True)
class File:
    """A file or folder on this machine; ``-`` is standard input or output."""

    name: str

    def __str__(self) -> str:
        return "-" if self.is_standard else f"file:{self.name}"

    @property
    def is_standard(self) -> bool:
        return self.name == STANDARD

    @property
    def local(self) -> Path:
        return Path(self.name).expanduser()


Location = Znode | File


def of_url(text: str) -> Location | None:
    """What a URL or ``-`` names; None for what is no URL, so a path of this shell's cluster.

    Raises:
        UsageError: a URL that cannot be; it says why.
    """
    if text == STANDARD:
        return File(STANDARD)
    if text.startswith("file:"):
        name = text.removeprefix("file:")
        name = name[2:] if name.startswith("//") else name
        if not name:
            raise UsageError(f"{text}: expected the name of a file behind file:")
        return File(name)
    if text.startswith("zk:"):
        return _of_cluster(text)
    if "://" in text:
        raise UsageError(f"{text}: expected zk://HOST:PORT/PATH or file:NAME")
    return None


def _of_cluster(text: str) -> Znode:
    servers, _, path = text.removeprefix("zk:").removeprefix("//").partition("/")
    if not text.startswith("zk://") or not servers:
        raise UsageError(f"{text}: expected zk://HOST:PORT/PATH")
    parts = [part for part in path.split("/") if part]
    from zabpy.model import BadArgumentsError, validate

    full = "/" + "/".join(parts)
    try:
        validate(full)
    except BadArgumentsError as error:
        raise UsageError(f"{text}: {error}") from None
    return Znode(full, servers)


class Clients:
    """The clients behind the locations of one command, one for each cluster. To be had from `clients`."""

    def __init__(self, shell: "Shell", stack: AsyncExitStack) -> None:
        self._shell, self._stack = shell, stack
        self._others: dict[str, Client] = {}
        self._rules: dict[str, Rules] = {}
        self._confirmed: set[str] = set()

    async def of(self, znode: Znode, *, writes: str = "") -> "Client":
        """A client with a session. ``writes``: the command that is to change something there, if one is; what the
        profile of that other cluster says of it holds, and if its name is to be typed it is asked for, once.

        Raises:
            ShellError: the profile does not allow it, or the person has not.
            NoServerError: and so on; as `Cluster.client`.
        """
        if not znode.servers:
            return await self._shell.zk()
        if znode.servers not in self._others:
            if self._shell.open_cluster is None:
                raise ShellError(f"{znode}: no other cluster can be reached from here")
            cluster = await self._shell.open_cluster(znode.servers)
            self._stack.push_async_callback(_close, cluster)
            self._rules[znode.servers] = cluster.rules
            self._others[znode.servers] = await cluster.client()
            self._stack.enter_context(cluster.patience())
        if writes and znode.servers not in self._confirmed:
            await self._check(znode, self._rules[znode.servers], writes)
            self._confirmed.add(znode.servers)
        return self._others[znode.servers]

    async def _check(self, znode: Znode, rules: Rules, command: str) -> None:
        from .command import find

        if rules.read_only:
            raise ShellError(f"{znode}: the profile is read-only, so nothing was done", Status.DENIED)
        if find(command).is_forbidden(rules):
            raise ShellError(f"the profile {rules.name} forbids {command}, so nothing was done", Status.DENIED)
        if rules.confirm_name and not rules.yes:
            question = f"{command} changes {znode}, in a cluster whose name is to be typed first."
            if not await self._shell.asker.confirm(question, rules.name):
                raise ShellError("nothing was done", Status.INTERRUPTED)


async def _close(cluster: "Cluster") -> None:
    import anyio

    with anyio.CancelScope(shield=True):
        await cluster.close()


@asynccontextmanager
async def clients(shell: "Shell") -> AsyncIterator[Clients]:
    """For the time of one command; sessions with other clusters end with it."""
    async with AsyncExitStack() as stack:
        yield Clients(shell, stack)
