"""Elections when connections break, sessions end and clients are cut off. In memory, judged by one who sees all."""

from random import Random

import pytest
import trio
from trio.testing import MockClock

from zabpy.recipes import Candidate, LeadershipLost, Term
from zabpy.recipes.candidates import in_order
from zabpy.recipes.client import Client

from .killing import until
from .memory import World, world


class Judge:
    """Complains when two lead at a time, or a token does not grow."""

    def __init__(self) -> None:
        self.leading: str | None = None
        self.token = 0
        self.terms: list[str] = []

    async def serve(self, who: str, term: Term) -> None:
        assert self.leading is None, f"{who} leads, and {self.leading} does"
        assert term.token > self.token, f"{who} has token {term.token} after {self.token}"
        term.check()
        self.leading, self.token = who, term.token
        self.terms.append(who)
        try:
            await trio.sleep_forever()
        finally:
            self.leading = None


async def stand(zk: Client, judge: Judge, who: str) -> None:
    async with zk.election("/e", data=who.encode()) as election:
        async for term in election.terms(stand_again=True):
            async with term:
                await judge.serve(who, term)


async def stand_alone(w: World, judge: Judge, who: str) -> None:
    async with w.client(who) as zk:
        await stand(zk, judge, who)


async def test_a_leader_that_reaches_nobody_stops_by_its_own_clock_before_another_leads(
    autojump_clock: MockClock,
) -> None:
    judge = Judge()
    async with world() as w, trio.open_nursery() as nursery:
        nursery.start_soon(stand_alone, w, judge, "a")
        await until(lambda: judge.leading == "a")
        nursery.start_soon(stand_alone, w, judge, "b")
        await trio.sleep(3)
        cut_at = trio.current_time()
        w.isolate("a")
        await until(lambda: judge.leading is None)
        assert trio.current_time() - cut_at <= 6.0, "its session's time"
        await until(lambda: judge.leading == "b")
        w.isolate("b")
        await until(lambda: judge.leading is None)
        w.heal()
        await until(lambda: judge.leading is not None)
        assert judge.terms[:2] == ["a", "b"]
        nursery.cancel_scope.cancel()


async def test_a_leader_stops_when_all_servers_are_gone(autojump_clock: MockClock) -> None:
    judge = Judge()
    async with world() as w, trio.open_nursery() as nursery:
        nursery.start_soon(stand_alone, w, judge, "a")
        await until(lambda: judge.leading == "a")
        gone_at = trio.current_time()
        for id in (1, 2, 3):
            w.servers.crash(id)
        await until(lambda: judge.leading is None)
        assert trio.current_time() - gone_at <= 6.0
        await trio.sleep(60)
        assert judge.terms == ["a"]
        for id in (1, 2, 3):
            await w.servers.start(id)
        await until(lambda: judge.leading == "a")
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("direction", "step"), [("sent_bytes", 9), ("received_bytes", 29)])
async def test_wherever_a_connection_breaks_one_leads_and_nothing_is_left(
    direction: str, step: int, autojump_clock: MockClock
) -> None:
    """Two candidates; the connection of the one breaks after so many bytes from where it stands."""
    ends: set[bool] = set()
    async with world(servers=1, delay_us_max=0) as w, w.client("b") as other, w.client("look") as look:
        for count in range(0, 60 * step, step):
            async with w.client("a") as zk:
                stream = w.dials["a"].streams[-1]
                setattr(stream, f"{direction}_max", getattr(stream, direction) + count)
                await _each_leads_once(zk, other)
            await trio.sleep(0.1)
            assert await look.children("/e") == []
            ends.add(stream.broken)
    assert ends == {True, False}


async def _each_leads_once(a: Client, b: Client) -> None:
    judge = Judge()
    scopes = {"a": trio.CancelScope(), "b": trio.CancelScope()}

    async def part(zk: Client, who: str) -> None:
        with scopes[who]:
            await stand(zk, judge, who)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(part, b, "b")
        nursery.start_soon(part, a, "a")
        await until(lambda: judge.leading)
        first = judge.leading
        assert first is not None
        await trio.sleep(0.5)
        scopes[first].cancel()
        await until(lambda: judge.leading not in (None, first))
        nursery.cancel_scope.cancel()


async def test_who_gives_up_waiting_leaves_nothing_whenever_that_is(autojump_clock: MockClock) -> None:
    async with world(delay_us_max=5_000) as w, w.client("a") as zk, w.client("b") as other, w.client("look") as look:
        async with other.election("/e") as leads:
            async for term in leads.terms():
                async with term:
                    for delay_ms in range(0, 80, 2):
                        with trio.move_on_after(delay_ms / 1000):
                            async with zk.election("/e") as election:
                                async for _ in election.terms():
                                    raise AssertionError("another one leads")
                        await trio.sleep(0.5)
                        await look.sync()
                        assert await look.children("/e") == [term.path.rpartition("/")[2]]
                break
            await look.sync()
            assert await look.children("/e") == []


