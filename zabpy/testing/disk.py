"""A disk that forgets, fails and fills up: the file system of `zabpy.storage.files`, simulated in memory.

It keeps what a careful reading of POSIX promises and not more. Content is safe after a sync of the file, a name after a
sync of its directory. Everything else waits in one list, in the order it was done, and `power_cut` decides what of it
the platter got.
"""

import enum
import errno
import os
from collections.abc import Callable
from random import Random
from typing import NamedTuple

from zabpy.storage import File, Files, Lock


class PowerLost(BaseException):
    """Raised out of the operation at which the power went, and out of every use of what was open then."""


class CutModel(enum.Enum):
    """What a power cut keeps of that which was not synced."""

    #: The operations up to some point, in the order they were done; the next write up to some byte.
    PREFIX = "prefix"
    #: Names and sizes up to some point, in order; of the content any 512-byte or any 4-KiB pieces.
    PIECES = "pieces"
    #: Any pieces of the content, and any of the changes to names and sizes.
    ANY_ORDER = "any order"


class _Inode:
    __slots__ = ("cached", "synced")

    def __init__(self) -> None:
        self.cached = bytearray()
        self.synced = bytearray()


class _Write(NamedTuple):
    inode: _Inode
    offset: int
    data: bytes


class _Resize(NamedTuple):
    inode: _Inode
    size: int


class _Naming(NamedTuple):
    """In a directory: these names go, then these come. One change, all or nothing."""

    directory: str
    gone: tuple[str, ...]
    come: tuple[tuple[str, _Inode], ...]


_Unsynced = _Write | _Resize | _Naming

#: Called as ``hook(when, kind, path)`` around every operation that changes or syncs something, ``when`` being "before"
#: or "after". It may raise: an OSError is then what the operation says, `PowerLost` ends the run.
Hook = Callable[[str, str, str], None]


