"""Who stands in an election, and who of them leads: for looking, without standing.

An observer watches one znode, the leader's, however many stand or come and go: it is woken when the leader goes or says
something else of itself, and only where nobody stands does it watch for the first who comes.
"""

from types import TracebackType
from typing import NamedTuple, Self

from zabpy.client import Client, Fired, SessionLostError, State
from zabpy.model import NoNodeError, join

from .arguments import check_path
from .contenders import contender
from .patience import TRANSIENT, Patience


class Candidate(NamedTuple):
    """One who stands, by its znode. ``data`` is what it says of itself, ``token`` its fencing token, if it leads or
    comes to; it tells terms apart."""

    path: str
    data: bytes
    session_id: int
    token: int


def in_order(names: list[str]) -> list[str]:
    """Of the children of the election's znode those that stand, the first one first.

    By the numbers that the servers put behind the names. Those go round at 2**32; so that this does not matter, no two
    that stand at a time may be 2**31 creates apart.
    """
    found = [each for each in map(contender, names) if each is not None]
    if not found:
        return []
    some = found[0].number

    def place(number: int) -> int:
        return (number - some + 2**31) % 2**32

    return [each.name for each in sorted(found, key=lambda each: place(each.number))]


async def look(zk: Client, path: str) -> list[Candidate]:
    """All who stand, in order. A request for each, and one more."""
    found: list[Candidate] = []
    try:
        names = await zk.children(path)
    except NoNodeError:
        return []
    for name in in_order(names):
        try:
            data, stat = await zk.get(join(path, name))
        except NoNodeError:
            continue
        found.append(Candidate(join(path, name), data, stat.ephemeral_owner, stat.czxid))
    return found


class Leaders:
    """A stream of who leads: `Candidate`, or None while nobody does. To be had from ``async with zk.observe(path)``.

    The one now, then each other one; of what comes quickly after another only the last is told. Who leads is who stands
    first: it may not have noticed yet, and it may be over already while we cannot be told, see ``stale``.
    """

    def __init__(self, zk: Client, path: str) -> None:
        check_path(path, "observe")
        self._zk, self._path = zk, path
        self._fired: Fired | None = None
        self._told = False
        #: Who leads, as was told last.
        self.leader: Candidate | None = None

    @property
    def stale(self) -> bool:
        """Whether there may be news that cannot have come, as there is no connection."""
        return self._zk.state is not State.CONNECTED

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._fired is not None:
            self._fired.cancel()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Candidate | None:
        patience = Patience(self._zk)
        while True:
            try:
                if self._fired is not None:
                    await self._fired.wait()  # who gives up waiting may ask again: it is kept
                    self._fired = None
                await patience.wait()
                leader = await self._look()
                patience.reset()
            except SessionLostError:
                self._fired = None  # it was of that session
                continue
            except TRANSIENT:
                continue
            if not self._told or leader != self.leader:
                self._told, self.leader = True, leader
                return leader

    async def _look(self) -> Candidate | None:
        """Who leads, with a watch for what ends that."""
        while True:
            try:
                names = in_order(await self._zk.children(self._path))
                if not names:
                    listed, _, fired = await self._zk.children_watched(self._path)
                    names = in_order(listed)
                    if not names:
                        self._fired = fired
                        return None
                    fired.cancel()
                first = join(self._path, names[0])
                data, stat, self._fired = await self._zk.get_watched(first)
                return Candidate(first, data, stat.ephemeral_owner, stat.czxid)
            except NoNodeError:
                found, fired = await self._zk.exists_watched(self._path)
                if found is None:
                    self._fired = fired
                    return None
                fired.cancel()
