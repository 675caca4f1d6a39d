"""How a client opens, ends, is cancelled and crashes: on a real server under both backends, on servers in memory."""

import asyncio
import logging
import os
import pickle
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.to_thread
import pytest
import trio
from trio.testing import MockClock

import zabpy
from tests.client.conftest import Story
from tests.server.servers import ensemble
from zabpy.client import ReplyTooLargeError, UnknownCodeError
from zabpy.client.clock import Clock
from zabpy.client.home import Home
from zabpy.client.mailbox import Mailbox
from zabpy.client.states import State, merged

OnBoth = Callable[[Story], None]


# Where it may be used -------------------------------------------------------------------------------------------------


def test_before_it_is_open_and_after_it_is_closed_every_call_says_so(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        zk = zabpy.connect(hosts)
        session: zabpy.Session | None = None
        for _ in range(2):
            with pytest.raises(zabpy.ClosedClientError, match="get /a: the client is not open") as error:
                await zk.get("/a")
            assert (error.value.operation, error.value.path) == ("get", "/a")
            with pytest.raises(zabpy.ClosedClientError):
                zk.session.check()
            with pytest.raises(zabpy.ClosedClientError):
                zk.background(anyio.sleep, 0)
            with pytest.raises(zabpy.ClosedClientError):
                await zk.wait_connected()
            if zk.state is not State.CLOSED:
                async with zk:
                    session = zk.session
        assert session is not None and session.lost
        with pytest.raises(zabpy.SessionLostError):
            session.check()
        with pytest.raises(zabpy.ClosedClientError, match="opened once"):
            async with zk:
                pass

    on_both(story)


def test_another_thread_is_told_at_once_that_it_must_not_call(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            await zk.create("/a")
            session = zk.session

            def elsewhere() -> None:
                async def call() -> None:
                    await zk.get("/a")

                for backend in ("trio", "asyncio"):
                    with pytest.raises(zabpy.WrongLoopError, match="another thread") as error:
                        anyio.run(call, backend=backend)
                    assert (error.value.operation, error.value.path, error.value.session_id) == (
                        "get",
                        "/a",
                        session.id,
                    )
                with pytest.raises(zabpy.WrongLoopError):
                    zk.background(anyio.sleep, 0)
                session.check()  # but this much may be asked from anywhere
                assert 5_000 < session.time_left_ms <= 10_000

            await anyio.to_thread.run_sync(elsewhere)
            await zk.get("/a")

    on_both(story)


def test_another_loop_of_the_same_thread_is_told_so(hosts: str) -> None:
    import asyncio

    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    try:
        zk = zabpy.connect(hosts)

        async def story(opened: asyncio.Event, used: asyncio.Event) -> None:
            async with zk:
                opened.set()
                await used.wait()
                await zk.get("/")

        async def call() -> None:
            await zk.get("/")

        opened, used = asyncio.Event(), asyncio.Event()
        task = first.create_task(story(opened, used))
        first.run_until_complete(opened.wait())
        with pytest.raises(zabpy.WrongLoopError, match="another event loop"):
            second.run_until_complete(call())
        used.set()
        first.run_until_complete(task)
    finally:
        first.close()
        second.close()


def test_who_waits_elsewhere_for_a_watch_a_stream_or_a_loss_is_told_so_at_once(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk, zk.watch("/") as events, zk.states() as states:
            _, fired = await zk.exists_watched("/a")
            waits: list[tuple[str, Callable[[], Awaitable[object]]]] = [
                ("watch /a", fired.wait),
                ("watch /", lambda: anext(events)),
                ("states None", lambda: anext(states)),
                ("states None", lambda: zk.wait_lost(zk_session)),
            ]
            zk_session = zk.session

            def elsewhere() -> None:
                async def told(wait: Callable[[], Awaitable[object]]) -> str:
                    with anyio.fail_after(5), pytest.raises(zabpy.WrongLoopError, match="another thread") as error:
                        await wait()
                    return f"{error.value.operation} {error.value.path}"

                for words, wait in waits:
                    for backend in ("trio", "asyncio"):
                        assert anyio.run(told, wait, backend=backend) == words
                with pytest.raises(zabpy.WrongLoopError):
                    events.receive_nowait()

            await anyio.to_thread.run_sync(elsewhere)
            zk._home._forks -= 1  # as after a fork
            for _, wait in waits:
                with pytest.raises(zabpy.ForkedClientError):
                    await wait()
            zk._home._forks += 1
            await zk.create("/a")
            assert isinstance(await fired.wait(), zabpy.Created)
            assert isinstance(await anext(events), zabpy.Resynced)
            assert await anext(states) is zabpy.State.CONNECTED

    on_both(story)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_is_told_at_once_and_the_session_stays_the_parents(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            await zk.create("/a", ephemeral=True)
            session = zk.session
            told, tell = os.pipe()
            if (child := os.fork()) == 0:
                words = []
                try:
                    for call in (lambda: zk.get("/a"), lambda: zk.set("/a", b"")):
                        try:
                            call().send(None)
                        except zabpy.ForkedClientError as error:
                            words.append(f"{error.operation} {error.path}")
                    try:
                        session.check()
                    except zabpy.ForkedClientError:
                        words.append(f"check {session.time_left_ms}")
                finally:
                    os.write(tell, ",".join(words).encode())
                    os._exit(0)
            os.waitpid(child, 0)  # noqa: ASYNC222  # it ends at once
            assert os.read(told, 1000) == b"get /a,set /a,check 0"
            os.close(told)
            os.close(tell)
            assert (await zk.get("/a")).stat.ephemeral_owner == session.id

    on_both(story)


# What comes out -------------------------------------------------------------------------------------------------------


def test_what_fails_in_the_background_cancels_the_body_and_comes_out_as_it_is(on_both: OnBoth, hosts: str) -> None:
    async def keeper() -> None:
        raise LookupError("a bug of a recipe")

    async def story() -> None:
        cancelled = False
        with pytest.raises(LookupError, match="a bug of a recipe") as error:
            async with zabpy.connect(hosts) as zk:
                await zk.create("/a", ephemeral=True)
                zk.background(keeper)
                try:
                    await anyio.sleep(10)
                finally:
                    cancelled = True
        assert cancelled
        assert "keeper, which ran in the background of the client" in error.value.__notes__[0]
        async with zabpy.connect(hosts) as zk:
            assert await zk.exists("/a") is None  # the session was ended all the same
        with pytest.raises(ValueError, match="mine") as mine:
            async with zabpy.connect(hosts) as zk:
                zk.background(keeper)
                try:
                    await anyio.sleep(10)
                finally:
                    raise ValueError("mine")
        assert "a bug of a recipe" in mine.value.__notes__[0]

    on_both(story)


def test_a_cancellation_from_further_out_ends_the_session_and_no_line_behind_the_block_runs(
    on_both: OnBoth, hosts: str
) -> None:
    async def story() -> None:
        behind = False
        with anyio.move_on_after(0.3) as scope:
            async with zabpy.connect(hosts) as zk:
                await zk.create("/a", ephemeral=True)
                session = zk.session
                await anyio.sleep(10)
            behind = True
        assert scope.cancelled_caught and not behind
        assert session.lost
        async with zabpy.connect(hosts) as zk:
            assert await zk.exists("/a") is None

    on_both(story)


def test_what_the_body_raises_comes_out_though_all_is_cancelled_from_further_out(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        for sleeps_s in (0, 0.01):
            with anyio.CancelScope() as scope:
                with pytest.raises(ValueError, match="of the body"):
                    async with zabpy.connect(hosts) as zk:
                        zk.background(anyio.sleep, sleeps_s, cleanup=True)
                        scope.cancel()
                        try:
                            await anyio.sleep_forever()
                        finally:
                            raise ValueError("of the body")
                await anyio.sleep_forever()
            assert scope.cancelled_caught

    on_both(story)


def test_a_cancellation_that_no_scope_has_asked_for_is_not_kept_by_the_client(on_both: OnBoth, hosts: str) -> None:
    """Else what stands behind its block would be left out, and nobody would know."""

    async def story() -> None:
        stray = anyio.get_cancelled_exc_class()
        with pytest.raises(stray):
            async with zabpy.connect(hosts):
                raise stray._create(source="unknown") if stray is trio.Cancelled else stray("stray")

    on_both(story)


def test_a_task_of_the_client_that_asyncio_cancels_is_an_error(hosts: str) -> None:
    async def keeper() -> None:
        await asyncio.sleep(60)

    async def story() -> None:
        mine = asyncio.all_tasks()
        for name, why in (("Background._run", "keeper.* was cancelled"), ("keep_linked", "own tasks were cancelled")):
            with pytest.raises(zabpy.ClosedClientError, match=why):
                async with zabpy.connect(hosts, follow_ensemble=False) as zk:
                    zk.background(keeper)
                    await asyncio.sleep(0.01)
                    for task in asyncio.all_tasks() - mine:
                        if name in task.get_name():
                            task.cancel()
                    await asyncio.sleep(5)

    anyio.run(story, backend="asyncio")


def test_keyboard_interrupt_comes_out_as_itself(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        with pytest.raises(KeyboardInterrupt):
            async with zabpy.connect(hosts):
                raise KeyboardInterrupt

    on_both(story)


def test_keepers_end_before_the_session_and_clean_ups_may_still_use_it(on_both: OnBoth, hosts: str) -> None:
    said: list[str] = []

    async def story() -> None:
        said.clear()

        async def keeper() -> None:
            try:
                await anyio.sleep(60)
            finally:
                with anyio.CancelScope(shield=True):
                    await zk.get("/")
                said.append(f"keeper {zk.state.value}")

        async def cleanup() -> None:
            await anyio.sleep(0.1)
            await zk.create("/cleaned")
            said.append("cleaned")

        async with zabpy.connect(hosts) as zk:
            zk.background(keeper)
            zk.background(cleanup, cleanup=True)
            await anyio.sleep(0.01)
        assert said == ["cleaned", "keeper connected"]
        async with zabpy.connect(hosts) as other:
            assert await other.exists("/cleaned")
            await other.delete("/cleaned")

    on_both(story)


@pytest.mark.parametrize("value", [-1, 1.5, True, "10", None, 2**31])
@pytest.mark.parametrize("name", ["session_timeout_ms", "connect_timeout_ms", "request_timeout_ms", "close_timeout_ms"])
def test_a_time_that_cannot_be_is_named_at_once(name: str, value: object) -> None:
    settings: Any = {name: value}
    with pytest.raises(zabpy.BadArgumentsError, match=f"{name}: expected whole milliseconds, [01] or more, not"):
        zabpy.connect("127.0.0.1:1", **settings)


def test_every_error_can_be_sent_to_another_process() -> None:
    for error in (
        zabpy.NoServerError("none", [("s1:1", "tired")]),
        zabpy.RequestTooLargeError(7, 5),
        ReplyTooLargeError(7, 5),
        UnknownCodeError(-14),
        zabpy.SessionLostError("gone"),
        zabpy.NoNodeError(),
    ):
        error.operation, error.path, error.session_id = "get", "/a", 7
        error.args = ("get /a: what it said",)
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), again.args, again.__dict__) == (type(error), error.args, error.__dict__)


# Cancelling -----------------------------------------------------------------------------------------------------------


def test_wherever_a_call_is_cancelled_the_others_go_on_and_nothing_is_torn(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            await zk.create("/a", b"1")
            streams = zk.core.server
            session = zk.session
            for turns in range(12):
                with anyio.CancelScope() as scope:
                    async with anyio.create_task_group() as tasks:
                        for call in (zk.get, zk.exists, zk.children):
                            tasks.start_soon(call, "/a")
                        tasks.start_soon(zk.set, "/a", b"2" * 100_000)
                        for _ in range(turns):
                            await anyio.lowlevel.checkpoint()
                        scope.cancel()
                data, _ = await zk.get("/a")
                assert data in (b"1", b"2" * 100_000)
            assert (zk.session, zk.core.server) == (session, streams)
            assert not zk.core._in_flight and not zk.core._queue

    on_both(story)


async def test_wherever_connecting_is_cancelled_nothing_is_left(autojump_clock: MockClock) -> None:
    async with ensemble(servers=1, tick_ms=100) as servers:
        dial = servers.dial("client1")
        for after_ms in range(12):
            with trio.move_on_after(after_ms / 1000):
                async with zabpy.connect(servers.hosts, dial=dial) as zk:
                    await zk.create("/a", ephemeral=True)
                    await trio.sleep(1)
        assert any(stream.sent_bytes > 100 for stream in dial.streams)
        async with zabpy.connect(servers.hosts, dial=servers.dial("client2")) as zk:
            assert await zk.exists("/a") is None


# When servers are away ------------------------------------------------------------------------------------------------


async def test_closing_in_jeopardy_takes_no_longer_than_it_may(autojump_clock: MockClock) -> None:
    async with ensemble() as servers:
        async with zabpy.connect(servers.hosts, dial=servers.dial("client1"), close_timeout_ms=2_000) as zk:
            for id in servers.configs:
                servers.cut(id, "client1")
            await trio.sleep(8)
            assert zk.state is State.JEOPARDY
            began = trio.current_time()
        assert trio.current_time() - began <= 2.1


async def test_closing_in_jeopardy_ends_the_session_when_a_server_comes_in_time(autojump_clock: MockClock) -> None:
    async with ensemble() as servers, zabpy.connect(servers.hosts, dial=servers.dial("other")) as other:
        dial = servers.dial("client1")
        async with zabpy.connect(servers.hosts, dial=dial) as zk:
            await zk.create("/mine", ephemeral=True)
            dial.break_now()
            await trio.sleep(0.001)
            assert zk.state is State.JEOPARDY
        await other.sync()
        assert await other.exists("/mine") is None


async def test_a_session_lost_here_is_ended_at_the_servers_and_its_ephemerals_go_soon(
    autojump_clock: MockClock,
) -> None:
    """The servers hear us, we do not hear them: at the loss they count from much later than we do."""
    async with ensemble() as servers, zabpy.connect(servers.hosts, dial=servers.dial("other")) as other:
        async with zabpy.connect(servers.hosts, dial=servers.dial("client1"), session_timeout_ms=10_000) as zk:
            await zk.create("/mine", ephemeral=True)
            first = zk.session
            for id in servers.configs:
                servers.lose(id, "client1")
            await zk.wait_lost(first)
            assert await other.exists("/mine") is not None
            servers.heal()
            await zk.wait_connected()
            assert zk.session.id != first.id
            await trio.sleep(0.5)
            assert await other.exists("/mine") is None
            await zk.create("/mine", ephemeral=True)  # it is not the new session that was ended
            await trio.sleep(15)
            assert (await other.get("/mine")).stat.ephemeral_owner == zk.session.id


async def test_it_is_lost_in_time_though_all_servers_take_connections_and_none_answers(
    autojump_clock: MockClock,
) -> None:
    async with ensemble() as servers:
        dial = servers.dial("client1")
        async with zabpy.connect(servers.hosts, dial=dial, session_timeout_ms=9_000) as zk:
            session, began = zk.session, trio.current_time()
            await zk.get("/")
            for id in servers.configs:
                servers.lose(id, "client1")
            await zk.wait_lost(session)
            assert 8.9 <= trio.current_time() - began <= 9.1
            assert len({remote for remote, _ in dial.attempts}) == 3, "each was asked within the time"


async def test_what_a_restored_backup_looks_like_is_said(autojump_clock: MockClock) -> None:
    async with ensemble(servers=1) as servers:
        async with zabpy.connect(servers.hosts, dial=servers.dial("c"), request_timeout_ms=3_000) as zk:
            zk.core.last_zxid = 1 << 40
            zk.core.link_broken = "test"
            zk._connection._link_over.set()
            await trio.sleep(0.01)
            with pytest.raises(
                zabpy.NoServerError, match="behind zxid 0x10000000000, which this client has seen"
            ) as error:
                await zk.get("/")
            assert error.value.operation == "get" and error.value.session_id


@pytest.mark.parametrize(
    ("says", "why"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "an HTTP server"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "it begins with"),
        (b"\0\0\0\x25" + b"\xff" * 37, "nonsense"),
        (b"\0\0\0\x25half", "did not greet|closed the connection"),
        (b"", "closed the connection instead of greeting"),
        (None, "closed the connection instead of greeting"),  # by a reset
    ],
)
def test_a_server_of_another_kind_is_named_with_what_it_said(on_both: OnBoth, says: bytes | None, why: str) -> None:
    async def story() -> None:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = listener.extra(anyio.abc.SocketAttribute.local_port)

        async def serve(stream: anyio.abc.ByteStream) -> None:
            async with stream:
                await stream.receive()
                if says is None:
                    raw = stream.extra(anyio.abc.SocketAttribute.raw_socket)
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                elif says:
                    await stream.send(says)
                    await anyio.sleep(0.2)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, serve)
            began = time.monotonic()
            with pytest.raises(zabpy.NoServerError, match=why) as error:
                async with zabpy.connect(f"127.0.0.1:{port}", connect_timeout_ms=1_000):
                    pass
            assert error.value.tried[0][0] == f"127.0.0.1:{port}"
            assert error.value.operation == "connect"
            assert time.monotonic() - began < 3
            tasks.cancel_scope.cancel()

    on_both(story)


def test_a_server_that_greets_and_closes_again_and_again_is_not_dialled_in_a_busy_loop(
    on_both: OnBoth, hosts: str
) -> None:
    async def story() -> None:
        dialled = 0

        async def dial(host: str, port: int) -> anyio.abc.ByteStream:
            nonlocal dialled
            dialled += 1
            stream = await anyio.connect_tcp(host, port)
            if dialled > 1:
                tasks.start_soon(close_soon, stream)
            return stream

        async def close_soon(stream: anyio.abc.ByteStream) -> None:
            await anyio.sleep(0.05)
            await anyio.aclose_forcefully(stream)

        async with anyio.create_task_group() as tasks:
            async with zabpy.connect(hosts, dial=dial) as zk:
                zk.core.link_broken = "test"
                zk._connection._link_over.set()
                await anyio.sleep(2)
                assert 3 < dialled < 15
            tasks.cancel_scope.cancel()

    on_both(story)


def test_a_dial_of_users_that_raises_anything_is_a_reason_and_no_crash(on_both: OnBoth) -> None:
    async def dial(host: str, port: int) -> anyio.abc.ByteStream:
        raise ZeroDivisionError("a bug in their dial")

    async def story() -> None:
        with pytest.raises(zabpy.NoServerError, match="a bug in their dial"):
            async with zabpy.connect("127.0.0.1:1", dial=dial, connect_timeout_ms=300):
                pass

    on_both(story)


# Time -----------------------------------------------------------------------------------------------------------------


def test_a_blocked_event_loop_is_named_where_it_did_harm(
    on_both: OnBoth, hosts: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts, session_timeout_ms=1) as zk:  # the least that the server grants
            session = zk.session
            session.timeout_ms = 500
            await zk.get("/")
            session.deadline_ms = zk.core.now_ms() + 500
            time.sleep(1.2)  # noqa: ASYNC251  # what users do
            with pytest.raises(zabpy.SessionLostError, match=r"the client was not scheduled for \d+ ms"):
                session.check()
            assert not session.lost
            await zk.wait_lost(session)
            with pytest.raises(zabpy.SessionLostError, match=r"the client was not scheduled for \d+ ms"):
                session.check()

    with caplog.at_level(logging.DEBUG, "zabpy.client"):
        on_both(story)
    assert "something blocks the event loop" in caplog.text


def test_time_goes_on_while_the_machine_sleeps_and_never_back(on_both: OnBoth, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        asleep_ms = 5_000
        clock = Clock(Home(), lambda: asleep_ms)
        began_ms = clock.now_ms()
        asleep_ms += 60_000
        assert 60_000 <= clock.now_ms() - began_ms < 61_000
        assert clock.suspended_ms == 60_000
        asleep_ms -= 1_000  # two clocks cannot be read at one moment
        assert clock.suspended_ms == 60_000
        monkeypatch.setattr(time, "time", lambda: 0.0)
        assert clock.now_ms() - began_ms < 61_000
        elsewhere = await anyio.to_thread.run_sync(clock.now_ms)
        assert abs(elsewhere - clock.now_ms()) < 500

    on_both(story)


def test_a_machine_that_slept_too_long_has_lost_its_session(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            asleep_ms = 0
            zk._clock._asleep_at_first_ms = zk._clock._asleep_max_ms = 0
            zk._clock._asleep_ms = lambda: asleep_ms
            session = zk.session
            asleep_ms = 11_000
            with pytest.raises(zabpy.SessionLostError):
                session.check()
            with anyio.fail_after(3):
                await zk.wait_lost(session)
            assert "the client was not scheduled for 1" in session.why_lost
            await zk.wait_connected()

    on_both(story)


# Streams --------------------------------------------------------------------------------------------------------------


async def test_states_are_told_one_after_the_other_and_end_with_the_client(autojump_clock: MockClock) -> None:
    seen: list[State] = []
    async with ensemble(servers=1) as servers, trio.open_nursery() as nursery:
        dial = servers.dial("client1")
        async with zabpy.connect(servers.hosts, dial=dial) as zk:
            started = trio.Event()

            async def look() -> None:
                async with zk.states() as states:
                    started.set()
                    async for state in states:
                        seen.append(state)

            nursery.start_soon(look)
            await started.wait()
            dial.break_now()
            await trio.sleep(1)
    assert seen == [State.CONNECTED, State.JEOPARDY, State.CONNECTED, State.CLOSED]


def test_who_does_not_read_states_is_told_of_a_loss_and_the_newest(on_both: OnBoth) -> None:
    async def story() -> None:
        box = Mailbox(16, merged)
        for state in (State.LOST, *(State.JEOPARDY, State.CONNECTED) * 1_000):
            box.put(state)
        box.end()
        box.put(State.CONNECTING)  # nobody is told after the end
        found = [state async for state in box]
        assert len(found) <= 16
        assert State.LOST in found and found[-1] is State.CONNECTED

    on_both(story)
