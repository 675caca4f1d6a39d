"""Elections under trio and asyncio: what users see of terms, candidates and leaders."""

from collections.abc import Callable

import anyio
import pytest

import zabpy
from tests.client.conftest import Story
from zabpy.recipes import Candidate, LeadershipLost, LockLost, Term

from .killing import kill, until

OnBoth = Callable[[Story], None]


def test_one_leads_at_a_time_each_in_its_turn_with_growing_tokens(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        terms: list[tuple[str, int]] = []
        leading: list[str] = []

        async def stand(zk: zabpy.Client, who: str) -> None:
            async with zk.election("/e", data=who.encode()) as election:
                async for term in election.terms():
                    async with term:
                        assert not leading
                        leading.append(who)
                        term.check()
                        terms.append((who, term.token))
                        await anyio.sleep(0.01)
                        leading.clear()
                    if len(terms) >= 8:
                        break

        async with zabpy.connect(hosts) as a, zabpy.connect(hosts) as b, anyio.create_task_group() as tasks:
            tasks.start_soon(stand, a, "a")
            tasks.start_soon(stand, b, "b")
        whose = "".join(who for who, _ in terms)
        assert "abab" in whose or "baba" in whose, "who has led stands at the end of the queue"
        assert [token for _, token in terms] == sorted({token for _, token in terms})

    on_both(story)


def test_a_lost_term_cancels_the_block_and_is_raised_and_the_loop_goes_on_if_that_is_caught(
    on_both: OnBoth, hosts: str
) -> None:
    async def story() -> None:
        lost: list[LeadershipLost] = []
        async with zabpy.connect(hosts) as zk, zabpy.connect(hosts) as other, zk.election("/e") as election:
            tokens: list[int] = []
            async for term in election.terms():
                tokens.append(term.token)
                if len(tokens) == 3:
                    break
                try:
                    async with term:
                        if len(tokens) == 1:
                            await other.delete(term.path)
                        else:
                            await kill(hosts, zk.session)
                        await anyio.sleep(60)
                except LeadershipLost as loss:
                    lost.append(loss)
                    assert term.lost
            assert "deleted" in lost[0].reason and "session" in lost[1].reason
            assert "the leadership of /e" in str(lost[0])
            with pytest.raises(LeadershipLost):
                async for term in election.terms():
                    async with term:
                        await other.delete(term.path)
                        await anyio.sleep(60)

    on_both(story)


def test_a_loop_that_stands_again_is_not_told(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk, zabpy.connect(hosts) as other, zk.election("/e") as election:
            tokens: list[int] = []
            async for term in election.terms(stand_again=True):
                tokens.append(term.token)
                if len(tokens) == 4:
                    break
                async with term:
                    await other.delete(term.path)
                    if len(tokens) == 1:
                        await anyio.sleep(60)
                    elif len(tokens) == 2:
                        await _wait_lost(term)
                        term.check()
                    else:
                        await _wait_lost(term)
            with pytest.raises(LookupError, match="mine") as raised:
                async for term in election.terms(stand_again=True):
                    async with term:
                        await other.delete(term.path)
                        await _wait_lost(term)
                        raise LookupError("mine")
            assert "was lost meanwhile" in raised.value.__notes__[0]

    on_both(story)


async def _wait_lost(term: Term) -> None:
    """As the body may see it when it is not, or cannot be, cancelled: by asking."""
    with anyio.CancelScope(shield=True):
        await until(lambda: term.lost)


def test_who_resigns_ends_its_block_and_nothing_else(on_both: OnBoth, hosts: str) -> None:
    ends: list[str] = []  # a cancellation that went on from the block would end in the client's end

    async def story() -> None:
        async with zabpy.connect(hosts) as zk, zk.election("/e") as election:
            terms = election.terms()
            term = await anext(terms)
            async with term:
                term.resign()
                await anyio.sleep(60)
            assert not term.lost
            with pytest.raises(LeadershipLost, match="released"):
                term.check()
            assert await election.leader() is None
            term = await anext(terms)
            term.resign()
            async with term:
                await anyio.sleep(60)
            term = await anext(terms)
            assert (await election.leader() or term).token == term.token
            with pytest.raises(KeyError):
                async with term:
                    raise KeyError
            assert await election.leader() is None
            ends.append("as it should")

    on_both(story)
    assert ends


def test_who_withdraws_leaves_the_queue_or_the_term_and_its_loop_ends(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk, zabpy.connect(hosts) as other:
            ended: list[str] = []

            async with zk.election("/e", data=b"a") as a, other.election("/e", data=b"b") as b:

                async def stand(election: zabpy.recipes.Election, who: str) -> None:
                    async for term in election.terms():
                        async with term:
                            await anyio.sleep(60)
                    ended.append(who)

                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(stand, a, "a")
                    await _wait_candidates(a, 1)
                    tasks.start_soon(stand, b, "b")
                    await _wait_candidates(a, 2)
                    assert [each.data for each in await b.candidates()] == [b"a", b"b"]
                    b.withdraw()
                    await until(lambda: ended == ["b"])
                    await _wait_candidates(a, 1)
                    a.withdraw()
                    await until(lambda: ended == ["b", "a"])
                assert await a.candidates() == []

    on_both(story)


async def _wait_candidates(election: zabpy.recipes.Election, count: int) -> None:
    while len(await election.candidates()) != count:  # noqa: ASYNC110
        await anyio.sleep(0.01)


def test_run_returns_what_a_term_that_was_not_lost_returned(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk, zabpy.connect(hosts) as other, zk.election("/e") as election:
            tokens: list[int] = []

            async def serve(term: Term) -> str:
                tokens.append(term.token)
                if len(tokens) < 3:
                    await other.delete(term.path)
                    await anyio.sleep(60)
                return "done"

            assert await election.run(serve) == "done"
            assert len(tokens) == 3

            async def fail(term: Term) -> None:
                raise LockLost("the lock /of/its/own", "some reason")

            with pytest.raises(LockLost, match="/of/its/own"):
                await election.run(fail)
            election.withdraw()
            with pytest.raises(LeadershipLost, match="withdrawn"):
                await election.run(serve)

    on_both(story)


def test_a_term_that_nobody_enters_is_given_up_and_one_that_goes_on_is_not(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            async with zk.election("/e") as election:
                terms = election.terms()
                first = await anext(terms)
                second = await anext(terms)
                assert second.token > first.token
                with pytest.raises(LeadershipLost):
                    async with first:
                        pass
                async with second:
                    with pytest.raises(RuntimeError, match="still going on"):
                        await anext(terms)
                    second.check()
                await anext(terms)
            assert await zk.children("/e") == []

    on_both(story)


def test_observers_are_told_who_leads_and_what_it_says_of_itself(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk, zabpy.connect(hosts) as other, zk.observe("/e") as leaders:
            told: list[Candidate | None] = []

            async def listen() -> None:
                async for leader in leaders:
                    told.append(leader)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(listen)
                await until(lambda: told == [None])
                async with other.election("/e", data=b"one") as election:
                    async for term in election.terms():
                        async with term:
                            await until(lambda: len(told) == 2)
                            assert told[1] == Candidate(term.path, b"one", other.session.id, term.token)
                            await other.set(term.path, b"two")
                            await until(lambda: len(told) == 3)
                            assert told[2] == Candidate(term.path, b"two", other.session.id, term.token)
                            session = zk.session
                            await kill(hosts, session)
                            await zk.wait_lost(session)
                        await until(lambda: len(told) == 4)
                        break
                assert told[3] is None
                tasks.cancel_scope.cancel()

    on_both(story)


def test_what_cannot_be_is_refused_at_once(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            with pytest.raises(zabpy.BadArgumentsError):
                zk.election("no-slash")
            with pytest.raises(zabpy.BadArgumentsError):
                zk.observe("no-slash")
            with pytest.raises(zabpy.BadArgumentsError, match="nonsense"):
                zk.election("/e", layout="nonsense")  # type: ignore[arg-type]
        with pytest.raises(zabpy.ClosedClientError):
            async for _ in zk.election("/e").terms():
                pass

    on_both(story)


def test_who_gives_up_waiting_for_the_next_leader_may_ask_again(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk, zabpy.connect(hosts) as other, zk.observe("/e") as leaders:
            assert await anext(leaders) is None
            with anyio.move_on_after(0.01) as scope:
                await anext(leaders)
            assert scope.cancelled_caught
            held = await other.lock("/e", data=b"somebody").acquire()
            leader = await anext(leaders)
            assert leader is not None and leader.token == held.token

    on_both(story)


def test_to_resign_while_run_runs_is_to_stand_again_and_to_withdraw_ends_it(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        tokens: list[int] = []

        async def serve(term: Term) -> None:
            tokens.append(term.token)
            if len(tokens) == 1:
                term.resign()
            else:
                election.withdraw()
            await anyio.sleep_forever()

        async with zabpy.connect(hosts) as zk, zk.election("/e") as election:
            with pytest.raises(LeadershipLost, match="withdrawn"):
                await election.run(serve)
            assert len(tokens) == 2

    on_both(story)
