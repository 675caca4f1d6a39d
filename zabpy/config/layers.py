"""Layers → one tree of settings, and which layer said what. No I/O.

Of two layers the later one wins, value by value: mappings are merged, everything else (lists, too) is replaced whole.
Within one layer a key of its own wins over the same value in a document, and a document of a longer key over that of
a shorter one. What cannot be told apart is refused: a text at ``db`` and another at ``db.host`` of the same layer, or
``db.json`` beside ``db.yaml``. In different layers that is no conflict: the later one has it its way.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from .values import (
    ENCRYPTED,
    MASK,
    BadDocumentError,
    BadSettingsError,
    Path,
    Problem,
    dotted,
    is_document,
    is_secret,
    parse,
    path_of,
    shown,
)

#: The layer below all others; its values stand right in the namespace.
DEFAULT: Final = "default"

#: What keys and values stand for is kept, of so many, none of which is larger: of a commit most are as they were.
KNOWN_MAX: Final = 4_096
KNOWN_BYTES_MAX: Final = 1_024

#: Layer, key and encrypted text → the text. Raises `ValueError` where that cannot be done.
Reveal = Callable[[str, str, str], str]


class Layer(NamedTuple):
    name: str
    entries: Mapping[str, bytes]


@dataclass(frozen=True, slots=True, eq=False)
class Setting:
    """A value, and where it comes from. ``repr`` masks it where it is secret."""

    value: Any = field(repr=False)
    layer: str
    key: str
    secret: bool = False

    def says(self, value: Any) -> bool:
        """Whether that is its value. Of 1, 1.0 and True, which are equal, a model may make different things."""
        return bool(self.value == value) and repr(self.value) == repr(value)

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, Setting)
            and (self.layer, self.key, self.secret) == (other.layer, other.key, other.secret)
            and self.says(other.value)
        )

    __hash__ = None  # type: ignore[assignment]

    @property
    def shown(self) -> str:
        return shown(self.value, secret=self.secret)


class Merged:
    """What all layers together say."""

    def __init__(self, leaves: Mapping[Path, Setting]) -> None:
        #: Place → value, sorted; no place is above another one.
        self.leaves = leaves

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Merged) and self.leaves == other.leaves

    __hash__ = None  # type: ignore[assignment]

    def tree(self) -> dict[str, Any]:
        """Nested, and made anew each time."""
        top: dict[str, Any] = {}
        for path, setting in self.leaves.items():
            at = top
            for name in path[:-1]:
                at = at.setdefault(name, {})
            at[path[-1]] = _copied(setting.value)
        return top

    def at(self, path: Sequence[object]) -> Setting | None:
        """The value at this place or, where it is a part of a list, that of the list."""
        found: list[str] = []
        for name in path:
            found.append(str(name))
            setting = self.leaves.get(tuple(found))
            if setting is not None:
                return setting
        return None

    def problem(self, path: Sequence[object], reason: str, *, missing: bool = False) -> Problem:
        """Why what stands there is refused, so told that nothing secret shows."""
        key = dotted(map(str, path))
        setting = self.at(path)
        below = [each for at, each in self.leaves.items() if at[: len(path)] == tuple(path)] if setting is None else []
        for each in self.leaves.values():  # a validator may have looked at others
            if each.secret:
                reason = _without(reason, each.value)
        if setting is None:
            layers = {each.layer for each in below} if path else set()
            return Problem(key, layers.pop() if len(layers) == 1 and not missing else None, None, reason)
        part: Any = setting.value
        for name in path[len(self._path_to(path)) :]:
            try:
                part = part[name]
            except (LookupError, TypeError):
                break
        return Problem(key, setting.layer, shown(part, secret=setting.secret), reason)

    def _path_to(self, path: Sequence[object]) -> Path:
        found: Path = ()
        for name in path:
            found = (*found, str(name))
            if found in self.leaves:
                break
        return found


@dataclass(frozen=True, slots=True)
class Said:
    """What one layer says of a place. ``value`` is as may be shown."""

    layer: str
    key: str
    value: str
    wins: bool
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """What each layer says of a place, from the lowest layer on."""

    key: str
    said: tuple[Said, ...]

    def __str__(self) -> str:
        lines = [self.key]
        width = max((len(each.layer) for each in self.said), default=0)
        for each in self.said:
            of = f"   ({each.key})" if each.key != self.key else ""
            what = each.value if each.problem is None else f"{each.value}: {each.problem}"
            lines.append(f"{'->' if each.wins else '  '} {each.layer:<{width}}  {what}{of}")
        return "\n".join(lines)


def merge(layers: Iterable[Layer], reveal: Reveal | None = None) -> Merged:
    """The settings that layers, from the lowest on, make. Raises `BadSettingsError`, which names all that is wrong."""
    top: dict[str, Any] = {}
    problems: list[Problem] = []
    for layer in layers:
        settings, wrong = _read(layer, reveal)
        problems += wrong
        for path, setting in settings.items():
            _put(top, path, setting)
    if problems:
        raise BadSettingsError(problems)
    return Merged(dict(sorted(_leaves(top, ()))))


def merge_changed(
    before: Merged, old: Sequence[Layer], new: Sequence[Layer], reveal: Reveal | None = None
) -> tuple[Merged, dict[Path, Setting]] | None:
    """What `merge` makes of ``new``, and what of it is another than in ``before``, which it made of ``old``.

    Takes as long as what changed is large, where only values changed. None where it is not as simple as that.
    """
    if [layer.name for layer in old] != [layer.name for layer in new]:
        return None
    changed: dict[Path, Setting] = {}
    for was, now in zip(old, new):
        if was.entries.keys() != now.entries.keys():
            return None
        for key, data in now.entries.items() - was.entries.items():
            try:
                said, said_before = _said_at(key, data), _said_at(key, was.entries[key])
                # Whether a mapping is empty decides what may stand below it.
                if [each[0] for each in said] != [each[0] for each in said_before] or any(
                    leaf == {} for _, leaf, _, _ in (*said, *said_before)
                ):
                    return None
                found = {at: _setting(leaf, now.name, key, secret, sealed, reveal) for at, leaf, secret, sealed in said}
            except ValueError:  # `merge` says what is wrong
                return None
            for at, setting in found.items():
                held = before.leaves.get(at)
                if held is not None and (held.layer, held.key) == (now.name, key):  # what it says counts
                    changed[at] = setting
    return Merged({**before.leaves, **changed}), changed


def explain(layers: Iterable[Layer], key: str, reveal: Reveal | None = None) -> list[Explanation]:
    """For the place that ``key`` names, or each one below it, what every layer says and which of them wins.

    Empty where no layer says anything. Works on what cannot be the settings, too, and says why it cannot.
    """
    wanted = tuple(key.split("."))
    said: dict[Path, list[Said]] = {}
    top: dict[str, Any] = {}
    for layer in layers:
        settings, wrong = _read(layer, reveal)
        for path, setting in settings.items():
            _put(top, path, setting)
            if path[: len(wanted)] == wanted or wanted[: len(path)] == path:
                said.setdefault(path, []).append(Said(layer.name, setting.key, setting.shown, False))
        for problem in wrong:
            path = tuple(problem.key.split("."))
            place = path[:-1] if is_document(problem.key) else path
            if place[: len(wanted)] == wanted or wanted[: len(place)] == place:
                refused = Said(layer.name, problem.key, problem.given or "", False, problem.reason)
                said.setdefault(place, []).append(refused)
    leaves = dict(_leaves(top, ()))
    found = []
    for path in sorted(said):
        winner = leaves.get(path)
        found.append(
            Explanation(
                dotted(path),
                tuple(
                    Said(each.layer, each.key, each.value, True)
                    if winner and each.problem is None and (each.layer, each.key) == (winner.layer, winner.key)
                    else each
                    for each in said[path]
                ),
            )
        )
    return found


# One layer ------------------------------------------------------------------------------------------------------------


def _read(layer: Layer, reveal: Reveal | None) -> tuple[dict[Path, Setting], list[Problem]]:
    """What a layer says, and what of it cannot be."""
    top: dict[str, Any] = {}
    problems: list[Problem] = []
    documents: dict[Path, str] = {}
    places: list[tuple[bool, int, Path, str]] = []
    for key in layer.entries:
        try:
            places.append(_place(key))
        except BadDocumentError as error:
            problems.append(Problem(key, layer.name, None, str(error)))
    # Documents first, the shorter key before the longer: what comes later replaces single values of what came before.
    for plain, _, path, key in sorted(places):
        if not plain:
            if path in documents:
                reason = f"it says the same as {documents[path]}, and which one is right cannot be told"
                problems.append(Problem(key, layer.name, None, reason))
                continue
            documents[path] = key
        data = layer.entries[key]
        try:
            said = _said_at(key, data)
        except BadDocumentError as error:
            given = shown(data.decode("utf-8", "replace"), secret=not plain or is_secret(path, None))
            problems.append(Problem(key, layer.name, None if given == MASK else given, str(error)))
            continue
        for at, leaf, secret, sealed in said:
            try:
                setting = _setting(leaf, layer.name, key, secret, sealed, reveal)
            except ValueError as error:
                problems.append(Problem(dotted(at), layer.name, MASK, str(error)))
                continue
            other = _put(top, at, setting)
            if other is not None:
                reason = f"it is a value and has values below it: see {other.key} in the same layer"
                problems.append(Problem(key, layer.name, None, reason))
    return dict(_leaves(top, ())), problems


@functools.lru_cache(KNOWN_MAX)
def _place(key: str) -> tuple[bool, int, Path, str]:
    """Whether it is a plain value; by how many dots; its place."""
    return not is_document(key), key.count("."), path_of(key), key


def _said(key: str, data: bytes) -> tuple[tuple[Path, Any, bool, bool], ...]:
    """Of each value that a key holds: place, itself, whether its name is a secret's, and whether it is encrypted."""
    found = []
    for at, leaf in _flat(parse(key, data), path_of(key)):
        sealed = _is_sealed(leaf)
        found.append((at, leaf, is_secret(at, leaf), sealed))
    return tuple(found)


