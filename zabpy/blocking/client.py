"""Every class of the async client for plain code. Generated: see tests/blocking/generate.py.

    with zabpy.blocking.connect("zk1,zk2/app") as zk:
        zk.create("/greeting", b"hello")

What each method does, promises and raises is what its docstring says, taken from the async one. In plain code all of
them may raise `TimedOutError` besides (see `Blocking.with_timeout`), `ForkedClientError` and `ClosedClientError`.
"""

# ruff: noqa: E501

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Literal, Self, TypeVar, Unpack

from zabpy import client as _client, model as _model, recipes as _recipes

from .opening import Opening
from .stays import OnLost
from .wrapping import Blocking, Context, Entered, Holding, PlainContext, Stream, bare as _bare, update_by as _update_by

T = TypeVar("T")


def connect(servers: str | Sequence[str], **settings: Unpack[_client.Settings]) -> Client:
    """A client for these servers: ``with connect("zk1,zk2/app") as zk``. The settings are `Client`'s."""
    return Client(partial(_recipes.connect, servers, **settings))


class Client(Opening):
    """`zabpy.client.Client` with a method for each recipe: ``zk.lock(path)`` is ``Lock(zk, path)``."""

    _bare: _recipes.Client

    @property
    def frame_bytes_max(self) -> int:
        value: int = self._bare.frame_bytes_max
        return value

    def get_watched(self, path: str, *, session: Session | None = None) -> tuple[bytes, _model.Stat, Fired]:
        """As `get`, and a watch for what happens to the znode next."""
        result: tuple[bytes, _model.Stat, Fired] = self._wrapped(
            self._call(self._bare.get_watched, path, session=_bare(session))
        )
        return result

    def exists_watched(self, path: str, *, session: Session | None = None) -> tuple[_model.Stat | None, Fired]:
        """As `exists`, and a watch for what happens to the znode next: its creation, too."""
        result: tuple[_model.Stat | None, Fired] = self._wrapped(
            self._call(self._bare.exists_watched, path, session=_bare(session))
        )
        return result

    def children_watched(self, path: str, *, session: Session | None = None) -> tuple[list[str], _model.Stat, Fired]:
        """As `children_and_stat`, and a watch for children that come or go next, or the end of the znode."""
        result: tuple[list[str], _model.Stat, Fired] = self._wrapped(
            self._call(self._bare.children_watched, path, session=_bare(session))
        )
        return result

    def watch(
        self, path: str, *, recursive: bool = False, events_max: int = 10000, jitter_ms: int = 0
    ) -> Context[EventStream]:
        """A stream of what happens to the znode, and below it if ``recursive``; it need not exist.

        The first event is `Resynced`: from then on nothing is missed, so read after it. One more comes after each gap.
        An event is there before anything can be read that came after it. Of a znode the client may not read, nothing is
        told. A recursive stream tells of no `ChildrenChanged`: it tells of the children.

        Args:
            events_max: when so many wait to be read, a `Resynced` takes their place, and the next one's.
            jitter_ms: what comes after a pause waits for a time drawn from 0 to this, so that of many clients that
                watch the same not all read again at once.
        Raises:
            UnimplementedError: the server is older than ZooKeeper 3.6. It has closed the connection, too.
        """
        result: Context[EventStream] = Context(
            self, self._plain(self._bare.watch, path, recursive=recursive, events_max=events_max, jitter_ms=jitter_ms)
        )
        return result

    def create(
        self,
        path: str,
        data: bytes | None = b"",
        *,
        acl: Iterable[_model.Acl] | None = None,
        ephemeral: bool = False,
        sequence: bool = False,
        container: bool = False,
        ttl_ms: int | None = None,
        parents: bool = False,
        lost_reply: _client.LostReply = "once",
        session: Session | None = None,
    ) -> _client.NewZnode:
        """Create a znode.

        Args:
            data: None is kept apart from ``b""`` by the servers, though hardly ever shown.
            acl: who may do what; None: everybody everything.
            ephemeral: it ends with the session.
            sequence: ten digits are put behind the name, and ``path`` may then end with a slash.
            container: it is deleted some time after its last child was.
            ttl_ms: it is deleted once it had no children and was not written for so long; where servers allow it.
            parents: create what is missing above it, too, with the same ACL.
            lost_reply: ``once`` costs a second write, of a mark, in the same transaction (ledger.py): one at a time
                about 1.4 times as long as ``raise``, many at once half as many a second; and one more request each
                time that more are under way than ever before, up to 128, which is the most at a time. Where marks
                are not allowed, or the request has not about 200 bytes to spare, a lost answer is a
                ConnectionLossError. ``find`` needs a name that
                only this call can have made, such as one with a GUID. With ``again``, a NodeExistsError may be of what
                the first sending made.
        Raises:
            NodeExistsError, NoNodeError (no parent), NoChildrenForEphemeralsError, InvalidAclError, NoAuthError,
            QuotaExceededError, UnimplementedError (``ttl_ms``, where it is not allowed); NameLostError: it was created,
            in sequence, and deleted by others before its name could be told.
        """
        return self._ask(
            self._bare.create,
            path,
            data,
            acl=acl,
            ephemeral=ephemeral,
            sequence=sequence,
            container=container,
            ttl_ms=ttl_ms,
            parents=parents,
            lost_reply=lost_reply,
            session=_bare(session),
        )

    def ensure(self, path: str, *, acl: Iterable[_model.Acl] | None = None, session: Session | None = None) -> None:
        """Have the znode be there, and all above it, the chroot included; empty ones are made where some are missing.

        Raises:
            NoAuthError, InvalidAclError, NoChildrenForEphemeralsError.
        """
        self._ask(self._bare.ensure, path, acl=acl, session=_bare(session))

    def get(self, path: str, *, session: Session | None = None) -> _client.Znode:
        """Data and stat. Raises `NoNodeError`, `NoAuthError`."""
        return self._ask(self._bare.get, path, session=_bare(session))

    def set(
        self,
        path: str,
        data: bytes | None,
        version: int = -1,
        *,
        lost_reply: _client.LostReply = "raise",
        session: Session | None = None,
    ) -> _model.Stat:
        """Set the data, if the znode has this version (-1: any).

        With ``lost_reply="again"`` and a version, a BadVersionError may come of the first sending having been done.
        With ``"once"`` and an answer that was lost, the stat is read afterwards: it has the ``mzxid`` and ``mtime_ms``
        of this change, what others did since may show in the rest, and ``version`` is one that the znode had at this
        change, or none it has now; where the znode is gone what cannot be told is 0.

        Raises:
            BadVersionError, NoNodeError, NoAuthError, QuotaExceededError.
        """
        return self._ask(self._bare.set, path, data, version, lost_reply=lost_reply, session=_bare(session))

    def delete(
        self, path: str, version: int = -1, *, lost_reply: _client.LostReply = "raise", session: Session | None = None
    ) -> None:
        """Delete the znode, if it has this version (-1: any).

        With ``lost_reply="again"`` it is well if the znode is gone when it is sent again: it may have been us.

        Raises:
            NoNodeError, BadVersionError, NotEmptyError, NoAuthError.
        """
        self._ask(self._bare.delete, path, version, lost_reply=lost_reply, session=_bare(session))

    def exists(self, path: str, *, session: Session | None = None) -> _model.Stat | None:
        """The stat, or None where there is no such znode. Raises `NoAuthError`, from servers of 2024 on."""
        return self._ask(self._bare.exists, path, session=_bare(session))

    def children(self, path: str, *, session: Session | None = None) -> list[str]:
        """The names of the children, in no order. Raises `NoNodeError`, `NoAuthError`."""
        return self._ask(self._bare.children, path, session=_bare(session))

    def children_and_stat(self, path: str, *, session: Session | None = None) -> tuple[list[str], _model.Stat]:
        """The names of the children, in no order, and the stat, of one moment. Raises `NoNodeError`, `NoAuthError`."""
        return self._ask(self._bare.children_and_stat, path, session=_bare(session))

    def get_acl(self, path: str, *, session: Session | None = None) -> tuple[_model.Acls, _model.Stat]:
        """Who may do what, and the stat, whose ``aversion`` `set_acl` takes. Hashes are hidden from all but admins.

        Raises `NoNodeError`, `NoAuthError`.
        """
        return self._ask(self._bare.get_acl, path, session=_bare(session))

    def set_acl(
        self,
        path: str,
        acl: Iterable[_model.Acl],
        version: int = -1,
        *,
        lost_reply: _client.LostReply = "raise",
        session: Session | None = None,
    ) -> _model.Stat:
        """Set who may do what, if the ACL has this version (-1: any), which is the stat's ``aversion``.

        ``lost_reply="once"`` is not to be had: servers take no ACL in a transaction.

        Raises:
            BadVersionError, NoNodeError, InvalidAclError, NoAuthError.
        """
        return self._ask(self._bare.set_acl, path, acl, version, lost_reply=lost_reply, session=_bare(session))

    def sync(self, path: str = "/", *, session: Session | None = None) -> None:
        """Until this client's server has all that was final when it was asked: of the whole tree, whatever the path.

        What is read after it is as new as what any client had read before it was called.
        """
        self._ask(self._bare.sync, path, session=_bare(session))

    def ephemerals(self, prefix: str = "/", *, session: Session | None = None) -> list[str]:
        """The ephemeral znodes of this client's session whose paths begin with this text, sorted.

        ``/a`` takes in ``/ab``, too. Raises `UnimplementedError` from servers before 3.6.
        """
        return self._ask(self._bare.ephemerals, prefix, session=_bare(session))

    def count_descendants(self, path: str = "/", *, session: Session | None = None) -> int:
        """How many znodes there are below this one. The server counts them all: costly for large trees.

        Raises `NoNodeError`, `NoAuthError`, and `UnimplementedError` from servers before 3.6.
        """
        return self._ask(self._bare.count_descendants, path, session=_bare(session))

    def whoami(self, *, session: Session | None = None) -> tuple[_model.Identity, ...]:
        """As whom the server knows this connection, passwords left out. Raises `UnimplementedError` before 3.7."""
        return self._ask(self._bare.whoami, session=_bare(session))

    def get_config(self, *, session: Session | None = None) -> _client.EnsembleConfig:
        """Who the ensemble's servers are. Of a standalone server: none."""
        return self._ask(self._bare.get_config, session=_bare(session))

    def reconfig(
        self,
        *,
        joining: str | None = None,
        leaving: str | None = None,
        members: str | None = None,
        version: int = -1,
        lost_reply: _client.LostReply = "raise",
        session: Session | None = None,
    ) -> _client.EnsembleConfig:
        """Change who the ensemble's servers are; all servers take part in it, so it needs a quorum of the new ones.

        Args:
            joining: ``server.4=host:2888:3888;2181``, more behind commas.
            leaving: numbers of servers, between commas.
            members: all servers of the new configuration, instead of the two.
            version: only if the present one has it: ``EnsembleConfig.members.version``; -1: any.
        Raises:
            NoAuthError (it is for ``super``, usually), ReconfigDisabledError, BadVersionError, NewConfigNoQuorumError,
            BadArgumentsError, UnimplementedError (a standalone server).
        """
        return self._ask(
            self._bare.reconfig,
            joining=joining,
            leaving=leaving,
            members=members,
            version=version,
            lost_reply=lost_reply,
            session=_bare(session),
        )

    def request(self, opcode: int, record: Any | None = None, *, session: Session | None = None) -> Any:
        """Send one request as it stands, and give the answer's record, None where it has none.

        The escape hatch: no chroot is put before its paths and taken from the answer's, null data stays None. Reads
        are sent again when the connection breaks, the rest is not (`ConnectionLossError`). Do not watch by it, and
        do not close the session by it: the client would know nothing of that.
        """
        return self._ask(self._bare.request, opcode, record, session=_bare(session))

    def transaction(
        self, *, guard: Holding | None = None, lost_reply: _client.LostReply = "raise", session: Session | None = None
    ) -> Transaction:
        """Several writes as one; with a ``guard`` only while that is held: ``zk.transaction(guard=held)``."""
        result: Transaction = self._wrapped(
            self._plain(self._bare.transaction, guard=_bare(guard), lost_reply=lost_reply, session=_bare(session))
        )
        return result

    def get_many(self, paths: Iterable[str], *, session: Session | None = None) -> list[_client.Znode | None]:
        """Data and stat of each, in the order of ``paths``; None where there is no such znode.

        All are of one moment, as long as the paths fit into one request (about 1 MB) and the server knows multiRead,
        that is, from 3.6 on; else they are read one by one, in one go.

        Raises:
            NoAuthError: with the path of the first that may not be read.
        """
        return self._call(self._bare.get_many, paths, session=_bare(session))

    def children_many(self, paths: Iterable[str], *, session: Session | None = None) -> list[list[str] | None]:
        """The names of the children of each, in the order of ``paths``; None where there is no such znode.

        Of one moment and with the errors of `get_many`.
        """
        return self._call(self._bare.children_many, paths, session=_bare(session))

    def get_acl_many(
        self, paths: Iterable[str], *, session: Session | None = None
    ) -> list[tuple[_model.Acls, _model.Stat] | None]:
        """Who may do what to each, as from `get_acl`, in the order of ``paths``; None where there is no such znode.

        Not of one moment: servers read ACLs one by one. They are asked for in one go.

        Raises:
            NoAuthError: with the path of the first that may not be read.
        """
        return self._call(self._bare.get_acl_many, paths, session=_bare(session))

    def delete_tree(self, path: str, *, session: Session | None = None) -> int:
        """Delete the znode and all below it; returns how many of them this call has deleted, 0 if there was none.

        Not one transaction: what others see, and what is left if it fails, is part of the tree. What others delete
        meanwhile is well, what they create is deleted, too. Its deletes are sent again when a reply is lost, and such
        a one is counted though somebody else may have been first.

        Raises:
            BadArgumentsError: for ``/`` and the system's own znodes.
            NotEmptyError: others create below it faster than it deletes.
            NoAuthError.
        """
        return self._call(self._bare.delete_tree, path, session=_bare(session))

    @property
    def state(self) -> _client.State:
        value: _client.State = self._read("state")
        return value

    @property
    def session(self) -> Session:
        """The current session. Raises `SessionLostError` while there is none."""
        value: Session = self._read("session")
        return value

    @property
    def server(self) -> str:
        """``host:port`` of the server that it is, or was last, connected to."""
        value: str = self._read("server")
        return value

    @property
    def last_zxid(self) -> int:
        """The newest state that an answer was given on."""
        value: int = self._read("last_zxid")
        return value

    def states(self) -> Context[Stream[_client.State]]:
        """A stream of states: the one now, then each new one: ``with zk.states() as s: for state in s``.

        It ends behind `State.CLOSED`. Who falls far behind is told the newest only, and `State.LOST` before it if a
        session was lost on the way.
        """
        result: Context[Stream[_client.State]] = Context(self, self._plain(self._bare.states))
        return result

    def wait_connected(self) -> None:
        """Until there is a session and a connection. Raises `ClosedClientError` if the client ends before."""
        self._call(self._bare.wait_connected)

    def wait_lost(self, session: Session) -> None:
        """Until this session is lost."""
        self._call(self._bare.wait_lost, _bare(session))

    def add_auth(self, scheme: str, credential: str | bytes) -> None:
        """Be one more identity, from what is asked next on: ``add_auth("digest", "bob:password")``.

        It is kept in mind, and sent on every later connection before anything else. Certificates (``x509``) and SASL
        need none. A wrong password of the scheme ``digest`` is nobody's, so it makes another identity and no error.

        Raises:
            AuthFailedError: the server knows no such scheme, or refuses the credential. It closes the connection then,
                so what other tasks had asked may end with `ConnectionLossError`; the client comes back without it. A
                credential that was accepted once and is refused later, when the client comes back, ends the client:
                every call raises this error.
        """
        self._call(self._bare.add_auth, scheme, credential)

    def lock(
        self,
        path: str,
        *,
        data: bytes = b"",
        lock_delay_ms: int = 0,
        on_revocation: Literal["tell", "end"] = "tell",
        layout: Literal["kazoo", "curator", "latch"] = "kazoo",
        acl: _model.Acls | None = None,
        on_lost: OnLost = "flag",
    ) -> Lock:
        """``with zk.lock(path) as held``: one at a time, with a fencing token: see `Lock`."""
        result: Lock = self._varied(_on_lost=on_lost)._wrapped(
            self._plain(
                self._bare.lock,
                path,
                data=data,
                lock_delay_ms=lock_delay_ms,
                on_revocation=on_revocation,
                layout=layout,
                acl=acl,
            )
        )
        return result

    def read_write_lock(
        self,
        path: str,
        *,
        data: bytes = b"",
        on_revocation: Literal["tell", "end"] = "tell",
        layout: Literal["kazoo", "curator", "latch"] = "kazoo",
        acl: _model.Acls | None = None,
        on_lost: OnLost = "flag",
    ) -> ReadWriteLock:
        """``with rw.read`` for many at a time, ``with rw.write`` for one alone: see `ReadWriteLock`."""
        result: ReadWriteLock = self._varied(_on_lost=on_lost)._wrapped(
            self._plain(
                self._bare.read_write_lock, path, data=data, on_revocation=on_revocation, layout=layout, acl=acl
            )
        )
        return result

    def multi_lock(
        self,
        paths: Iterable[str],
        *,
        data: bytes = b"",
        layout: Literal["kazoo", "curator", "latch"] = "kazoo",
        acl: _model.Acls | None = None,
        on_lost: OnLost = "flag",
    ) -> MultiLock:
        """Several locks, all or none: see `MultiLock`."""
        result: MultiLock = self._varied(_on_lost=on_lost)._wrapped(
            self._plain(self._bare.multi_lock, paths, data=data, layout=layout, acl=acl)
        )
        return result

    def semaphore(
        self,
        path: str,
        leases_max: int,
        *,
        data: bytes = b"",
        layout: Literal["kazoo", "curator", "latch"] = "kazoo",
        acl: _model.Acls | None = None,
        on_lost: OnLost = "flag",
    ) -> Semaphore:
        """``with zk.semaphore(path, 3) as held``: so many at a time: see `Semaphore`."""
        result: Semaphore = self._varied(_on_lost=on_lost)._wrapped(
            self._plain(self._bare.semaphore, path, leases_max, data=data, layout=layout, acl=acl)
        )
        return result

    def timed_lease(
        self, path: str, duration_ms: int, *, name: str = "", acl: _model.Acls | None = None, on_lost: OnLost = "flag"
    ) -> TimedLease:
        """For a job that one is to do once in so long: see `TimedLease`."""
        result: TimedLease = self._varied(_on_lost=on_lost)._wrapped(
            self._plain(self._bare.timed_lease, path, duration_ms, name=name, acl=acl)
        )
        return result

    def registered(
        self,
        path: str,
        data: bytes = b"",
        *,
        acl: _model.Acls | None = None,
        take_over: Literal["own", "same_data", "never"] = "own",
        wait: bool = True,
        on_lost: OnLost = "flag",
    ) -> Registration:
        """An ephemeral znode that repairs itself for as long as the block lasts: see `Registration`."""
        result: Registration = self._varied(_on_lost=on_lost)._wrapped(
            self._plain(self._bare.registered, path, data, acl=acl, take_over=take_over, wait=wait)
        )
        return result

    def barrier(self, path: str, *, acl: _model.Acls | None = None) -> Barrier:
        """Up while its znode is there; whoever waits goes on when it is gone."""
        result: Barrier = self._wrapped(self._plain(self._bare.barrier, path, acl=acl))
        return result

    def double_barrier(
        self, path: str, count: int, *, data: bytes = b"", acl: _model.Acls | None = None, on_lost: OnLost = "flag"
    ) -> DoubleBarrier:
        """So many begin together and end together: ``with zk.double_barrier(path, 3) as member``."""
        result: DoubleBarrier = self._varied(_on_lost=on_lost)._wrapped(
            self._plain(self._bare.double_barrier, path, count, data=data, acl=acl)
        )
        return result

    def counter(
        self,
        path: str,
        *,
        start: int = 0,
        layout: Literal["text", "int", "long"] = "text",
        acl: _model.Acls | None = None,
    ) -> Counter:
        """A number that many count up and down together."""
        result: Counter = self._wrapped(self._plain(self._bare.counter, path, start=start, layout=layout, acl=acl))
        return result

    def atomic_value(self, path: str, *, default: bytes = b"", acl: _model.Acls | None = None) -> AtomicValue:
        """A value that many change, where nobody's change is lost."""
        result: AtomicValue = self._wrapped(self._plain(self._bare.atomic_value, path, default=default, acl=acl))
        return result

    def work_queue(
        self, path: str, *, attempts_max: int | None = None, acl: _model.Acls | None = None, on_lost: OnLost = "flag"
    ) -> WorkQueue:
        """Work that is done at least once: ``with zk.work_queue(path) as queue``, then ``queue.take()``."""
        result: WorkQueue = self._varied(_on_lost=on_lost)._wrapped(
            self._plain(self._bare.work_queue, path, attempts_max=attempts_max, acl=acl)
        )
        return result

    def delay_queue(
        self, path: str, *, attempts_max: int | None = None, acl: _model.Acls | None = None, on_lost: OnLost = "flag"
    ) -> DelayQueue:
        """Work for later, by the servers' clock: ``with zk.delay_queue(path) as queue``; see `DelayQueue`."""
        result: DelayQueue = self._varied(_on_lost=on_lost)._wrapped(
            self._plain(self._bare.delay_queue, path, attempts_max=attempts_max, acl=acl)
        )
        return result

    def tree_cache(
        self, path: str, *, depth_max: int | None = None, keep: Callable[[str], bool] | None = None
    ) -> TreeCache:
        """A subtree kept in memory: ``with zk.tree_cache(path) as cache``."""
        result: TreeCache = self._wrapped(self._plain(self._bare.tree_cache, path, depth_max=depth_max, keep=keep))
        return result

    def group(
        self, path: str, *, layout: Literal["party", "shallow", "plain"] = "party", on_lost: OnLost = "flag"
    ) -> Group:
        """The members of a group: see `Group`."""
        result: Group = self._varied(_on_lost=on_lost)._wrapped(self._plain(self._bare.group, path, layout=layout))
        return result

    def member(
        self,
        path: str,
        name: str,
        data: bytes | None = None,
        *,
        layout: Literal["party", "shallow", "plain"] = "party",
        acl: _model.Acls | None = None,
        on_lost: OnLost = "flag",
    ) -> Membership:
        """Take part in a group for as long as the block lasts: see `Group`."""
        result: Membership = self._varied(_on_lost=on_lost)._wrapped(
            self._plain(self._bare.member, path, name, data, layout=layout, acl=acl)
        )
        return result

    def election(
        self,
        path: str,
        *,
        data: bytes = b"",
        lock_delay_ms: int = 0,
        layout: Literal["kazoo", "curator", "latch"] = "kazoo",
        acl: _model.Acls | None = None,
        on_lost: OnLost = "flag",
    ) -> Election:
        """Stand for leader, term after term, or see who does: see `Election`."""
        result: Election = self._varied(_on_lost=on_lost)._wrapped(
            self._plain(self._bare.election, path, data=data, lock_delay_ms=lock_delay_ms, layout=layout, acl=acl)
        )
        return result

    def observe(self, path: str) -> Leaders:
        """Who leads, and who comes to: ``with zk.observe(path) as leaders: for leader in leaders``."""
        result: Leaders = self._wrapped(self._plain(self._bare.observe, path))
        return result

    def partitioner(
        self,
        path: str,
        items: Iterable[str],
        *,
        name: str = "member",
        settle_ms: int = 1000,
        acl: _model.Acls | None = None,
        on_lost: OnLost = "flag",
    ) -> Partitioner:
        """Share out work with others: see `Partitioner`."""
        result: Partitioner = self._varied(_on_lost=on_lost)._wrapped(
            self._plain(self._bare.partitioner, path, items, name=name, settle_ms=settle_ms, acl=acl)
        )
        return result

    def registered_service(
        self,
        path: str,
        instance: _recipes.ServiceInstance,
        *,
        acl: _model.Acls | None = None,
        take_over: Literal["own", "same_data", "never"] = "own",
        on_lost: OnLost = "flag",
    ) -> ServiceRegistration:
        """Have an instance be found at ``path/name/id`` for as long as the block lasts: see `ServiceRegistration`."""
        result: ServiceRegistration = self._varied(_on_lost=on_lost)._wrapped(
            self._plain(self._bare.registered_service, path, instance, acl=acl, take_over=take_over)
        )
        return result

    def service(
        self,
        path: str,
        name: str,
        *,
        strategy: str | _recipes.Strategy = "round_robin",
        down: _recipes.DownPolicy | None = None,
    ) -> ServiceView:
        """The instances of a service, to choose among: see `ServiceView`."""
        result: ServiceView = self._wrapped(self._plain(self._bare.service, path, name, strategy=strategy, down=down))
        return result


