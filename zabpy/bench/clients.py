"""``zabpy bench --clients``: our client and kazoo side by side, both in this one process, on one server of ours.

Every way of asking (a *lane*) runs for a moment, then the next one, and that in several rounds: what else the machine
does meanwhile touches all alike. The median round counts. CPU is what this process spent a call, the server's own not
counted, and of that the least of the rounds, since a busy machine can only add to it.
"""

import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from statistics import median
from typing import Any, NamedTuple

import anyio
import anyio.from_thread

from zabpy import blocking
from zabpy.recipes import Client, connect

from .report import aligned
from .systems import Servers

#: Where the server's log stands, if there is such a place: how long a disk takes for a write says nothing of clients.
MEMORY = "/dev/shm"
PATH = "/bench-clients"
VALUE = b"x" * 100
AT_ONCE = 100
THREADS = 100

#: A lane: run for so many seconds, how many calls were done.
Lane = Callable[[float], int]
#: One call of ours.
One = Callable[[Client], Awaitable[object]]


class Kind(NamedTuple):
    """What is measured, and what ratio to kazoo's best we have set ourselves; 0: none."""

    name: str
    wanted: float = 0.0
    wanted_per_s: float = 0.0


class Figures(NamedTuple):
    per_s: float
    cpu_us: float


PIPELINED = Kind(f"getData, {AT_ONCE} at once", 5.0, 25_000)
SINGLE = Kind("getData, one at a time", 1.5)
SET = Kind("setData, one at a time")
CREATE = Kind("create + delete, one at a time")
LOCK = Kind("lock + unlock, free", 1.0)


def main(seconds: float, rounds: int, only: str) -> int:
    try:
        from kazoo.client import KazooClient
    except ImportError:
        print("zabpy bench --clients compares with kazoo, which is not installed: pip install kazoo", file=sys.stderr)
        return 1
    logging.getLogger("kazoo").setLevel(logging.CRITICAL)
    with ExitStack() as stack:
        servers = stack.enter_context(Servers("zabpy", 1, below=MEMORY if os.path.isdir(MEMORY) else None))
        where = f"127.0.0.1:{servers.client_ports[1]}"
        theirs = KazooClient(where, timeout=30)
        theirs.start(60)
        stack.callback(theirs.close)
        stack.callback(theirs.stop)
        theirs.create(PATH, VALUE)
        zk = stack.enter_context(blocking.connect(where, session_timeout_ms=30_000))
        on_trio = stack.enter_context(_loop(where, "trio"))
        on_asyncio = stack.enter_context(_loop(where, "asyncio"))
        lanes: dict[tuple[Kind, str], Lane] = {}
        for kind, calls in _kazoo(theirs).items():
            lanes |= {(kind, f"kazoo{how}"): call for how, call in calls.items()}
        for kind, one in _ours().items():
            tasks = AT_ONCE if kind is PIPELINED else 1
            lanes[kind, "trio"] = partial(on_trio, one, tasks)
            lanes[kind, "asyncio"] = partial(on_asyncio, one, tasks)
        for kind, plain in _blocking(zk).items():
            lanes[kind, "blocking"] = partial(_threads, THREADS if kind is PIPELINED else 1, plain)
        by_kind = [key for kind in (PIPELINED, SINGLE, SET, CREATE, LOCK) for key in lanes if key[0] is kind]
        lanes = {key: lanes[key] for key in by_kind if only in key[0].name}
        figures = _measured(lanes, seconds, rounds)
    print(f"\none process with all clients, one server: {rounds} rounds of {seconds:g} s, medians\n")
    print(_table(figures))
    return 0


def _measured(lanes: dict[tuple[Kind, str], Lane], seconds: float, rounds: int) -> dict[tuple[Kind, str], Figures]:
    seen: dict[tuple[Kind, str], list[Figures]] = {key: [] for key in lanes}
    for lane in lanes.values():
        lane(seconds / 4)
    for _ in range(rounds):
        for key, lane in lanes.items():
            cpu, began = time.process_time(), time.monotonic()
            done = lane(seconds)
            took, cpu = time.monotonic() - began, time.process_time() - cpu
            seen[key].append(Figures(done / took, cpu / done * 1e6))
    return {
        key: Figures(median(each.per_s for each in all), min(each.cpu_us for each in all)) for key, all in seen.items()
    }


def _table(figures: dict[tuple[Kind, str], Figures]) -> str:
    lines = [["", "client", "/s", "CPU us a call", "to kazoo's best", "wanted"]]
    for (kind, who), (per_s, cpu_us) in figures.items():
        line = ["" if lines[-1][0] == kind.name else kind.name, who, f"{per_s:,.0f}", f"{cpu_us:,.0f}"]
        best = max((f.per_s for (k, w), f in figures.items() if k is kind and w.startswith("kazoo")), default=0.0)
        if not who.startswith("kazoo") and best:
            ratio = per_s / best
            line += [f"{ratio:.2f}x", _verdict(kind, ratio, per_s)]
        lines.append(line + [""] * (6 - len(line)))
    return aligned(lines)


