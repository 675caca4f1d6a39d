"""The story of five writers and twenty-one readers (story.py) on real servers, which are killed and come back."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any, cast

import pytest
import trio

import zabpy
from tests.client.conftest import TESTED_ON
from tests.recipes.stories.story import TROUBLES, Story
from zabpy.testing import Ensemble

from .story import ConfigPlay
from .test_stories import small as small

SECONDS = float(os.environ.get("ZABPY_CONFIG_SECONDS", "2"))


class RealStory:
    """As much of a `Story` as the play needs, on processes."""

    def __init__(self, ensemble: Ensemble) -> None:
        self.rng, self.ensemble, self.over = Random(7), ensemble, False
        self.everybody = [f"c{i}.{j}" for i in range(ConfigPlay.clients) for j in range(ConfigPlay.tasks)]
        self._ending: set[trio.CancelScope] = set()
        self.play = Play(cast(Story, self))

    def note(self, text: str) -> None:
        pass

    @contextmanager
    def until_over(self) -> Iterator[None]:
        with trio.CancelScope() as scope:
            self._ending.add(scope)
            try:
                yield
            finally:
                self._ending.discard(scope)

    def end(self) -> None:
        self.over = True
        for scope in self._ending:
            scope.cancel()

    async def live(self, name: str) -> None:
        while not self.over:
            try:
                async with zabpy.connect(self.ensemble.hosts, session_timeout_ms=4_000) as zk:
                    async with trio.open_nursery() as tasks:
                        for task in range(ConfigPlay.tasks):
                            tasks.start_soon(self._act, zk, f"{name}.{task}")
            except zabpy.NoServerError:
                pass

    async def _act(self, zk: Any, who: str) -> None:
        while not self.over:
            try:
                await self.play.work(zk, who)
            except TROUBLES:
                pass
            await trio.sleep(self.rng.random() * self.play.pause_s)

    async def suffer(self) -> None:
        ends_at = trio.current_time() + SECONDS
        while trio.current_time() < ends_at:
            await trio.sleep(self.rng.random() / 2)
            victim = self.rng.choice([1, 2, 3])
            await trio.to_thread.run_sync(self.ensemble.kill, victim)
            await trio.sleep(self.rng.random())
            await trio.to_thread.run_sync(self.ensemble.restart, victim)


class Play(ConfigPlay):
    pause_s = 0.2

    @contextmanager
    def _endangered(self, zk: object, who: str) -> Iterator[None]:
        yield  # the servers' ends are danger enough


@pytest.mark.skipif(TESTED_ON != "zabpy", reason="it starts servers of its own")
def test_whatever_happens_to_processes_readers_see_whole_revisions_in_order() -> None:
    async def tell(ensemble: Ensemble) -> None:
        story = RealStory(ensemble)
        async with trio.open_nursery() as alive:
            for number in range(ConfigPlay.clients):
                alive.start_soon(story.live, f"c{number}")
            await story.suffer()
            before = story.play.done.copy()
            with trio.fail_after(60):
                while not story.play.settled(before):  # noqa: ASYNC110
                    await trio.sleep(0.05)
            story.end()
        async with zabpy.connect(ensemble.hosts) as look:
            await story.play.finish(look)
        assert len(story.play.attempts) > 10

    with Ensemble(3) as ensemble:
        trio.run(tell, ensemble)
