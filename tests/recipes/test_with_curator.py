"""A mixed fleet: Curator's locks and ours on one path, both ways round; and what does not go, as we say it does not."""

from collections.abc import Callable, Iterator

import anyio
import anyio.to_thread
import pytest

import zabpy
from tests.client.conftest import Story
from tests.interop.programs import PROGRAMS, Program
from zabpy.recipes import AcquireTimeoutError, Client, Lock, Semaphore


@pytest.fixture(scope="session")
def java() -> Iterator[Program]:
    program = Program(PROGRAMS["curator"]())
    yield program
    program.kill()


class Curator:
    def __init__(self, program: Program, hosts: str) -> None:
        self._program = program
        program.ask("connect", hosts, "10000")

    async def ask(self, *words: str) -> str:
        return await anyio.to_thread.run_sync(lambda: self._program.ask(*words), abandon_on_cancel=True)

    async def gets(self, kind: str, timeout_ms: int = 20_000) -> bool:
        return await self.ask("try", kind, "/l", str(timeout_ms)) == "yes"

    async def free(self, kind: str) -> None:
        await self.ask("free", kind, "/l")


#: Curator's, ours, and whether they exclude each other.
PAIRS: dict[str, tuple[str, Callable[[Client], Lock | Semaphore], bool]] = {
    "mutex, lock": ("mutex", lambda zk: zk.lock("/l", layout="curator"), True),
    "write, write": ("write", lambda zk: zk.read_write_lock("/l", layout="curator").write, True),
    "write, read": ("write", lambda zk: zk.read_write_lock("/l", layout="curator").read, True),
    "read, write": ("read", lambda zk: zk.read_write_lock("/l", layout="curator").write, True),
    "read, read": ("read", lambda zk: zk.read_write_lock("/l", layout="curator").read, False),
    "semaphore": ("semaphore", lambda zk: zk.semaphore("/l", 1, layout="curator"), True),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_they_exclude_each_other(pair: str, on_both: Callable[[Story], None], hosts: str, java: Program) -> None:
    kind, ours_of, exclusive = PAIRS[pair]

    async def story() -> None:
        curator = Curator(java, hosts)
        async with zabpy.connect(hosts) as zk:
            ours = ours_of(zk)
            async with ours:
                assert await curator.gets(kind, 300 if exclusive else 20_000) != exclusive
                if not exclusive:
                    await curator.free(kind)
            assert await curator.gets(kind)
            for timeout_ms in (0, 200 if exclusive else 20_000):
                if exclusive:
                    with pytest.raises(AcquireTimeoutError):
                        await ours.acquire(timeout_ms)
                else:
                    await (await ours.acquire(timeout_ms)).release()

            # Who waits gets it from the other one.
            async with anyio.create_task_group() as tasks:
                got = anyio.Event()

                async def wait() -> None:
                    async with ours:
                        got.set()
                        if exclusive:
                            tasks.start_soon(curator.gets, kind, 10_000)
                            await anyio.sleep(0.2)

                tasks.start_soon(wait)
                if exclusive:
                    await anyio.sleep(0.1)
                    assert not got.is_set()
                else:
                    await got.wait()
                await curator.free(kind)
            assert got.is_set()
            if exclusive:
                await curator.free(kind)

    on_both(story)


def test_curators_revoker_is_heard_and_curator_is_in_the_queue(
    on_both: Callable[[Story], None], hosts: str, java: Program
) -> None:
    async def story() -> None:
        curator = Curator(java, hosts)
        async with zabpy.connect(hosts) as zk:
            async with zk.lock("/l", layout="curator") as held:
                await curator.ask("revoke", held.path)
                await held.wait_revocation_requested()
                assert held.revocation_requested
            assert await curator.gets("mutex")
            [waiting] = await zk.lock("/l").queue()
            assert f"{waiting.session_id:x}" == await curator.ask("session")
            with pytest.raises(AcquireTimeoutError):
                await zk.lock("/l").acquire(0)  # in whatever layout, ours sees Curator's
            await curator.free("mutex")

    on_both(story)


def test_curator_does_not_see_other_layouts(on_both: Callable[[Story], None], hosts: str, java: Program) -> None:
    """As contenders.py says; if this fails, a newer Curator has learned it, and the text is to be changed."""

    async def story() -> None:
        curator = Curator(java, hosts)
        async with zabpy.connect(hosts) as zk:
            async with zk.lock("/l"):
                assert await curator.gets("mutex")
                await curator.free("mutex")

    on_both(story)