_known = functools.lru_cache(KNOWN_MAX)(_said)


def _said_at(key: str, data: bytes) -> tuple[tuple[Path, Any, bool, bool], ...]:
    """The same, kept where it is not large. Raises `BadDocumentError`."""
    return _known(key, data) if len(data) <= KNOWN_BYTES_MAX else _said(key, data)


def _setting(leaf: Any, layer: str, key: str, secret: bool, sealed: bool, reveal: Reveal | None) -> Setting:
    """Raises `ValueError` where it cannot be decrypted."""
    value = _opened(leaf, layer, key, reveal) if sealed else _copied(leaf)
    return Setting(value, layer, key, secret or sealed)


def _is_sealed(leaf: Any) -> bool:
    if isinstance(leaf, list | dict):
        return any(map(_is_sealed, leaf.values() if isinstance(leaf, dict) else leaf))
    return isinstance(leaf, str) and leaf.startswith(ENCRYPTED)


def _opened(part: Any, layer: str, key: str, reveal: Reveal | None) -> Any:
    """With all in it decrypted. Raises `ValueError`."""
    if isinstance(part, str) and part.startswith(ENCRYPTED):
        if reveal is None:
            raise ValueError("it is encrypted, and no key was given")
        try:
            return reveal(layer, key, part)
        except ValueError:
            raise
        except Exception as error:  # of whoever keeps the keys; what it says may say too much
            raise ValueError(f"it cannot be decrypted: {type(error).__name__}") from None
    if isinstance(part, list):
        return [_opened(each, layer, key, reveal) for each in part]
    if isinstance(part, dict):
        return {name: _opened(each, layer, key, reveal) for name, each in part.items()}
    return part