class FaultyFiles:
    """One machine's disk. Survives the process that uses it: `kill` it or `power_cut` it, then open again.

    ``hook`` sees every operation, and may let it fail. ``bytes_max`` is the size of the disk. A sync that the hook lets
    fail loses the content it should have written, while reads still show it and a later sync succeeds;
    names and sizes are in a journal, which a file system does not drop like that.
    """

    def __init__(self, *, hook: Hook | None = None, bytes_max: int | None = None) -> None:
        self.hook = hook
        self.bytes_max = bytes_max
        #: Operations begun so far that change or sync something.
        self.operations = 0
        self._boot = 0
        self._names: dict[str, dict[str, _Inode]] = {}
        self._synced_names: dict[str, dict[str, _Inode]] = {}
        self._unsynced: list[_Unsynced] = []
        self._locked: set[str] = set()

    # What a test does to it ---------------------------------------------------------------------------------------

    def kill(self) -> None:
        """The process ends without a word. The system lives on: reads show what was written, synced or not."""
        self._boot += 1
        self._locked.clear()

    def power_cut(self, rng: Random, model: CutModel) -> None:
        """The machine stops; what it shows afterwards is what was synced, and of the rest what the model leaves."""
        kept = _kept(self._unsynced, rng, model)
        self._unsynced = []
        for change in kept:
            self._make_durable(change)
        self._names = {path: dict(names) for path, names in self._synced_names.items()}
        for names in self._names.values():
            for inode in names.values():
                inode.cached = bytearray(inode.synced)
        self.kill()

    def lose_unsynced(self) -> None:
        """The worst power cut: nothing is left of what was not synced."""
        self._unsynced = []
        self.power_cut(Random(0), CutModel.PREFIX)

    def copy(self) -> "FaultyFiles":
        """An independent disk in the same state, as if the process had just been killed. Without a hook."""
        twin = FaultyFiles(bytes_max=self.bytes_max)
        inodes: dict[int, _Inode] = {}

        def of(inode: _Inode) -> _Inode:
            if (copied := inodes.get(id(inode))) is None:
                copied = inodes[id(inode)] = _Inode()
                copied.cached, copied.synced = bytearray(inode.cached), bytearray(inode.synced)
            return copied

        for mine, theirs in ((self._names, twin._names), (self._synced_names, twin._synced_names)):
            for path, names in mine.items():
                theirs[path] = {name: of(inode) for name, inode in names.items()}
        for change in self._unsynced:
            if isinstance(change, _Naming):
                twin._unsynced.append(change._replace(come=tuple((name, of(inode)) for name, inode in change.come)))
            else:
                twin._unsynced.append(change._replace(inode=of(change.inode)))
        return twin

    @property
    def unsynced(self) -> int:
        """How many changes a power cut could lose now."""
        return len(self._unsynced)

    def contents(self) -> dict[str, bytes]:
        """All files by path, as reads show them."""
        return {
            f"{path}/{name}": bytes(inode.cached)
            for path, names in sorted(self._names.items())
            for name, inode in sorted(names.items())
        }

    @classmethod
    def holding(cls, contents: dict[str, bytes]) -> "FaultyFiles":
        """A disk with these files, all synced."""
        files = cls()
        for path, data in contents.items():
            directory, name = os.path.split(path)
            inode = _Inode()
            inode.cached, inode.synced = bytearray(data), bytearray(data)
            files._names.setdefault(directory, {})[name] = inode
            files._synced_names.setdefault(directory, {})[name] = inode
        return files

    def flip(self, path: str, bit: int) -> None:
        """Bit rot: turn over one bit of a file, counted from the start, lowest bit of a byte first."""
        inode = self._inode(path)
        for content in (inode.cached, inode.synced):
            if bit // 8 < len(content):
                content[bit // 8] ^= 1 << bit % 8

    # Files --------------------------------------------------------------------------------------------------------

    def make_dir(self, path: str) -> None:
        if path not in self._names:
            self._begin("make_dir", path)
            self._names[path], self._synced_names[path] = {}, {}
            self._end("make_dir", path)

    def list(self, path: str) -> list[str]:
        return sorted(self._names.get(path, ()))

    def lock(self, path: str) -> "_Lock":
        if path in self._locked:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN), path)
        self._locked.add(path)
        return _Lock(self, path)

    def open(self, path: str, *, create: bool = False) -> "_File":
        directory, name = os.path.split(path)
        if not create:
            return _File(self, path, self._inode(path))
        self._begin("create", path)
        inode = self._names[directory].get(name)
        if inode is None:
            inode = _Inode()
            self._change(_Naming(directory, (), ((name, inode),)))
        else:
            self._change(_Resize(inode, 0))
        self._end("create", path)
        return _File(self, path, inode)

    def rename(self, old: str, new: str) -> None:
        directory, name = os.path.split(new)
        assert os.path.dirname(old) == directory
        inode = self._inode(old)
        self._begin("rename", new)
        self._change(_Naming(directory, (os.path.basename(old), name), ((name, inode),)))
        self._end("rename", new)

    def unlink(self, path: str) -> None:
        self._inode(path)
        self._begin("unlink", path)
        self._change(_Naming(os.path.dirname(path), (os.path.basename(path),), ()))
        self._end("unlink", path)

    def sync_dir(self, path: str) -> None:
        self._sync("sync_dir", path, lambda change: isinstance(change, _Naming) and change.directory == path)

    # Inside -------------------------------------------------------------------------------------------------------

    def _begin(self, kind: str, path: str) -> None:
        self.operations += 1
        if self.hook is not None:
            self.hook("before", kind, path)

    def _end(self, kind: str, path: str) -> None:
        if self.hook is not None:
            self.hook("after", kind, path)

    def _inode(self, path: str) -> _Inode:
        directory, name = os.path.split(path)
        try:
            return self._names[directory][name]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from None

    def _change(self, change: _Unsynced) -> None:
        self._unsynced.append(change)
        if isinstance(change, _Naming):
            _rename(self._names[change.directory], change)
        else:
            _fill(change.inode.cached, change)

    def _make_durable(self, change: _Unsynced) -> None:
        if isinstance(change, _Naming):
            _rename(self._synced_names[change.directory], change)
        else:
            _fill(change.inode.synced, change)

    def _sync(self, kind: str, path: str, covers: Callable[[_Unsynced], bool]) -> None:
        try:
            self._begin(kind, path)
        except OSError:
            self._unsynced = [
                change for change in self._unsynced if not (isinstance(change, _Write) and covers(change))
            ]
            raise
        for change in self._unsynced:
            if covers(change):
                self._make_durable(change)
        self._unsynced = [change for change in self._unsynced if not covers(change)]
        self._end(kind, path)

    def _need(self, inode: _Inode, end: int, path: str) -> None:
        grown = max(0, end - len(inode.cached))
        if self.bytes_max is not None and grown:
            inodes = {id(each): each for names in self._names.values() for each in names.values()}
            if sum(len(each.cached) for each in inodes.values()) + grown > self.bytes_max:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)


