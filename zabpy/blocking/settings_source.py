"""A source for pydantic-settings: what the store holds, read once, when the settings are made.

    class Settings(BaseSettings):
        db_host: str

        @classmethod
        def settings_customise_sources(cls, settings_cls, init_settings, env_settings, **_):
            return init_settings, env_settings, ConfigSource(settings_cls, "zk1,zk2", "/config/app")

The first source that has a value wins, as always there. A program whose settings are to follow the store gives the
class to `zabpy.config.Config` as its ``model`` instead, without this source.
"""

import copy
import os
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from zabpy.config import Reveal

from .config import Config, Servers, open_config


class ConfigSource(PydanticBaseSettingsSource):
    """See the head of this file."""

    def __init__(
        self,
        settings_cls: type[BaseSettings],
        client: Servers,
        path: str,
        *,
        layers: Sequence[str] = (),
        cache: str | os.PathLike[str] | None = None,
        reveal: Reveal | None = None,
        wait_ms: int = 10_000,
    ) -> None:
        """The arguments are those of `open_config`, and so is what making the settings raises when they are not to be
        had: `NotReadyError`, `BadSettingsError` ..."""
        super().__init__(settings_cls)
        self._config: Config[Mapping[str, Any]] = open_config(
            client, path, layers=layers, cache=cache, reveal=reveal, wait_ms=wait_ms, announce=False
        )

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        raise NotImplementedError  # all values are given at once

    def __call__(self) -> dict[str, Any]:
        with self._config as cfg:
            found: dict[str, Any] = copy.deepcopy(dict(cfg.current))
        return found

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"
