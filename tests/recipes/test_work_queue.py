"""A work queue loses nothing, gives an item to one consumer at a time, and leaves nothing behind."""

import math
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import anyio
import pytest
import trio
from trio.testing import MockClock

import zabpy
from tests.client.conftest import Story
from tests.recipes.hurting import Crowd, crowd, hurt, kill
from zabpy.client import TransactionFailedError
from zabpy.recipes import Item, LeaseLost
from zabpy.recipes.client import Client
from zabpy.recipes.leases import PAUSE_MS_MAX
from zabpy.recipes.work_queue import WorkQueue


def test_items_come_by_priority_and_are_gone_when_their_work_is_done(
    on_both: Callable[[Story], None], hosts: str
) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk, zabpy.connect(hosts) as other:
            putting = other.work_queue("/deep/queue")
            await putting.put(b"third")
            await putting.put_all([b"fourth", b"fifth"])
            await putting.put(b"first", priority=0)
            await putting.put(b"second", priority=99)
            await putting.put_all([])
            assert await putting.size() == 5
            taken = []
            async with zk.work_queue("/deep/queue") as queue:
                await zk.sync()
                last = 0
                for _ in range(5):
                    async with queue.take() as item:
                        taken.append((item.data, item.rank, item.attempts))
                        assert last < item.token
                        last = item.token
                        stat = await other.exists(item.path)
                        assert stat is None or stat.ephemeral_owner == zk.session.id
                with anyio.move_on_after(0.1) as scope:
                    async with queue.take():
                        raise AssertionError("nothing is left")
                assert scope.cancelled_caught
            assert taken == [
                (b"first", 0, 1), (b"second", 99, 1), (b"third", 100, 1), (b"fourth", 100, 1), (b"fifth", 100, 1),
            ]  # fmt: skip
            assert await putting.size() == 0
            assert await other.children("/deep/queue/taken") == []

    on_both(story)


