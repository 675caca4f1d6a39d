"""Settings that follow a store: swapped whole, kept when what comes is wrong, there at a start without servers."""

import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from tests.recipes.conftest import on_both as on_both
from zabpy.client import ConnectionLossError, NoServerError, State
from zabpy.config import BadSettingsError, live
from zabpy.config.canary import decoded
from zabpy.config.live import Config, NotReadyError
from zabpy.config.reading import Seen
from zabpy.config.update import Update
from zabpy.model import BadArgumentsError, NoAuthError

Both = Callable[[Callable[[], Any]], None]


@dataclass(frozen=True)
class Database:
    host: str = "local"
    port: int = 1


@dataclass(frozen=True)
class Settings:
    db: Database = Database()
    tags: list[str] = field(default_factory=list)


class Store:
    """Stands for the servers and for what follows them: what is committed here comes to whoever follows."""

    def __init__(self) -> None:
        self.state = State.CONNECTED
        self.seen: Seen | None = None
        self.error: Exception | None = None
        self._changed = anyio.Event()
        self.opened = 0

    def commit(self, **values: str) -> None:
        """``prod__db_port="5"`` is a value of the layer ``prod``."""
        entries = dict(self.seen.entries) if self.seen else {}
        for name, value in values.items():
            layer, _, key = name.rpartition("__")
            entries[layer or "default", key.replace("_", ".")] = value.encode()
        self.seen = Seen(
            (self.seen.revision if self.seen else 0) + 1, {at: each for at, each in entries.items() if each}
        )
        self.tell()

    def begin_rollout(self, **found: object) -> None:
        assert self.seen is not None
        revision = self.seen.revision + 1
        self.seen = Seen(revision, self.seen.entries, decoded({"revision": revision, **found}))
        self.tell()

    def fail(self, error: Exception | None) -> None:
        self.error = error
        self.tell()

    def tell(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    async def __aenter__(self) -> "Store":
        self.opened += 1
        if self.error is not None:
            raise self.error
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    @asynccontextmanager
    async def follow(self, zk: object, path: str, layers: object, known: object) -> AsyncIterator[AsyncIterator[Seen]]:
        async def states() -> AsyncIterator[Seen]:
            told = None
            while True:
                if self.error is not None:
                    raise self.error
                if self.seen is not None and self.seen is not told:
                    told = self.seen
                    yield told
                else:
                    await self._changed.wait()

        yield states()


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    made = Store()
    monkeypatch.setattr(live, "follow", made.follow)
    monkeypatch.setattr(live, "RETRY_MS", 1)
    monkeypatch.setattr(live, "RETRY_MS_MAX", 4)
    return made


def opened(store: Store, model: Any = Settings, **options: Any) -> Config[Any]:
    options = {"announce": False, "wait_ms": 2_000} | options
    return Config.open(lambda: store, "/config/app", model=model, **options)  # type: ignore[arg-type, return-value]


async def until(condition: Callable[[], object]) -> None:
    with anyio.fail_after(5):
        while not condition():  # noqa: ASYNC110
            await anyio.sleep(0.001)


def test_current_is_swapped_whole(on_both: Both, store: Store) -> None:
    async def story() -> None:
        store.commit(db_host="a", db_port="1")
        async with opened(store) as cfg:
            first = cfg.current
            assert (first.db, cfg.revision, cfg.stale, cfg.last_error) == (Database("a", 1), 1, False, None)
            store.commit(db_host="b", db_port="2")
            await until(lambda: cfg.revision == 2)
            assert first.db == Database("a", 1) and cfg.current.db == Database("b", 2)
            second = cfg.current
            store.commit(other="x")  # nothing that the model has, but it is another revision
            store.commit(other__x="y")  # and of a layer that is not ours
            await until(lambda: cfg.revision == 4)
            assert cfg.current == second
        assert cfg.current == second  # also when it is over

    on_both(story)


def test_an_equal_value_of_another_type_is_another(on_both: Both, store: Store) -> None:
    async def story() -> None:
        store.commit(x_json="1", y_json='{"z": [1]}', name="n")
        async with opened(store, None) as cfg:
            for revision, value in enumerate(["true", "1.0", "1"], 2):
                store.commit(x_json=value)
                await until(lambda revision=revision: cfg.revision == revision)  # type: ignore[misc]
                assert repr(cfg.current["x"]) == repr(json.loads(value))
                assert cfg.current == {"x": 1, "y": {"z": [1]}, "name": "n"}
                with pytest.raises(TypeError):
                    cfg.current["x"] = 2

    on_both(story)


def test_layers_and_explain(on_both: Both, store: Store) -> None:
    async def story() -> None:
        store.commit(db_host="a", prod__db_host="b", host__db_port="7", unused__db_host="c")
        async with opened(store, layers=["prod", "host"]) as cfg:
            assert cfg.current.db == Database("b", 7) and cfg.layers == ("default", "prod", "host")
            [found] = cfg.explain("db.host")
            assert [(each.layer, each.wins) for each in found.said] == [("default", False), ("prod", True)]

    on_both(story)


def test_a_wrong_value_keeps_the_old_ones_and_raises_an_alarm(
    on_both: Both, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    alarms: list[Exception] = []

    async def alarmed(error: Exception) -> None:
        await anyio.lowlevel.checkpoint()
        alarms.append(error)
        raise RuntimeError("that harms nobody")

    async def story() -> None:
        store.commit(db_host="a", db_port="1")
        async with opened(store, on_alarm=alarmed) as cfg:
            store.commit(db_host="b", db_port="many")
            await until(lambda: alarms)
            assert (cfg.current.db, cfg.revision, cfg.stale) == (Database("a", 1), 1, False)
            error = cfg.last_error
            assert isinstance(error, BadSettingsError) and alarms == [error]
            assert str(error) == (
                "/config/app: the settings of revision 2 are refused, those of revision 1 stay in use:\n"
                "  db.port (layer default) = 'many': expected a whole number"
            )
            assert [each.value for each in cfg.explain("db.port")[0].said] == ["'many'"]
            store.commit(tags_json="[")
            await until(lambda: len(alarms) == 2)
            store.commit(tags_json='["x"]', db_port="3")
            await until(lambda: cfg.revision == 4)
            assert cfg.last_error is None and cfg.current == Settings(Database("b", 3), ["x"])

    with caplog.at_level(logging.ERROR, "zabpy.config"):
        on_both(story)
    assert [
        each.levelname
        for each in caplog.records
        if each.message.startswith("/config/app") and "of revision 2" in each.message
    ] == ["ERROR"]


def test_changes_tell_what_differs(on_both: Both, store: Store) -> None:
    async def story() -> None:
        store.commit(db_host="a", db_port="1")
        async with opened(store) as cfg:
            every, some = cfg.changes(), cfg.changes("tags*")
            store.commit(db_host="b")
            update = await anext(every)
            assert (update.old.db.host, update.new.db.host, update.revision) == ("a", "b", 2)
            assert list(map(str, update.diff)) == ["db.host: 'a' -> 'b'"]
            store.commit(db_port="")  # deleted
            await until(lambda: cfg.revision == 3)
            store.commit(tags_json='["x"]')
            await until(lambda: cfg.revision == 4)
            # Whoever comes late is told of it as of one.
            assert list(map(str, (await anext(every)).diff)) == ["db.port: '1' -> ABSENT", "tags: ABSENT -> ['x']"]
            assert [each.key for each in (await anext(some)).diff] == ["tags"]
            store.commit(db_host="c")
            await until(lambda: cfg.revision == 5)
            store.commit(db_host="b")
            await until(lambda: cfg.revision == 6)
            with anyio.move_on_after(0.02) as waited:  # it is what it was
                await anext(every)
            assert waited.cancelled_caught
        with pytest.raises(StopAsyncIteration):
            await anext(every)

    on_both(story)


def test_functions_are_called_after_changes(on_both: Both, store: Store) -> None:
    async def story() -> None:
        store.commit(db_host="a")
        calls: list[object] = []
        async with opened(store) as cfg:

            @cfg.on_change("db.*")
            def plain(update: Update[Settings]) -> None:
                calls.append((update.new.db.host, update.diff[0].key))
                raise ValueError("of its own")

            @cfg.on_change()
            async def waiting(update: Update[Settings]) -> None:
                await anyio.lowlevel.checkpoint()
                calls.append(update.revision)

            await anyio.lowlevel.checkpoint()
            store.commit(db_host="b")
            await until(lambda: len(calls) == 2)
            store.commit(tags_json='["x"]')
            await until(lambda: len(calls) == 3)
            store.commit(db_host="c")
            await until(lambda: len(calls) == 5)
        assert set(calls) == {("b", "db.host"), ("c", "db.host"), 2, 3, 4}
        with pytest.raises(RuntimeError, match="not open"):
            cfg.on_change()(plain)

    on_both(story)


def test_a_start_with_settings_that_do_not_fit(on_both: Both, store: Store) -> None:
    async def story() -> None:
        store.commit(db_port="many")
        with pytest.raises(BadSettingsError, match="revision 1 are refused, there are none yet:\n  db.port"):
            async with opened(store):
                raise AssertionError
        async with opened(store, wait_ms=0) as cfg:
            with pytest.raises(NotReadyError):
                _ = cfg.current
            assert cfg.stale and cfg.revision == 0 and cfg.explain("db") == []
            with pytest.raises(BadSettingsError):
                await cfg.ready(50)
            store.commit(db_port="5")
            assert (await cfg.ready()).db.port == 5

    on_both(story)


def test_ready_with_a_default(on_both: Both, store: Store) -> None:
    async def story() -> None:
        async with opened(store, wait_ms=0) as cfg:
            with pytest.raises(NotReadyError, match="no settings within 10 ms"):
                await cfg.ready(10)
            mine = Settings(Database("mine", 9))
            assert await cfg.ready(10, default=mine) is mine is cfg.current
            assert cfg.stale and cfg.revision == 0
            changes = cfg.changes()
            store.commit(db_port="5")
            update = await anext(changes)
            assert (update.old, update.new) == (mine, Settings(Database("local", 5))) and not cfg.stale

    on_both(story)


def test_no_servers_at_the_start(on_both: Both, store: Store) -> None:
    async def story() -> None:
        store.fail(NoServerError("none"))
        with pytest.raises(NotReadyError, match="/config/app: no settings within 20 ms, and none in a cache"):
            async with opened(store, wait_ms=20):
                raise AssertionError
        store.fail(NoAuthError("no"))
        with pytest.raises(NoAuthError):
            async with opened(store):
                raise AssertionError

    on_both(story)


def test_a_start_survives_an_outage(on_both: Both, store: Store, tmp_path: Path) -> None:
    cache = tmp_path / "app.cache"

    async def story() -> None:
        store.commit(db_host="a", prod__db_port="5")
        async with opened(store, cache=cache, layers=["prod"]):
            await until(cache.exists)
        store.fail(NoServerError("none"))
        async with opened(store, cache=cache, layers=["prod"], wait_ms=20) as cfg:
            assert cfg.current.db == Database("a", 5) and (cfg.stale, cfg.revision, cfg.last_error) == (True, 1, None)
            assert cfg.explain("db.port")[0].said[0].layer == "prod"
            changes = cfg.changes()
            store.commit(db_host="b")
            store.fail(None)
            assert (await anext(changes)).new.db.host == "b" and not cfg.stale
            await until(lambda: b'"revision":2' in cache.read_bytes())
            # The servers come back with what was there before: it is no change, but not stale either.
        store.fail(NoServerError("none"))
        async with opened(store, cache=cache, layers=["prod"], wait_ms=20) as cfg:
            kept = cfg.current
            assert cfg.stale
            store.fail(None)
            await until(lambda: not cfg.stale)
            assert cfg.current is kept
        # Settings that do not fit are no better than none; nor are they kept in the cache.
        store.commit(db_host="c", db_port="many", prod__db_port="")
        async with opened(store, cache=cache, layers=["prod"]) as cfg:
            assert (cfg.current.db.host, cfg.stale) == ("b", True) and isinstance(cfg.last_error, BadSettingsError)
        store.fail(NoServerError("none"))
        cache.write_bytes(b"not this")
        with pytest.raises(NotReadyError):
            async with opened(store, cache=cache, wait_ms=20):
                raise AssertionError

    on_both(story)


def test_an_outage_later_keeps_what_there_is(on_both: Both, store: Store) -> None:
    async def story() -> None:
        store.commit(db_host="a")
        async with opened(store) as cfg:
            before = cfg.current
            store.fail(ConnectionLossError("gone"))
            await until(lambda: cfg.stale)
            assert (cfg.current, cfg.last_error) == (before, None)
            store.fail(None)
            await until(lambda: not cfg.stale)
            store.fail(NoAuthError("the namespace is not yours any more"))
            await until(lambda: cfg.last_error)
            assert cfg.current is before and cfg.stale
            store.fail(KeyError("a bug of ours"))
            await until(lambda: "a bug of ours" in str(cfg.last_error))
            store.fail(None)
            await until(lambda: not cfg.stale)
            assert (cfg.current, cfg.last_error) == (before, None)

    on_both(story)


def test_what_the_body_raises_comes_out_as_it_was(on_both: Both, store: Store) -> None:
    async def story() -> None:
        store.commit(db_host="a")
        with pytest.raises(ZeroDivisionError):
            async with opened(store) as cfg:
                cfg.on_change()(print)
                raise ZeroDivisionError
        with anyio.move_on_after(0.01) as scope:
            async with opened(store):
                await anyio.sleep_forever()
        assert scope.cancelled_caught
        with pytest.raises(RuntimeError, match="opened once"):
            async with cfg:
                raise AssertionError

    on_both(story)


def test_a_rollout_reaches_some_first(on_both: Both, store: Store) -> None:
    async def story() -> None:
        store.commit(db_host="a", db_port="1")
        async with opened(store, host="web1") as first, opened(store, host="web2", labels={"zone": "b"}) as other:
            store.begin_rollout(hosts=["web1"], changes=[["default", "db.host", "b"], ["default", "db.port", None]])
            await until(lambda: first.revision == other.revision == 2)
            assert (first.canary, first.current.db) == (2, Database("b"))
            assert (other.canary, other.current.db) == (None, Database("a", 1))
            store.begin_rollout(labels={"zone": "b"}, changes=[["default", "db.port", "many"]])
            await until(lambda: other.last_error)
            assert (other.revision, other.current.db) == (2, Database("a", 1))
            store.commit(db_port="5")  # withdrawn
            await until(lambda: first.revision == other.revision == 4)
            assert (first.canary, first.current) == (None, other.current) and other.last_error is None

    on_both(story)


def test_secrets_are_opened_for_current_only(on_both: Both, store: Store, tmp_path: Path) -> None:
    cache = tmp_path / "app.cache"

    async def story() -> None:
        store.commit(db_host="!enc abc")
        options: dict[str, Any] = {"cache": cache, "reveal": lambda layer, key, text: "hush-" + text[5:]}
        async with opened(store, **options) as cfg:
            assert cfg.current.db.host == "hush-abc"
            assert "hush" not in repr(cfg.explain("db"))
            changes = cfg.changes()
            await until(cache.exists)
            assert b"hush" not in cache.read_bytes()
            store.commit(db_host="!enc xyz")
            assert "hush" not in repr(await anext(changes))
            store.commit(db_port="x")
            await until(lambda: cfg.last_error)
            assert "hush" not in str(cfg.last_error)

    on_both(story)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"wait_ms": -1}, "wait_ms=-1"),
        ({"wait_ms": 1.5}, "wait_ms=1.5"),
        ({"layers": "prod"}, "layers='prod'"),
        ({"layers": ["a", "b", "a"]}, "'a' stands in it twice"),
        ({"model": object()}, "model"),
    ],
)
def test_what_cannot_be_asked_for(options: dict[str, Any], said: str, store: Store) -> None:
    with pytest.raises(BadArgumentsError, match=said):
        opened(store, **options)