def _flat(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict) and value:
        for name, each in value.items():
            yield from _flat(each, (*path, name))
    else:
        yield path, value


def _put(top: dict[str, Any], path: Path, setting: Setting) -> Setting | None:
    """Set it in a nested tree. What had to go because it stood above or below that place, or one of those."""
    gone: Setting | None = None
    at = top
    for name in path[:-1]:
        below = at.get(name)
        if not isinstance(below, dict):
            if isinstance(below, Setting) and below.value != {}:
                gone = below
            below = at[name] = {}
        at = below
    before = at.get(path[-1])
    if isinstance(before, dict):
        if setting.value == {}:
            return gone  # an empty mapping adds nothing
        gone = next((each for _, each in _leaves(before, ())), None)
    at[path[-1]] = setting
    return gone


def _leaves(tree: Mapping[str, Any], path: Path) -> Iterator[tuple[Path, Setting]]:
    for name, each in tree.items():
        if isinstance(each, dict):
            yield from _leaves(each, (*path, name))
        else:
            yield (*path, name), each


def _copied(value: Any) -> Any:
    if isinstance(value, list):
        return [_copied(each) for each in value]
    return {name: _copied(each) for name, each in value.items()} if isinstance(value, dict) else value


def _without(reason: str, secret: Any) -> str:
    """A sentence in which a secret does not stand."""
    if isinstance(secret, list | dict):
        for each in secret.values() if isinstance(secret, dict) else secret:
            reason = _without(reason, each)
        return reason
    text = str(secret)
    return reason.replace(text, MASK) if len(text) > 2 else reason
