"""A story: clients whose tasks use a recipe, what befalls them, drawn from a seed, and the judgement at the end.

    await tell(seed, LockPlay)

A *play* (a subclass of `Play`) says what a task does with its recipe, and judges it while it goes on. While it does,
connections break, at any byte of the exchange in either direction and also in the handshake; clients hear nothing or
are not heard; sessions end behind their clients' backs; servers crash, the leader above all, and come back; servers are
cut from each other; tasks are cancelled wherever they are; clients are closed and opened again. Then everything heals,
and this is asked of every recipe:

- **No lost wake-ups**: `Play.settled` within `HEAL_S` of the healing (of every task has come through what it waits for
  once more, unless the play says otherwise).
- **An end**: all tasks end within `END_S` of being told so.
- **Nothing leaked in a client**: within `END_S` nothing runs in its background, and its tables are empty: no watch, no
  request.
- **Nothing leaked in the tree**: within `EXPIRY_S` of the last client's end (a client that was closed while it reached
  nobody could not end its session) just what `Play.keeps` says is there.

All times are virtual. The same seed tells the same story.
"""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from random import Random
from typing import Any

import trio

import zabpy
from tests.recipes.memory import World
from tests.server.servers import ensemble
from zabpy.recipes.client import Client
from zabpy.recipes.errors import AcquireTimeoutError, LostError

#: The session of one that is gone lasts at most 10 s; and everybody is to have his turn behind each other after that.
HEAL_S = 40.0
#: The longest clean-up has met a lost connection, and pauses for at most 1 s between attempts.
END_S = 20.0
EXPIRY_S = 15.0
SESSION_TIMEOUTS_MS = (3_000, 3_000, 6_000, 10_000)
#: What a task that uses a recipe may be told while servers and connections fail. Plays have no others.
TROUBLES = (
    LostError,
    AcquireTimeoutError,
    zabpy.SessionLostError,
    zabpy.ConnectionLossError,
    zabpy.NoServerError,
)
FAULTS = (
    "break",
    "break receiving",
    "break receiving",
    "break receiving",
    "break sending",
    "break sending",
    "break the next",
    "isolate",
    "deafen",
    "mute",
    "crash",
    "crash the leader",
    "cut servers",
    "expire",
    "cancel",
    "cancel",
    "close",
)


class Violation(AssertionError):
    """A recipe has broken its promise."""


class Play:
    """What tasks do with one recipe. One object a story."""

    path = "/r"
    clients, tasks = 3, 1
    #: Between two attempts of a task, at most.
    pause_s = 0.4

    def __init__(self, story: "Story") -> None:
        self.story = story
        self.rng = story.rng
        #: How often each task has come through.
        self.done: Counter[str] = Counter()

    async def serve(self, zk: Client, name: str) -> None:
        """Around the tasks of one client, while it is open: called in a task of its own; ends with ``story.over``."""

    async def work(self, zk: Client, who: str) -> None:
        """One attempt, not longer than a few seconds where nothing is in its way. May raise `TROUBLES`."""
        raise NotImplementedError

    def relying(self) -> list[str]:
        """The clients that it hurts the most if something befalls them now."""
        return []

    def settled(self, before: Counter[str]) -> bool:
        """After the healing, when ``before`` was done: does everything go on?"""
        return all(self.done[who] > before[who] for who in self.story.everybody)

    async def finish(self, look: Client) -> None:
        """The tasks are over, and the clients are open no more: judge the result."""

    async def keeps(self, look: Client) -> set[str]:
        """What is to be below ``path`` at the end, ``path`` included."""
        return {self.path}


