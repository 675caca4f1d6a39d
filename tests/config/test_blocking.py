"""`zabpy.blocking.open_config`: the same settings for plain code."""

import inspect
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

import zabpy
import zabpy.blocking
import zabpy.config
from tests.config.committing import commit
from zabpy.blocking.config import Config, open_config
from zabpy.blocking.store import Store
from zabpy.blocking.wrapping import Blocking
from zabpy.client import ForkedClientError
from zabpy.config import BadSettingsError, NotReadyError, Update
from zabpy.model import BadArgumentsError


@dataclass(frozen=True)
class Settings:
    one: int = 0
    name: str = ""


def committed(hosts: str, **values: str) -> None:
    committed_to(hosts, "/app", values)


def committed_to(hosts: str, path: str, values: Mapping[str, str]) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            await commit(zk, path, values)

    anyio.run(story)


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_settings_in_plain_code(hosts: str, tmp_path: Path) -> None:
    committed(hosts, one="1")
    alarms: list[tuple[Exception, str]] = []
    calls: list[tuple[int, str]] = []
    with zabpy.blocking.open_config(
        hosts,
        "/app",
        model=Settings,
        layers=["prod"],
        cache=tmp_path / "cache",
        on_alarm=lambda error: alarms.append((error, threading.current_thread().name)),
    ) as cfg:
        assert (cfg.current, cfg.revision, cfg.stale, cfg.last_error) == (Settings(1), 1, False, None)
        assert (cfg.path, cfg.layers, cfg.ready(1_000)) == ("/app", ("default", "prod"), Settings(1))

        @cfg.on_change("one")
        def note(update: Update[Settings]) -> None:
            calls.append((update.new.one, threading.current_thread().name))

        changes = cfg.changes()
        committed(hosts, one="2")
        update = next(changes)
        assert (update.old, update.new, update.revision) == (Settings(1), Settings(2), 2) and cfg.current is update.new
        eventually(lambda: calls)
        assert calls == [(2, "zabpy-call")]
        assert str(cfg.explain("one")[0]) == "one\n-> default  '2'"
        committed(hosts, one="x")
        eventually(lambda: alarms)
        assert isinstance(alarms[0][0], BadSettingsError) and alarms[0][1] == "zabpy-call"
        assert cfg.last_error is alarms[0][0] and cfg.current == Settings(2)


def test_a_start_that_fails_and_one_with_a_default() -> None:
    with pytest.raises(NotReadyError):
        open_config("127.0.0.1:1", "/app", model=Settings, wait_ms=20).open()
    with open_config("127.0.0.1:1", "/app", model=Settings, wait_ms=0) as cfg:
        with pytest.raises(NotReadyError):
            _ = cfg.current
        assert cfg.ready(10, default=Settings(7)) == Settings(7) == cfg.current
        assert cfg.stale


def test_what_cannot_be_asked_for_is_said_at_once() -> None:
    with pytest.raises(BadArgumentsError, match="wait_ms"):
        open_config("zk1", "/app", wait_ms=-1)
    with pytest.raises(BadArgumentsError, match="servers' addresses are expected, or a function, not a Client"):
        open_config(zabpy.blocking.connect("zk1"), "/app")  # type: ignore[call-overload]


def test_a_fork_has_its_own_after_it_asks_for_it(hosts: str) -> None:
    committed(hosts, one="1")
    with open_config(hosts, "/app", model=Settings) as cfg:
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            said = "nothing"
            try:
                try:
                    said = f"{cfg.current}"
                except ForkedClientError:
                    said = f"forked, then {cfg.after_fork().current.one}"
                    cfg.close()
            finally:
                os.write(write, said.encode())
                os._exit(0)
        os.close(write)
        assert os.read(read, 100) == b"forked, then 1"
        os.close(read)
        os.waitpid(child, 0)
        assert cfg.current.one == 1


def test_names_and_parameters_are_those_of_the_async_one() -> None:
    theirs = {name for name in dir(zabpy.config.Config) if not name.startswith("_")} - {"open"}
    assert theirs <= {name for name in dir(Config) if not name.startswith("_")}
    for name in theirs:
        ours = inspect.getattr_static(Config, name)
        other = inspect.getattr_static(zabpy.config.Config, name)
        assert isinstance(ours, property) == isinstance(other, property)
        if not isinstance(ours, property):
            assert list(inspect.signature(ours).parameters) == list(inspect.signature(other).parameters)
    opening = inspect.signature(zabpy.config.Config.open).parameters.values()
    assert [(each.name, each.default) for each in inspect.signature(open_config).parameters.values()] == [
        (each.name, each.default) for each in opening
    ]
    assert issubclass(Config, Blocking)


def test_it_is_loaded_when_it_is_asked_for() -> None:
    code = (
        "import sys, zabpy, zabpy.blocking; zabpy.connect\n"
        "assert not [name for name in sys.modules if name.startswith('zabpy.config')]\n"
        "zabpy.blocking.open_config\n"
        "assert not {'yaml', 'pydantic', 'msgspec', 'cryptography', 'jinja2', 'jsonschema'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_store_in_plain_code(hosts: str) -> None:
    with zabpy.blocking.connect(hosts) as zk:
        store = zabpy.blocking.open_store(zk, "/app")
        store.create()
        assert (store.path, store.commit({"a": "1"}, author="ann"), store.rollback(0)) == ("/app", 1, 2)
        assert (store.canary({"a": "2"}, percent=5), store.withdraw(), store.verify()) == (3, 4, [])
        assert (store.canary({"a": "2"}, percent=5), store.promote()) == (5, 6)
        store.retain(records_max=50)
        assert (store.check({"a": "3"}), store.readers(), store.repair()) == ([], [], 7)
        assert store.at().entries == {("default", "a"): b"2"}
        assert [each.revision for each in store.log(2, before=3)] == [2, 1]
        assert list(map(str, store.diff(5, 6))) == ["a (layer default): ABSENT -> '2'"]
    with pytest.raises(BadArgumentsError, match="a client of zabpy.blocking is expected, not a str"):
        zabpy.blocking.open_store(hosts, "/app")  # type: ignore[arg-type]


def test_the_store_in_plain_code_has_the_same_methods() -> None:
    names = [name for name in dir(zabpy.config.Store) if not name.startswith("_")]
    assert names and [name for name in dir(Store) if not name.startswith("_")] == sorted(
        {*names, "path", *(name for name in dir(Blocking) if not name.startswith("_"))}
    )
    for name in names:
        ours, theirs = inspect.signature(getattr(Store, name)), inspect.signature(getattr(zabpy.config.Store, name))
        assert ours == theirs and getattr(Store, name).__doc__, name