class Fired(Blocking):
    """A one-shot watch: waits for the next thing that happens to what was read with it."""

    _bare: _client.Fired

    def wait(self) -> _client.Event:
        """The event; any number of tasks may wait, and again.

        A reconnect is no event: what happened meanwhile is told after it. The one exception: after `exists_watched`
        found nothing, a znode that came and went while there was no connection goes unnoticed.

        Raises:
            SessionLostError: the session ended before, and all watches with it; or the client was closed.
            RuntimeError: it was given up by `cancel`.
            ForkedClientError, WrongLoopError: asked where the client must not be used.
        """
        return self._call(self._bare.wait)

    @property
    def is_set(self) -> bool:
        """It fired, or never will, for the session is lost: `wait` does not wait."""
        value: bool = self._read("is_set")
        return value

    def cancel(self) -> None:
        """Nobody waits for it any more. If it was the last one at its path the server is told to forget it."""
        self._plain(self._bare.cancel)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._plain(self._bare.__exit__, None, None, None)


class EventStream(Stream[_client.Event]):
    """Events as they come: ``for event in events``. It ends with its ``with`` block.

    Whoever reads too slowly finds, in place of all that was waiting, one `Resynced`: the core never waits for a reader.
    """

    _bare: _client.EventStream


class Transaction(Entered):
    """Built call by call, each operation seeing what those before it did; sent by `commit`, once.

    As a context it is committed when the body ends without an exception, and not at all if it raised one.
    """

    _bare: _client.Transaction

    @property
    def results(self) -> list[str | _model.Stat | None]:
        value: list[str | _model.Stat | None] = self._bare.results
        return value

    def create(
        self,
        path: str,
        data: bytes | None = b"",
        *,
        acl: Iterable[_model.Acl] | None = None,
        ephemeral: bool = False,
        sequence: bool = False,
        container: bool = False,
        ttl_ms: int | None = None,
    ) -> Self:
        """As `Operations.create`. Its result is the path, with the sequence number; servers tell no stat here."""
        self._direct(
            self._bare.create,
            path,
            data,
            acl=acl,
            ephemeral=ephemeral,
            sequence=sequence,
            container=container,
            ttl_ms=ttl_ms,
        )
        return self

    def set(self, path: str, data: bytes | None, version: int = -1) -> Self:
        """As `Operations.set`; its result is a `Stat`."""
        self._direct(self._bare.set, path, data, version)
        return self

    def delete(self, path: str, version: int = -1) -> Self:
        """As `Operations.delete`; its result is None."""
        self._direct(self._bare.delete, path, version)
        return self

    def check(self, path: str, version: int = -1) -> Self:
        """Only if the znode has this version; -1: only if it is there. Its result is None."""
        self._direct(self._bare.check, path, version)
        return self

    def __len__(self) -> int:
        return self._direct(self._bare.__len__)

    def commit(self) -> list[str | _model.Stat | None]:
        """Do it: a result for each operation, in their order.

        Raises:
            TransactionFailedError: one of them could not be done, so none was.
            RequestTooLargeError: not sent; all operations have to fit into one request.
            ConnectionLossError: all was done or nothing was; not with ``lost_reply="once"``.
        """
        return self._ask(self._bare.commit)


