"""The load of a whole simulation: our own client, many at a time, who write down what they were told.

Every write carries data that no other has, so that at the end each can be looked for in the committed order: done once
if the client said so, not at all if it said it was not, at most once if it could not know.
"""

from collections.abc import Awaitable, Callable
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
import trio
from anyio.abc import ByteStream

from zabpy.client import (
    Client,
    ClosedClientError,
    ConnectionLossError,
    Fired,
    NameLostError,
    NoServerError,
    SessionLostError,
    TransactionFailedError,
)
from zabpy.client.operations import NewZnode
from zabpy.model import CodeError, ZabpyError, Zxid
from zabpy.wire import Op, frame, packed, records as r

from .facts import ViolationError
from .whole_network import WholeStream
from .whole_witness import Tap

if TYPE_CHECKING:
    from .whole import WholeSimulation

CLIENT_PORT = 2181
OK, NO, UNKNOWN = "ok", "no", "unknown"
NODES = 6
WATCH_SECONDS_MAX = 3.0


class Attempt(NamedTuple):
    """One write, by its data, and what its client was told of it."""

    client: str
    what: str
    payload: bytes
    outcome: str


class TappedStream(ByteStream):
    """A connection of a client, with a `Tap` on it."""

    def __init__(self, stream: WholeStream, tap: Tap, broke: Callable[[ViolationError], None]) -> None:
        self._stream, self._tap, self._broke = stream, tap, broke

    async def receive(self, max_bytes: int = 65_536) -> bytes:
        try:
            data = bytes(await self._stream.receive_some(max_bytes))
        except trio.BrokenResourceError:
            raise anyio.BrokenResourceError from None
        except trio.ClosedResourceError:
            raise anyio.ClosedResourceError from None
        if not data:
            raise anyio.EndOfStream
        self._look(self._tap.received, data)
        return data

    async def send(self, item: bytes) -> None:
        self._look(self._tap.sent, item)
        try:
            await self._stream.send_all(item)
        except trio.BrokenResourceError:
            raise anyio.BrokenResourceError from None

    def _look(self, look: Callable[[bytes], None], data: bytes) -> None:
        try:
            look(data)
        except ViolationError as error:
            self._broke(error)
            raise anyio.BrokenResourceError from error

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


