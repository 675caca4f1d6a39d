"""Writes that are done exactly once, whatever becomes of the connection they are sent on."""

from collections.abc import Callable
from random import Random

import anyio
import pytest
from trio.testing import MockClock

import zabpy
from tests.client.conftest import Story
from tests.client.test_read_only import cut_off, only
from tests.server.servers import ensemble
from zabpy.client.ledger import SLOTS_MAX, Slot, Turn
from zabpy.model import READ, WRITE, Acl

OnBoth = Callable[[Story], None]


def test_what_a_create_gives_is_what_is_there(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            for number, kind in enumerate(({}, {"ephemeral": True}, {"container": True}, {"sequence": True},
                                           {"sequence": True, "ephemeral": True})):  # fmt: skip
                for _ in range(2):  # with a new slot, and with one that was used
                    made = await zk.create(f"/{number}-{_}-", b"abc", **kind)  # type: ignore[arg-type]
                    assert await zk.get(made.path) == (b"abc", made.stat)
            assert not any("zabpy-" in path for path in await zk.ephemerals())

    on_both(story)


async def everything_once(zk: zabpy.Client) -> None:
    """Each kind of write, and what it must have done."""
    made = [await zk.create("/q/n-", b"%d" % number, sequence=True) for number in range(3)]
    plain = await zk.create("/plain", b"1")
    stat = await zk.set("/plain", b"22", 0, lost_reply="once")
    assert (plain.stat.version, stat.version, stat.czxid, stat.data_length) == (0, 1, plain.stat.czxid, 2)
    assert (await zk.set("/plain", b"3", lost_reply="once")).version == 2
    await zk.create("/gone")
    await zk.delete("/gone", lost_reply="once")
    async with zk.transaction(lost_reply="once") as t:
        t.create("/q/t-", sequence=True).create("/q/t-", sequence=True).set("/plain", b"4", 2).set("/plain", b"5", 3)
        t.create("/t", ephemeral=True).check("/q")
    first, second, fourth, fifth, path, checked = t.results
    assert (first, second, path, checked) == ("/q/t-0000000003", "/q/t-0000000004", "/t", None)
    assert isinstance(fourth, zabpy.Stat) and isinstance(fifth, zabpy.Stat)
    assert (fourth.version, fifth.version) == (3, 4) and fifth == await zk.exists("/plain")
    names = await zk.children("/q")
    assert [one.path for one in made] == [f"/q/n-{number:010}" for number in range(3)]
    assert sorted(names) == [*(f"n-{number:010}" for number in range(3)), "t-0000000003", "t-0000000004"]
    for number, one in enumerate(made):
        assert await zk.get(one.path) == (b"%d" % number, one.stat)
    assert await zk.exists("/gone") is None and (await zk.get("/plain")).data == b"5"
    with pytest.raises(zabpy.NodeExistsError):
        await zk.create("/plain")
    with pytest.raises(zabpy.BadVersionError):
        await zk.set("/plain", b"", 0, lost_reply="once")
    with pytest.raises(zabpy.NoNodeError):
        await zk.delete("/gone", lost_reply="once")
    with pytest.raises(zabpy.TransactionFailedError) as error:
        await zk.transaction(lost_reply="once").check("/q").check("/gone").commit()
    assert error.value.index == 1


@pytest.mark.parametrize("direction", ["sent", "received"])
@pytest.mark.parametrize("first", range(0, 3600, 59))
async def test_everything_is_done_once_wherever_the_connection_breaks(
    direction: str, first: int, autojump_clock: MockClock
) -> None:
    async with ensemble(servers=1, tick_ms=100) as servers:
        async with zabpy.connect(servers.hosts, dial=servers.dial("maker")) as zk:
            await zk.create("/q")
        dial = servers.dial("client1")
        # The first connection ends there, the second soon after it has begun to find out what became of that.
        limits = [first, 60 + first % 410, 60 + first % 333]

        async def dialled(host: str, port: int) -> anyio.abc.ByteStream:
            if limits:
                dial.break_after(**{f"{direction}_bytes": limits.pop(0)})
            return await dial(host, port)

        async with zabpy.connect(servers.hosts, dial=dialled) as zk:
            await everything_once(zk)


@pytest.mark.parametrize("seed", range(6))
async def test_of_two_that_create_one_path_exactly_one_succeeds(seed: int, autojump_clock: MockClock) -> None:
    rng = Random(seed)
    async with ensemble(servers=3, tick_ms=200, seed=seed) as servers:
        dials = [servers.dial(f"client{number}") for number in range(2)]
        made: list[tuple[int, str]] = []
        given_up: list[zabpy.ConnectionLossError] = []
        over = False

        async def hurt() -> None:
            while not over:
                await anyio.sleep(rng.random() * 0.05)
                rng.choice(dials).break_now()

        async def race(number: int, zk: zabpy.Client, path: str) -> None:
            try:
                await zk.create(path, b"%d" % number, ephemeral=rng.random() < 0.5)
                made.append((number, path))
            except zabpy.NodeExistsError:
                pass
            except zabpy.ConnectionLossError as error:
                given_up.append(error)

        async with anyio.create_task_group() as tasks:
            clients = [zabpy.connect(servers.hosts, dial=dial) for dial in dials]
            async with clients[0] as one, clients[1] as two:
                tasks.start_soon(hurt)
                async with anyio.create_task_group() as racers:
                    for turn in range(60):
                        for number, zk in enumerate((one, two)):
                            for _ in range(2):
                                racers.start_soon(race, number, zk, f"/race-{turn}")
                over = True
                assert all("was not done" in error.__notes__[0] for error in given_up)
                assert sorted(path for _, path in made) == sorted(f"/race-{turn}" for turn in range(60))
                for number, path in made:
                    assert (await one.get(path)).data == b"%d" % number


@pytest.mark.parametrize("seed", range(6))
async def test_what_a_server_still_has_in_hand_is_not_done_afterwards(seed: int, autojump_clock: MockClock) -> None:
    """The client moves on while the server it was at cannot reach the others; and then it can again."""
    rng = Random(seed)
    async with ensemble(servers=3, tick_ms=200, seed=seed) as servers:
        dial = servers.dial("client1")
        async with zabpy.connect(servers.hosts, dial=dial, session_timeout_ms=20_000) as zk:
            await zk.create("/q")
            for turn in range(8):
                at = int(dial.streams[-1].remote[0][1:])
                others = [id for id in servers.configs if id != at]
                for other in others:
                    servers.cut(at, other)
                names: list[str] = []

                async def create(names: list[str]) -> None:
                    names.append((await zk.create("/q/n-", sequence=True)).path)

                async with anyio.create_task_group() as tasks:
                    for _ in range(5):
                        tasks.start_soon(create, names)
                    await anyio.sleep(rng.random() * 0.5)
                    dial.break_now()
                    await anyio.sleep(rng.random() * 0.5)
                    servers.heal()
                await anyio.sleep(1)
                there = sorted(await zk.children("/q"))
                assert len(there) == 5 * (turn + 1) and {name[3:] for name in names} <= set(there)


async def test_a_session_that_ends_meanwhile_leaves_the_outcome_unknown(autojump_clock: MockClock) -> None:
    async with ensemble(servers=1, tick_ms=100) as servers:
        dial = servers.dial("client1")
        async with zabpy.connect(servers.hosts, dial=dial, session_timeout_ms=2_000) as zk:
            await zk.create("/a")
            dial.streams[-1].received_bytes_max = dial.streams[-1].received_bytes + 5

            async with anyio.create_task_group() as tasks:

                async def create() -> None:
                    with pytest.raises(zabpy.SessionLostError):
                        await zk.create("/b")

                tasks.start_soon(create)
                await anyio.sleep(0.005)
                servers.lose(1, "client1")
                await anyio.sleep(5)
                servers.heal()
            assert (await zk.create("/c")).path == "/c"


async def test_where_no_mark_may_be_made_a_lost_answer_is_an_error(autojump_clock: MockClock) -> None:
    async with ensemble(servers=1, tick_ms=100) as servers:
        async with zabpy.connect(servers.hosts, dial=servers.dial("admin")) as admin:
            await admin.add_auth("digest", "super:test")
            await admin.set_acl("/zookeeper", [Acl(READ | WRITE, "world", "anyone")])
        dial = servers.dial("client1")
        async with zabpy.connect(servers.hosts, dial=dial) as zk:
            made = await zk.create("/a", b"1")
            assert await zk.get("/a") == (b"1", made.stat) and set(await zk.children("/zookeeper")) == {
                "config",
                "quota",
            }
            dial.streams[-1].received_bytes_max = dial.streams[-1].received_bytes + 5
            with pytest.raises(zabpy.ConnectionLossError):
                await zk.create("/b")
        dial.break_after(received_bytes=60)
        async with zabpy.connect(servers.hosts, dial=dial) as zk:  # and one that has not found that out yet
            assert (await zk.create("/c")).path == "/c"  # it was the mark's place that was not answered


async def test_many_writes_share_few_marks_and_cancelled_ones_leave_none_behind(autojump_clock: MockClock) -> None:
    async with ensemble(servers=1, tick_ms=100) as servers:
        async with zabpy.connect(servers.hosts, dial=servers.dial("client1")) as zk:
            async with anyio.create_task_group() as tasks:
                for number in range(3 * SLOTS_MAX):
                    tasks.start_soon(zk.create, f"/{number}")
            assert len(await zk.children("/zookeeper")) == 2 + SLOTS_MAX
            for number in range(200):
                with anyio.move_on_after(0.001):
                    await zk.create(f"/c-{number}")
            assert len(await zk.children("/zookeeper")) == 2 + SLOTS_MAX
            assert (await zk.create("/after")).path == "/after"
            found = await zk.children("/")
            assert len([name for name in found if name.isdigit()]) == 3 * SLOTS_MAX


async def test_each_slot_that_is_given_back_wakes_one(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All who wait would be as many as the square of the writes."""
    wakes = 0
    end = Turn.end

    def counted(turn: Turn, slot: Slot | None) -> None:
        nonlocal wakes
        wakes += 1
        end(turn, slot)

    monkeypatch.setattr(Turn, "end", counted)
    async with ensemble(servers=1, tick_ms=100) as servers:
        async with zabpy.connect(servers.hosts, dial=servers.dial("client1")) as zk:
            async with anyio.create_task_group() as tasks:
                for number in range(4 * SLOTS_MAX):
                    tasks.start_soon(zk.create, f"/{number}")
            assert wakes == 3 * SLOTS_MAX


@pytest.mark.parametrize("seed", range(4))
async def test_who_waits_for_a_slot_gets_one_whoever_gives_up_and_whatever_becomes_of_the_session(
    seed: int, autojump_clock: MockClock
) -> None:
    rng = Random(seed)
    async with ensemble(servers=1, tick_ms=100) as servers:
        dial = servers.dial("client1")
        async with zabpy.connect(servers.hosts, dial=dial, session_timeout_ms=2_000) as zk:

            async def create(number: int) -> None:
                with anyio.move_on_after(rng.choice([0.001, 0.003, 100])):
                    try:
                        await zk.create(f"/{number}")
                    except zabpy.SessionLostError:
                        pass

            async with anyio.create_task_group() as tasks:
                for number in range(5 * SLOTS_MAX):
                    tasks.start_soon(create, number)
                await anyio.sleep(rng.random() * 0.004)
                servers.lose(1, "client1")
                await anyio.sleep(5)
                servers.heal()
            async with anyio.create_task_group() as tasks:
                for number in range(2 * SLOTS_MAX):
                    tasks.start_soon(zk.create, f"/after-{number}")
            slots = [name for name in await zk.children("/zookeeper") if name.startswith("zabpy-")]
            assert len(slots) <= SLOTS_MAX + 1


@pytest.mark.parametrize("direction", ["sent", "received"])
@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("bytes_max", range(5, 400, 45))
async def test_somebody_who_deletes_a_slot_does_not_make_a_write_done_twice(
    direction: str, used: bool, bytes_max: int, autojump_clock: MockClock
) -> None:
    """What was done and cannot be found out any more is a lost answer, whether the slot is new or not."""
    async with ensemble(servers=1, tick_ms=100) as servers:
        async with zabpy.connect(servers.hosts, dial=servers.dial("admin")) as admin:
            dial = servers.dial("client1")
            async with zabpy.connect(servers.hosts, dial=dial, session_timeout_ms=20_000) as zk:
                await admin.create("/q")
                if used:
                    await zk.create("/used")
                stream = dial.streams[-1]
                if direction == "sent":
                    stream.sent_bytes_max = stream.sent_bytes + bytes_max
                else:
                    stream.received_bytes_max = stream.received_bytes + bytes_max
                over = False

                async def delete_slots() -> None:
                    while not over:
                        for name in await admin.children("/zookeeper"):
                            if name.startswith("zabpy-"):
                                try:
                                    await admin.delete(f"/zookeeper/{name}")
                                except zabpy.NoNodeError:
                                    pass
                        await anyio.sleep(0.002)

                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(delete_slots)
                    made = 1
                    try:
                        await zk.create("/q/n-", sequence=True)
                    except zabpy.ConnectionLossError:
                        made = 0
                    over = True
                assert made <= len(await admin.children("/q")) <= 1


async def test_a_server_that_is_read_only_takes_no_mark_and_a_full_one_does_afterwards(
    autojump_clock: MockClock,
) -> None:
    async with ensemble(config={"read_only_mode": True}) as servers:
        await cut_off(servers, 3)
        only(servers, "client1", 3, alone=3)
        async with zabpy.connect(servers.hosts, dial=servers.dial("client1"), read_only=True) as zk:
            for number in range(2):
                with pytest.raises(zabpy.NotReadOnlyError) as error:
                    await zk.create(f"/{number}")
                assert (error.value.operation, error.value.path) == ("create", f"/{number}")
            servers.heal()
            async with zk.states() as states:
                async for state in states:
                    if state is zabpy.State.CONNECTED:
                        break
            assert (await zk.create("/0")).path == "/0"
            assert any(name.startswith("zabpy-") for name in await zk.children("/zookeeper"))
