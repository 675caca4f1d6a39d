"""What stands in ``.head``, in the znodes of layers and in records: the forms, and the arithmetic of states. No I/O.

    {"revision": 12, "time_ms": ..., "author": ..., "message": ...,
     "count": 3, "bytes": 120, "hash": "...",                   of all layers together
     "sums": {"default": [2, "..."], "env.prod": [1, "..."]},   count and hash of the default layer, and of changed ones
     "oldest": 1,                                               the first record there still is
     "recent": [[11, [...]], [12, [["default", "db.port", "5433"], ["env.prod", "debug", null]]]],
     "canary": null}

``recent`` has what the last commit changed, if that takes no more than `RECENT_BYTES_MAX`, and before it the commits
that are small enough beside it: who has an older state, but not a much older one, needs nothing else. Only
``revision`` has to be there. What else stands there, of a later version, say, stays.

The hash of a layer is the sum of its entries' SHA-256, so that a commit is added and taken away without a look at all
the rest; that of a state is the sum of its layers'. It finds what happens by mistake: who may write can also write a
hash.

Also the values of changes: a text is itself, null is no value, and what is no UTF-8 is ``{"base64": "..."}``.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from .layers import DEFAULT

#: Layer and key.
At = tuple[str, str]
#: None: no value.
Changed = Mapping[At, bytes | None]

#: What the last commit changed, and what the earlier ones did that stand beside it, takes no more than this.
RECENT_BYTES_MAX: Final = 64 * 1024
EARLIER_BYTES_MAX: Final = 4 * 1024
EARLIER_MAX: Final = 32
_MODULUS: Final = 1 << 256


@dataclass(frozen=True, slots=True)
class Sum:
    """What a set of entries comes to."""

    count: int = 0
    size: int = 0
    total: int = 0

    def plus(self, at: At, value: bytes) -> "Sum":
        return Sum(self.count + 1, self.size + len(value), (self.total + _digest(at, value)) % _MODULUS)

    def minus(self, at: At, value: bytes) -> "Sum":
        return Sum(self.count - 1, self.size - len(value), (self.total - _digest(at, value)) % _MODULUS)

    def also(self, other: "Sum") -> "Sum":
        return Sum(self.count + other.count, self.size + other.size, (self.total + other.total) % _MODULUS)

    @property
    def hash(self) -> str:
        return f"{self.total:064x}"

    @property
    def stated(self) -> list[Any]:
        """As it stands in the store."""
        return [self.count, self.hash]


def sums_of(entries: Mapping[At, bytes]) -> dict[str, Sum]:
    """By layer; the default one always."""
    found = {DEFAULT: Sum()}
    for at, value in entries.items():
        found[at[0]] = found.get(at[0], Sum()).plus(at, value)
    return found


def total_of(sums: Mapping[str, Sum]) -> Sum:
    whole = Sum()
    for each in sums.values():
        whole = whole.also(each)
    return whole


def hash_of(value: bytes | None) -> str | None:
    """Of one value, for the history."""
    return None if value is None else hashlib.sha256(value).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Head:
    """``fields`` is all of it, as it stands there."""

    revision: int
    fields: Mapping[str, Any]

    @classmethod
    def parse(cls, data: bytes) -> "Head":
        """Raises `ValueError` for one that tells no revision."""
        fields = parsed(data)
        revision = fields.get("revision") if isinstance(fields, dict) else None
        if type(revision) is not int or revision < 0:
            raise ValueError("tells no revision")
        return cls(revision, fields)

    @property
    def sums(self) -> dict[str, list[Any]]:
        """Of the layers that it tells of: count and hash."""
        found = self.fields.get("sums")
        return found if isinstance(found, dict) else {}

    @property
    def size(self) -> tuple[int, int] | None:
        """How many entries there are, and of how many bytes; None where it does not say."""
        count, size = self.fields.get("count"), self.fields.get("bytes")
        return (count, size) if type(count) is int and type(size) is int and min(count, size) >= 0 else None

    @property
    def oldest(self) -> int | None:
        found = self.fields.get("oldest")
        return found if type(found) is int and 0 < found <= self.revision + 1 else None

    def since(self, revision: int) -> dict[At, bytes | None] | None:
        """What changed since then; None if it does not say."""
        if revision > self.revision:
            return None
        found: dict[At, bytes | None] = {}
        try:
            recent = [(number, changes) for number, changes in self.fields["recent"] if number > revision]
            if [number for number, _ in recent] != list(range(revision + 1, self.revision + 1)):
                return None
            for _, changes in recent:
                for layer, key, value in changes:
                    found[str(layer), str(key)] = value_of(value)
        except (KeyError, TypeError, ValueError):
            return None
        return found

    def recent_with(self, revision: int, changes: Changed) -> list[Any]:
        """``recent`` of the next head."""
        now = [revision, [[*at, form_of(value)] for at, value in changes.items()]]
        size = len(packed(now))
        if size > RECENT_BYTES_MAX:
            return []
        found: list[list[Any]] = [now]
        earlier = self.fields.get("recent")
        left = min(EARLIER_BYTES_MAX, RECENT_BYTES_MAX - size)
        for each in reversed(earlier[-EARLIER_MAX:] if isinstance(earlier, list) else []):
            left -= len(packed(each))
            if left < 0 or not isinstance(each, list) or each[:1] != [found[0][0] - 1]:
                break
            found.insert(0, each)
        return found


def applied(entries: Mapping[At, bytes], changes: Changed) -> dict[At, bytes]:
    """The state after a commit."""
    found = dict(entries)
    for at, value in changes.items():
        if value is None:
            found.pop(at, None)
        else:
            found[at] = value
    return found


def summed(sums: Mapping[str, Sum], before: Mapping[At, bytes], changes: Changed) -> dict[str, Sum]:
    """The sums of the state after a commit."""
    found = dict(sums)
    for at, value in changes.items():
        each = found.get(at[0], Sum())
        if at in before:
            each = each.minus(at, before[at])
        found[at[0]] = each if value is None else each.plus(at, value)
    return found


def form_of(value: bytes | None) -> Any:
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def value_of(form: Any) -> bytes | None:
    """Raises `ValueError` for what is none."""
    if form is None:
        return None
    if isinstance(form, str):
        return form.encode("utf-8", "surrogateescape")
    if isinstance(form, dict) and isinstance(text := form.get("base64"), str):
        return base64.b64decode(text, validate=True)
    raise ValueError(f"a {type(form).__name__} is no value")


def packed(document: Any) -> bytes:
    """Refuses what is no Unicode."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def parsed(data: bytes) -> Any:
    """None for what is no JSON."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _digest(at: At, value: bytes) -> int:
    made = hashlib.sha256()
    for part in (*(name.encode("utf-8", "surrogatepass") for name in at), value):
        made.update(len(part).to_bytes(8, "big") + part)
    return int.from_bytes(made.digest())


def stated_of(data: bytes) -> list[Any] | None:
    """Count and hash that the znode of a layer tells."""
    found = parsed(data)
    return [found.get("count"), found.get("hash")] if isinstance(found, dict) and "hash" in found else None