def test_what_cannot_be_put_is_said(on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            queue = zk.work_queue("/queue")
            with pytest.raises(zabpy.BadArgumentsError, match="priority=1000"):
                await queue.put(b"", priority=1000)
            with pytest.raises(zabpy.BadArgumentsError, match="bytes, not str"):
                await queue.put("text")  # type: ignore[arg-type]
            with pytest.raises(zabpy.RequestTooLargeError):
                await queue.put(bytes(2_000_000))
            with pytest.raises(RuntimeError, match="async with queue"):
                async with queue.take():
                    pass
            with pytest.raises(zabpy.BadArgumentsError, match="attempts_max=0"):
                zk.work_queue("/queue", attempts_max=0)
            with pytest.raises(zabpy.BadArgumentsError):
                zk.work_queue("queue")
            assert await zk.exists("/queue/entries") is None or await queue.size() == 0

    on_both(story)


async def test_an_item_is_tried_again_and_at_last_moved_to_the_dead(autojump_clock: MockClock) -> None:
    async with crowd(servers=1) as all, all.client("a") as zk, all.client("b") as other:
        await zk.work_queue("/queue").put(b"poison")
        attempts: list[int] = []

        async def consume(client: Client) -> None:
            async with client.work_queue("/queue", attempts_max=4) as queue:
                while True:
                    with pytest.raises(LookupError):
                        async with queue.take() as item:
                            attempts.append(item.attempts)
                            raise LookupError

        with trio.move_on_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(consume, zk)
                nursery.start_soon(consume, other)
        assert attempts == [1, 2, 3, 4]
        dead = await zk.children("/queue/dead")
        assert len(dead) == 1 and dead[0].startswith("entry-100-0000000000-")
        assert (await zk.get(f"/queue/dead/{dead[0]}")).data == b"poison"
        assert await zk.work_queue("/queue").size() == 0 and await zk.children("/queue/taken") == []


async def test_an_item_whose_consumers_die_is_moved_to_the_dead(autojump_clock: MockClock) -> None:
    async with crowd(servers=1) as all, all.client("a", session_timeout_ms=4_000) as zk:
        await zk.work_queue("/queue").put(b"poison")
        given = 0
        async with zk.work_queue("/queue", attempts_max=2) as queue:
            with trio.move_on_after(60):
                while True:
                    with pytest.raises(LeaseLost):
                        async with queue.take() as item:
                            given = item.attempts
                            await kill(all.servers, zk.session)
                            await trio.sleep_forever()
        assert given == 2
        assert len(await zk.children("/queue/dead")) == 1 and await queue.size() == 0


async def test_a_body_is_cancelled_when_its_lease_is_deleted(autojump_clock: MockClock) -> None:
    async with crowd(servers=1) as all, all.client("a") as zk, all.client("b") as other:
        await zk.work_queue("/queue").put(b"x")
        async with zk.work_queue("/queue") as queue:
            with pytest.raises(LeaseLost, match="the lease of /queue/entries/entry-100-0000000000: "):
                async with queue.take() as item:
                    await trio.sleep(1)
                    await other.delete(item.path)
                    await trio.sleep_forever()
            async with queue.take() as item:
                assert item.attempts == 2


async def test_many_tasks_take_from_one_queue(autojump_clock: MockClock) -> None:
    async with crowd(servers=1) as all, all.client("a") as zk:
        await zk.work_queue("/queue").put_all([b"%d" % i for i in range(50)])
        done: list[bytes] = []
        async with zk.work_queue("/queue") as queue:

            async def work() -> None:
                while len(done) < 50:
                    with trio.move_on_after(5):
                        async with queue.take() as item:
                            done.append(item.data)

            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(work)
        assert Counter(done) == Counter(b"%d" % i for i in range(50))


@pytest.mark.parametrize("consumers", [5, 20])
async def test_consumers_do_not_fight_for_an_item(
    consumers: int, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Idle ones and an item now and then; leases that are tried in vain are counted, once they know of each other."""
    failed = 0
    commit = zabpy.client.Transaction.commit

    async def counted(transaction: zabpy.client.Transaction) -> object:
        nonlocal failed
        try:
            return await commit(transaction)
        except TransactionFailedError:
            failed += 1
            raise

    async with crowd(servers=1) as all, trio.open_nursery() as nursery:
        put_at: dict[bytes, float] = {}
        late_seconds: list[float] = []

        async def consume(name: str) -> None:
            async with all.client(name, session_timeout_ms=40_000) as zk:
                async with WorkQueue(zk, "/queue", rng=Random(name)) as queue:
                    while True:
                        async with queue.take() as item:
                            late_seconds.append(trio.current_time() - put_at[item.data])

        async with all.client("putter") as zk:
            for number in range(consumers):
                nursery.start_soon(consume, f"c{number}")
            await trio.sleep(2)
            monkeypatch.setattr(zabpy.client.Transaction, "commit", counted)
            learned = 0
            for number in range(120):
                if number == 60:
                    learned = failed
                put_at[b"%d" % number] = trio.current_time()
                await zk.work_queue("/queue").put(b"%d" % number)
                await trio.sleep(0.3)
            assert len(late_seconds) == 120
            assert learned <= 60 + consumers * math.log2(PAUSE_MS_MAX), "once an item, and for each who learns"
            assert failed - learned <= 60, f"{failed - learned} leases tried in vain for 60 items"
            assert max(late_seconds) < 0.2, "though all wait, one begins soon"
            nursery.cancel_scope.cancel()


async def test_thousands_of_items_are_listed_once(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    async with crowd(servers=1) as all, all.client("a") as zk:
        for _ in range(5):
            await zk.work_queue("/queue").put_all([b""] * 400)
        listed = 0
        children = Client.children

        async def counted(*args: object, **kwargs: object) -> object:
            nonlocal listed
            listed += 1
            return await children(*args, **kwargs)  # type: ignore[arg-type]

        monkeypatch.setattr(Client, "children", counted)
        async with zk.work_queue("/queue") as queue:
            for _ in range(100):
                async with queue.take():
                    pass
        assert listed == 2 and await queue.size() == 1900


@pytest.mark.parametrize("after_ms", range(0, 40, 2))
async def test_nothing_stays_of_one_that_was_cancelled_anywhere(after_ms: int, autojump_clock: MockClock) -> None:
    async with crowd(servers=1, seed=after_ms) as all, all.client("a") as zk, all.client("b") as other:
        await other.work_queue("/queue").put(b"x")
        async with zk.work_queue("/queue") as queue:
            with trio.move_on_after(after_ms / 1000):
                async with queue.take():
                    await trio.sleep(0.01)
            await trio.sleep(1)
            await zk.sync()
            assert await zk.children("/queue/taken") == []
            if await queue.size():
                async with other.work_queue("/queue") as another, another.take() as item:
                    assert item.data == b"x"
        assert await queue.size() == 0


@pytest.mark.parametrize("bytes_", range(0, 500, 23))
async def test_an_item_is_neither_lost_nor_stuck_wherever_the_connection_breaks(
    bytes_: int, autojump_clock: MockClock
) -> None:
    async with crowd(servers=1) as all, all.client("a", session_timeout_ms=20_000) as zk:
        async with zk.work_queue("/queue") as queue:
            await trio.sleep(1)
            stream = all.dials["a"].streams[-1]
            stream.received_bytes_max = stream.received_bytes + bytes_
            await queue.put(b"x")
            given = 0
            with trio.fail_after(5):
                async with queue.take() as item:
                    given += 1
                    assert item.data == b"x" and item.attempts <= 2
            assert await queue.size() == 0 and await zk.children("/queue/taken") == []
        assert given == 1


async def test_work_whose_end_nobody_can_tell_is_said_to_be_lost(autojump_clock: MockClock) -> None:
    """It was deleted, the answer got lost, and then the session: for all we know somebody else has done it."""
    async with crowd(servers=1) as all, all.client("a") as zk, all.client("b") as other:

        async def isolate_once_gone(path: str) -> None:
            while await other.exists(path):  # noqa: ASYNC110
                await trio.sleep(0.001)
            all.isolate("a")

        await zk.work_queue("/queue").put(b"x")
        async with zk.work_queue("/queue") as queue:
            with pytest.raises(LeaseLost, match="the lease of /queue/entries/entry-100-0000000000: "):
                async with queue.take() as item:
                    await trio.sleep(1)
                    stream = all.dials["a"].streams[-1]
                    stream.received_bytes_max = stream.received_bytes
                    all.dials["a"].break_after(received_bytes=0)
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(isolate_once_gone, item.entry_path)
                        await item.finish()
            assert await other.exists("/queue/entries/entry-100-0000000000") is None
            all.heal()


@pytest.mark.parametrize("seed", range(5))
async def test_nothing_is_lost_and_nothing_leaked_in_any_story(seed: int, autojump_clock: MockClock) -> None:
    rng = Random(f"queue {seed}")
    async with crowd(servers=3, seed=seed) as all:
        await play(all, rng)


async def play(all: Crowd, rng: Random) -> None:
    put: Counter[bytes] = Counter()
    maybe: set[bytes] = set()
    done: Counter[bytes] = Counter()
    holding: dict[str, tuple[str, int]] = {}

    def begin(who: str, item: Item) -> None:
        # Who works on an item has a higher token than all that were given it before, and is alone with it unless one
        # before has lost its lease and does not know it yet.
        assert all_tokens.get(item.name, 0) < item.token
        all_tokens[item.name] = item.token
        holding[who] = item.name, item.token

    all_tokens: dict[str, int] = {}

    async def produce(name: str) -> None:
        async with all.client(name, session_timeout_ms=4_000) as zk:
            queue: WorkQueue = zk.work_queue("/queue")
            for number in range(15):
                data = f"{name} {number}".encode()
                await zk.wait_connected()
                try:
                    await queue.put(data, priority=rng.randrange(3))
                    put[data] += 1
                except (zabpy.SessionLostError, zabpy.ConnectionLossError, zabpy.NoServerError):
                    maybe.add(data)
                await trio.sleep(rng.random() / 2)

    async def consume(name: str) -> None:
        async with all.client(name, session_timeout_ms=4_000) as zk, zk.work_queue("/queue") as queue:
            while not put or put.keys() - done.keys() or produced < 2:
                with trio.move_on_after(5):
                    try:
                        async with queue.take() as item:
                            begin(name, item)
                            await trio.sleep(rng.random() / 4)
                            item.check()
                            if rng.randrange(5) == 0:
                                raise LookupError
                            # From here on it is done, though we may not hear that the servers know.
                            done[item.data] += 1
                    except (LeaseLost, LookupError):
                        pass
                    finally:
                        holding.pop(name, None)

    produced = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hurt, all, rng)

        async def both() -> None:
            nonlocal produced
            for name in ("p1", "p2"):
                await produce(name)
                produced += 1

        async with trio.open_nursery() as working:
            working.start_soon(both)
            for name in "abc":
                working.start_soon(consume, name)
        nursery.cancel_scope.cancel()
    all.heal()
    async with all.client("last") as zk:
        await trio.sleep(20)  # those that had no connection at their end could not close their sessions
        await zk.sync()
        assert put.keys() <= done.keys()
        assert set(put.values()) == {1}
        assert await zk.children("/queue/taken") == []
        left = [(await zk.get(f"/queue/entries/{name}")).data for name in await zk.children("/queue/entries")]
        # Those of which the consumer did not hear that they were finished were finished twice, or are there once more.
        assert set(left) <= put.keys() | maybe
        assert len(left) == len(set(left)), "none was put twice"


async def test_a_lease_given_back_twice_is_not_the_next_ones(autojump_clock: MockClock) -> None:
    """The answer to the first time gets lost; before the second, somebody else has leased the item."""
    async with crowd(servers=1) as all, all.client("a", session_timeout_ms=20_000) as a, all.client("b") as b:
        putting = b.work_queue("/q")
        await putting.put(b"x")
        lost = False
        async with b.work_queue("/q") as theirs, trio.open_nursery() as nursery:
            leased = trio.Event()

            async def lease() -> None:
                nonlocal lost
                async with theirs.take() as item:
                    leased.set()
                    await trio.sleep(20)
                    lost = item.lost

            async with a.work_queue("/q") as ours:
                with pytest.raises(ZeroDivisionError):
                    async with ours.take() as item:
                        nursery.start_soon(lease)
                        stream = all.dials["a"].streams[-1]
                        stream.received_bytes_max = stream.received_bytes
                        raise ZeroDivisionError
                await leased.wait()
                await trio.sleep(10)
                assert await a.exists(item.path) is not None
        assert not lost and await putting.size() == 0


def test_what_is_buried_is_as_secret_as_it_was(on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        acl = (zabpy.Acl(31, "auth", ""),)
        async with zabpy.connect(hosts, auth=[("digest", "bob:secret")]) as zk:
            async with zk.work_queue("/q", attempts_max=1, acl=acl) as queue:
                await queue.put(b"x")
                with pytest.raises(ZeroDivisionError):
                    async with queue.take():
                        raise ZeroDivisionError
            [name] = await zk.children("/q/dead")
            for path in ("/q/dead", f"/q/dead/{name}"):
                [entry] = (await zk.get_acl(path))[0]
                assert entry.scheme == "digest", path

    on_both(story)


async def test_who_tried_in_vain_takes_what_the_winner_gives_back(autojump_clock: MockClock) -> None:
    async with crowd(servers=1) as all, all.client("a") as a, all.client("b") as b:
        took: list[Client] = []

        async def consume(zk: Client) -> None:
            async with zk.work_queue("/queue") as queue:
                with pytest.raises(LookupError):
                    async with queue.take():
                        took.append(zk)
                        raise LookupError

        for _ in range(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(consume, a)
                nursery.start_soon(consume, b)
                await trio.sleep(1)
                took.clear()
                await a.work_queue("/queue").put(b"x")
                await trio.sleep(10)
                assert set(took) == {a, b}
                nursery.cancel_scope.cancel()
            async with a.work_queue("/queue") as queue, queue.take():
                pass


async def test_an_item_that_is_deleted_just_when_it_is_leased_leaves_no_lease(autojump_clock: MockClock) -> None:
    async with crowd(servers=1) as all, all.client("a") as zk, all.client("b") as other:
        await other.work_queue("/queue").put(b"gone")
        get = zk.get

        async def get_late(path: str, **settings: Any) -> Any:
            if path.startswith("/queue/entries/") and await other.exists(path) is not None and not deleted:
                deleted.append(path)
                await other.delete(path)
                await zk.sync()
            return await get(path, **settings)

        deleted: list[str] = []
        zk.get = get_late  # type: ignore[method-assign]
        async with zk.work_queue("/queue") as queue:
            with trio.move_on_after(1):
                async with queue.take() as item:
                    raise AssertionError(f"{item} is gone")
            assert deleted and await zk.children("/queue/taken") == []
            await other.work_queue("/queue").put(b"next")
            async with queue.take() as item:
                assert item.data == b"next"
