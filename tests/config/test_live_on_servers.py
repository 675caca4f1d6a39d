"""The same on real servers: what is read is whole, and a start needs no servers if there is a cache."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest

import zabpy
from tests.client.conftest import reconnect
from tests.config.committing import commit
from zabpy.config import BadSettingsError, Config, ConfigError, NoConfigStoreError, NotReadyError
from zabpy.config.secrets import Keyring, Secrets, key_line
from zabpy.testing import Ensemble

Both = Callable[[Callable[[], Awaitable[None]]], None]


@dataclass(frozen=True)
class Settings:
    one: int = 0
    two: int = 0
    name: str = ""


async def until(condition: Callable[[], object]) -> None:
    with anyio.fail_after(10):
        while not condition():  # noqa: ASYNC110
            await anyio.sleep(0.002)


def test_from_commit_to_current(on_both: Both, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            await commit(zk, "/config/app", {"one": "1", "two": "1"})
            await commit(zk, "/config/app", {"name": "prod"}, layer="env.prod")
            async with Config.open(zk, "/config/app", model=Settings, layers=["env.prod", "host.none"]) as cfg:
                assert (cfg.current, cfg.revision, cfg.stale) == (Settings(1, 1, "prod"), 2, False)
                changes = cfg.changes()
                await commit(zk, "/config/app", {"one": None, "two": "2"})
                update = await anext(changes)
                assert (update.revision, update.new) == (3, Settings(0, 2, "prod"))
                assert [str(each) for each in update.diff] == ["one: '1' -> ABSENT", "two: '1' -> '2'"]

    on_both(story)


def test_two_values_that_belong_together_are_never_seen_apart(on_both: Both, hosts: str) -> None:
    async def story() -> None:
        seen: list[int] = []
        async with zabpy.connect(hosts) as zk, zabpy.connect(hosts) as other:
            await commit(zk, "/app", {"one": "0", "two": "0"})
            async with (
                Config.open(other, "/app", model=Settings, announce=False) as cfg,
                anyio.create_task_group() as tasks,
            ):

                async def look() -> None:
                    async for update in cfg.changes():
                        assert update.new.one == update.new.two == update.revision - 1
                        seen.append(update.revision)

                tasks.start_soon(look)
                for number in range(1, 30):
                    await commit(zk, "/app", {"one": str(number), "two": str(number)})
                    if number == 15:
                        await reconnect(other)
                await until(lambda: cfg.revision == 30)
                await until(lambda: seen and seen[-1] == 30)
                tasks.cancel_scope.cancel()
        assert seen == sorted(set(seen))

    on_both(story)


@pytest.mark.parametrize(
    ("data", "head", "said"),
    [
        (None, None, "there is nothing"),
        (b"", None, "its data is something else"),
        (b"[1]", None, "its data is something else"),
        (b'{"format": "zabpy.config", "version": 2}', None, "a config store of version 2"),
        (b'{"format": "zabpy.config", "version": 1}', None, "it has no .head"),
        (b'{"format": "zabpy.config", "version": 1}', b"{}", "its .head tells no revision"),
        (b'{"format": "zabpy.config", "version": 1}', b"x", "its .head tells no revision"),
        (b'{"format": "zabpy.config", "version": 1}', b'{"revision": 1, "canary": 1}', "1: its canary cannot be read"),
    ],
)
def test_what_is_no_config_store(data: bytes | None, head: bytes | None, said: str, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            if data is not None:
                await zk.create("/app", data)
            if head is not None:
                await zk.create("/app/.head", head)
            with pytest.raises(ConfigError, match=said):
                async with Config.open(zk, "/app"):
                    raise AssertionError
            assert await zk.exists("/app/.readers") is None

    anyio.run(story)


def test_a_namespace_that_comes_later_and_goes_again(hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            async with Config.open(zk, "/app", wait_ms=0) as cfg:
                await until(lambda: isinstance(cfg.last_error, NoConfigStoreError))
                await commit(zk, "/app", {"a": "1"})
                assert await cfg.ready(10_000) == {"a": "1"} and cfg.last_error is None
                await until(lambda: not cfg.stale)
                await zk.delete_tree("/app")
                await until(lambda: isinstance(cfg.last_error, NoConfigStoreError))
                assert cfg.current == {"a": "1"} and cfg.stale

    anyio.run(story, backend="trio")


def test_a_thousand_keys_take_two_round_trips(hosts: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        asked: list[int] = []
        get_many = zabpy.Client.get_many

        async def counted(self: zabpy.Client, paths: list[str]) -> Any:
            asked.append(len(paths))
            return await get_many(self, paths)

        async with zabpy.connect(hosts) as zk:
            await commit(zk, "/app", {f"key.n{number}": str(number) for number in range(1_000)})
            monkeypatch.setattr(zabpy.Client, "get_many", counted)
            async with Config.open(zk, "/app", layers=["none"], announce=False) as cfg:
                assert cfg.current["key"] == {f"n{number}": str(number) for number in range(1_000)}
        # Marker and head, and beside them the names; then head, the znodes of two layers, all values, and head again.
        assert asked == [2, 1_004]

    anyio.run(story)


def test_encrypted_values(hosts: str) -> None:
    async def story() -> None:
        secrets = Secrets(Keyring.parse(key_line("k1"), "here"), "/app")
        async with zabpy.connect(hosts) as zk:
            await commit(zk, "/app", {"name": secrets.conceal("default", "name", "hunter2")})
            async with Config.open(zk, "/app", model=Settings, reveal=secrets.reveal) as cfg:
                assert cfg.current.name == "hunter2" and "***" in str(cfg.explain("name")[0])
                await commit(zk, "/app", {"one": secrets.conceal("default", "name", "moved")})
                await until(lambda: cfg.last_error)
                assert cfg.current.name == "hunter2" and "one (layer default) = ***" in str(cfg.last_error)
            other = Secrets(Keyring.parse(key_line("k1"), "here"), "/app")
            with pytest.raises(BadSettingsError, match=r"name \(layer default\) = \*\*\*"):
                async with Config.open(zk, "/app", reveal=other.reveal):
                    raise AssertionError

    anyio.run(story)


def test_a_namespace_without_a_commit(hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            await zk.create("/app", b'{"format": "zabpy.config", "version": 1}')
            await zk.create("/app/.head", b'{"revision": 0}')
            async with Config.open(zk, "/app", model=Settings) as cfg:
                assert (cfg.current, cfg.revision, cfg.stale) == (Settings(), 0, False)

    anyio.run(story)


def test_readers_say_which_revision_they_run(hosts: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zabpy.config.live.SPLAY_MS_MAX", 1)

    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            await commit(zk, "/app", {"one": "1"})

            async def told() -> list[tuple[str, int, bool]]:
                found = []
                for name in await zk.children("/app/.readers"):
                    data, stat = await zk.get(f"/app/.readers/{name}")
                    assert stat.ephemeral_owner == zk.session.id
                    said = json.loads(data)
                    found.append((said["host"], said["revision"], said["refused"]))
                return found

            async def until_told(what: list[tuple[str, int, bool]]) -> None:
                with anyio.fail_after(5):
                    while await zk.exists("/app/.readers") is None or await told() != what:  # noqa: ASYNC110
                        await anyio.sleep(0.005)

            async with Config.open(zk, "/app", model=Settings, host="web1"):
                await until_told([("web1", 1, False)])
                await commit(zk, "/app", {"one": "2"})
                await until_told([("web1", 2, False)])
                await commit(zk, "/app", {"one": "x"})
                await until_told([("web1", 2, True)])
            await until_told([])

    anyio.run(story, backend="trio")


def test_a_start_without_servers_and_their_return(tmp_path: Path) -> None:
    cache = tmp_path / "app.cache"

    async def prepare(hosts: str) -> None:
        async with zabpy.connect(hosts) as zk:
            await commit(zk, "/app", {"one": "1"})
        async with Config.open(hosts, "/app", model=Settings, cache=cache) as cfg:
            assert cfg.current.one == 1
            await until(cache.exists)

    async def story(hosts: str, restart: Callable[[], object]) -> None:
        with pytest.raises(NotReadyError):
            async with Config.open(hosts, "/app", wait_ms=50):
                raise AssertionError
        async with Config.open(hosts, "/app", model=Settings, cache=cache, wait_ms=50) as cfg:
            assert cfg.current.one == 1 and cfg.stale
            await anyio.to_thread.run_sync(restart)
            await until(lambda: not cfg.stale)
            assert cfg.current.one == 1

    with Ensemble(1) as ensemble:
        anyio.run(prepare, ensemble.hosts)
        ensemble.kill(1)
        anyio.run(story, ensemble.hosts, lambda: ensemble.restart(1))