def _verdict(kind: Kind, ratio: float, per_s: float) -> str:
    wanted = [f"{kind.wanted:g}x"] * bool(kind.wanted) + [f"{kind.wanted_per_s:,.0f}/s"] * bool(kind.wanted_per_s)
    if not wanted:
        return ""
    return ("ok" if ratio >= kind.wanted and per_s >= kind.wanted_per_s else "MISSED") + ": " + ", ".join(wanted)


# Ours -----------------------------------------------------------------------------------------------------------------


def _ours() -> dict[Kind, One]:
    async def create(zk: Client) -> None:
        await zk.create(f"{PATH}/ours", VALUE, lost_reply="raise")
        await zk.delete(f"{PATH}/ours")

    async def lock(zk: Client) -> None:
        async with zk.lock(f"{PATH}-lock"):
            pass

    return {
        PIPELINED: lambda zk: zk.get(PATH),
        SINGLE: lambda zk: zk.get(PATH),
        SET: lambda zk: zk.set(PATH, VALUE),
        CREATE: create,
        LOCK: lock,
    }


@contextmanager
def _loop(where: str, backend: str) -> Iterator[Callable[[One, int, float], int]]:
    """A client in an event loop on a thread of its own; what it yields makes that work and waits for it."""
    asked, ready = deque[tuple[One, int, float]](), threading.Event()
    done, results = threading.Event(), list[Any]()
    wake: list[Callable[[], object]] = []

    async def body() -> None:
        async with anyio.from_thread.BlockingPortal() as portal, connect(where, session_timeout_ms=30_000) as zk:
            work = anyio.Event()

            async def more() -> None:
                work.set()

            wake.append(lambda: portal.start_task_soon(more))
            ready.set()
            while True:
                await work.wait()
                work = anyio.Event()
                if not asked:
                    return
                try:
                    results.append(await _repeated(zk, *asked.popleft()))
                except Exception as error:
                    results.append(error)
                done.set()

    thread = threading.Thread(target=lambda: anyio.run(body, backend=backend), name=f"bench-{backend}", daemon=True)
    thread.start()
    if not ready.wait(60):
        raise RuntimeError(f"no session for {backend} within 60 s")

    def run(one: One, tasks: int, seconds: float) -> int:
        asked.append((one, tasks, seconds))
        wake[0]()
        done.wait()
        done.clear()
        if isinstance(outcome := results.pop(), Exception):
            raise outcome
        return int(outcome)

    try:
        yield run
    finally:
        wake[0]()
        thread.join(10)


async def _repeated(zk: Client, one: One, tasks: int, seconds: float) -> int:
    """How often ``one`` was done in that time, by so many tasks."""
    until, counts = time.monotonic() + seconds, [0] * tasks

    async def again(which: int) -> None:
        while time.monotonic() < until:
            await one(zk)
            counts[which] += 1

    if tasks == 1:
        await again(0)
    else:
        async with anyio.create_task_group() as group:
            for which in range(tasks):
                group.start_soon(again, which)
    return sum(counts)


def _blocking(zk: blocking.Client) -> dict[Kind, Callable[[], object]]:
    def create() -> None:
        zk.create(f"{PATH}/blocking", VALUE, lost_reply="raise")
        zk.delete(f"{PATH}/blocking")

    def lock() -> None:
        with zk.lock(f"{PATH}-blocking-lock"):
            pass

    return {
        PIPELINED: lambda: zk.get(PATH),
        SINGLE: lambda: zk.get(PATH),
        SET: lambda: zk.set(PATH, VALUE),
        CREATE: create,
        LOCK: lock,
    }


def _threads(count: int, one: Callable[[], object], seconds: float) -> int:
    """How often ``one`` was done in that time, by so many threads."""
    until, counts, failures = time.monotonic() + seconds, [0] * count, list[BaseException]()

    def again(which: int) -> None:
        try:
            while time.monotonic() < until:
                one()
                counts[which] += 1
        except BaseException as error:
            failures.append(error)

    if count == 1:
        again(0)
    else:
        threads = [threading.Thread(target=again, args=(which,)) for which in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
    return sum(counts)


# kazoo ----------------------------------------------------------------------------------------------------------------


def _kazoo(zk: Any) -> dict[Kind, dict[str, Lane]]:
    """By kind, and by the way it is done in."""
    locked = zk.Lock(f"{PATH}-kazoo-lock")

    def create() -> None:
        zk.create(f"{PATH}/kazoo", VALUE)
        zk.delete(f"{PATH}/kazoo")

    def lock() -> None:
        with locked:
            pass

    def pipelined(seconds: float) -> int:
        """As many unanswered at any time."""
        until, done = time.monotonic() + seconds, 0
        waiting = deque(zk.get_async(PATH) for _ in range(AT_ONCE))
        while waiting:
            waiting.popleft().get()
            done += 1
            if time.monotonic() < until:
                waiting.append(zk.get_async(PATH))
        return done

    def get() -> object:
        return zk.get(PATH)

    return {
        PIPELINED: {" get_async": pipelined, f" {THREADS} threads": partial(_threads, THREADS, get)},
        SINGLE: {"": partial(_threads, 1, get)},
        SET: {"": partial(_threads, 1, lambda: zk.set(PATH, VALUE))},
        CREATE: {"": partial(_threads, 1, create)},
        LOCK: {"": partial(_threads, 1, lock)},
    }