class Story:
    """The state of one story."""

    def __init__(self, seed: int, kind: Callable[["Story"], Play], faults: int | None) -> None:
        self.rng = Random(f"story {seed}")
        self.play = kind(self)
        self.faults = self.rng.randrange(4, 13) if faults is None else faults
        #: Nothing befalls anybody any more; and: all are to end.
        self.healed = self.over = False
        #: Sessions that were ended behind their clients' backs, and when: they cannot know at once.
        self.expired: dict[int, float] = {}
        self.everybody = [f"c{i}.{j}" for i in range(self.play.clients) for j in range(self.play.tasks)]
        self.clients: dict[str, Client] = {}
        self.chapters: list[str] = []
        self._tasks: dict[str, trio.CancelScope] = {}
        self._openings: dict[str, trio.CancelScope] = {}
        self._cancel_soon: set[str] = set()
        self._ending: set[trio.CancelScope] = set()
        self._down: set[int] = set()
        self.world: World

    def note(self, text: str) -> None:
        self.chapters.append(f"{trio.current_time():9.3f} {text}")

    def heal(self) -> None:
        self.healed = True
        self._cancel_soon.clear()
        self.world.heal()
        self.note("healed")

    def end(self) -> None:
        self.over = True
        self.note("over")
        for scope in self._ending:
            scope.cancel()

    @contextmanager
    def until_over(self) -> Iterator[None]:
        """The block is cancelled when all are to end."""
        with trio.CancelScope() as scope:
            self._ending.add(scope)
            if self.over:
                scope.cancel()
            try:
                yield
            finally:
                self._ending.discard(scope)

    def knows(self, session_id: int) -> bool:
        """Whether the client of this session can be expected to know how it stands: nobody ended it by force."""
        return session_id not in self.expired

    # The clients ------------------------------------------------------------------------------------------------------

    async def live(self, name: str) -> None:
        """One client after another of the same name."""
        while not self.over:
            with trio.CancelScope() as self._openings[name]:
                try:
                    await self._open(name)
                except zabpy.NoServerError:
                    await trio.sleep(0.5)
            await trio.sleep(0.1)

    async def _open(self, name: str) -> None:
        settings: dict[str, Any] = {
            "session_timeout_ms": self.rng.choice(SESSION_TIMEOUTS_MS),
            "request_timeout_ms": self.rng.choice([3_000, 30_000]),
        }
        async with self.world.client(name, **settings) as zk:
            self.clients[name] = zk
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self.play.serve, zk, name)
                    for who in self.everybody:
                        if who.startswith(f"{name}."):
                            nursery.start_soon(self._act, zk, who)
                await self._empty(zk, name)
            finally:
                del self.clients[name]

    async def _act(self, zk: Client, who: str) -> None:
        while not self.over:
            with trio.CancelScope() as self._tasks[who]:
                if who in self._cancel_soon:
                    self._cancel_soon.discard(who)
                    self._tasks[who].deadline = trio.current_time() + self.rng.random() * self.rng.choice([0.03, 0.3])
                try:
                    await self.play.work(zk, who)
                except TROUBLES as error:
                    self.note(f"{who}: {type(error).__name__}: {error}")
                    await trio.sleep(self.rng.random() / 10)
            await trio.sleep(self.rng.random() * self.play.pause_s)

    async def _empty(self, zk: Client, name: str) -> None:
        """Nothing of the recipes is left in a client."""
        left: list[str] = []
        try:
            with trio.fail_after(END_S):
                while left := leftovers(zk):  # noqa: ASYNC110
                    await trio.sleep(0.1)
        except trio.TooSlowError:
            raise Violation(f"{name} still has {left}") from None

    # What befalls them ------------------------------------------------------------------------------------------------

    async def suffer(self, nursery: trio.Nursery) -> None:
        for _ in range(self.faults):
            await trio.sleep(self.rng.random() * self.rng.choice([0.05, 1, 3, 6]))
            fault = self.rng.choice(FAULTS)
            await self._befall(fault, nursery)

    async def _befall(self, fault: str, nursery: trio.Nursery) -> None:
        rng, servers = self.rng, self.world.servers
        name = rng.choice([f"c{rng.randrange(self.play.clients)}", *self.play.relying()])
        dial = self.world.dials.get(name)
        stream = dial.streams[-1] if dial is not None and dial.streams else None
        ids = list(servers.configs)
        self.note(f"{fault}: {name}")
        match fault:
            case "break" if dial is not None:
                dial.break_now()
            case "break receiving" if stream is not None:
                stream.received_bytes_max = stream.received_bytes + rng.randrange(400)
            case "break sending" if stream is not None:
                stream.sent_bytes_max = stream.sent_bytes + rng.randrange(400)
            case "break the next" if dial is not None:
                if rng.randrange(2):
                    dial.break_after(sent_bytes=rng.randrange(150))
                else:
                    dial.break_after(received_bytes=rng.randrange(150))
                dial.break_now()
            case "isolate" | "deafen" | "mute":
                with self._mended_later(nursery, rng.choice([0.3, 2, 5, 14])):
                    for id in ids:
                        if fault != "mute":
                            servers.lose(id, name)
                        if fault != "deafen":
                            servers.lose(name, id)
            case "crash" | "crash the leader" if len(self._down) * 2 < len(ids):
                id = (servers.leader if fault == "crash the leader" else None) or rng.choice(ids)
                if id not in self._down:
                    self._down.add(id)
                    servers.crash(id)
                    nursery.start_soon(self._restart_after, id, rng.random() * rng.choice([0.5, 4]))
            case "cut servers" if len(ids) > 1:
                one = rng.choice([servers.leader or ids[0], rng.choice(ids)])
                with self._mended_later(nursery, rng.choice([0.3, 2, 6])):
                    for id in ids:
                        if id != one and rng.randrange(3):
                            servers.cut(one, id)
            case "expire" if name in self.clients and self.clients[name].state is zabpy.State.CONNECTED:
                await self.expire(self.clients[name])
            case "cancel":
                who = rng.choice(self.everybody)
                if rng.randrange(2):
                    self._cancel_soon.add(who)
                elif who in self._tasks:
                    self._tasks[who].cancel()
            case "close" if name in self._openings:
                self._openings[name].cancel()

    async def expire(self, zk: Client) -> None:
        try:
            session = zk.session
        except zabpy.SessionLostError:
            return
        self.expired[session.id] = trio.current_time()
        with trio.move_on_after(5):
            await self.world.servers.expire(session.id)

    @contextmanager
    def _mended_later(self, nursery: trio.Nursery, seconds: float) -> Iterator[None]:
        """The cuts that are made inside are over after a while, others not."""
        wires = self.world.servers.wires
        before = set(wires._cuts)
        yield
        cuts = wires._cuts - before

        async def mend() -> None:
            await trio.sleep(seconds)
            wires._cuts -= cuts
            for direction in wires._directions:
                direction.changed.set()

        nursery.start_soon(mend)

    async def _restart_after(self, id: int, seconds: float) -> None:
        await self.world.servers.wait_ended(id)
        await trio.sleep(seconds)
        await self.world.servers.start(id)
        self._down.discard(id)