class Session(Blocking):
    """One session, for as long as it lives; once lost it stays lost, and the client's next one is another object.

    `check`, `lost` and `time_left_ms` may be asked from any thread of the process; all else is for the client's loop.
    """

    _bare: _client.Session

    @property
    def id(self) -> int:
        value: int = self._bare.id
        return value

    @property
    def password(self) -> bytes:
        value: bytes = self._bare.password
        return value

    @property
    def timeout_ms(self) -> int:
        value: int = self._bare.timeout_ms
        return value

    @property
    def read_only(self) -> bool:
        value: bool = self._bare.read_only
        return value

    @property
    def lost(self) -> bool:
        value: bool = self._bare.lost
        return value

    @property
    def why_lost(self) -> str:
        value: str = self._bare.why_lost
        return value

    @property
    def is_over(self) -> bool:
        value: bool = self._bare.is_over
        return value

    def check(self) -> None:
        """Raise `SessionLostError` if it is lost, or its time is up by the clock this very moment.

        Raises:
            ForkedClientError: in a process that was forked off; the session is its parent's.
        """
        self._plain(self._bare.check)

    @property
    def time_left_ms(self) -> int:
        """Until it is lost if nothing that counts is answered before; 0 when it is."""
        value: int = self._read("time_left_ms")
        return value


