"""Service discovery under trio and asyncio, and through outages in memory."""

import json
from collections.abc import Callable

import anyio
import pytest
from trio.testing import MockClock

import zabpy
from tests.client.conftest import Story
from zabpy.recipes import DownPolicy, NoInstanceError, ServiceInstance

from .killing import until
from .memory import world

OnBoth = Callable[[Story], None]
ONE, TWO, THREE = (ServiceInstance("api", str(i), "127.0.0.1", 8000 + i, payload={"i": i}) for i in (1, 2, 3))


def test_instances_that_register_are_found_and_chosen_in_turn(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk, zabpy.connect(hosts) as other:
            async with other.service("/services", "api") as api:
                assert list(api.instances) == []
                with pytest.raises(NoInstanceError, match="no instance of api below /services/api") as raised:
                    api.choose()
                assert raised.value.retry_ms is None
                async with zk.registered_service("/services", ONE), zk.registered_service("/services", TWO):
                    await until(lambda: len(api.instances) == 2)
                    assert list(api.instances) == [ONE, TWO]
                    assert {api.choose(), api.choose()} == {ONE, TWO}
                    found = await zk.get("/services/api/1")
                    assert json.loads(found.data)["registrationTimeUTC"] == 0
                await until(lambda: not api.instances)

    on_both(story)


def test_an_instance_tells_something_else_and_may_not_be_chosen_for_a_while(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk, zk.service("/services", "api") as api:
            async with zk.registered_service("/services", ONE) as here:
                assert await api.wait_instance() == ONE
                off = ServiceInstance("api", "1", enabled=False)
                await here.update(off)
                await until(lambda: api.instances == (off,))
                with pytest.raises(NoInstanceError):
                    api.choose()
                with pytest.raises(zabpy.BadArgumentsError, match="cannot become api/2"):
                    await here.update(TWO)

    on_both(story)


def test_a_stream_tells_of_changes_and_what_is_no_instance_is_named_and_never_chosen(
    on_both: OnBoth, hosts: str
) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk, zk.service("/services", "api") as api:
            told: list[tuple[ServiceInstance, ...]] = []

            async def listen() -> None:
                async for instances in api:
                    told.append(instances)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(listen)
                await until(lambda: told == [()])
                async with zk.registered_service("/services", ONE):
                    await until(lambda: told[-1] == (ONE,))
                    await zk.create("/services/api/odd", b"{}")
                    await until(lambda: bool(api.broken))
                    assert "no name" in str(api.broken["odd"])
                    assert {api.choose() for _ in range(5)} == {ONE}
                await until(lambda: told[-1] == ())
                tasks.cancel_scope.cancel()

    on_both(story)


def test_what_cannot_be_is_refused(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            with pytest.raises(zabpy.BadArgumentsError, match="best"):
                zk.service("/services", "api", strategy="best")

    on_both(story)


async def test_those_that_fail_are_left_alone_for_a_while(autojump_clock: MockClock) -> None:
    async with world(servers=1) as w, w.client("a") as zk:
        down = DownPolicy(failures=2, within_ms=10_000, down_ms=1_000, down_ms_max=4_000)
        async with (
            zk.registered_service("/s", ONE),
            zk.registered_service("/s", TWO),
            zk.service("/s", "api", down=down) as api,
        ):
            api.mark_failed(ONE)
            assert {api.choose() for _ in range(4)} == {ONE, TWO}
            with pytest.raises(TimeoutError):
                while True:
                    with api.use() as instance:
                        if instance == ONE:
                            raise TimeoutError
            assert {api.choose() for _ in range(4)} == {TWO}
            api.mark_failed(TWO)
            api.mark_failed(TWO)
            with pytest.raises(NoInstanceError, match="all 2 instances of api have failed") as raised:
                api.choose()
            assert raised.value.retry_ms is not None and 0 < raised.value.retry_ms <= 1_000
            before = anyio.current_time()
            assert await api.wait_instance() == ONE
            assert 0.5 < anyio.current_time() - before < 1.1
            with api.use() as instance:
                pass
            await anyio.sleep(1)
            assert {api.choose() for _ in range(4)} == {ONE, TWO}


async def test_one_that_started_anew_is_not_blamed_for_its_forerunner(autojump_clock: MockClock) -> None:
    async with world(servers=1) as w, w.client("a") as zk, zk.service("/s", "api") as api:
        async with zk.registered_service("/s", ONE):
            await api.wait_instance()
            for _ in range(3):
                api.mark_failed(ONE)
            with pytest.raises(NoInstanceError):
                api.choose()
        async with zk.registered_service("/s", ONE):
            await anyio.sleep(1)  # nobody looks meanwhile
            assert api.choose() == ONE


async def test_least_used_spreads_over_what_is_in_use(autojump_clock: MockClock) -> None:
    async with world(servers=1) as w, w.client("a") as zk:
        async with (
            zk.registered_service("/s", ONE),
            zk.registered_service("/s", TWO),
            zk.registered_service("/s", THREE),
            zk.service("/s", "api", strategy="least_used") as api,
        ):
            await until(lambda: len(api.instances) == 3)
            with api.use() as a, api.use() as b, api.use() as c:
                assert {a.id, b.id, c.id} == {"1", "2", "3"}
                with api.use():
                    pass


async def test_a_view_goes_on_with_what_it_knew_during_an_outage_and_says_so(autojump_clock: MockClock) -> None:
    async with world() as w, w.client("a") as zk, w.client("b") as other, w.client("c") as client:
        async with zk.registered_service("/s", ONE), client.service("/s", "api") as api:
            assert await api.wait_instance() == ONE and not api.stale
            w.isolate("c")
            await until(lambda: api.stale)
            async with other.registered_service("/s", TWO):
                lost = client.session
                await client.wait_lost(lost)
                assert (api.instances, api.choose(), api.stale) == ((ONE,), ONE, True)
                w.heal()
                await until(lambda: not api.stale)
                assert list(api.instances) == [ONE, TWO]


async def test_an_instance_comes_back_after_its_session_is_lost(autojump_clock: MockClock) -> None:
    async with world() as w, w.client("a") as zk, w.client("c") as client:
        async with zk.registered_service("/s", ONE), client.service("/s", "api") as api:
            w.isolate("a")
            await until(lambda: not api.instances)
            w.heal()
            await until(lambda: api.instances == (ONE,))
