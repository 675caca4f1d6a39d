"""A lock whose holder is at a server that is cut off from the leader, and goes on answering: the leader ends the
session, and the holder must not believe in it for any longer."""

import anyio
import pytest
import trio
from trio.testing import MockClock

import zabpy
from tests.recipes.memory import World, world
from zabpy.recipes import AcquireTimeoutError, LockLost


async def a_follower(w: World) -> tuple[int, list[int]]:
    """One that does not lead, and the others."""
    leader = await w.servers.wait_leader()
    follower = next(id for id in w.servers.configs if id != leader)
    return follower, [id for id in w.servers.configs if id != follower]


@pytest.mark.parametrize("after_ms", [0, 700, 1_400, 2_100])
@pytest.mark.parametrize("doing", ["nothing", "reads"])
async def test_a_holder_stops_before_the_next_one_begins(doing: str, after_ms: int, autojump_clock: MockClock) -> None:
    stopped_at = checked_at = 0.0

    async def hold(zk: zabpy.Client, holding: trio.Event) -> None:
        nonlocal stopped_at
        with pytest.raises(LockLost):
            async with await zk.lock("/lock").acquire() as held:
                try:
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(check, held)
                        holding.set()
                        while doing == "reads":
                            await zk.get("/lock")
                            await anyio.sleep(0.01)
                        await anyio.sleep_forever()
                finally:
                    stopped_at = trio.current_time()

    async def check(held: object) -> None:
        nonlocal checked_at
        with anyio.CancelScope(shield=True), pytest.raises(LockLost):
            while True:
                held.check()  # type: ignore[attr-defined]
                checked_at = trio.current_time()
                await anyio.sleep(0.01)

    async with world() as w:
        follower, others = await a_follower(w)
        hosts = ",".join(f"s{id}:2181" for id in others)
        dial = w.servers.dial("first")
        settings = {"session_timeout_ms": 6_000, "follow_ensemble": False}
        async with zabpy.connect(f"s{follower}:2181", dial=dial, **settings) as one:  # type: ignore[arg-type]
            async with zabpy.connect(hosts, dial=w.servers.dial("second"), **settings) as two:  # type: ignore[arg-type]
                holding = trio.Event()
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(hold, one, holding)
                    await holding.wait()
                    await anyio.sleep(after_ms / 1000)
                    for other in others:
                        w.servers.cut(follower, other)
                    cut_at = trio.current_time()
                    async with await two.lock("/lock").acquire() as held:
                        began_at = trio.current_time()
                        assert held.token
                        await anyio.sleep(1)
                    w.heal()
                assert cut_at < stopped_at <= began_at
                assert cut_at < checked_at < began_at
                assert began_at - cut_at < 6 + 2 * 0.5 + 1, "nor does anybody wait for long"


async def test_the_holder_moves_to_the_majority_in_time_and_keeps_the_lock(autojump_clock: MockClock) -> None:
    for busy in (False, True):
        async with world(servers=5) as w:
            follower, others = await a_follower(w)
            async with w.client("first") as zk, w.client("second") as two:
                while zk.server != f"s{follower}:2181":
                    zk._connection.leave("the test wants another server")
                    await anyio.sleep(1)
                session = zk.session
                async with await zk.lock("/lock").acquire() as held, anyio.create_task_group() as tasks:
                    for other in others:
                        w.servers.cut(follower, other)
                    tasks.start_soon(read_on if busy else idle, zk)
                    with pytest.raises(AcquireTimeoutError):
                        await two.lock("/lock").acquire(20_000)
                    held.check()
                    tasks.cancel_scope.cancel()
                assert zk.session is session and zk.server != f"s{follower}:2181"


async def idle(zk: zabpy.Client) -> None:
    await anyio.sleep_forever()


async def read_on(zk: zabpy.Client) -> None:
    while True:
        await zk.get("/lock")
        await anyio.sleep(0.01)
