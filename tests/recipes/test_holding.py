"""What comes out of a body that relied on something which is lost, whichever way the body takes it."""

from collections.abc import Callable

import anyio
import pytest
import trio
from trio.testing import MockClock

import zabpy
from tests.client.conftest import Story
from tests.recipes.killing import until
from zabpy.client import Session
from zabpy.recipes.errors import LockLost, LostError
from zabpy.recipes.holding import Holding

WHAT = "the thing /x"


class Clock:
    ms = 0

    def now_ms(self) -> int:
        return self.ms


class Held(Holding):
    """One whose giving up takes long, or fails, as a test likes."""

    given_up = 0
    give_up_seconds = 0.0
    failure: zabpy.ZabpyError | None = None

    async def _give_up(self) -> None:
        self.given_up += 1
        await anyio.sleep(self.give_up_seconds)
        if self.failure is not None:
            raise self.failure


def held(timeout_ms: int = 10_000) -> tuple[Held, Session, Clock]:
    clock = Clock()
    session = Session(7, b"", timeout_ms, timeout_ms, clock.now_ms)
    return Held(None, session, WHAT), session, clock  # type: ignore[arg-type]


def test_a_body_that_waits_is_cancelled_and_then_the_loss_is_raised(on_both: Callable[[Story], None]) -> None:
    async def story() -> None:
        it, session, _ = held()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_lose_soon, session)
            with pytest.raises(LockLost, match="the thing /x: gone") as raised:
                async with it:
                    await anyio.sleep_forever()
        assert raised.value.reason == "gone"
        assert raised.value.session_id == 7
        assert it.lost and not it.given_up

    on_both(story)


async def _lose_soon(session: Session) -> None:
    await anyio.sleep(0.01)
    session.lose("gone")


def test_a_body_that_swallows_its_cancellation_or_just_ends_is_told_as_well(on_both: Callable[[Story], None]) -> None:
    async def story() -> None:
        for wait in (True, False):
            it, session, _ = held()
            with pytest.raises(LockLost):
                async with it:
                    session.lose("gone")
                    if wait:
                        try:
                            await anyio.sleep(1)
                        except BaseException:  # the worst of bodies
                            pass

    on_both(story)


@pytest.mark.parametrize(
    "error", [zabpy.SessionLostError("x"), zabpy.ConnectionLossError("x"), zabpy.NoServerError("x")]
)
def test_an_error_of_ours_that_the_loss_has_caused_is_the_cause(
    error: Exception, on_both: Callable[[Story], None]
) -> None:
    async def story() -> None:
        it, session, _ = held()
        with pytest.raises(LockLost) as raised:
            async with it:
                session.lose("gone")
                raise error
        assert raised.value.__cause__ is error

    on_both(story)


def test_a_group_of_nothing_but_consequences_is_one_too(on_both: Callable[[Story], None]) -> None:
    async def story() -> None:
        it, session, _ = held()

        async def fail() -> None:
            raise zabpy.SessionLostError("x")

        with pytest.raises(LockLost) as raised:
            async with it:
                async with anyio.create_task_group() as tasks:
                    session.lose("gone")
                    tasks.start_soon(anyio.sleep_forever)
                    with anyio.CancelScope(shield=True):
                        await fail()
        assert isinstance(raised.value.__cause__, BaseExceptionGroup)

    on_both(story)


def test_any_other_exception_passes_with_a_note(on_both: Callable[[Story], None]) -> None:
    async def story() -> None:
        it, session, _ = held()
        error = ValueError("mine")
        with pytest.raises(ValueError) as raised:
            async with it:
                session.lose("gone")
                raise error
        assert raised.value is error
        assert error.__notes__ == ["the thing /x was lost meanwhile: gone"]

        it, session, _ = held()
        with pytest.raises(ExceptionGroup) as group:
            async with it:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(anyio.sleep_forever)
                    session.lose("gone")
                    raise ValueError("mine")
        assert [type(each) for each in group.value.exceptions] == [ValueError]
        assert group.value.__notes__

    on_both(story)


def test_a_cancellation_from_further_out_stays_one(on_both: Callable[[Story], None]) -> None:
    async def story() -> None:
        for lost in (False, True):
            it, session, _ = held()
            with anyio.CancelScope() as scope:
                async with it:
                    scope.cancel()
                    if lost:
                        session.lose("gone")
                    await anyio.sleep(1)
                raise AssertionError
            assert scope.cancelled_caught
            assert it.given_up == (not lost)

    on_both(story)


