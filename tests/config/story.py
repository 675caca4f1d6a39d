"""Five writers and twenty-one readers of one namespace, what befalls them (tests/recipes/stories), and a model.

The model is what the history says at the end: which attempt became which revision. From what each attempt was to do it
makes every revision anew, and asks:

- of every writer: what it was told was done is there, as the revision it was told; what it was told was not done is
  not; and what it was told nothing of is there once at most. What was made for a revision stands right on it, or,
  rebased, no key of it was changed between.
- of every reader: each state it saw is one of the model's, whole, each newer than the one before; and it ends on the
  last.
- of the history: each revision that it tells of is the model's, and nothing in the store is other than commits left it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import trio

from tests.recipes.stories.story import Play, Story, Violation, tree
from zabpy.config import CanaryError, Config, ConflictError, DamagedError, StaleBaseError, Store, UnknownRevisionError
from zabpy.config.canary import Canary
from zabpy.config.head import At
from zabpy.config.reading import Seen, follow, read
from zabpy.recipes.client import Client

LAYERS = ["default", "x", "y"]
KEYS = ["a", "b", "c", "d", "e"]


@dataclass
class Attempt:
    """What a writer asked for, and what it was told of it."""

    kind: str
    changes: dict[At, bytes | None] = field(default_factory=dict)
    to: int = 0
    base: int | None = None
    rebase: bool = False
    done: int | None = None
    refused: bool = False


@dataclass(frozen=True)
class State:
    entries: Mapping[At, bytes]
    canary: Mapping[At, bytes | None] | None

    def of(self, layers: list[str]) -> dict[At, bytes]:
        return {at: value for at, value in self.entries.items() if at[0] in layers}


class ConfigPlay(Play):
    path = "/config/app"
    #: Of the writers' clients the second task reads, and of the others both do.
    writers, clients, tasks = 5, 13, 2
    pause_s = 2.0

    def __init__(self, story: Story) -> None:
        super().__init__(story)
        self.attempts: dict[str, Attempt] = {}
        self.held: dict[str, Seen] = {}
        #: By reader: revision, layers and what it saw.
        self.seen: defaultdict[str, list[tuple[int, list[str], dict[At, bytes], Any]]] = defaultdict(list)
        self.layers: dict[str, list[str]] = {}
        self.writing: set[str] = set()
        self.at_rest = False
        #: Long enough that some changes do not fit into the head's, which tests make smaller for this.
        self.value_bytes = self.rng.choice([1, 10, 60])

    # Writers ----------------------------------------------------------------------------------------------------------

    async def work(self, zk: Client, who: str) -> None:
        if not self._writes(who):
            serve = {"2.0": self._poll, "3.0": self._run}.get(who[-3:], self._read)
            await serve(zk, who)
        elif not self.at_rest:
            self.writing.add(client := who.partition(".")[0])
            try:
                await self._write(zk, who)
            finally:
                self.writing.discard(client)

    def relying(self) -> list[str]:
        return sorted(self.writing) * 5

    def _writes(self, who: str) -> bool:
        client, _, task = who[1:].partition(".")
        return int(client) < self.writers and task == "0"

    async def _write(self, zk: Client, who: str) -> None:
        rng, store = self.rng, Store(zk, self.path)
        await store.create()
        name = f"{who}-{len(self.attempts)}"
        kind = rng.choice(["commit", "commit", "commit", "commit", "rollback", "canary", "promote", "withdraw"])
        attempt = Attempt(kind)
        if kind in ("commit", "canary"):
            names = rng.sample([(layer, key) for layer in LAYERS for key in KEYS], rng.randrange(1, 5))
            attempt.changes = {
                at: None if rng.randrange(4) == 0 else f"{name} ".encode() * self.value_bytes for at in names
            }
        if rng.randrange(2):
            attempt.base = (await store.at()).revision
            attempt.rebase = kind == "commit" and rng.randrange(2) == 0
            await trio.sleep(rng.random() * rng.choice([0, 0.3]))
        newest = max((each.done or 0 for each in self.attempts.values()), default=0)
        attempt.to = rng.randrange(newest + 1)
        self.attempts[name] = attempt
        more: dict[str, Any] = {"author": name, "base": attempt.base}
        try:
            with self._endangered(zk, who):
                if kind == "commit":
                    attempt.done = await store.commit(attempt.changes, **more, rebase=attempt.rebase)
                elif kind == "rollback":
                    attempt.done = await store.rollback(attempt.to, **more)
                elif kind == "canary":
                    attempt.done = await store.canary(attempt.changes, percent=50, **more)
                else:
                    attempt.done = await (store.promote if kind == "promote" else store.withdraw)(**more)
        except (StaleBaseError, ConflictError, CanaryError) as error:
            self.story.note(f"{name}: {error}")
            attempt.refused = True
        except (DamagedError, UnknownRevisionError) as error:
            raise Violation(f"{name} was told {error}") from None
        self.done[who] += 1

    @contextmanager
    def _endangered(self, zk: Client, who: str) -> Iterator[None]:
        """Now and then what a commit sends, or the answer, is lost."""
        if self.story.healed or self.rng.randrange(3):
            yield
            return
        dial, really = self.story.world.dials[who.partition(".")[0]], zk._commit

        async def commit(*args: Any) -> Any:
            stream = dial.streams[-1]
            if self.rng.randrange(3):
                stream.received_bytes_max = stream.received_bytes
            else:
                stream.sent_bytes_max = stream.sent_bytes + self.rng.randrange(500)
            return await really(*args)

        zk._commit = commit  # type: ignore[method-assign, assignment]
        try:
            yield
        finally:
            zk._commit = really  # type: ignore[method-assign]

    # Readers ----------------------------------------------------------------------------------------------------------

    async def _read(self, zk: Client, who: str) -> None:
        layers = self.layers.setdefault(who, self.rng.sample(LAYERS, self.rng.randrange(1, 4)))
        await Store(zk, self.path).create()
        with self.story.until_over():
            async with follow(zk, self.path, layers, self.held.get(who)) as states:
                async for state in states:
                    self._look(who, state, layers)
                    self.done[who] += 1

    async def _poll(self, zk: Client, who: str) -> None:
        """Reads everything, again and again, while others commit."""
        await Store(zk, self.path).create()
        with self.story.until_over():
            while True:
                state = await read(zk, self.path, LAYERS)
                if who not in self.held or state.revision >= self.held[who].revision:
                    self._look(who, state, LAYERS)  # else this server has not heard of it yet
                    self.done[who] += 1
                await trio.sleep(self.rng.random() / 4)

    def _look(self, who: str, state: Seen, layers: list[str]) -> None:
        before = self.held.get(who)
        self.held[who] = state
        if before is not None and state.revision < before.revision:
            raise Violation(f"{who} saw {state.revision} after {before.revision}")
        if not state.verified:
            raise Violation(f"{who} saw at {state.revision} what is not what commits left")
        self.seen[who].append((state.revision, layers, dict(state.entries), state.canary))

    async def _run(self, zk: Client, who: str) -> None:
        """What programs use. It merges the layers."""
        await Store(zk, self.path).create()
        with self.story.until_over():
            async with Config.open(zk, self.path, layers=LAYERS, wait_ms=0, announce=False, host=who) as cfg:
                last = None
                while True:
                    if cfg.revision and cfg._held is not None and cfg._held is not last:
                        last = cfg._held
                        if cfg.last_error is not None:
                            raise Violation(f"{who}: {cfg.last_error}")
                        if cfg.revision != last.revision:
                            raise Violation(f"{who} runs {cfg.revision}, and knows {last.revision}")
                        merged: dict[str, str] = {}
                        found = last.entries
                        if last.canary is not None and last.canary.takes(who, {}):
                            found = last.canary.applied(found)
                        for layer in LAYERS:
                            merged.update((key, value.decode()) for (at, key), value in found.items() if at == layer)
                        if merged != cfg.current:
                            raise Violation(f"{who} runs {cfg.current} at {cfg.revision}, where {merged} is")
                        if who not in self.held or last.revision >= self.held[who].revision:
                            self._look(who, last, LAYERS)
                        self.done[who] += 1
                    await cfg._changed.wait()

    # The judgement ----------------------------------------------------------------------------------------------------

    def settled(self, before: Counter[str]) -> bool:
        writers = list(filter(self._writes, self.story.everybody))
        if not all(self.done[who] > before[who] for who in writers):
            return False
        self.at_rest = True
        newest = max([0, *(each.done or 0 for each in self.attempts.values())])
        newest = max([newest, *(each.revision for each in self.held.values())])
        readers = [who for who in self.story.everybody if who not in writers]
        return not self.writing and all(who in self.held and self.held[who].revision == newest for who in readers)

    async def finish(self, look: Client) -> None:
        await look.sync(self.path)
        store = Store(look, self.path)
        log = list(reversed(await store.log(100_000)))
        newest = (await store.at()).revision
        if [each.revision for each in log] != list(range(1, newest + 1)):
            raise Violation(f"the history has {[each.revision for each in log]}, and it is at {newest}")
        states = self._model([each.author for each in log])
        for who, state in self.held.items():
            if state.revision != newest:
                raise Violation(f"{who} ended on {state.revision}, and it is at {newest}")
        for who, seen in self.seen.items():
            for revision, layers, entries, canary in seen:
                self._compare(f"{who} at {revision}", states[revision], layers, entries, canary)
        for revision in range(newest + 1):
            found = await store.at(revision)
            if not found.verified or dict(found.entries) != states[revision].entries:
                raise Violation(f"the history tells {found.entries} at {revision}, where {states[revision]} was")
        if wrong := await store.verify():
            raise Violation(f"not as commits left it: {wrong}")

    def _model(self, authors: list[str]) -> list[State]:
        if twice := [name for name, count in Counter(authors).items() if count > 1]:
            raise Violation(f"committed twice: {twice}")
        if strange := set(authors) - self.attempts.keys():
            raise Violation(f"committed by nobody: {strange}")
        for name, attempt in self.attempts.items():
            if attempt.refused and name in authors:
                raise Violation(f"{name} was told that it was not done, and is {authors.index(name) + 1}")
        states = [State({}, None)]
        for revision, name in enumerate(authors, 1):
            attempt, before = self.attempts[name], states[-1]
            if attempt.done is not None and attempt.done != revision:
                raise Violation(f"{name} was told that it is {attempt.done}, and is {revision}")
            if attempt.base is not None and attempt.base != revision - 1:
                between = [states[n].entries for n in range(attempt.base, revision)]
                if not attempt.rebase or any(
                    one.get(at) != two.get(at) for one, two in pairwise(between) for at in attempt.changes
                ):
                    raise Violation(f"{name} was made for {attempt.base}, and is {revision}")
            states.append(self._after(before, attempt, states))
        for name, attempt in self.attempts.items():
            # What would have changed nothing is no commit.
            if attempt.done is not None and name not in authors:
                state = states[attempt.done]
                if self._after(state, attempt, states) != state:
                    raise Violation(f"{name} was told that it is {attempt.done}, and is not there")
        return states

    def _after(self, before: State, attempt: Attempt, states: list[State]) -> State:
        match attempt.kind:
            case "commit":
                return State(_with(before.entries, attempt.changes), before.canary)
            case "rollback":
                return State(states[attempt.to].entries, before.canary)
            case "canary":
                return State(before.entries, attempt.changes)
            case "promote":
                return State(_with(before.entries, before.canary or {}), None)
        return State(before.entries, None)

    def _compare(
        self, what: str, state: State, layers: list[str], entries: dict[At, bytes], canary: Canary | None
    ) -> None:
        if entries != state.of(layers):
            raise Violation(f"{what}: {entries}, where {state.of(layers)} was")
        if (None if canary is None else dict(canary.changes)) != state.canary:
            raise Violation(f"{what}: a staged rollout of {canary}, where {state.canary} was")

    async def keeps(self, look: Client) -> set[str]:
        return await tree(look, self.path)


def _with(entries: Mapping[At, bytes], changes: Mapping[At, bytes | None]) -> dict[At, bytes]:
    return {at: value for at, value in {**entries, **changes}.items() if value is not None}


class SmallPlay(ConfigPlay):
    """Two writers and six readers: for what needs no more."""

    writers, clients = 2, 4
    pause_s = 0.4