class Lock(Context["HeldLock"]):
    """See the head of `zabpy.recipes.lock`. One object may be used again and again, and by several tasks, which then take turns.

    ``with lock as held`` waits for it without a limit; `acquire` can be given one.
    """

    _bare: _recipes.Lock

    @property
    def path(self) -> str:
        value: str = self._bare.path
        return value

    @property
    def data(self) -> bytes:
        value: bytes = self._bare.data
        return value

    @property
    def lock_delay_ms(self) -> int:
        value: int = self._bare.lock_delay_ms
        return value

    def acquire(self, timeout_ms: int | None = None) -> HeldLock:
        """Wait for it, at most so long; 0 is to say now or never, and waits for nothing but the servers' answers.

        Survives lost connections and sessions: we then stand at the end of the queue again. What is not given back, by
        ``with`` on the result or by `Holding.release`, is held until the session ends.

        Raises:
            AcquireTimeoutError: it was not to be had in time.
            NotReentrantError: this task holds it.
            NoServerError: no server could be reached for as long as the client waits for one.
        """
        result: HeldLock = self._wrapped(self._call(self._bare.acquire, timeout_ms))
        return result

    def queue(self) -> list[_recipes.Waiting]:
        """Who holds it and who waits for it, in that order; also kazoo's and Curator's. One request each."""
        return self._call(self._bare.queue)

    def request_revocation(self) -> list[_recipes.Waiting]:
        """Ask who holds it to give it up. Returns who was asked: nobody if it is free, several if it is shared.

        As Curator's Revoker does it: by overwriting the data of their znodes. It is up to them what they do.
        """
        return self._call(self._bare.request_revocation)


class ReadWriteLock(Blocking):
    """See the head of `zabpy.recipes.read_write_lock`: ``read`` and ``write`` are used as a `Lock` is."""

    _bare: _recipes.ReadWriteLock

    @property
    def path(self) -> str:
        value: str = self._bare.path
        return value

    @property
    def read(self) -> Lock:
        value: Lock = self._wrapped(self._bare.read)
        return value

    @property
    def write(self) -> Lock:
        value: Lock = self._wrapped(self._bare.write)
        return value


class MultiLock(Context["HeldLocks"]):
    """See the head of `zabpy.recipes.multi_lock`. To be used as a `Lock` is."""

    _bare: _recipes.MultiLock

    def acquire(self, timeout_ms: int | None = None) -> HeldLocks:
        """As `Lock.acquire`: ``timeout_ms`` is for all together."""
        result: HeldLocks = self._wrapped(self._call(self._bare.acquire, timeout_ms))
        return result


class Semaphore(Context["HeldLease"]):
    """See the head of `zabpy.recipes.semaphore`. One object may be used again and again, and by several tasks; one may hold several."""

    _bare: _recipes.Semaphore

    @property
    def path(self) -> str:
        value: str = self._bare.path
        return value

    @property
    def leases_max(self) -> int:
        value: int = self._bare.leases_max
        return value

    @property
    def data(self) -> bytes:
        value: bytes = self._bare.data
        return value

    def acquire(self, timeout_ms: int | None = None) -> HeldLease:
        """Wait for a lease, at most so long; with 0 as long as it takes to see whether there is one.

        Raises:
            AcquireTimeoutError: there was none in time.
            LeasesMaxError: others have another number of them.
            NoServerError: no server could be reached for as long as the client waits for one.
        """
        result: HeldLease = self._wrapped(self._call(self._bare.acquire, timeout_ms))
        return result

    def holders(self) -> list[_recipes.Waiting]:
        """Who holds a lease, the oldest first."""
        return self._call(self._bare.holders)