class SimClient:
    """One machine with one client at a time on it."""

    def __init__(self, sim: "WholeSimulation", number: int) -> None:
        self.sim, self.number = sim, number
        self.name = f"client{number}"
        self.rng = sim.random_for(self.name)
        self.zk: Client | None = None
        #: The time of the newest write that was answered well.
        self.last_ok = -1.0
        self._leave = trio.Event()
        self._life = 0
        self._payloads = 0
        self._abandoned = False
        self._root: trio.lowlevel.Task | None = None
        self.is_over = False

    # What happens to it -----------------------------------------------------------------------------------------------

    def leave(self) -> None:
        """End the session in good order; another one begins after a while."""
        self._leave.set()

    def abandon(self) -> None:
        """The client's machine dies without a word. Its session is to end by itself."""
        self.thaw()
        self._abandoned = True
        self._life += 1
        self.sim.network.kill(self.name, power=True)
        self._leave.set()

    def freeze(self) -> bool:
        if self._root is None or self.sim.freezer.is_frozen(self._root):
            return False
        self.sim.freezer.freeze(self._root)
        return True

    def thaw(self) -> None:
        if self._root is not None:
            self.sim.freezer.thaw(self._root)

    def believes(self, session_id: int) -> str:
        """Why this client takes that session for alive; "" if it does not."""
        if self.zk is None or self._abandoned:
            return ""
        session = self.zk.core.session
        if session is None or session.id != session_id or session.lost:
            return ""
        left_ms = session.deadline_ms - int(trio.current_time() * 1000)
        return f"{self.name} counts on it for {left_ms} ms more" if left_ms > 0 else ""

    # Life -------------------------------------------------------------------------------------------------------------

    async def live(self) -> None:
        while not self.sim.over:
            self._leave, self._abandoned = trio.Event(), False
            self.sim.network.power_on(self.name)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._live_once)
            await trio.sleep(self.rng.random() * self.sim.settings.tick_ms / 200)
        self.is_over = True

    async def _live_once(self) -> None:
        sim, rng = self.sim, self.rng
        self._root = trio.lowlevel.current_task()
        sim.freezer.roots.add(self._root)
        tick_ms = sim.settings.tick_ms
        life = self._life

        async def dial(host: str, port: int) -> TappedStream:
            await trio.lowlevel.checkpoint()
            if self._life != life:
                raise OSError(101, "Network is unreachable")
            stream = await sim.network.dial(self.name, host, port)
            tap = Tap(sim.witness, sim.sessions, name=self.name, acked=sim.write_acked)
            return TappedStream(stream, tap, sim.broke)

        try:
            async with Client(
                sim.hosts_for(rng),
                session_timeout_ms=rng.choice((4, 8, 15, 20)) * tick_ms,
                connect_timeout_ms=50 * tick_ms,
                request_timeout_ms=rng.choice((5, 30)) * tick_ms,
                close_timeout_ms=5 * tick_ms,
                follow_ensemble=rng.random() < 0.3,
                dial=dial,
                rng=Random(rng.random()),
            ) as zk:
                self.zk = zk
                async with trio.open_nursery() as nursery:
                    for _ in range(rng.choice((1, 1, 2, 3))):
                        nursery.start_soon(self._work, zk)
                    await self._leave.wait()
                    nursery.cancel_scope.cancel()
        except* (NoServerError, SessionLostError, ClosedClientError):
            pass  # what a client may be told under faults; it lives on as another
        except* Exception as group:
            sim.broke(ViolationError("CLIENT", "Crash", f"{self.name}: {group.exceptions!r}"))
        finally:
            self.zk = None
            sim.freezer.thaw(self._root)
            sim.freezer.roots.discard(self._root)
            self._root = None

    async def _work(self, zk: Client) -> None:
        rng, gap = self.rng, self.sim.settings.client_gap_ms / 1000
        async with trio.open_nursery() as nursery:
            while True:
                await trio.sleep(rng.expovariate(1 / gap))
                try:
                    await rng.choice(_DEEDS)(self, zk, nursery)
                except (ZabpyError, RuntimeError) as error:
                    if isinstance(error, ViolationError):
                        raise
                    if isinstance(error, ClosedClientError):
                        return

    # What it does -----------------------------------------------------------------------------------------------------

    def _payload(self) -> bytes:
        self._payloads += 1
        size = self.rng.choice((0, 0, 0, 20, 400))
        return b"%s-%d-" % (self.name.encode(), self._payloads) + b"." * size

    def _node(self) -> str:
        return f"/n/{self.rng.randrange(NODES)}"

    def _lost_reply(self) -> Any:
        return self.rng.choice(("raise", "raise", "once"))

    async def _write(self, what: str, payloads: list[bytes], write: Awaitable[Any]) -> Any:
        """Do it, and write down what became of it."""
        outcome = UNKNOWN
        try:
            done = await write
            outcome = OK
            self.last_ok = trio.current_time()
            return done
        except (NoServerError, TransactionFailedError):
            outcome = NO
        except (ConnectionLossError, SessionLostError, ClosedClientError):
            pass  # it may have been done, or not
        except NameLostError:
            outcome = OK
        except CodeError:
            outcome = NO
        finally:
            for payload in payloads:
                self.sim.attempted(Attempt(self.name, what, payload, outcome))
            self.sim.count(f"writes {outcome}")
        return None

    async def _create(self, zk: Client, nursery: trio.Nursery) -> None:
        payload = self._payload()
        await self._write(
            "create", [payload], zk.create(self._node(), payload, parents=True, lost_reply=self._lost_reply())
        )

    async def _set(self, zk: Client, nursery: trio.Nursery) -> None:
        payload = self._payload()
        await self._write("set", [payload], zk.set(self._node(), payload, lost_reply=self._lost_reply()))

    async def _compare_and_set(self, zk: Client, nursery: trio.Nursery) -> None:
        path = self._node()
        found = await zk.get(path)
        payload = self._payload()
        await self._write("set", [payload], zk.set(path, payload, found.stat.version, lost_reply=self._lost_reply()))

    async def _delete(self, zk: Client, nursery: trio.Nursery) -> None:
        await self._write("delete", [], zk.delete(self._node()))

    async def _multi(self, zk: Client, nursery: trio.Nursery) -> None:
        one, other = self._payload(), self._payload()
        transaction = zk.transaction(lost_reply=self._lost_reply())
        transaction.set("/n", one).create(self._node(), other) if self.rng.random() < 0.5 else transaction.set(
            "/n", one
        ).set(self._node(), other)
        await self._write("multi", [one, other], transaction.commit())

    async def _sequence(self, zk: Client, nursery: trio.Nursery) -> None:
        payload = self._payload()
        made: NewZnode | None = await self._write(
            "sequence",
            [payload],
            zk.create("/q/j-", payload, sequence=True, parents=True, lost_reply=self._lost_reply()),
        )
        if made is not None:
            self.sim.numbered(made.path, Zxid(made.stat.czxid))
            if self.rng.random() < 0.7:
                await self._write("delete", [], zk.delete(made.path))

    async def _ephemeral(self, zk: Client, nursery: trio.Nursery) -> None:
        payload = self._payload()
        path = f"/e/{self.name}-{self._payloads}"
        await self._write(
            "ephemeral",
            [payload],
            zk.create(path, payload, ephemeral=True, parents=True, lost_reply=self._lost_reply()),
        )
        if self.rng.random() < 0.5:
            await self._write("delete", [], zk.delete(path))

    async def _read(self, zk: Client, nursery: trio.Nursery) -> None:
        read: Callable[[str], Awaitable[object]] = self.rng.choice((zk.get, zk.exists, zk.children))
        await read(self.rng.choice((self._node(), "/n", "/q", "/e", "/")))
        self.sim.count("reads answered")

    async def _sync_read(self, zk: Client, nursery: trio.Nursery) -> None:
        await zk.sync()
        await zk.get(self._node())
        self.sim.count("reads after a sync")

    async def _watch(self, zk: Client, nursery: trio.Nursery) -> None:
        kind = self.rng.randrange(3)
        fired: Fired
        if kind == 0:
            _, _, fired = await zk.get_watched(self._node())
        elif kind == 1:
            _, fired = await zk.exists_watched(self._node())
        else:
            _, _, fired = await zk.children_watched(self.rng.choice(("/n", "/q", "/e")))

        async def wait() -> None:
            try:
                with trio.move_on_after(self.rng.random() * WATCH_SECONDS_MAX), fired:
                    await fired.wait()
                    self.sim.count("watches fired")
            except (SessionLostError, RuntimeError):  # its session, or the watch itself, was given up
                pass

        nursery.start_soon(wait)