def test_of_two_the_outer_one_tells(on_both: Callable[[Story], None]) -> None:
    async def story() -> None:
        outer, session, _ = held()
        inner = Held(None, session, "the inner thing")  # type: ignore[arg-type]
        with pytest.raises(LockLost, match="the thing /x"):
            async with outer, inner:
                session.lose("gone")
                await anyio.sleep(1)

    on_both(story)


def test_nothing_is_raised_where_nothing_is_lost(on_both: Callable[[Story], None]) -> None:
    async def story() -> None:
        it, session, _ = held()
        async with it as same:
            assert same is it
            it.check()
        assert it.given_up == 1 and not it.lost
        session.lose("gone")
        assert not it.lost  # it had been released before
        with pytest.raises(LockLost, match="it was released"):
            it.check()
        with pytest.raises(LockLost, match="it was released"):
            await it.wait_lost()
        await it.release()
        assert it.given_up == 1

        error = ValueError()
        it, _, _ = held()
        with pytest.raises(ValueError) as raised:
            async with it:
                raise error
        assert raised.value is error and not hasattr(error, "__notes__")
        assert it.given_up == 1

    on_both(story)


def test_the_clock_tells_even_if_no_task_has_come_to_look(on_both: Callable[[Story], None]) -> None:
    async def story() -> None:
        it, _, clock = held(timeout_ms=100)
        with pytest.raises(LockLost, match="not heard of for 100 ms"):
            async with it:
                clock.ms = 99
                it.check()
                assert not it.lost
                clock.ms = 100
                it.check()
        it, _, clock = held(timeout_ms=100)
        with pytest.raises(LockLost, match="not heard of"):
            async with it:
                clock.ms = 100
        assert not it.given_up
        with pytest.raises(LockLost):
            await it.__aenter__()

    on_both(story)


def test_who_waits_for_the_loss_is_told_and_so_are_callbacks(on_both: Callable[[Story], None]) -> None:
    async def story() -> None:
        it, session, _ = held()
        called: list[str] = []
        undo = it.on_lost(lambda: called.append("undone"))
        it.on_lost(lambda: called.append("once"))
        undo()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_lose_soon, session)
            assert await it.wait_lost() == "gone"
        assert called == ["once"]
        it.on_lost(lambda: called.append("late"))
        assert called == ["once", "late"]
        it.lose("again")
        assert it.reason == "gone"

    on_both(story)


def test_it_is_entered_once(on_both: Callable[[Story], None]) -> None:
    async def story() -> None:
        it, _, _ = held()
        async with it:
            with pytest.raises(RuntimeError, match="entered once"):
                await it.__aenter__()

    on_both(story)


async def test_the_end_does_not_wait_for_ever_for_the_release(autojump_clock: MockClock) -> None:
    it, _, _ = held()
    it.give_up_seconds = 1e9
    began = trio.current_time()
    async with it:
        pass
    assert trio.current_time() - began == 2


def test_a_release_that_fails_is_not_silent_and_hides_nothing(on_both: Callable[[Story], None]) -> None:
    async def story() -> None:
        it, _, _ = held()
        it.failure = zabpy.NoAuthError()
        with pytest.raises(zabpy.NoAuthError):
            async with it:
                pass
        it, _, _ = held()
        it.failure = zabpy.NoAuthError()
        with pytest.raises(ValueError, match="mine") as raised:
            async with it:
                raise ValueError("mine")
        assert raised.value.__notes__[0].startswith("the thing /x could not be released")

    on_both(story)


def test_its_znode_is_watched(on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk, zabpy.connect(hosts) as other:
            seen: list[bytes] = []

            class Watched(Held):
                async def _changed(self, data: bytes) -> None:
                    seen.append(data)

            await zk.create("/x", b"1", ephemeral=True)
            it = Watched(zk, zk.session, WHAT)
            it.guard("/x", (await zk.get_watched("/x"))[2])
            with pytest.raises(LostError, match="its znode /x was deleted"):
                async with it:
                    await other.set("/x", b"2")
                    await until(lambda: seen)
                    await other.delete("/x")
                    await anyio.sleep_forever()
            assert seen == [b"2"]

            # One that was given up does not care.
            await zk.create("/x", b"1", ephemeral=True)
            it = Watched(zk, zk.session, WHAT)
            it.guard("/x", (await zk.get_watched("/x"))[2])
            async with it:
                pass
            await other.delete("/x")
            assert not it.lost

    on_both(story)