class TimedLease(Context["HeldTimedLease"]):
    """See the head of `zabpy.recipes.timed_lease`."""

    _bare: _recipes.TimedLease

    @property
    def path(self) -> str:
        value: str = self._bare.path
        return value

    @property
    def duration_ms(self) -> int:
        value: int = self._bare.duration_ms
        return value

    @property
    def name(self) -> str:
        value: str = self._bare.name
        return value

    def acquire(self, timeout_ms: int | None = None) -> HeldTimedLease:
        """Have it as soon as it is free or ours, which is waited for at most so long; 0 is to say now or never.

        What the servers take to answer, and to ask others that ask at the same moment, comes on top. When its time is
        over all who wait ask again, at once: it is made for few.

        Raises:
            AcquireTimeoutError: somebody else has it, for longer than that.
            LockLost: the session was lost while we asked: ask again.
            NoServerError: no server could be reached for as long as the client waits for one.

        If it raises, or is cancelled, what it may have written is taken back, in the background; only if the client is
        closed then and reaches no server meanwhile is the lease taken until its time is over. What was ours already is
        not taken back: it then lasts longer than we know.
        """
        result: HeldTimedLease = self._wrapped(self._call(self._bare.acquire, timeout_ms))
        return result

    def holder(self) -> _recipes.LeaseHolder | None:
        """Who had it last, perhaps until a time that is over; None if nobody has, or it was given back."""
        return self._call(self._bare.holder)


class Registration(Holding, Entered):
    """See the head of `zabpy.recipes.registration`. ``with`` waits until the znode is there; with ``wait=False`` it does not.

    Raises, out of ``with``, what the server refuses for good (`NoAuthError`, `InvalidAclError`,
    `NoChildrenForEphemeralsError` ...). If that happens later the body is cancelled for it.
    """

    _bare: _recipes.Registration

    @property
    def path(self) -> str:
        value: str = self._bare.path
        return value

    @property
    def state(self) -> _recipes.Presence:
        value: _recipes.Presence = self._read("state")
        return value

    @property
    def present(self) -> bool:
        """Whether the znode is there and ours, as far as we know. Never once our session is known to be lost."""
        value: bool = self._read("present")
        return value

    @property
    def token(self) -> int:
        """The czxid of our znode that is, or was last, there: a larger one each time it was made anew; 0 before."""
        value: int = self._read("token")
        return value

    def states(self) -> Context[Stream[_recipes.Presence]]:
        """The state now, then each that it comes to: ``with here.states() as s: for state in s``."""
        result: Context[Stream[_recipes.Presence]] = Context(self, self._plain(self._bare.states))
        return result

    def wait_present(self) -> None:
        """Until the znode is there and ours. Raises what ended the registration; `EOFError`, if its block did."""
        self._call(self._bare.wait_present)

    def update(self, data: bytes) -> None:
        """Give the znode other data, and wait until it holds it or that of a later update.

        A znode that is not there will be created with it. When cancelled, the data will be written all the same.
        """
        self._call(self._bare.update, data)


class Barrier(Blocking):
    """See the head of `zabpy.recipes.barrier`. Its methods raise what the client's operations raise, `NoServerError` above all."""

    _bare: _recipes.Barrier

    @property
    def path(self) -> str:
        value: str = self._bare.path
        return value

    def create(self) -> None:
        """Have it be up; also if it is already. It outlives this client: somebody has to remove it."""
        self._call(self._bare.create)

    def remove(self) -> bool:
        """Have it be down. Whether it was up; if an answer got lost, somebody else may have removed it meanwhile."""
        return self._call(self._bare.remove)

    def is_up(self) -> bool:
        """As the server sees it that the client is connected to; that may be behind by a moment."""
        return self._call(self._bare.is_up)

    def wait(self) -> None:
        """Until it is down, or was for a moment since this was called, also while the connection was away."""
        self._call(self._bare.wait)


class DoubleBarrier(Context["BarrierMember"]):
    """See the head of `zabpy.recipes.double_barrier`. May be entered again after it was left."""

    _bare: _recipes.DoubleBarrier

    @property
    def path(self) -> str:
        value: str = self._bare.path
        return value

    @property
    def count(self) -> int:
        value: int = self._bare.count
        return value


class Counter(Blocking):
    """See the head of `zabpy.recipes.counter`. Several tasks may use one object; it counts for one after the other."""

    _bare: _recipes.Counter

    @property
    def path(self) -> str:
        value: str = self._bare.path
        return value

    def get(self) -> int:
        """The number now, as the server sees it that the client is connected to. Raises `NotACounterError`."""
        return self._call(self._bare.get)

    def add(self, delta: int = 1) -> int:
        """Add to it, and give the number after that.

        Raises:
            NotACounterError: the znode has other data.
            OverflowError: the layout cannot hold the sum; nothing was changed.
            SessionLostError: done or not, see the head of this file.
            ConnectionLossError: done or not; only of servers that let nobody keep account (``lost_reply="once"`` of
                `Client.set`), or after connection upon connection broke.
        """
        return self._call(self._bare.add, delta)


class AtomicValue(Blocking):
    """See the head of `zabpy.recipes.value`. Several tasks may use one object; it writes for one after the other.

    What it writes is done once though answers get lost, as with `Counter`, and with the same limits.
    """

    _bare: _recipes.AtomicValue

    @property
    def path(self) -> str:
        value: str = self._bare.path
        return value

    def get(self) -> _recipes.Value:
        """The value, as the server sees it that the client is connected to."""
        return self._call(self._bare.get)

    def compare_and_set(self, seen: _recipes.Value, data: bytes) -> _recipes.Value | None:
        """Write, if nobody has written since ``seen``. None if somebody has; nothing is changed then.

        Raises:
            SessionLostError, ConnectionLossError: done or not, as with `Counter.add`.
        """
        return self._call(self._bare.compare_and_set, seen, data)

    def update(self, change: Callable[[bytes], bytes]) -> _recipes.Value:
        """Write what ``change`` makes of the value, and return that.

        ``change`` is called again, with what is there then, whenever somebody else was faster; let it do nothing else.
        Raises what it raises, and as `compare_and_set`.
        """
        return _update_by(self.get, self.compare_and_set, change)


class WorkQueue(Entered):
    """See the head of `zabpy.recipes.work_queue`. Putting needs no ``with``."""

    _bare: _recipes.WorkQueue

    @property
    def path(self) -> str:
        value: str = self._bare.path
        return value

    @property
    def attempts_max(self) -> int | None:
        value: int | None = self._bare.attempts_max
        return value

    def size(self) -> int:
        """How many items there are, those that are being worked on included."""
        return self._call(self._bare.size)

    def take(self) -> Context[Item]:
        """The next item, leased; waits until there is one. Several tasks may take from one object at once.

        When the body ends, the item is deleted, and that has been acknowledged when this returns. When it raises or is
        cancelled the item is given back, or, at its last attempt, moved to ``dead``. When the lease is lost the body is
        cancelled and `LeaseLost` raised. (`LeaseLost` also where the body had ended, and the session was over before
        the end of the work could be acknowledged.)
        """
        result: Context[Item] = Context(self, self._plain(self._bare.take))
        return result

    def put(self, data: bytes, priority: int = 100) -> None:
        """Put one item, exactly once though answers may get lost.

        Args:
            priority: 0 to 999; lower ones are taken first.
        Raises:
            BadArgumentsError: that is no priority, or no data.
            SessionLostError: the session was lost while it was put, so it may be there or not.
            ConnectionLossError: that, too; only of servers that let nobody keep account (``lost_reply="once"`` of
                `Client.create`), or with data that fills a request but for 200 bytes.
        """
        self._call(self._bare.put, data, priority)

    def put_all(self, items: Sequence[bytes], priority: int = 100) -> None:
        """Put all of them, in this order, or none: they have to fit into one request. Raises as `put`."""
        self._call(self._bare.put_all, items, priority)


