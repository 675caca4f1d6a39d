"""What the config store's speed is: ``python -m tests.config.bench``, for half a minute on a quiet machine.

On a server of its own, or with ``--server HOST:PORT`` on another one: below ``/config-bench``, which is then deleted.
The readers are `Config` objects, each with a connection of its own, in several processes. The clock is that of the
machine, which all processes share: from the call of `Store.commit` to the reader's settings being the new ones.
"""

import contextlib
import json
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator

import anyio
import anyio.abc
import click

import zabpy
from zabpy.config import Config, Store

TOP = "/config-bench"
COMMITS = 20


def show(name: str, *values: str) -> None:
    print(f"{name:<60}", *(f"{each:>16}" for each in values))


# The readers' side: prints a line for each reader and revision ----------------------------------------------------


async def read(hosts: str, count: int, keys: int, plain: bool) -> None:
    opened = 0
    times: list[tuple[int, int]] = []
    seen: Counter[int] = Counter()

    def is_open() -> None:
        nonlocal opened
        opened += 1
        if opened == count:
            print("open", flush=True)

    def has(revision: int) -> None:
        times.append((revision, time.monotonic_ns()))
        seen[revision] += 1
        if seen[revision] == count:
            print("all", flush=True)

    async def one() -> None:
        async with (
            zabpy.connect(hosts, session_timeout_ms=30_000) as zk,
            Config.open(zk, f"{TOP}/app", announce=False, wait_ms=60_000) as cfg,
        ):
            assert len(cfg.current) >= keys
            is_open()
            async for update in cfg.changes():
                has(update.revision)
                if update.new.get("over"):
                    break

    async def one_plain() -> None:
        """The least that a reader can do: it asks for what it was told has changed."""
        async with (
            zabpy.connect(hosts, session_timeout_ms=30_000) as zk,
            zk.watch(f"{TOP}/app/.head") as events,
        ):
            async for event in events:
                head = json.loads((await zk.get(f"{TOP}/app/.head")).data)
                if isinstance(event, zabpy.Resynced):
                    is_open()
                    continue
                has(head["revision"])
                if any(key == "over" for _, key, _ in head["recent"][-1][1]):
                    break

    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(one_plain if plain else one)
    for revision, now in times:
        print(revision, now)


# The writer's side ----------------------------------------------------------------------------------------------------


