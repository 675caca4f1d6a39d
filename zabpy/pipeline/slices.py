"""Replies that are too long to be made in one turn of the server.

What such a reply tells is copied, as references, when the request is carried out: at one moment, with the watch and
the zxid. Its bytes are made later, slice by slice, and others are served in between. Until then a `Sliced` stands in
its place in the output, and what comes behind it waits.
"""

import struct
from collections.abc import Callable, Iterator, Sequence

from zabpy.wire import bytes_of

_INT = struct.Struct(">i")
#: Length, xid, zxid, err.
_REPLY = struct.Struct(">iiqi")
#: Lengths of short ASCII names as they stand before them, which is ASCII too.
_LENGTHS = tuple(_INT.pack(length).decode("ascii") for length in range(128))

#: Names, paths or other small things that are dealt with at once: about 1 ms.
SLICE_ITEMS = 10_000
#: And so many bytes.
_SLICE_BYTES = 1 << 20


class Sliced:
    """A reply in the making.

    Args:
        xid, zxid: of the header, as they were when the request was carried out.
        slices: makes the body; whenever it yields, others may be served.
        bytes_about: how long the whole will be, roughly. Also the ``len``, so that it counts among other frames.
        headed: False: the slices are whole frames already.
    """

    __slots__ = ("_bytes_about", "_headed", "_slices", "_xid", "_zxid", "done", "made", "pieces", "size")

    def __init__(self, xid: int, zxid: int, slices: Iterator[bytes], bytes_about: int, *, headed: bool = True) -> None:
        self._xid, self._zxid, self._slices, self._headed = xid, zxid, slices, headed
        self._bytes_about = bytes_about
        #: When ``done``: the whole, header and all.
        self.pieces: list[bytes] = []
        self.size = 0
        self.done = False
        #: For whoever sends it: to be called with its size, less the length word.
        self.made: Callable[[int], None] = lambda size: None

    def __len__(self) -> int:
        return self._bytes_about

    def work(self) -> bool:
        """Make the next slice; whether it was the last one."""
        piece = next(self._slices, None)
        if piece is not None:
            self.pieces.append(piece)
            self.size += len(piece)
            return False
        if self._headed:
            self.pieces.insert(0, _REPLY.pack(16 + self.size, self._xid, self._zxid, 0))
            self.size += 20
        self.done = True
        return True


def pack_names(names: Sequence[str]) -> bytes:
    """Each with its length before it, as the elements of a vector. 0.1 µs a name where they are short and ASCII."""
    lengths = list(map(len, names))
    if names and max(lengths) < len(_LENGTHS):
        pieces = [""] * (2 * len(names))
        pieces[::2] = map(_LENGTHS.__getitem__, lengths)
        pieces[1::2] = names
        text = "".join(pieces)
        if text.isascii():
            return text.encode("ascii")
    packed: list[bytes] = []
    for name in names:
        raw = bytes_of(name)
        packed += (_INT.pack(len(raw)), raw)
    return b"".join(packed)


def names_in_slices(names: Sequence[str], tail: bytes = b"") -> Iterator[bytes]:
    """A vector of all these, and what follows it."""
    yield _INT.pack(len(names))
    for at in range(0, len(names), SLICE_ITEMS):
        yield pack_names(names[at : at + SLICE_ITEMS])
    yield tail


def parts_in_slices(parts: Sequence[bytes | tuple[bytes, list[str]]]) -> Iterator[bytes]:
    """Bytes, and vectors of names with what stands before them."""
    ready: list[bytes] = []
    count = size = 0
    for part in parts:
        if isinstance(part, bytes):
            ready.append(part)
            count += 1
            size += len(part)
        elif len(part[1]) <= SLICE_ITEMS:
            ready += (part[0], _INT.pack(len(part[1])), pack_names(part[1]))
            count += len(part[1])
        else:
            yield b"".join((*ready, part[0]))
            yield from names_in_slices(part[1])
            ready, count, size = [], 0, 0
        if count > SLICE_ITEMS or size > _SLICE_BYTES:
            yield b"".join(ready)
            ready, count, size = [], 0, 0
    yield b"".join(ready)


def filtered_names_in_slices(names: Sequence[str], prefix: str) -> Iterator[bytes]:
    """A vector of those that begin with ``prefix``."""
    if not prefix:
        yield from names_in_slices(names)
        return
    kept: list[str] = []
    for at in range(0, len(names), SLICE_ITEMS):
        kept += [name for name in names[at : at + SLICE_ITEMS] if name.startswith(prefix)]
        yield b""
    yield from names_in_slices(kept)


def count_in_slices(paths: Sequence[str], above: str) -> Iterator[bytes]:
    """How many of ``paths`` are below this one."""
    prefix = above + "/"
    count = 0
    for at in range(0, len(paths), SLICE_ITEMS):
        count += sum([path.startswith(prefix) for path in paths[at : at + SLICE_ITEMS]])
        yield b""
    yield _INT.pack(count)
