"""The last good settings in a file, so that a start survives an outage of the servers.

    {"format": "zabpy.config.cache", "version": 1, "namespace": ..., "revision": ..., "saved": ...,
     "layers": {"default": {"db.host": "x"}, ...}, "sha256": <of all the rest>}

Values stand there as in the store: what is encrypted stays so. The file is replaced in one step, after it is on the
disk, so it is the old one or the new one, whenever the power goes. It belongs to us and nobody else may write or read
it (0600): one that others may write could be anybody's settings, and is refused. Blocks on the disk: call it in a
worker thread.
"""

import contextlib
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .errors import ConfigError

FORMAT: Final = "zabpy.config.cache"
VERSION: Final = 1
#: Larger than any namespace; a file beyond that is none of ours.
BYTES_MAX: Final = 256 << 20


class CacheError(ConfigError):
    """The file cannot be used; it says why."""


@dataclass(frozen=True, slots=True)
class Cached:
    """What the store held. ``saved_ms`` is the wall clock's."""

    namespace: str
    revision: int
    saved_ms: int
    #: Layer → key → value, as it stands in the store. It has the layers that were asked for, the empty ones, too.
    layers: Mapping[str, Mapping[str, bytes]]


def load(file: Path, namespace: str) -> Cached | None:
    """What was saved last; None if nothing was. Raises `CacheError` for a file that is damaged or not to be trusted."""
    try:
        with open(os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as opened:
            status = os.fstat(opened.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise _bad(file, "no file")
            if status.st_uid not in (os.geteuid(), 0):
                raise _bad(file, f"it belongs to user {status.st_uid}, not to us")
            if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise _bad(file, f"others may write it (mode {stat.S_IMODE(status.st_mode):04o}, 0600 is expected)")
            if status.st_size > BYTES_MAX:
                raise _bad(file, "too large")
            data = opened.read(BYTES_MAX)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _bad(file, str(error)) from None
    try:
        found = json.loads(data)
        if found["format"] != FORMAT or found["version"] != VERSION:
            raise _bad(file, "no cache of this version")
        if found.pop("sha256") != _digest(found):
            raise _bad(file, "damaged: its hash is another one")
        layers = {
            layer: {key: value.encode("utf-8", "surrogateescape") for key, value in entries.items()}
            for layer, entries in found["layers"].items()
        }
        cached = Cached(found["namespace"], found["revision"], found["saved"], layers)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise _bad(file, "damaged") from None
    if cached.namespace != namespace:
        raise _bad(file, f"it is of {cached.namespace!r}, not of {namespace!r}")
    return cached


def save(file: Path, cached: Cached) -> None:
    """Raises `CacheError` if that cannot be done; the file is then what it was before."""
    content: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "namespace": cached.namespace,
        "revision": cached.revision,
        "saved": cached.saved_ms,
        "layers": {
            layer: {key: value.decode("utf-8", "surrogateescape") for key, value in sorted(entries.items())}
            for layer, entries in sorted(cached.layers.items())
        },
    }
    content["sha256"] = _digest(content)
    temporary = None
    try:
        # In the same directory, or it could not be put in the other's place in one step; mkstemp makes it 0600.
        number, temporary = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
        with open(number, "w", encoding="ascii") as opened:
            json.dump(content, opened, ensure_ascii=True, separators=(",", ":"))
            opened.flush()
            os.fsync(opened.fileno())
        os.replace(temporary, file)
        temporary = None
        directory = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise _bad(file, str(error)) from None
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _bad(file: Path, reason: str) -> CacheError:
    return CacheError(f"cache {file}: {reason}")


def _digest(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, ensure_ascii=True, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()
