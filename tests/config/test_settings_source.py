"""pydantic-settings: the store as one of its sources, and its classes as models that follow the store."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

import zabpy.blocking
from tests.config.test_blocking import committed, eventually
from zabpy.blocking.settings_source import ConfigSource
from zabpy.config import BadSettingsError, NotReadyError


class Pool(BaseModel):
    size: int = 1
    wait: int = 1


class Plain(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="ZABPY_TEST_", env_nested_delimiter="__", extra="ignore")
    host: str
    pool: Pool = Pool()
    tags: list[str] = []
    password: SecretStr = SecretStr("")


def with_store(servers: str, **options: Any) -> Callable[..., Plain]:
    class Settings(Plain):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return init_settings, env_settings, ConfigSource(settings_cls, servers, "/app", **options)

    return Settings


def test_the_store_is_a_source(hosts: str, monkeypatch: pytest.MonkeyPatch) -> None:
    committed(
        hosts, **{"host": "store", "pool.size": "5", "pool.wait": "6", "tags.json": json.dumps(["a"]), "more": "x"}
    )
    settings = with_store(hosts)
    found = settings()
    assert (found.host, found.pool, found.tags) == ("store", Pool(size=5, wait=6), ["a"])
    monkeypatch.setenv("ZABPY_TEST_POOL__SIZE", "9")
    assert settings(host="mine").model_dump(include={"host", "pool"}) == {
        "host": "mine",
        "pool": {"size": 9, "wait": 6},
    }

    async def made_in_a_coroutine() -> str:
        return settings().host

    assert asyncio.run(made_in_a_coroutine()) == "store"
    committed(hosts, **{"pool.size": "many"})
    monkeypatch.delenv("ZABPY_TEST_POOL__SIZE")
    with pytest.raises(ValidationError, match=r"pool.size"):
        settings()


def test_without_servers_the_cache_is_read(hosts: str, tmp_path: Path) -> None:
    committed(hosts, host="store")
    cache = tmp_path / "cache"
    with zabpy.blocking.open_config(hosts, "/app", cache=cache):
        eventually(cache.exists)
    assert with_store("127.0.0.1:1", cache=cache, wait_ms=20)().host == "store"
    with pytest.raises(NotReadyError):
        with_store("127.0.0.1:1", wait_ms=20)()


def test_such_a_class_follows_the_store_as_a_model(hosts: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZABPY_TEST_POOL__WAIT", "7")  # what the store says nothing of
    committed(hosts, **{"host": "a", "pool.size": "5"})
    with zabpy.blocking.open_config(hosts, "/app", model=Plain) as cfg:
        assert (cfg.current.host, cfg.current.pool) == ("a", Pool(size=5, wait=7))
        changes = cfg.changes()
        committed(hosts, host="b")
        assert next(changes).new.host == "b"
        committed(hosts, **{"pool.size": "many"})
        eventually(lambda: cfg.last_error)
        assert isinstance(cfg.last_error, BadSettingsError) and "pool.size (layer default) = 'many'" in str(
            cfg.last_error
        )