class _File:
    def __init__(self, files: FaultyFiles, path: str, inode: _Inode) -> None:
        self._files, self._path, self._inode, self._boot = files, path, inode, files._boot

    def _check(self) -> None:
        if self._boot != self._files._boot:
            raise PowerLost(f"{self._path} was opened before the power went")

    def read(self, size: int, offset: int) -> bytes:
        self._check()
        return bytes(self._inode.cached[offset : offset + size])

    def write(self, data: bytes, offset: int) -> None:
        self._write("write", data, offset)

    def allocate(self, offset: int, size: int) -> None:
        self._write("allocate", bytes(size), offset)

    def _write(self, kind: str, data: bytes, offset: int) -> None:
        self._check()
        try:
            self._files._begin(kind, self._path)
        except OSError:  # it got so far
            self._files._change(_Write(self._inode, offset, bytes(data[: len(data) // 2])))
            raise
        self._files._need(self._inode, offset + len(data), self._path)
        self._files._change(_Write(self._inode, offset, bytes(data)))
        self._files._end(kind, self._path)

    def truncate(self, size: int) -> None:
        self._check()
        self._files._begin("truncate", self._path)
        self._files._change(_Resize(self._inode, size))
        self._files._end("truncate", self._path)

    def size(self) -> int:
        self._check()
        return len(self._inode.cached)

    def sync_data(self) -> None:
        self.sync()

    def sync(self) -> None:
        self._check()
        inode = self._inode
        self._files._sync("sync", self._path, lambda change: not isinstance(change, _Naming) and change.inode is inode)

    def evict(self) -> None:
        self._check()

    def close(self) -> None:
        """There is nothing to give back."""


class _Lock:
    def __init__(self, files: FaultyFiles, path: str) -> None:
        self._files, self._path, self._boot = files, path, files._boot

    def close(self) -> None:
        if self._boot == self._files._boot:
            self._files._locked.discard(self._path)


def _fill(content: bytearray, change: _Write | _Resize) -> None:
    if isinstance(change, _Write):
        if len(content) < change.offset:
            content.extend(bytes(change.offset - len(content)))
        content[change.offset : change.offset + len(change.data)] = change.data
    elif change.size <= len(content):
        del content[change.size :]
    else:
        content.extend(bytes(change.size - len(content)))


def _rename(names: dict[str, _Inode], change: _Naming) -> None:
    for name in change.gone:
        names.pop(name, None)
    names.update(change.come)


def _kept(changes: list[_Unsynced], rng: Random, model: CutModel) -> list[_Unsynced]:
    """What the platter got, in the order it was done. Another order shows only where two overlap, and there the
    later one alone, or the earlier one alone, is what reordering could leave; both are among the subsets."""
    reached = rng.choice((0, len(changes), rng.randint(0, len(changes))))
    if model is CutModel.PREFIX:
        kept = changes[:reached]
        if reached < len(changes) and isinstance(torn := changes[reached], _Write):
            kept.append(torn._replace(data=torn.data[: rng.randint(0, len(torn.data))]))
        return kept
    chance = rng.choice((0.1, 0.5, 0.9))
    piece_bytes = rng.choice((512, 4096))
    kept = []
    for number, change in enumerate(changes):
        if isinstance(change, _Write):
            kept += [piece for piece in _pieces(change, piece_bytes) if rng.random() < chance]
        elif rng.random() < chance if model is CutModel.ANY_ORDER else number < reached:
            kept.append(change)
    return kept


def _pieces(write: _Write, piece_bytes: int) -> list[_Write]:
    """The parts of a write that lie in one sector or page each."""
    pieces, at = [], 0
    while at < len(write.data):
        size = piece_bytes - (write.offset + at) % piece_bytes
        pieces.append(_Write(write.inode, write.offset + at, write.data[at : at + size]))
        at += size
    return pieces


def _keeps_to_the_seam(files: FaultyFiles, file: _File, lock: _Lock) -> tuple[Files, File, Lock]:
    """For the type checker."""
    return files, file, lock
