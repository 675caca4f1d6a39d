"""What clients do while servers are hurt: a history of some seconds on some znodes of its own."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import trio

from zabpy.testing.histories import NO_NODE, History, Operation

from .client import EPHEMERAL, SEQUENTIAL, Client, Lost
from .ensemble import SESSION_TIMEOUT_MS

ZNODES = 4
CLIENTS = 8


@dataclass
class Plan:
    """``operations``: linearizable ones, at least; ``acknowledged``: writes while something was wrong, at least;
    ``least_ms``: it lasts so long, at least; ``most_ms``: after that it ends whatever there is."""

    number: int
    seed: str
    operations: int = 200
    acknowledged: int = 10
    least_ms: int = 2_500
    most_ms: int = 45_000

    @property
    def prefix(self) -> str:
        return f"/h{self.number:05d}-"

    @property
    def znodes(self) -> list[str]:
        return [f"{self.prefix}k{each}" for each in range(ZNODES)]


class Story:
    """One history in the making."""

    def __init__(
        self, plan: Plan, addresses: list[tuple[str, int]], is_trouble: Callable[[], bool] = lambda: True
    ) -> None:
        """``is_trouble``: whether anything is wrong with the servers now."""
        self.plan, self.addresses, self._is_trouble = plan, addresses, is_trouble
        self._rng = Random(f"{plan.seed}/{plan.number}")
        self.history = History(
            about={"number": plan.number, "seed": plan.seed, "session_timeout_ms": SESSION_TIMEOUT_MS}
        )
        self.clients = [self._client(number) for number in range(CLIENTS)]
        self._pause_ms = self._rng.choice((5, 20, 60))
        self._stopping = False
        self._count = self._acknowledged = 0
        self._enough = trio.Event()

    def _client(self, number: int) -> Client:
        rng = Random(f"{self.plan.seed}/{self.plan.number}/{number}")
        return Client(number, self.addresses, self.history, rng, session_timeout_ms=SESSION_TIMEOUT_MS)

    def drop(self) -> None:
        """Some clients lose their connections."""
        for client in self.clients:
            if self._rng.random() < 0.5 and client.stream is not None:
                client.stream.socket.close()

    async def run(self) -> History:
        with trio.move_on_after(self.plan.most_ms / 1000):
            async with trio.open_nursery() as nursery:
                for client in self.clients:
                    nursery.start_soon(self._act, client)
                await trio.sleep(self.plan.least_ms / 1000)
                await self._enough.wait()
                self._stopping = True
        for client in self.clients:
            await client.leave()
        # Whoever waited when the time was over has asked, and was not answered.
        for client in self.clients:
            client.give_up()
        await self.look_again(0)
        return self.history

    async def look_again(self, number: int) -> None:
        """Read all znodes, by a client of its own that waits until it gets through."""
        client = Client(1000 + number, self.addresses, self.history, self._rng, session_timeout_ms=SESSION_TIMEOUT_MS)
        for path in self.plan.znodes:
            while True:
                try:
                    await client.get(path, synced=True)
                    break
                except Lost:
                    await trio.sleep(0.05)  # a client's pause between two attempts
        try:
            await client.close()
        except Lost:
            pass  # its session ends by itself

    async def _act(self, client: Client) -> None:
        rng = Random(f"{self.plan.seed}/{self.plan.number}/{client.number}/acts")
        known: dict[str, int] = {}
        at = 0
        while not self._stopping:
            at += 1
            trouble = self._is_trouble()
            try:
                told = await self._one(client, rng, known, f"{client.number}.{at}")
            except Lost:
                self._counted(0)
                await trio.sleep(0.01 * rng.random())
                continue
            if told.changes or told.synced:
                self._counted(told.changes and told.done and trouble)
            _learn(known, told)
            await trio.sleep(rng.expovariate(1) * self._pause_ms / 1000)
        if rng.random() < 0.7:
            try:
                await client.close()
            except Lost:
                pass  # its session ends by itself

    def _counted(self, acknowledged: int) -> None:
        self._count += 1
        self._acknowledged += acknowledged
        if self._count >= self.plan.operations and self._acknowledged >= self.plan.acknowledged:
            self._enough.set()

    async def _one(self, client: Client, rng: Random, known: dict[str, int], data: str) -> Operation:
        path = rng.choice(self.plan.znodes)
        mine = f"{self.plan.prefix}e{client.number}"
        what = rng.random()
        if what < 0.25:
            return await client.get(path, synced=True)
        if what < 0.37:
            return await client.get(path, watch=rng.random() < 0.5)
        if what < 0.42:
            return await client.get(f"{self.plan.prefix}e{rng.randrange(CLIENTS)}", synced=rng.random() < 0.5)
        if path not in known and what < 0.74:
            return await client.create(path, data)
        if what < 0.58:
            return await client.set(path, data)
        if what < 0.74:
            # Mostly the version that it was when last looked at, by us.
            return await client.set(path, data, known[path] + rng.choice((0, 0, 0, 0, 1)))
        if what < 0.76:
            return await client.create(path, data)
        if what < 0.84:
            return await client.set(path, data)
        if what < 0.91:
            return await client.delete(path, rng.choice((-1, known.get(path, 0))))
        if what < 0.94:
            return await client.create(f"{self.plan.prefix}s-", data, SEQUENTIAL)
        if what < 0.98:
            return await client.create(mine, data, EPHEMERAL)
        if what < 0.985:
            return await client.close()
        return await client.delete(mine)


def _learn(known: dict[str, int], told: Operation) -> None:
    """The versions of znodes that are there, as far as a client knows."""
    if told.seen is not None:
        known[told.path] = told.seen.version
    elif told.error == NO_NODE or (told.kind == "delete" and told.done):
        known.pop(told.path, None)
    elif told.kind == "create" and told.returned_ns is not None and not told.made:
        known[told.path] = 0


def acknowledged_during(history: History, times: list[list[int]]) -> int:
    """How many writes were called while something was wrong, and answered with success."""
    now = time.monotonic_ns()
    during = [(begin, end or now) for begin, end in times]
    writes = [each for each in history.operations if each.done and each.changes]
    return sum(any(begin <= each.called_ns <= end for begin, end in during) for each in writes)