class DelayQueue(Entered):
    """See the head of `zabpy.recipes.delay_queue`. `Item.rank` is the due time, in ms since 1970. Putting needs no ``with``."""

    _bare: _recipes.DelayQueue

    @property
    def path(self) -> str:
        value: str = self._bare.path
        return value

    @property
    def attempts_max(self) -> int | None:
        value: int | None = self._bare.attempts_max
        return value

    def size(self) -> int:
        """How many items there are, those that are being worked on included."""
        return self._call(self._bare.size)

    def take(self) -> Context[Item]:
        """The next item, leased; waits until there is one. Several tasks may take from one object at once.

        When the body ends, the item is deleted, and that has been acknowledged when this returns. When it raises or is
        cancelled the item is given back, or, at its last attempt, moved to ``dead``. When the lease is lost the body is
        cancelled and `LeaseLost` raised. (`LeaseLost` also where the body had ended, and the session was over before
        the end of the work could be acknowledged.)
        """
        result: Context[Item] = Context(self, self._plain(self._bare.take))
        return result

    def put(self, data: bytes, *, delay_ms: int | None = None, due_ms: int | None = None) -> int:
        """Put one item, exactly once though answers may get lost. Gives its due time.

        Args:
            delay_ms: from now on.
            due_ms: at this time, in ms since 1970; one of the two.
        Raises:
            BadArgumentsError: a time that is none, or no data.
            SessionLostError: the session was lost while it was put, so it may be there or not.
            ConnectionLossError: that, too; only of servers that let nobody keep account (``lost_reply="once"`` of
                `Client.create`), or with data that fills a request but for 200 bytes.
        """
        return self._call(self._bare.put, data, delay_ms=delay_ms, due_ms=due_ms)

    def put_all(self, items: Sequence[bytes], *, delay_ms: int | None = None, due_ms: int | None = None) -> int:
        """Put all of them, or none. As `put`."""
        return self._call(self._bare.put_all, items, delay_ms=delay_ms, due_ms=due_ms)

    def server_time_ms(self) -> float:
        """The leading server's time now, to within half a round trip, in ms since 1970."""
        return self._call(self._bare.server_time_ms)


class TreeCache(Entered):
    """See the head of `zabpy.recipes.tree_cache`. Its memory: the data, and about 1 KiB for each znode."""

    _bare: _recipes.TreeCache

    @property
    def path(self) -> str:
        value: str = self._bare.path
        return value

    @property
    def unreadable(self) -> set[str]:
        value: set[str] = self._bare.unreadable
        return value

    @property
    def edition(self) -> int:
        value: int = self._bare.edition
        return value

    def get(self, path: str) -> _client.Znode | None:
        """Data and stat; None if there is no such znode. Raises `BadArgumentsError` for what is not in its scope, and
        whatever ended the cache, if something did.
        """
        return self._direct(self._bare.get, path)

    def children(self, path: str) -> list[str]:
        """Names, sorted; none where there is no such znode. Raises as `get`."""
        return self._plain(self._bare.children, path)

    def __contains__(self, path: str) -> bool:
        return self._direct(self._bare.__contains__, path)

    def __len__(self) -> int:
        return self._direct(self._bare.__len__)

    def __iter__(self) -> Iterator[str]:
        """All paths, sorted, as they are now."""
        return self._plain(self._bare.__iter__)

    @property
    def stale(self) -> bool:
        """Whether there may be news that cannot have come: without a connection, or while a gap is being read up."""
        value: bool = self._read("stale")
        return value

    @property
    def zxid(self) -> int:
        """It has all that was written in the tree up to this zxid; perhaps more."""
        value: int = self._read("zxid")
        return value

    def wait_until(self, zxid: int) -> None:
        """Until the cache has all that was written in the tree up to ``zxid`` (``stat.mzxid`` of a write, say).

        Costs nothing if it has; else a `sync`. Waits for ever for what is never written. Raises as `get`.
        """
        self._call(self._bare.wait_until, zxid)

    def changes(self) -> Context[Stream[_recipes.CacheChange]]:
        """A stream of what changes from now on: ``with cache.changes() as changes: for change in changes``.

        What the cache holds when it begins is not told. At most `CHANGES_MAX` wait for you, then `Missed` comes.
        """
        result: Context[Stream[_recipes.CacheChange]] = Context(self, self._plain(self._bare.changes))
        return result

    def wait(self, condition: Callable[[], bool]) -> bool:
        """Until the condition holds, which is then True; False if the cache was closed before."""
        return self._call(self._bare.wait, condition)


class Group(Blocking):
    """The members of ``path``, which need not be there yet.

    Who is told of as a member was one up to a session timeout ago: one that died unseen stays until its session ends,
    and two that look at a moment may see two sets. To have something done by one alone take `Lock` or `Election`.
    """

    _bare: _recipes.Group

    @property
    def path(self) -> str:
        value: str = self._bare.path
        return value

    def member(self, name: str, data: bytes | None = None, *, acl: _model.Acls | None = None) -> Membership:
        """Take part for as long as a block lasts. ``data`` is the name, if none is given."""
        result: Membership = self._wrapped(self._plain(self._bare.member, name, data, acl=acl))
        return result

    def watch(self) -> GroupWatch:
        """The members and every change of them. Needs servers from ZooKeeper 3.6 on."""
        result: GroupWatch = self._wrapped(self._plain(self._bare.watch))
        return result

    def members(self) -> tuple[_recipes.Member, ...]:
        """Who takes part now, oldest first."""
        return self._call(self._bare.members)


class Membership(Registration):
    """A member's own end: see `Registration` for what it tells and what happens when its session is lost."""

    _bare: _recipes.Membership

    @property
    def name(self) -> str:
        value: str = self._bare.name
        return value

    @property
    def id(self) -> str:
        value: str = self._bare.id
        return value


class Election(Entered):
    """See the head of `zabpy.recipes.election`."""

    _bare: _recipes.Election

    @property
    def path(self) -> str:
        value: str = self._bare.path
        return value

    @property
    def data(self) -> bytes:
        value: bytes = self._bare.data
        return value

    def terms(self, *, stand_again: bool = False) -> Stream[Term]:
        """Stand, and be given a `Term` each time that we lead. See the head of this file for how the loop goes on."""
        result: Stream[Term] = Stream(self, self._plain(self._bare.terms, stand_again=stand_again))
        return result

    def run(self, serve: Callable[[Term], T]) -> T:
        """Stand until ``serve(term)`` has returned in a term that was not lost, and return what it did.

        What it raises comes out, as it is. If the term is lost, or resigned, it is cancelled, and called again in the
        next one. After `withdraw` there is none, and `LeadershipLost` is raised.
        """
        return self._call(self._bare.run, self._from_thread(serve))

    def withdraw(self) -> None:
        """Do not stand any more: a term ends as by `Term.resign`, and the loop over the terms with it. A plain call."""
        self._plain(self._bare.withdraw)

    def leader(self) -> _recipes.Candidate | None:
        """Who leads; nobody if nobody stands. As of the servers' state that our server has; `sync` first for newer."""
        return self._call(self._bare.leader)

    def candidates(self) -> list[_recipes.Candidate]:
        """All who stand, the leader first. A request for each."""
        return self._call(self._bare.candidates)

    def observe(self) -> Leaders:
        """Who leads, and who comes to, without standing: ``with election.observe() as leaders``."""
        result: Leaders = self._wrapped(self._plain(self._bare.observe))
        return result


class Leaders(Stream[_recipes.Candidate | None], Entered):
    """A stream of who leads: `Candidate`, or None while nobody does. To be had from ``with zk.observe(path)``.

    The one now, then each other one; of what comes quickly after another only the last is told. Who leads is who stands
    first: it may not have noticed yet, and it may be over already while we cannot be told, see ``stale``.
    """

    _bare: _recipes.Leaders

    @property
    def leader(self) -> _recipes.Candidate | None:
        value: _recipes.Candidate | None = self._bare.leader
        return value

    @property
    def stale(self) -> bool:
        """Whether there may be news that cannot have come, as there is no connection."""
        value: bool = self._read("stale")
        return value


class Partitioner(Entered):
    """See the head of `zabpy.recipes.partitioner`."""

    _bare: _recipes.Partitioner

    @property
    def path(self) -> str:
        value: str = self._bare.path
        return value

    @property
    def items(self) -> frozenset[str]:
        """All, whoever's they are."""
        value: frozenset[str] = self._read("items")
        return value

    def set_items(self, items: Iterable[str]) -> None:
        """Share out other items from now on. To be told to all members."""
        self._plain(self._bare.set_items, items)

    @property
    def mine(self) -> frozenset[str]:
        """Our share as it shall be; what we work on follows as the others let go of it, and we do."""
        value: frozenset[str] = self._read("mine")
        return value

    def run(self, work: Callable[[Claim], object]) -> None:
        """Call ``work`` with each item that is ours, all at once, each in a task of its own, until this is cancelled.

        A call is cancelled when its item shall be another's, or was lost; the item is let go of when it has ended. If
        it is ours again, or still, ``work`` is called again, with another token. A call that returns keeps the item,
        and is not made again before it was away. What a call raises ends the others and comes out here, as it is.
        """
        self._call(self._bare.run, self._from_thread(work))

    def __iter__(self) -> Stream[Assignment]:
        return Stream(self, self._plain(self._bare.__aiter__))


