"""What commits leave behind: a record each, from which every revision that is kept can be made again. No I/O.

    /config/app/.rev/0000000012
    {"revision": 12, "id": "...", "time_ms": ..., "author": ..., "message": ..., "kind": "commit",
     "count": 3, "hash": "...",                              of the state after it
     "undo": [["default", "db.port", "5432", "..."]],        per change: layer, key, value before, hash of the new
     "schema": ["..."]}                                      the schema before, if it was changed

Revision 11 is the state now without commits 12 and later, the newest undone first; so the oldest record can go at any
time, and none of the others is the less for it. The id says whose commit it was, when an answer was lost.

The time is the writer's clock and for people only. Which records are too old the servers' clocks say.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .canary import Canary
from .errors import DamagedError
from .head import At, Sum, applied, form_of, hash_of, parsed, sums_of, total_of, value_of
from .layers import DEFAULT, Layer, merge
from .values import BadSettingsError, shown


@dataclass(frozen=True, slots=True)
class Change:
    """One value that is another one, came (``old`` is None) or went (``new`` is). ``str`` masks what is secret."""

    layer: str
    key: str
    old: bytes | None = field(repr=False)
    new: bytes | None = field(repr=False)

    @property
    def secret(self) -> bool:
        """Whether the values are not to be shown."""
        for value in (self.old, self.new):
            if value is not None:
                try:
                    merged = merge([Layer(self.layer, {self.key: value})], lambda layer, key, text: text)
                except BadSettingsError:
                    return True  # it cannot be told
                if any(each.secret for each in merged.leaves.values()):
                    return True
        return False

    def __str__(self) -> str:
        old, new = (
            "ABSENT" if each is None else shown(each.decode("utf-8", "backslashreplace"), secret=self.secret)
            for each in (self.old, self.new)
        )
        return f"{self.key} (layer {self.layer}): {old} -> {new}"

    def __repr__(self) -> str:
        return f"<Change {self}>"


@dataclass(frozen=True, slots=True)
class Revision:
    """All of a namespace at one revision. ``verified`` is False where a value was changed without a commit since."""

    revision: int
    #: Layer and key → value.
    entries: Mapping[At, bytes] = field(repr=False)
    schema: bytes | None = field(default=None, repr=False)
    #: The staged rollout that is under way; of the newest revision only.
    canary: Canary | None = field(default=None, repr=False)
    verified: bool = True

    def layers(self) -> dict[str, dict[str, bytes]]:
        """Layer → key → value. It has the default layer always."""
        return layers_of(self.entries)


@dataclass(frozen=True, slots=True)
class Record:
    """What the history says of one commit."""

    revision: int
    #: By the writer's clock.
    time_ms: int
    author: str
    message: str
    #: ``commit``, ``rollback``, ``canary``, ``promote``, ``withdraw`` or ``repair``.
    kind: str
    #: Layer and key of what it changed.
    keys: tuple[At, ...]
    schema_changed: bool = False
    #: Of a rollback: the revision it went back to. Of what ends or changes a staged rollout: the one that began it.
    of: int | None = None
    id: str = field(default="", repr=False)
    #: Of the state after it; None where it does not say.
    state: tuple[int, str] | None = field(default=None, repr=False)
    before: Mapping[At, bytes | None] = field(default_factory=dict, repr=False)
    schema_before: bytes | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, revision: int, data: bytes) -> "Record":
        """Raises `DamagedError`."""
        found = parsed(data)
        try:
            if found["revision"] != revision:
                raise ValueError(f"it is of {found['revision']!r}")
            before = {(str(layer), str(key)): value_of(old) for layer, key, old, *_ in found["undo"]}
            schema = found.get("schema")
            of, count, hash = found.get("of"), found.get("count"), found.get("hash")
            return cls(
                revision,
                int(found.get("time_ms", 0)),
                str(found.get("author", "")),
                str(found.get("message", "")),
                str(found.get("kind", "commit")),
                tuple(before),
                schema is not None,
                of if type(of) is int else None,
                str(found.get("id", "")),
                (count, hash) if type(count) is int and isinstance(hash, str) else None,
                before,
                value_of(schema[0]) if schema is not None else None,
            )
        except (TypeError, KeyError, ValueError, IndexError, AttributeError) as error:
            raise DamagedError(f"the record of revision {revision} cannot be read: {error!r}") from None

    def undone(self, after: Revision) -> Revision:
        """The state before it."""
        schema = self.schema_before if self.schema_changed else after.schema
        return Revision(self.revision - 1, applied(after.entries, self.before), schema, None, after.verified)

    def is_of(self, state: Revision) -> bool:
        """Whether that is the state after it, as far as the record says."""
        total = total_of(sums_of(state.entries))
        return self.state is None or self.state == (total.count, total.hash)


def fields_of(before: Mapping[At, bytes], changes: Mapping[At, bytes | None], after: Sum) -> dict[str, Any]:
    """What a record says of values."""
    undo = [[*at, form_of(before.get(at)), hash_of(value)] for at, value in changes.items()]
    return {"count": after.count, "hash": after.hash, "undo": undo}


def differing(old: Mapping[At, bytes], new: Mapping[At, bytes]) -> dict[At, bytes | None]:
    """What makes one state of the other, by layer and key."""
    return {at: new.get(at) for at in sorted({*old, *new}) if old.get(at) != new.get(at)}


def layers_of(entries: Mapping[At, bytes]) -> dict[str, dict[str, bytes]]:
    found: dict[str, dict[str, bytes]] = {DEFAULT: {}}
    for (layer, key), value in entries.items():
        found.setdefault(layer, {})[key] = value
    return found
