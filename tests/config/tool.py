"""``zabpy config`` in a test's hands: a verb is run in this process, and what it printed and ended with is told."""

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple, Protocol

import anyio
import pytest

from shell.config_tool import Tool, parsed, run
from shell.output import Look, Output
from shell.settings import Rules, Settings
from shell.starting import started
from zabpy.client import Client

from .committing import commit

NAMESPACE = "/config/app"
RULES = Rules()
Committed = Callable[..., None]


class Told(NamedTuple):
    status: int
    out: str
    err: str


class Zabpy(Protocol):
    def __call__(
        self,
        *words: str,
        layers: tuple[str, ...] = (),
        keys: str | None = None,
        format: str = "table",
        rules: Rules = RULES,
    ) -> Told: ...


@pytest.fixture
def config(hosts: str) -> Zabpy:
    def call(
        *words: str,
        layers: tuple[str, ...] = (),
        keys: str | None = None,
        format: str = "table",
        rules: Rules = RULES,
    ) -> Told:
        out, err = bytearray(), bytearray()
        found, params = parsed(words)

        async def story() -> int:
            with anyio.fail_after(30):
                output = Output(out.extend, err.extend, format, Look())
                async with started(Settings(hosts, rules=rules), output, keeps_trying=False) as shell:
                    return await run(Tool(shell, NAMESPACE, layers, keys), found, params)

        status = anyio.run(story)
        return Told(status, out.decode(), err.decode())

    return call


@pytest.fixture
def committed(hosts: str) -> Callable[..., None]:
    def call(values: Mapping[str, str | None], layer: str = "default") -> None:
        async def story(zk: Client) -> None:
            await commit(zk, NAMESPACE, values, layer=layer)

        on(hosts, story)

    return call


def on(hosts: str, story: Callable[[Client], Awaitable[object]]) -> None:
    async def whole() -> None:
        async with Client(hosts) as zk:
            await story(zk)

    anyio.run(whole)