def leftovers(zk: Client) -> list[str]:
    """What a client is still busy with."""
    left = [f"{len(zk._background._scopes)} tasks in the background"] if zk._background._scopes else []
    left += [f"watches at {path}" for path in zk.core.watches._places]
    left += [f"a request {call.operation} of {call.path}" for call in (*zk.core._queue, *zk.core._in_flight)]
    return left


async def tell(seed: int, kind: Callable[[Story], Play], *, faults: int | None = None, servers: int = 3) -> Story:
    """One story. Raises `Violation`, or whatever came out of a recipe that must not."""
    story = Story(seed, kind, faults)
    delay_us_max = story.rng.choice([0, 2_000, 20_000])
    try:
        async with _world(servers, seed, delay_us_max) as world:
            story.world = world
            await _tell(story)
    except BaseException:
        print("\n".join([*story.chapters, f"{story.play.done}"]))
        raise
    return story


#: Whatever changes the number of requests makes another story of each seed, so a few may pass before one finds a fault.
SEEDS_MAX = 40


async def find(fault: str, first: int, kind: Callable[[Story], Play], *, faults: int | None = None) -> None:
    """Tell stories, that of seed ``first`` before all others, until one finds the fault that was planted."""
    violations: list[BaseExceptionGroup[Violation]] = []
    for seed in [first, *(other for other in range(SEEDS_MAX) if other != first)]:
        try:
            await tell(seed, kind, faults=faults)
        except* Violation as found:
            violations.append(found)
        if violations:
            print(seed, violations)
            return
    raise AssertionError(f"no story found {fault}")


@asynccontextmanager
async def _world(servers: int, seed: int, delay_us_max: int) -> AsyncIterator[World]:
    async with ensemble(servers=servers, seed=seed, tick_ms=500, delay_us_max=delay_us_max) as running:
        running.lines = _Silent()
        yield World(running)


class _Silent(list[str]):
    """The servers' lines: nobody reads those of a thousand stories."""

    def append(self, line: str) -> None:
        pass


async def _tell(story: Story) -> None:
    play = story.play
    async with trio.open_nursery() as alive:
        for number in range(play.clients):
            alive.start_soon(story.live, f"c{number}")
        async with trio.open_nursery() as faults:
            await story.suffer(faults)
            await trio.sleep(story.rng.random() * 2)
        story.heal()
        before = play.done.copy()
        try:
            with trio.fail_after(HEAL_S):
                while not play.settled(before):  # noqa: ASYNC110
                    await trio.sleep(0.1)
        except trio.TooSlowError:
            waiting = [who for who in story.everybody if play.done[who] <= before[who]]
            raise Violation(f"not settled {HEAL_S} s after the healing; still waiting: {waiting}") from None
        story.end()
        alive.cancel_scope.deadline = trio.current_time() + END_S + HEAL_S
    if alive.cancel_scope.cancelled_caught:
        raise Violation(f"not all tasks have ended: {story.clients.keys()}")
    async with story.world.client("look") as look:
        await play.finish(look)
        ends_at = trio.current_time() + EXPIRY_S
        while (found := await tree(look, play.path)) != (expected := await play.keeps(look)):
            if trio.current_time() > ends_at:
                raise Violation(f"left: {sorted(found - expected)}; missing: {sorted(expected - found)}")
            await trio.sleep(1)
        while slots := await _slots_of_others(look):
            if trio.current_time() > ends_at:
                raise Violation(f"left: {slots}")
            await trio.sleep(1)


async def _slots_of_others(zk: Client) -> list[str]:
    """What exactly-once writes have left behind, but for those of this client's own."""
    await zk.sync()
    slots = [f"/zookeeper/{name}" for name in await zk.children("/zookeeper") if name.startswith("zabpy-")]
    stats = [(path, await zk.exists(path)) for path in slots]
    return [path for path, stat in stats if stat is not None and stat.ephemeral_owner != zk.session.id]


async def tree(zk: Client, path: str) -> set[str]:
    """All paths at and below this one."""
    await zk.sync(path)
    try:
        names = await zk.children(path)
    except zabpy.NoNodeError:
        return set()
    found = {path}
    for name in names:
        found |= await tree(zk, f"{path.rstrip('/')}/{name}")
    return found