_DEEDS: tuple[Callable[[SimClient, Client, trio.Nursery], Awaitable[None]], ...] = (
    SimClient._create,
    SimClient._create,
    SimClient._set,
    SimClient._set,
    SimClient._set,
    SimClient._compare_and_set,
    SimClient._delete,
    SimClient._multi,
    SimClient._sequence,
    SimClient._ephemeral,
    SimClient._read,
    SimClient._read,
    SimClient._sync_read,
    SimClient._watch,
    SimClient._watch,
)


async def change_observers(sim: "WholeSimulation", joining: str, leaving: str, seconds: float) -> bool:
    """An operator lets observers in, or has them leave (F29). Whether it was said to be done."""
    rng = sim.random_for(f"operator {trio.current_time()}")

    async def dial(host: str, port: int) -> TappedStream:
        stream = await sim.network.dial("operator", host, port)
        return TappedStream(stream, Tap(sim.witness, sim.sessions, name="operator", acked=sim.write_acked), sim.broke)

    timeout_ms = 20 * sim.settings.tick_ms
    try:
        with trio.move_on_after(seconds):
            async with Client(
                sim.hosts_for(rng),
                session_timeout_ms=timeout_ms,
                connect_timeout_ms=timeout_ms,
                request_timeout_ms=timeout_ms,
                close_timeout_ms=5 * sim.settings.tick_ms,
                follow_ensemble=False,
                auth=[("digest", "super:test")],
                dial=dial,
                rng=rng,
            ) as zk:
                await zk.reconfig(joining=joining or None, leaving=leaving or None)
                sim.count("F29 change of observers")
                return True
    except ZabpyError:  # what it says may have been done all the same
        pass
    return False


async def never_read(sim: "WholeSimulation", host: str, seconds: float) -> None:
    """A client that asks much and reads nothing (F23)."""
    stream: WholeStream | None = None
    try:
        with trio.move_on_after(seconds):
            stream = await sim.network.dial("glutton", host, CLIENT_PORT)
            greeting = packed(r.ConnectRequest(0, 0, 20_000, 0, bytes(16), None))
            await stream.send_all(frame(greeting))
            record = packed(r.GetDataRequest("/n", False))
            asked = b"".join(frame(packed(r.RequestHeader(xid, Op.GET_DATA)) + record) for xid in range(1, 200))
            while True:
                await stream.send_all(asked)
                await trio.sleep(0.01)  # the pace at which it asks
    except (OSError, trio.BrokenResourceError):
        pass  # the server does not take it, or has had enough of it
    if stream is not None:
        stream.close()