async def reach(hosts: str, readers: int, processes: int, plain: bool) -> None:
    async with zabpy.connect(hosts) as zk:
        store = Store(zk, f"{TOP}/app")
        await store.create()
        await store.commit({"over": None, **{f"key{number}": "1" for number in range(50)}})
        command = [sys.executable, "-m", "tests.config.bench", "--server", hosts, "--read", str(readers // processes)]
        command += ["--plain"] if plain else []
        started = await anyio.to_thread.run_sync(_start, command, processes)
        for each in started:
            await _wait_line(each, "open")
        began: dict[int, int] = {}
        ended: dict[int, int] = {}
        for number in range(COMMITS):
            await anyio.sleep(0.1)
            now = time.monotonic_ns()
            revision = await store.commit({"key7": f"{number}", "key8": f"{number}"})
            began[revision], ended[revision] = now, time.monotonic_ns()
            for each in started:
                await _wait_line(each, "all")
        await store.commit({"over": "1"})
        after: dict[int, list[float]] = {revision: [] for revision in began}
        for each in started:
            said = await anyio.to_thread.run_sync(each.communicate)
            for line in said[0].replace("all\n", "").splitlines():
                revision, then = map(int, line.split())
                if revision in began:
                    after[revision].append((then - began[revision]) / 1e6)
        total = readers // processes * processes
        for found in after.values():
            assert len(found) == total
        seen = sorted(each for found in after.values() for each in found)
        lasts = sorted(max(found) for found in after.values())
        commits = sorted((ended[revision] - began[revision]) / 1e6 for revision in began)
        who = "clients that watch and read a znode" if plain else "readers"
        show(f"a commit reaches {total} {who}", f"p50 {at(seen, 50):.1f} ms", f"p99 {at(seen, 99):.1f} ms")
        show(
            "  the last of them, of 20 commits", f"median {statistics.median(lasts):.1f} ms", f"most {lasts[-1]:.1f} ms"
        )
        show("  of which the commit itself", f"median {statistics.median(commits):.1f} ms")


def _start(command: list[str], count: int) -> list[subprocess.Popen[str]]:
    return [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count)]


async def _wait_line(process: subprocess.Popen[str], expected: str) -> None:
    assert process.stdout is not None
    line = await anyio.to_thread.run_sync(process.stdout.readline)
    assert line == f"{expected}\n", line


async def opening(hosts: str) -> None:
    async with zabpy.connect(hosts) as zk:
        store = Store(zk, f"{TOP}/thousand")
        await store.create()
        for part in range(5):
            changes = {f"part{part}.key{number}": f"value {number}" for number in range(200)}
            began = time.monotonic()
            await store.commit(changes)
            show(f"a commit of 200 keys, {part * 200} there", f"{(time.monotonic() - began) * 1e3:.1f} ms")
        took = []
        trips = requests = 0
        for _ in range(10):
            async with zabpy.connect(hosts) as other:
                await other.exists("/")
                sent, waited = _count_waits(other)
                began = time.monotonic()
                async with Config.open(other, f"{TOP}/thousand", announce=False) as cfg:
                    took.append((time.monotonic() - began) * 1e3)
                    trips, requests = waited[0], sent[0]
                    assert len(cfg.merged.leaves) == 1_000
        show("opening 1,000 keys", f"best {min(took):.1f} ms", f"median {statistics.median(took):.1f} ms")
        show("  requests one after the other, the last behind", f"{trips} of {requests}")
        began = time.monotonic()
        await store.commit({"part0.key7": "another"})
        show("a commit of one key of 1,000", f"{(time.monotonic() - began) * 1e3:.1f} ms")
        began = time.monotonic()
        await store.at(1)
        show("the namespace five commits ago", f"{(time.monotonic() - began) * 1e3:.1f} ms")


def _count_waits(zk: zabpy.Client) -> tuple[list[int], list[int]]:
    """Requests, and how often one was sent while none was under way: round trips one after the other."""
    sent, waited, under_way = [0], [0], [0]
    for name in ("_ask", "_ask_all"):
        really = getattr(zk, name)

        async def counted(*args: object, really: object = really, **settings: object) -> object:
            sent[0] += 1
            waited[0] += not under_way[0]
            under_way[0] += 1
            try:
                return await really(*args, **settings)  # type: ignore[operator]
            finally:
                under_way[0] -= 1

        setattr(zk, name, counted)
    return sent, waited


def at(values: list[float], percent: int) -> float:
    return values[min(len(values) - 1, len(values) * percent // 100)]


@contextlib.contextmanager
def server(given: str | None) -> Iterator[str]:
    if given is not None:
        yield given
        return
    from zabpy.testing import Ensemble

    with Ensemble(1) as ensemble:
        yield ensemble.hosts


async def measure(hosts: str, readers: int, processes: int) -> None:
    async with zabpy.connect(hosts) as zk:
        await zk.create(TOP)
        try:
            await opening(hosts)
            for plain in (False, True, False, True):  # side by side: what a machine can do changes by the minute
                await reach(hosts, readers, processes, plain)
        finally:
            await zk.delete_tree(TOP)


@click.command()
@click.option("--server", "given", help="HOST:PORT of one that runs.")
@click.option("--readers", default=500)
@click.option("--processes", default=5)
@click.option("--read", "count", type=int, hidden=True)
@click.option("--plain", is_flag=True, hidden=True)
def main(given: str | None, readers: int, processes: int, count: int | None, plain: bool) -> None:
    if count is not None:
        assert given is not None
        anyio.run(read, given, count, 50, plain)
        return
    with server(given) as hosts:
        anyio.run(measure, hosts, readers, processes)


if __name__ == "__main__":
    main()