@pytest.mark.parametrize("seed", range(5))
async def test_whatever_happens_one_leads_at_a_time_and_in_the_end_one_does(
    seed: int, autojump_clock: MockClock
) -> None:
    rng, judge = Random(seed), Judge()
    async with world(seed=seed) as w, trio.open_nursery() as nursery:
        for who in "abcd":
            nursery.start_soon(stand_alone, w, judge, who)
        await until(lambda: judge.leading)
        for _ in range(25):
            who = rng.choice([judge.leading or "a", rng.choice("abcd")])
            match rng.choice(["break", "isolate", "heal", "late", "restart", "cut"]):
                case "break":
                    w.dials[who].break_now()
                case "isolate":
                    w.isolate(who)
                case "heal":
                    w.heal()
                case "late":
                    w.servers.lose(rng.choice([1, 2, 3]), who)
                case "restart":
                    id = rng.choice([1, 2, 3])
                    w.servers.crash(id)
                    await trio.sleep(rng.random() * 3)
                    await w.servers.start(id)
                case "cut":
                    w.servers.cut(1, rng.choice([2, 3]))
            await trio.sleep(rng.random() * 8)
        w.heal()
        before = len(judge.terms)
        await until(lambda: judge.leading)
        for _ in range(4):
            leader, terms = judge.leading, len(judge.terms)
            assert leader is not None
            w.isolate(leader)
            await until(lambda terms=terms: len(judge.terms) > terms)  # type: ignore[misc]
            w.heal()
        assert len(judge.terms) >= before + 4
        nursery.cancel_scope.cancel()


async def test_observers_send_nothing_when_candidates_come_and_go_and_little_when_the_leader_does(
    autojump_clock: MockClock,
) -> None:
    async with world(servers=1, delay_us_max=0) as w, w.client("look") as look, w.client("a") as zk:
        told: list[Candidate | None] = []
        stream, before = w.dials["look"].streams[-1], 0
        async with trio.open_nursery() as nursery, w.client("c") as crowd:

            async def listen() -> None:
                async with look.observe("/e") as leaders:
                    async for leader in leaders:
                        told.append(leader)

            async def stand_for(ms: int) -> None:
                with trio.move_on_after(ms / 1000):
                    async with crowd.election("/e", data=b"crowd") as election:
                        async for term in election.terms():
                            async with term:
                                await trio.sleep_forever()

            nursery.start_soon(listen)
            await until(lambda: told == [None])
            async with zk.election("/e", data=b"a") as election:
                async for term in election.terms():
                    async with term:
                        await until(lambda: len(told) == 2)
                        before = stream.sent_bytes
                        async with trio.open_nursery() as some:
                            for i in range(50):
                                some.start_soon(stand_for, 500 + 20 * i)
                        assert stream.sent_bytes - before < 100, "nothing but a ping or two"
                        nursery.start_soon(stand_for, 60_000)
                        await trio.sleep(1)
                        before = stream.sent_bytes
                    break
                await until(lambda: len(told) == 3)
                assert [each and each.data for each in told] == [None, b"a", b"crowd"]
                assert stream.sent_bytes - before < 300, "a list of children, and a read of the first"
            nursery.cancel_scope.cancel()


async def test_observers_say_when_they_cannot_be_told_and_go_on_afterwards(autojump_clock: MockClock) -> None:
    judge = Judge()
    async with world() as w, w.client("look") as look, trio.open_nursery() as nursery:
        async with look.observe("/e") as leaders:
            assert await anext(leaders) is None
            nursery.start_soon(stand_alone, w, judge, "a")
            leader = await anext(leaders)
            assert leader is not None
            assert (leader.data, leaders.stale) == (b"a", False)
            lost = look.session
            w.isolate("look")
            await look.wait_lost(lost)
            assert (leaders.leader, leaders.stale) == (leader, True)
            nursery.start_soon(stand_alone, w, judge, "b")
            w.isolate("a")
            await until(lambda: judge.leading == "b")
            w.heal()
            leader = await anext(leaders)
            assert leader is not None and leader.data == b"b"
        nursery.cancel_scope.cancel()


async def test_who_stands_waits_for_servers_for_as_long_as_it_takes(autojump_clock: MockClock) -> None:
    judge = Judge()
    async with world(servers=1) as w, trio.open_nursery() as nursery, w.client("a", request_timeout_ms=1_000) as zk:
        scope = trio.CancelScope()

        async def lead() -> None:
            with scope:
                await stand_alone(w, judge, "b")

        nursery.start_soon(lead)
        await until(lambda: judge.leading == "b")
        nursery.start_soon(stand, zk, judge, "a")
        await trio.sleep(3)
        w.servers.crash(1)
        await trio.sleep(60)
        scope.cancel()
        await w.servers.start(1)
        await until(lambda: judge.leading == "a")
        nursery.cancel_scope.cancel()


async def test_a_body_that_does_not_let_itself_be_cancelled_is_told_at_the_end(autojump_clock: MockClock) -> None:
    async with world() as w, w.client("a") as zk:
        async with zk.election("/e") as election:
            async for term in election.terms():
                with pytest.raises(LeadershipLost):
                    async with term:
                        w.isolate("a")
                        with trio.CancelScope(shield=True):
                            await trio.sleep(30)
                break


def test_candidates_are_in_order_also_where_their_numbers_go_round() -> None:
    def name(number: int) -> str:
        return f"{'0' * 32}__lock__{number:010d}"

    numbers = [2147483646, 2147483647, -2147483648, -2147483647]
    names = [name(number) for number in numbers]
    assert in_order([*reversed(names), "other", "lost+found-1"]) == names
    assert in_order([name(3), name(-1), name(0)]) == [name(-1), name(0), name(3)]
    assert in_order(["x"]) == []
