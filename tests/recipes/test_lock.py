"""The lock, on servers in memory and on real ones."""

import re
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from trio.testing import MockClock

import zabpy
from tests.client.conftest import Story
from tests.recipes.killing import kill, until
from tests.recipes.memory import World, world
from zabpy.model import Acl
from zabpy.recipes import AcquireTimeoutError, Client, LockLost, NotReentrantError


def test_one_holds_it_then_the_next(on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as a, zabpy.connect(hosts) as b:
            async with anyio.create_task_group() as tasks:
                tokens: list[int] = []

                async def work(zk: Client) -> None:
                    async with zk.lock("/deep/er/lock", data=b"b") as held:
                        tokens.append(held.token)
                        assert inside == 0

                async with a.lock("/deep/er/lock", data=b"a") as held:
                    inside = 1
                    assert re.fullmatch(r"/deep/er/lock/[0-9a-f]{32}__lock__0000000000", held.path)
                    stat = await b.exists(held.path)
                    assert stat is not None
                    assert (stat.czxid, stat.ephemeral_owner) == (held.token, a.session.id)
                    tokens.append(held.token)
                    tasks.start_soon(work, b)
                    while len(queue := await a.lock("/deep/er/lock").queue()) < 2:
                        pass
                    assert [each.data for each in queue] == [b"a", b"b"]
                    assert [each.session_id for each in queue] == [a.session.id, b.session.id]
                    assert queue[0].token == held.token and queue[0].created_ms == stat.ctime_ms
                    inside = 0
            assert sorted(tokens) == tokens and len(tokens) == 2
            assert await a.children("/deep/er/lock") == []

    on_both(story)


def test_many_tasks_of_two_clients_take_turns(on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        inside, tokens = 0, list[int]()

        async def work(zk: Client, lock: zabpy.recipes.Lock) -> None:
            nonlocal inside
            for _ in range(5):
                async with lock as held:
                    assert inside == 0
                    inside += 1
                    tokens.append(held.token)
                    await zk.exists("/")
                    inside -= 1

        async with zabpy.connect(hosts) as a, zabpy.connect(hosts) as b:
            async with anyio.create_task_group() as tasks:
                for zk in (a, b):
                    lock = zk.lock("/lock")
                    for _ in range(4):
                        tasks.start_soon(work, zk, lock)
            assert len(tokens) == 40 and tokens == sorted(set(tokens))
            assert await a.children("/lock") == []

    on_both(story)


def test_now_or_never_and_in_time(on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as a, zabpy.connect(hosts) as b:
            free = await b.lock("/lock").acquire(0)
            await free.release()
            async with a.lock("/lock"):
                for timeout_ms in (0, 50):
                    with pytest.raises(AcquireTimeoutError, match=f"the lock /lock: .* {timeout_ms} ms"):
                        await b.lock("/lock").acquire(timeout_ms)
                    with pytest.raises(TimeoutError):
                        await b.lock("/lock").acquire(timeout_ms)
                    assert len(await a.children("/lock")) == 1
            async with await b.lock("/lock").acquire(5_000):
                pass
            assert await a.children("/lock") == []

    on_both(story)


def test_a_task_that_holds_it_cannot_wait_for_itself(on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            lock = zk.lock("/lock")
            async with lock:
                for other in (lock, zk.lock("/lock")):
                    with pytest.raises(NotReentrantError, match="the lock /lock"):
                        await other.acquire()
            async with lock, zk.lock("/other"):
                pass

            # It can be handed to another task, which is then the one that holds it.
            held = await lock.acquire()
            with pytest.raises(NotReentrantError):
                await lock.acquire(0)
            over = anyio.Event()

            async def work(*, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
                async with held:
                    task_status.started()
                    await over.wait()

            async with anyio.create_task_group() as tasks:
                await tasks.start(work)
                with pytest.raises(AcquireTimeoutError):
                    await lock.acquire(0)
                over.set()
            await (await lock.acquire()).release()

    on_both(story)


def test_whoever_deletes_the_znode_ends_the_body(on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as a, zabpy.connect(hosts) as b:
            with pytest.raises(LockLost, match="the lock /lock: its znode .* was deleted"):
                async with a.lock("/lock") as held:
                    await b.delete(held.path)
                    await anyio.sleep_forever()
            async with a.lock("/lock"):
                pass

    on_both(story)


def test_whoever_deletes_the_znode_of_one_who_waits_sends_him_to_the_end(
    on_both: Callable[[Story], None], hosts: str
) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as a, zabpy.connect(hosts) as b:
            got = anyio.Event()

            async def wait() -> None:
                async with b.lock("/lock") as again:
                    got.set()
                    assert await b.exists(again.path) is not None
                    await b.exists("/")  # behind which the news of its own znode would have come
                    again.check()

            async with anyio.create_task_group() as tasks:
                async with a.lock("/lock") as held:
                    tasks.start_soon(wait)
                    while len(names := await a.children("/lock")) < 2:
                        pass
                    await a.delete("/lock/" + next(name for name in names if not held.path.endswith(name)))
                    assert not got.is_set()
            assert got.is_set()
            assert await a.children("/lock") == []

    on_both(story)


def test_the_end_of_the_session_ends_the_body(on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            with pytest.raises(LockLost, match="the lock /lock: session .* expired"):
                async with zk.lock("/lock") as held:
                    await kill(hosts, zk.session)
                    await anyio.sleep_forever()
            assert held.lost
            async with zk.lock("/lock") as again:
                assert again.token > held.token

    on_both(story)


def test_one_who_waits_survives_the_end_of_the_session(on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as a, zabpy.connect(hosts) as b:
            async with anyio.create_task_group() as tasks:
                got = anyio.Event()

                async def wait() -> None:
                    async with b.lock("/lock"):
                        got.set()

                async with a.lock("/lock"):
                    tasks.start_soon(wait)
                    while len(await a.children("/lock")) < 2:
                        pass
                    session = b.session
                    await kill(hosts, session)
                    await until(lambda: session.lost)
                    while len(await a.children("/lock")) < 2:
                        pass
                    assert not got.is_set()
            assert got.is_set()

    on_both(story)


async def test_the_local_deadline_ends_the_body_before_another_one_gets_the_lock(autojump_clock: MockClock) -> None:
    async with world() as w, w.client("a") as a, w.client("b") as b:
        events: list[str] = []

        async def wait() -> None:
            async with b.lock("/lock"):
                events.append("b holds")

        async with anyio.create_task_group() as tasks:
            with pytest.raises(LockLost, match="not heard of for 6000 ms"):
                async with a.lock("/lock"):
                    tasks.start_soon(wait)
                    while len(await a.children("/lock")) < 2:
                        pass
                    w.isolate("a")
                    try:
                        await anyio.sleep_forever()
                    finally:
                        events.append("a is over")
            assert not a.core.session
        assert events == ["a is over", "b holds"]
        w.heal()


def before_each(zk: Client, operation: str, first: Callable[[], Awaitable[object]]) -> None:
    """Have something else happen before each such operation of this client."""
    asked: Any = getattr(zk, operation)

    async def ask(*args: Any, **kwargs: Any) -> Any:
        await first()
        return await asked(*args, **kwargs)

    setattr(zk, operation, ask)


async def test_a_znode_that_a_hand_has_made_under_an_earlier_number_is_not_waited_for(
    autojump_clock: MockClock,
) -> None:
    async with world() as w, w.client("a") as a, w.client("b") as b:
        async with a.lock("/lock"):
            pass
        made = "/lock/" + "0" * 32 + "__lock__0000000000"

        async def make() -> None:
            if await b.exists(made) is None:
                await b.create(made)
            await a.sync()

        before_each(a, "children", make)
        held = await a.lock("/lock").acquire(5_000)
        assert held.token < (await b.get(made)).stat.czxid


async def test_what_is_acquired_is_held_at_that_moment(autojump_clock: MockClock) -> None:
    """The process was stopped, for longer than the session lasts, just before the last answer was looked at."""
    async with world() as w, w.client("a") as a:
        jumped = False

        async def jump() -> None:
            nonlocal jumped
            if not jumped:
                jumped = True
                autojump_clock.jump(6.5)

        listed = a.children

        async def children(*args: Any, **kwargs: Any) -> list[str]:
            names = await listed(*args, **kwargs)
            await jump()
            return names

        a.children = children  # type: ignore[method-assign]
        held = await a.lock("/lock").acquire()
        assert jumped and not held.lost


async def test_a_busy_process_is_told_when_it_asks(autojump_clock: MockClock) -> None:
    async with world() as w, w.client("a") as a:
        with pytest.raises(LockLost):
            async with a.lock("/lock") as held:
                held.check()
                autojump_clock.jump(6)  # no task has had a chance to see that
                assert held.lost
                held.check()


async def test_a_release_with_the_connection_away_goes_on_in_the_background(autojump_clock: MockClock) -> None:
    async with world() as w, w.client("a", session_timeout_ms=20_000) as a, w.client("b") as b:
        async with a.lock("/lock"):
            w.isolate("a")
        assert len(await b.children("/lock")) == 1
        session = a.session
        await anyio.sleep(1)
        w.heal()
        async with b.lock("/lock"):
            assert not session.lost
        assert await b.children("/lock") == []


async def cut_everywhere(story: Callable[[World, Client], Awaitable[None]]) -> int:
    """Run a story again and again, its client's first connection broken a bit later each time; returns how often."""
    runs = 0
    for direction in ("sent_bytes", "received_bytes"):
        cuts, broken = 0, True
        while broken:
            async with world(servers=1) as w:
                zk = w.client("a")
                w.dials["a"].break_after(**{direction: 23 * cuts})
                async with zk:
                    await story(w, zk)
                    broken = w.dials["a"].streams[0].broken
            cuts += 1
        runs += cuts
    return runs


async def test_no_broken_connection_leaves_anything_or_lets_two_in(autojump_clock: MockClock) -> None:
    async def story(w: World, zk: Client) -> None:
        async with w.client("other") as other:
            for _ in range(2):
                async with zk.lock("/lock", lock_delay_ms=1):
                    with pytest.raises(AcquireTimeoutError):
                        await other.lock("/lock").acquire(0)
            async with other.lock("/lock"):
                assert len(await other.children("/lock")) == 1
            assert await other.children("/lock") == []

    assert await cut_everywhere(story) > 50


async def test_a_cancelled_acquire_leaves_nothing_wherever_it_is_cancelled(autojump_clock: MockClock) -> None:
    """By a deadline that comes a little later each time, on a clock that only goes where something happens."""
    got, at_us = False, 0
    async with world(servers=1) as w, w.client("a") as a, w.client("b") as b:
        await b.create("/lock")
        while not got:
            with anyio.move_on_after(at_us / 1_000_000):
                async with a.lock("/lock", lock_delay_ms=10):
                    got = True
            await anyio.sleep(0.05)
            assert await b.children("/lock") == []
            at_us += 250
    assert at_us > 5_000


async def test_a_cancelled_wait_leaves_nothing_wherever_it_is_cancelled(autojump_clock: MockClock) -> None:
    async with world(servers=1) as w, w.client("a") as a, w.client("b") as b:
        async with b.lock("/lock") as held:
            for at_us in range(0, 30_000, 250):
                with anyio.move_on_after(at_us / 1_000_000):
                    async with a.lock("/lock"):
                        raise AssertionError
                await anyio.sleep(0.05)
                assert await b.children("/lock") == [held.path.rpartition("/")[2]]


async def test_the_client_may_end_while_a_removal_is_under_way(autojump_clock: MockClock) -> None:
    async with world() as w, w.client("b") as b:
        async with w.client("a") as a:
            await a.lock("/lock").acquire()
        await b.sync("/lock")  # it may be on another server
        assert await b.children("/lock") == []  # with its session
        async with w.client("a") as a:
            with anyio.move_on_after(0.003):
                await a.lock("/lock").acquire()
        await b.sync("/lock")
        assert await b.children("/lock") == []


@pytest.mark.parametrize("bad", [{"layout": "zookeeper"}, {"lock_delay_ms": -1}, {"on_revocation": "ignore"}])
def test_bad_settings_are_refused_at_once(bad: dict[str, Any], on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            with pytest.raises(zabpy.BadArgumentsError):
                zk.lock("/lock", **bad)
            with pytest.raises(zabpy.BadArgumentsError):
                zk.lock("no path")
            with pytest.raises(zabpy.BadArgumentsError):
                await zk.lock("/lock").acquire(-1)
        with pytest.raises(zabpy.ClosedClientError):
            await zk.lock("/lock").acquire()

    on_both(story)


# Revocation -----------------------------------------------------------------------------------------------------------


def test_a_holder_is_asked_to_give_it_up(on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as a, zabpy.connect(hosts) as b:
            assert await b.lock("/lock").request_revocation() == []
            async with a.lock("/lock") as held:
                requested = held.revocation_requested
                assert not requested
                [asked] = await b.lock("/lock").request_revocation()
                assert asked.path == held.path
                await held.wait_revocation_requested()
                assert held.revocation_requested and not held.lost
                assert (await b.get(held.path)).data == b"__REVOKE__"  # what Curator's Revoker writes

    on_both(story)


def test_a_revocation_may_end_the_body_and_the_lock_is_free_only_after_that(
    on_both: Callable[[Story], None], hosts: str
) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as a, zabpy.connect(hosts) as b:
            with pytest.raises(LockLost, match="the lock /lock: somebody asked for its revocation"):
                async with a.lock("/lock", on_revocation="end") as held:
                    await b.lock("/lock").request_revocation()
                    try:
                        await anyio.sleep_forever()
                    finally:
                        with anyio.CancelScope(shield=True):
                            assert held.lost
                            with pytest.raises(AcquireTimeoutError):
                                await b.lock("/lock").acquire(0)
            await (await b.lock("/lock").acquire(0)).release()

    on_both(story)


# Lock delay -----------------------------------------------------------------------------------------------------------


async def test_after_an_unclean_end_nobody_holds_it_for_a_while(autojump_clock: MockClock) -> None:
    async with world() as w, w.client("b") as b, w.client("c") as c:
        a = w.client("a", session_timeout_ms=6_000)
        async with a:
            with pytest.raises(LockLost):
                async with a.lock("/lock", lock_delay_ms=30_000):
                    assert sorted(name[:6] for name in await a.children("/lock")) != []
                    assert sum(name.startswith("delay-") for name in await a.children("/lock")) == 1
                    w.isolate("a")
                    await anyio.sleep_forever()
            # By now the session is lost here; the servers end it a little later.
            while len(await b.children("/lock")) > 1:
                pass
            began = anyio.current_time()
            with pytest.raises(AcquireTimeoutError):
                await b.lock("/lock").acquire(0)  # which has the time begin
            await anyio.sleep(10)
            with pytest.raises(AcquireTimeoutError):
                await b.lock("/lock").acquire(5_000)
            async with anyio.create_task_group() as tasks:

                async def later() -> None:
                    async with c.lock("/lock"):
                        assert anyio.current_time() - began >= 30

                tasks.start_soon(later)
                async with b.lock("/lock"):
                    assert 30 <= anyio.current_time() - began < 31
            assert await b.children("/lock") == []
            w.heal()


async def test_a_clean_end_leaves_no_delay(autojump_clock: MockClock) -> None:
    async with world() as w, w.client("a") as a, w.client("b") as b:
        async with a.lock("/lock", lock_delay_ms=30_000):
            pass
        assert await b.children("/lock") == []
        with pytest.raises(ValueError):
            async with a.lock("/lock", lock_delay_ms=30_000):
                raise ValueError
        began = anyio.current_time()
        async with b.lock("/lock"):
            assert anyio.current_time() - began < 1


async def test_the_loser_takes_the_delay_away_if_nobody_else_does(autojump_clock: MockClock) -> None:
    async with world() as w, w.client("a") as a, w.client("b") as b:
        with pytest.raises(LockLost):
            async with a.lock("/lock", lock_delay_ms=5_000) as held:
                await b.delete(held.path)
                await anyio.sleep_forever()
        await anyio.sleep(4)
        assert len(await b.children("/lock")) == 1
        await anyio.sleep(2)
        assert await b.children("/lock") == []


def test_a_revocation_before_the_body_leaves_nothing(on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as a, zabpy.connect(hosts) as b:
            held = await a.lock("/lock", on_revocation="end").acquire()
            await b.lock("/lock").request_revocation()
            await held.wait_lost()
            with pytest.raises(LockLost):
                async with held:
                    raise AssertionError("it was to be given up")
            assert await b.children("/lock") == []

    on_both(story)


def test_a_lock_whose_znode_cannot_be_watched_is_given_back(on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        acl = (Acl(0b11110, "world", "anyone"),)
        async with zabpy.connect(hosts) as a:
            await a.create("/lock")
            with pytest.raises(LockLost, match="cannot be watched"):
                async with a.lock("/lock", acl=acl):
                    await anyio.sleep_forever()
            assert await a.children("/lock") == []

    on_both(story)


def test_a_task_with_the_number_of_one_that_has_ended_is_another_one(
    on_both: Callable[[Story], None], hosts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one task has acquired another one may hold; a task's number is given to a later one once it has ended."""
    seven = SimpleNamespace(get_current_task=lambda: SimpleNamespace(id=7))
    monkeypatch.setattr("zabpy.recipes.who.anyio", seven)

    async def story() -> None:
        async with zabpy.connect(hosts) as zk:

            async def acquire() -> None:
                await zk.lock("/lock").acquire()

            async def again() -> None:
                with pytest.raises(AcquireTimeoutError):
                    await zk.lock("/lock").acquire(0)

            for each in (acquire, again):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(each)

    on_both(story)
