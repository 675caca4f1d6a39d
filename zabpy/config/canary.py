"""Staged rollout: some readers take a change before all others do. No I/O.

While a rollout is under way, ``.head`` has, besides the revision that all run,

    "canary": {"revision": 12, "hosts": ["web1", "web-eu-*"], "labels": {"zone": "a"}, "percent": 10, "salt": "12",
               "changes": [["default", "db.port", "5433"], ["env.prod", "debug", null]]}

A reader takes the changes if its host is named, or all the labels are its own, or it is of the percentage; which hosts
those are depends on the salt, and who is of 10 percent is of 20. The value null deletes.
"""

import fnmatch
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Canary:
    """Who takes which changes; ``revision`` is that of the commit which began it."""

    revision: int
    hosts: tuple[str, ...]
    labels: Mapping[str, str]
    percent: float
    salt: str
    changes: Mapping[tuple[str, str], bytes | None]

    def takes(self, host: str, labels: Mapping[str, str]) -> bool:
        """Whether a reader of that host, with those labels, is one of the first."""
        if any(fnmatch.fnmatchcase(host, pattern) for pattern in self.hosts):
            return True
        if self.labels and all(labels.get(name) == value for name, value in self.labels.items()):
            return True
        return _share(self.salt, host) < self.percent * 100

    def applied(self, entries: Mapping[tuple[str, str], bytes]) -> dict[tuple[str, str], bytes]:
        changed = {**entries, **self.changes}
        return {at: value for at, value in changed.items() if value is not None}


def decoded(found: Any) -> Canary | None:
    """What ``.head`` says; None for null. Raises `ValueError` for what cannot be."""
    if found is None:
        return None
    try:
        hosts, labels, percent = found.get("hosts", []), found.get("labels", {}), found.get("percent", 0)
        changes = {
            (_text(layer), _text(key)): None if value is None else _text(value).encode()
            for layer, key, value in found["changes"]
        }
        if type(found["revision"]) is not int or isinstance(percent, bool) or not 0 <= percent <= 100:
            raise ValueError("no such revision, or no such percentage")
        return Canary(
            found["revision"],
            tuple(map(_text, hosts)),
            {_text(name): _text(value) for name, value in labels.items()},
            percent,
            _text(found.get("salt", "")),
            changes,
        )
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"its canary cannot be read: {error!r}") from None


def _share(salt: str, host: str) -> int:
    """0 to 9,999: hundredths of a percent."""
    digest = hashlib.sha256(f"{salt}\0{host}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8]) % 10_000


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value
