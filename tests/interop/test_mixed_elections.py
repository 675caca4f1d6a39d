"""Our elections and groups on one path with kazoo's and Curator's: one leads at a time, whoever it is."""

import threading
import time
from collections.abc import Callable, Iterator

import anyio
import anyio.to_thread
import pytest
from kazoo.client import KazooClient

import zabpy
from tests.interop.ensembles import Ensemble
from tests.interop.programs import Program
from tests.recipes.killing import until
from zabpy.recipes import Term
from zabpy.recipes.contenders import Layout

TURNS = 8


class Judge:
    """Complains when two lead at a time. May be asked from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.leading: str | None = None
        self.terms: list[str] = []
        self.complaints: list[str] = []

    def begin(self, who: str) -> None:
        with self._lock:
            if self.leading is not None:
                self.complaints.append(f"{who} leads, and {self.leading} does")
            self.leading = who
            self.terms.append(who)

    def end(self, who: str) -> None:
        with self._lock:
            assert self.leading == who
            self.leading = None


@pytest.fixture
def kazoo(ensemble: Ensemble) -> Iterator[KazooClient]:
    client = KazooClient(ensemble.hosts)
    client.start()
    yield client
    client.stop()
    client.close()


def test_kazoos_election_and_ours_take_turns(ensemble: Ensemble, kazoo: KazooClient) -> None:
    judge = Judge()
    path = f"/mixed-kazoo-{time.monotonic_ns()}"

    def lead() -> None:
        judge.begin("kazoo")
        time.sleep(0.02)
        judge.end("kazoo")

    def theirs() -> None:
        election = kazoo.Election(path, "kazoo")
        for _ in range(TURNS):
            election.run(lead)

    async def ours(zk: zabpy.Client) -> None:
        async with zk.election(path, data=b"ours") as election:
            turns = 0
            async for term in election.terms():
                async with term:
                    judge.begin("ours")
                    await anyio.sleep(0.02)
                    judge.end("ours")
                turns += 1
                if turns == TURNS:
                    break

    async def story() -> None:
        async with zabpy.connect(ensemble.hosts) as zk:
            with anyio.fail_after(60):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(anyio.to_thread.run_sync, theirs)
                    tasks.start_soon(ours, zk)
            async with zk.election(path, data=b"ours") as election:
                assert await election.candidates() == []
                term = await anext(election.terms())
                async with term:
                    contenders = await anyio.to_thread.run_sync(kazoo.Election(path, "x").contenders)
                    assert contenders == ["ours"]

    anyio.run(story, backend="trio")
    assert judge.complaints == []
    assert sorted(judge.terms) == ["kazoo"] * TURNS + ["ours"] * TURNS
    assert "kazoo ours kazoo ours" in " ".join(judge.terms), "each in its turn"


@pytest.mark.parametrize(("layout", "begin", "end"), [("latch", "latch", "unlatch"), ("curator", "lead", "resign")])
def test_curators_and_ours_wait_for_each_other(
    ensemble: Ensemble, clients: Callable[[str, int], Program], layout: Layout, begin: str, end: str
) -> None:
    """LeaderLatch, and LeaderSelector."""
    path = f"/mixed-{layout}-{time.monotonic_ns()}"
    curator = clients("curator", 10_000)

    async def story() -> None:
        async with zabpy.connect(ensemble.hosts) as zk, zk.election(path, data=b"ours", layout=layout) as election:
            leading: list[Term] = []

            async def ours() -> None:
                async for term in election.terms():
                    async with term:
                        leading.append(term)
                        await anyio.sleep_forever()

            with anyio.fail_after(90):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(ours)
                    await until(lambda: len(leading) == 1)
                    for turn in range(3):
                        await anyio.to_thread.run_sync(curator.ask, begin, path, f"theirs-{turn}")
                        while len(await election.candidates()) < 2:  # noqa: ASYNC110
                            await anyio.sleep(0.05)
                        assert not await anyio.to_thread.run_sync(curator.event_within, 0.5, f"theirs-{turn}")
                        leading[-1].resign()
                        await anyio.to_thread.run_sync(curator.event, f"theirs-{turn}")
                        leader = await election.leader()
                        assert leader is not None and leader.data != b"ours"
                        while len(await election.candidates()) < 2:  # noqa: ASYNC110
                            await anyio.sleep(0.05)
                        await anyio.sleep(0.3)
                        assert len(leading) == turn + 1, "we wait for it"
                        await anyio.to_thread.run_sync(curator.ask, end)
                        await until(lambda turn=turn: len(leading) == turn + 2)  # type: ignore[misc]
                        leading[-1].check()
                    tasks.cancel_scope.cancel()

    anyio.run(story, backend="trio")
