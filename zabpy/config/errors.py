"""What goes wrong with settings."""

from collections.abc import Iterable
from typing import Any

from zabpy.client import RequestTooLargeError
from zabpy.model import ZabpyError


class ConfigError(ZabpyError):
    """Root of what zabpy.config raises on purpose."""


class StaleBaseError(ConfigError):
    """Somebody has committed since: ``revision`` is what there is now. Nothing was written."""

    def __init__(self, path: str, base: int, revision: int) -> None:
        super().__init__(f"{path}: made for revision {base}, but it is at {revision}: nothing was written")
        self.path, self.base, self.revision = path, base, revision

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.path, self.base, self.revision))


class ConflictError(StaleBaseError):
    """Somebody has changed the same ``keys`` since: layer and key of each. Nothing was written."""

    def __init__(self, path: str, base: int, revision: int, keys: Iterable[tuple[str, str]]) -> None:
        super().__init__(path, base, revision)
        self.keys = tuple(sorted(keys))
        named = ", ".join(f"{key} (layer {layer})" for layer, key in self.keys[:5])
        more = f" and {len(self.keys) - 5} more" if len(self.keys) > 5 else ""
        what = f"{named}{more}" if self.keys else "the schema"
        self.args = (f"{path}: changed since revision {base}, by others: {what}: nothing was written",)

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.path, self.base, self.revision, self.keys))


class UnknownRevisionError(ConfigError, LookupError):
    """There is no such revision, not yet or no longer."""


class CommitTooLargeError(ConfigError, RequestTooLargeError):
    """All of a commit, with the values before, has to fit into one request. Nothing was sent."""

    def __init__(self, message: str, size: int, limit: int) -> None:
        RequestTooLargeError.__init__(self, size, limit)
        self.args = (message,)

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.args[0], self.size, self.limit))


class CanaryError(ConfigError):
    """There is no staged rollout, or there is one, where the other is needed. Nothing was written."""


class DamagedError(ConfigError):
    """The head of a namespace, its history or its values are not as commits leave them."""


class BadNameError(ConfigError, ValueError):
    """No key, or layer, can be called that."""