class ServiceRegistration(Holding, Entered):
    """One's own end: all that `Registration` says holds here, too. ``instance`` is what is told of it."""

    _bare: _recipes.ServiceRegistration

    @property
    def path(self) -> str:
        value: str = self._bare.path
        return value

    @property
    def state(self) -> _recipes.Presence:
        value: _recipes.Presence = self._read("state")
        return value

    @property
    def present(self) -> bool:
        """Whether the znode is there and ours, as far as we know. Never once our session is known to be lost."""
        value: bool = self._read("present")
        return value

    @property
    def token(self) -> int:
        """The czxid of our znode that is, or was last, there: a larger one each time it was made anew; 0 before."""
        value: int = self._read("token")
        return value

    def states(self) -> Context[Stream[_recipes.Presence]]:
        """The state now, then each that it comes to: ``with here.states() as s: for state in s``."""
        result: Context[Stream[_recipes.Presence]] = Context(self, self._plain(self._bare.states))
        return result

    def wait_present(self) -> None:
        """Until the znode is there and ours. Raises what ended the registration; `EOFError`, if its block did."""
        self._call(self._bare.wait_present)

    @property
    def instance(self) -> _recipes.ServiceInstance:
        value: _recipes.ServiceInstance = self._bare.instance
        return value

    def update(self, instance: _recipes.ServiceInstance) -> None:
        """Tell something else, as `Registration.update` does. Name and id stay."""
        self._call(self._bare.update, instance)


class ServiceView(Stream[tuple[_recipes.ServiceInstance, ...]], Entered):
    """The instances of one service. ``with`` loads them; then nothing but `changes` waits."""

    _bare: _recipes.ServiceView

    @property
    def name(self) -> str:
        value: str = self._bare.name
        return value

    @property
    def path(self) -> str:
        value: str = self._bare.path
        return value

    @property
    def instances(self) -> tuple[_recipes.ServiceInstance, ...]:
        """All that are registered, also those that are not enabled or were marked as failed, in the order of ids."""
        value: tuple[_recipes.ServiceInstance, ...] = self._read("instances")
        return value

    @property
    def broken(self) -> dict[str, ValueError]:
        """Names of znodes that hold no instance, and why not. They are never chosen."""
        value: dict[str, ValueError] = self._read("broken")
        return value

    @property
    def stale(self) -> bool:
        """Whether there may be news that cannot have come: there is no connection, or it has only just come back."""
        value: bool = self._read("stale")
        return value

    def wait_instance(self) -> _recipes.ServiceInstance:
        """Choose one as soon as there is one to choose. It takes a turn as `choose` does; `use` takes the next one."""
        return self._call(self._bare.wait_instance)

    def choose(self) -> _recipes.ServiceInstance:
        """One that is enabled and not left alone. Raises `NoInstanceError`."""
        return self._plain(self._bare.choose)

    def use(
        self, failures: type[BaseException] | tuple[type[BaseException], ...] = (OSError, TimeoutError)
    ) -> PlainContext[_recipes.ServiceInstance]:
        """Choose one and count it as in use within the block. If one of ``failures`` comes out of the block it is
        marked as failed; if the block just ends, as working.
        """
        result: PlainContext[_recipes.ServiceInstance] = PlainContext(self, self._plain(self._bare.use, failures))
        return result

    def mark_failed(self, instance: _recipes.ServiceInstance) -> None:
        """It did not answer. How often it may do so, and what then, says the `DownPolicy`."""
        self._plain(self._bare.mark_failed, instance)

    def mark_working(self, instance: _recipes.ServiceInstance) -> None:
        """It answered: what was marked before is forgotten."""
        self._plain(self._bare.mark_working, instance)


class HeldLock(Holding, Entered):
    """A lock that is held, see `Lock`; `Holding` says what happens when it is lost."""

    _bare: _recipes.HeldLock

    @property
    def session(self) -> Session:
        value: Session = self._wrapped(self._bare.session)
        return value

    @property
    def reason(self) -> str:
        """Why it was lost; "" if it was not."""
        value: str = self._read("reason")
        return value

    def check(self) -> None:
        """Raise `LockLost` (or the recipe's own kind of it) unless it is held by the clock this very moment."""
        self._plain(self._bare.check)

    def wait_lost(self) -> str:
        """Until it is lost: why. Raises `LockLost` when it was released instead."""
        return self._call(self._bare.wait_lost)

    def release(self) -> None:
        """Give it up, and wait until the servers have acknowledged that. Does nothing if it was lost or released.

        If the connection is away, the release goes on in the background, also when this is cancelled.
        """
        self._call(self._bare.release)

    @property
    def token(self) -> int:
        value: int = self._bare.token
        return value

    @property
    def path(self) -> str:
        value: str = self._bare.path
        return value

    @property
    def revocation_requested(self) -> bool:
        """Whether somebody has asked us to give it up: by `Lock.request_revocation`, or with Curator's Revoker."""
        value: bool = self._read("revocation_requested")
        return value

    def wait_revocation_requested(self) -> None:
        """Until somebody asks us to give it up; for ever, if nobody does or it is lost before."""
        self._call(self._bare.wait_revocation_requested)

    def release_soon(self) -> None:
        """As `release`, but all of it in the background."""
        self._plain(self._bare.release_soon)


class HeldLocks(Holding, Entered):
    """All of them, by path in ``locks``; see `Holding`. Lost as soon as one of them is."""

    _bare: _recipes.HeldLocks

    @property
    def session(self) -> Session:
        value: Session = self._wrapped(self._bare.session)
        return value

    @property
    def reason(self) -> str:
        """Why it was lost; "" if it was not."""
        value: str = self._read("reason")
        return value

    def check(self) -> None:
        """Raise `LockLost` (or the recipe's own kind of it) unless it is held by the clock this very moment."""
        self._plain(self._bare.check)

    def wait_lost(self) -> str:
        """Until it is lost: why. Raises `LockLost` when it was released instead."""
        return self._call(self._bare.wait_lost)

    def release(self) -> None:
        """Give it up, and wait until the servers have acknowledged that. Does nothing if it was lost or released.

        If the connection is away, the release goes on in the background, also when this is cancelled.
        """
        self._call(self._bare.release)

    @property
    def locks(self) -> dict[str, HeldLock]:
        value: dict[str, HeldLock] = self._wrapped(self._bare.locks)
        return value

    @property
    def tokens(self) -> dict[str, int]:
        """The fencing token of each path."""
        value: dict[str, int] = self._read("tokens")
        return value


class HeldLease(Holding, Entered):
    """A lease of a semaphore: lost when its session is, or somebody deletes its znode; see `Holding`.

    The number of leases is kept as the servers see it: like a lock, it cannot stop what was sent before a loss.
    """

    _bare: _recipes.HeldLease

    @property
    def session(self) -> Session:
        value: Session = self._wrapped(self._bare.session)
        return value

    @property
    def reason(self) -> str:
        """Why it was lost; "" if it was not."""
        value: str = self._read("reason")
        return value

    def check(self) -> None:
        """Raise `LockLost` (or the recipe's own kind of it) unless it is held by the clock this very moment."""
        self._plain(self._bare.check)

    def wait_lost(self) -> str:
        """Until it is lost: why. Raises `LockLost` when it was released instead."""
        return self._call(self._bare.wait_lost)

    def release(self) -> None:
        """Give it up, and wait until the servers have acknowledged that. Does nothing if it was lost or released.

        If the connection is away, the release goes on in the background, also when this is cancelled.
        """
        self._call(self._bare.release)

    @property
    def token(self) -> int:
        value: int = self._bare.token
        return value

    @property
    def path(self) -> str:
        value: str = self._bare.path
        return value


class HeldTimedLease(Holding, Entered):
    """Lost when its time is over. The end of the body leaves the lease to its holder until then: see `release`."""

    _bare: _recipes.HeldTimedLease

    @property
    def session(self) -> Session:
        value: Session = self._wrapped(self._bare.session)
        return value

    @property
    def reason(self) -> str:
        """Why it was lost; "" if it was not."""
        value: str = self._read("reason")
        return value

    def check(self) -> None:
        """Raise `LockLost` (or the recipe's own kind of it) unless it is held by the clock this very moment."""
        self._plain(self._bare.check)

    def wait_lost(self) -> str:
        """Until it is lost: why. Raises `LockLost` when it was released instead."""
        return self._call(self._bare.wait_lost)

    def release(self) -> None:
        """Have it be free for others before its time. Does nothing if that is over, or if somebody has it since.

        Raises:
            LockLost: the session was lost meanwhile; it may have been done, or not. To do it again does no harm.
            NoServerError: no server could be reached for as long as the client waits for one.
        """
        self._call(self._bare.release)

    @property
    def token(self) -> int:
        value: int = self._bare.token
        return value

    @property
    def time_left_ms(self) -> int:
        """By the local clock."""
        value: int = self._read("time_left_ms")
        return value


