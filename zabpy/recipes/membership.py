"""Who takes part: a group is a path, and each member has below it an ephemeral znode that repairs itself.

    async with zk.member("/workers", "host1:80"):
        async with zk.group("/workers").watch() as group:
            async for members in group: ...          # now, and whenever it is another set

Layouts, for fleets that mix:
    ``party``    kazoo's Party: ``<32 hex>__party__<name>``. kazoo shows the data of our members (and wants UTF-8); we
                 take the data of its members, whose znodes have no name of theirs, as their names.
    ``shallow``  kazoo's ShallowParty: ``<32 hex>-<name>``; every child is a member.
    ``plain``    Curator's GroupMember: ``<name>``; every child is a member, and a second one of a name has to wait.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Literal, NamedTuple, Self
from uuid import uuid4

from zabpy.client import Client, Znode
from zabpy.model import Acls, join, name_of

from .arguments import bad, check_one_of, check_path
from .registration import Registration
from .tree_cache import TreeCache

GroupLayout = Literal["party", "shallow", "plain"]


@dataclass(frozen=True, slots=True)
class Member:
    """``id`` is the znode's name. ``token`` is the znode's czxid, which puts members into an order that everybody
    sees alike, oldest first; a member that lost its session and came back has joined again, with a larger one."""

    name: str
    data: bytes
    id: str
    session_id: int
    token: int


class Layout(NamedTuple):
    """``id_of`` makes a znode's name for a member's; ``name_of`` reads it again, from the name and the data."""

    id_of: Callable[[str], str]
    name_of: Callable[[str, bytes], str]
    mark: str = ""  # what the znode's name must have in it


def _party_name(id: str, data: bytes) -> str:
    return id.partition("__party__")[2] or data.decode("utf-8", "replace")


LAYOUTS: Final[dict[GroupLayout, Layout]] = {
    "party": Layout(lambda name: f"{uuid4().hex}__party__{name}", _party_name, "__party__"),
    "shallow": Layout(lambda name: f"{uuid4().hex}-{name}", lambda id, data: id[id.find("-") + 1 :]),
    "plain": Layout(lambda name: name, lambda id, data: id),
}


class Group:
    """The members of ``path``, which need not be there yet.

    Who is told of as a member was one up to a session timeout ago: one that died unseen stays until its session ends,
    and two that look at a moment may see two sets. To have something done by one alone take `Lock` or `Election`.
    """

    def __init__(self, zk: Client, path: str, *, layout: GroupLayout = "party") -> None:
        check_path(path, "group")
        check_one_of("layout", layout, LAYOUTS, "group", path)
        self._zk, self.path, self._layout = zk, path, LAYOUTS[layout]

    def member(self, name: str, data: bytes | None = None, *, acl: Acls | None = None) -> "Membership":
        """Take part for as long as a block lasts. ``data`` is the name, if none is given."""
        return Membership(self._zk, self.path, name, data, layout=self._layout, acl=acl)

    def watch(self) -> "GroupWatch":
        """The members and every change of them. Needs servers from ZooKeeper 3.6 on."""
        return GroupWatch(self._zk, self.path, self._layout)

    async def members(self) -> tuple[Member, ...]:
        """Who takes part now, oldest first."""
        async with self.watch() as group:
            return group.members


class Membership(Registration):
    """A member's own end: see `Registration` for what it tells and what happens when its session is lost."""

    def __init__(
        self, zk: Client, path: str, name: str, data: bytes | None, *, layout: Layout, acl: Acls | None = None
    ) -> None:
        if not name or "/" in name:
            raise bad(f"a member cannot be called {name!r}: its name is a part of a path", "member", path)
        self.name = name
        self.id: str = layout.id_of(name)
        super().__init__(zk, join(path, self.id), name.encode() if data is None else data, acl=acl)


class GroupWatch:
    """``async with`` loads the members; ``members`` is then up to date without waiting, and without a request for as
    long as nothing changes: one watch serves the whole group, however large."""

    def __init__(self, zk: Client, path: str, layout: Layout) -> None:
        self._path, self._layout = path, layout
        self._cache = TreeCache(zk, path, depth_max=1, keep=lambda at: at == path or layout.mark in name_of(at))
        self._told: tuple[Member, ...] | None = None

    @property
    def members(self) -> tuple[Member, ...]:
        """Oldest first."""
        nodes = [(id, self._cache.get(join(self._path, id))) for id in self._cache.children(self._path)]
        return tuple(sorted((self._member(id, node) for id, node in nodes if node), key=lambda m: m.token))

    @property
    def stale(self) -> bool:
        """Whether there may be news that cannot have come: there is no connection, or it has only just come back."""
        return self._cache.stale

    async def __aenter__(self) -> Self:
        await self._cache.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._cache.__aexit__(kind, error, trace)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> tuple[Member, ...]:
        """The members at first, then whenever they are others; what comes quickly after another is told once."""
        if not await self._cache.wait(lambda: self.members != self._told):
            raise StopAsyncIteration
        self._told = self.members
        return self._told

    async def wait_other(self, members: tuple[Member, ...]) -> tuple[Member, ...]:
        """Until the members are not just these; what they are then."""
        await self._cache.wait(lambda: self.members != members)
        return self.members

    def _member(self, id: str, node: Znode) -> Member:
        stat = node.stat
        return Member(self._layout.name_of(id, node.data), node.data, id, stat.ephemeral_owner, stat.czxid)
