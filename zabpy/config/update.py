"""What changed in the settings between two moments, as a program sees them. No I/O."""

import fnmatch
import functools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from .layers import Merged, Setting
from .values import dotted, shown

T = TypeVar("T")


class _Absent:
    """There is no value."""

    def __repr__(self) -> str:
        return "ABSENT"

    def __bool__(self) -> bool:
        return False


#: Stands where no layer says anything: what the model's default is, is the model's to say.
ABSENT: Final = _Absent()


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that is another now, came (``old`` is `ABSENT`) or went (``new`` is). ``repr`` masks what is secret."""

    key: str
    old: Any = field(repr=False)
    new: Any = field(repr=False)
    secret: bool = field(default=False, repr=False)

    def __str__(self) -> str:
        old, new = (each if each is ABSENT else shown(each, secret=self.secret) for each in (self.old, self.new))
        return f"{self.key}: {old} -> {new}"

    def __repr__(self) -> str:
        return f"<Difference {self}>"


@dataclass(frozen=True, slots=True)
class Update(Generic[T]):
    """The settings are others now. Of changes that came while nobody looked this is what they amount to."""

    old: T = field(repr=False)
    new: T = field(repr=False)
    revision: int
    diff: tuple[Difference, ...]


def differences(old: Merged, new: Merged, pattern: str = "*") -> tuple[Difference, ...]:
    """By key. ``db.*`` names all below ``db``; a star also stands for dots."""
    found = []
    wanted = _matcher(pattern)
    # What nobody touched is the same object. Both are sorted.
    if list(old.leaves) == list(new.leaves):
        pairs = zip(new.leaves, old.leaves.values(), new.leaves.values())
        others = [path for path, before, after in pairs if before is not after]
    else:
        others = sorted({*old.leaves, *new.leaves})
    for path in others:
        before, after = old.leaves.get(path), new.leaves.get(path)
        if (before is None or after is None or not before.says(after.value)) and wanted(dotted(path)):
            secret = (before is not None and before.secret) or (after is not None and after.secret)
            found.append(Difference(dotted(path), _value(before), _value(after), secret))
    return tuple(found)


@functools.lru_cache
def _matcher(pattern: str) -> Callable[[str], object]:
    return re.compile(fnmatch.translate(pattern)).match


def _value(setting: Setting | None) -> Any:
    return ABSENT if setting is None else setting.value