class BarrierMember(Holding, Entered):
    """What ``with`` gives: ``lost``, ``check()`` and the rest of `Holding`. ``path``: of its znode."""

    _bare: _recipes.BarrierMember

    @property
    def session(self) -> Session:
        value: Session = self._wrapped(self._bare.session)
        return value

    @property
    def reason(self) -> str:
        """Why it was lost; "" if it was not."""
        value: str = self._read("reason")
        return value

    def check(self) -> None:
        """Raise `LockLost` (or the recipe's own kind of it) unless it is held by the clock this very moment."""
        self._plain(self._bare.check)

    def wait_lost(self) -> str:
        """Until it is lost: why. Raises `LockLost` when it was released instead."""
        return self._call(self._bare.wait_lost)

    def release(self) -> None:
        """Give it up, and wait until the servers have acknowledged that. Does nothing if it was lost or released.

        If the connection is away, the release goes on in the background, also when this is cancelled.
        """
        self._call(self._bare.release)

    @property
    def path(self) -> str:
        value: str = self._bare.path
        return value

    @property
    def token(self) -> int:
        value: int = self._bare.token
        return value

    @property
    def is_last(self) -> bool | None:
        value: bool | None = self._bare.is_last
        return value


class Item(Holding, Entered):
    """A leased item: ``data``, and how often it was given to somebody, this time included: ``attempts``.

    ``token`` is the lease's czxid: a fencing token, greater each time the item is leased. ``rank`` is its priority or
    due time. ``path`` is the lease's, ``entry_path`` the item's.
    """

    _bare: _recipes.Item

    @property
    def session(self) -> Session:
        value: Session = self._wrapped(self._bare.session)
        return value

    @property
    def reason(self) -> str:
        """Why it was lost; "" if it was not."""
        value: str = self._read("reason")
        return value

    def check(self) -> None:
        """Raise `LockLost` (or the recipe's own kind of it) unless it is held by the clock this very moment."""
        self._plain(self._bare.check)

    def wait_lost(self) -> str:
        """Until it is lost: why. Raises `LockLost` when it was released instead."""
        return self._call(self._bare.wait_lost)

    def release(self) -> None:
        """Give it up, and wait until the servers have acknowledged that. Does nothing if it was lost or released.

        If the connection is away, the release goes on in the background, also when this is cancelled.
        """
        self._call(self._bare.release)

    @property
    def name(self) -> str:
        value: str = self._bare.name
        return value

    @property
    def mark(self) -> bytes:
        value: bytes = self._bare.mark
        return value

    @property
    def entry_path(self) -> str:
        value: str = self._bare.entry_path
        return value

    @property
    def path(self) -> str:
        value: str = self._bare.path
        return value

    @property
    def data(self) -> bytes:
        value: bytes = self._bare.data
        return value

    @property
    def token(self) -> int:
        value: int = self._bare.token
        return value

    @property
    def attempts(self) -> int:
        value: int = self._bare.attempts
        return value

    @property
    def rank(self) -> int:
        value: int = self._bare.rank
        return value

    def finish(self) -> None:
        """The work is done: delete item and lease in one transaction, and wait until that is acknowledged.

        It goes on in the background when this is cancelled. Raises `LeaseLost` if the session ended before; whether the
        item was deleted is then not known: if it is gone, another consumer may have done it meanwhile.
        """
        self._call(self._bare.finish)

    def bury(self) -> None:
        """When it is given back, have it moved to ``dead``."""
        self._plain(self._bare.bury)


class GroupWatch(Stream[tuple[_recipes.Member, ...]], Entered):
    """``with`` loads the members; ``members`` is then up to date without waiting, and without a request for as
    long as nothing changes: one watch serves the whole group, however large.
    """

    _bare: _recipes.GroupWatch

    @property
    def members(self) -> tuple[_recipes.Member, ...]:
        """Oldest first."""
        value: tuple[_recipes.Member, ...] = self._read("members")
        return value

    @property
    def stale(self) -> bool:
        """Whether there may be news that cannot have come: there is no connection, or it has only just come back."""
        value: bool = self._read("stale")
        return value

    def wait_other(self, members: tuple[_recipes.Member, ...]) -> tuple[_recipes.Member, ...]:
        """Until the members are not just these; what they are then."""
        return self._call(self._bare.wait_other, members)


class Term(HeldLock):
    """One time of being the leader: `Holding` says what happens when it is lost. ``token`` is its fencing token."""

    _bare: _recipes.Term

    def resign(self) -> None:
        """Have it end, though nothing is lost: the block is cancelled, ends without an error, and gives it up.

        A plain call, from inside or outside the block.
        """
        self._plain(self._bare.resign)


class Claim(Holding):
    """``held`` is the lock of the item: see there what may be asked of it."""

    _bare: _recipes.Claim

    @property
    def item(self) -> str:
        value: str = self._bare.item
        return value

    @property
    def held(self) -> HeldLock:
        value: HeldLock = self._wrapped(self._bare.held)
        return value

    @property
    def token(self) -> int:
        """The fencing token, see `Lock`."""
        value: int = self._read("token")
        return value

    def check(self) -> None:
        """Raise `LockLost` unless the item is ours by the clock this very moment."""
        self._plain(self._bare.check)


class Assignment(Holding, Entered):
    """Items that are ours, until one of them has to go or another one comes. Each of ``claims`` has its token."""

    _bare: _recipes.Assignment

    @property
    def session(self) -> Session:
        value: Session = self._wrapped(self._bare.session)
        return value

    @property
    def reason(self) -> str:
        """Why it was lost; "" if it was not."""
        value: str = self._read("reason")
        return value

    def check(self) -> None:
        """Raise `LockLost` (or the recipe's own kind of it) unless it is held by the clock this very moment."""
        self._plain(self._bare.check)

    def wait_lost(self) -> str:
        """Until it is lost: why. Raises `LockLost` when it was released instead."""
        return self._call(self._bare.wait_lost)

    def release(self) -> None:
        """Give it up, and wait until the servers have acknowledged that. Does nothing if it was lost or released.

        If the connection is away, the release goes on in the background, also when this is cancelled.
        """
        self._call(self._bare.release)

    @property
    def claims(self) -> tuple[Claim, ...]:
        value: tuple[Claim, ...] = self._wrapped(self._bare.claims)
        return value

    @property
    def items(self) -> tuple[str, ...]:
        value: tuple[str, ...] = self._bare.items
        return value


Blocking.classes.update(
    {
        _client.Fired: Fired,
        _client.EventStream: EventStream,
        _client.Transaction: Transaction,
        _client.Session: Session,
        _recipes.Lock: Lock,
        _recipes.ReadWriteLock: ReadWriteLock,
        _recipes.MultiLock: MultiLock,
        _recipes.Semaphore: Semaphore,
        _recipes.TimedLease: TimedLease,
        _recipes.Registration: Registration,
        _recipes.Barrier: Barrier,
        _recipes.DoubleBarrier: DoubleBarrier,
        _recipes.Counter: Counter,
        _recipes.AtomicValue: AtomicValue,
        _recipes.WorkQueue: WorkQueue,
        _recipes.DelayQueue: DelayQueue,
        _recipes.TreeCache: TreeCache,
        _recipes.Group: Group,
        _recipes.Membership: Membership,
        _recipes.Election: Election,
        _recipes.Leaders: Leaders,
        _recipes.Partitioner: Partitioner,
        _recipes.ServiceRegistration: ServiceRegistration,
        _recipes.ServiceView: ServiceView,
        _recipes.HeldLock: HeldLock,
        _recipes.HeldLocks: HeldLocks,
        _recipes.HeldLease: HeldLease,
        _recipes.HeldTimedLease: HeldTimedLease,
        _recipes.BarrierMember: BarrierMember,
        _recipes.Item: Item,
        _recipes.GroupWatch: GroupWatch,
        _recipes.Term: Term,
        _recipes.Claim: Claim,
        _recipes.Assignment: Assignment,
    }
)
