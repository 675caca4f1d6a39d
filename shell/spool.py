"""Records that are gone through more than once, most of them not in memory: what import and cp are to write.

To write over nothing unasked, and to say how much there is to do before it is begun, a tree is gone through twice. It
may have changed in between, or have come from a pipe; so it is kept: in memory up to `MEMORY_BYTES`, and else in a file
without a name in the folder for such (``$TMPDIR``), which goes with this process, however that ends. In memory is then
one piece of it at a time, of `PIECE_RECORDS` records or about `PIECE_BYTES`.
"""

import pickle
import tempfile
from collections.abc import AsyncIterator, Iterable
from types import TracebackType
from typing import IO, Self

import anyio

from .records import Record

MEMORY_BYTES = 16 * 1024 * 1024
PIECE_RECORDS, PIECE_BYTES = 4_000, 4 * 1024 * 1024


class Spool:
    """``add`` all, in order; then ``async for piece in spool``, as often as one likes. `add` may block, for as long as
    writing a piece to a disk takes; what it and reading raise is an `OSError` with the folder's name."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(MEMORY_BYTES)  # noqa: SIM115 - closed by `close`
        self._starts: list[int] = []
        self._piece: list[Record] = []
        self._piece_bytes = 0
        self._count = self.data_bytes = self.path_bytes = 0
        for record in records:
            self.add(record)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self._count

    def add(self, record: Record) -> None:
        """Not while somebody goes through it."""
        self._piece.append(record)
        self._count += 1
        self.data_bytes += len(record.data)
        self.path_bytes += len(record.path)
        self._piece_bytes += len(record.data) + len(record.path)
        if len(self._piece) >= PIECE_RECORDS or self._piece_bytes >= PIECE_BYTES:
            self._write()

    def extend(self, records: Iterable[Record]) -> None:
        for record in records:
            self.add(record)

    async def __aiter__(self) -> AsyncIterator[list[Record]]:
        for at in range(len(self._starts)):
            yield await anyio.to_thread.run_sync(self._read, at)
        if self._piece:
            yield self._piece

    async def all(self) -> list[Record]:
        """For who knows that it is little."""
        return [record async for piece in self for record in piece]

    def _write(self) -> None:
        pieces = [
            (each.path, each.data, each.acl, each.is_container, each.ttl_ms, each.owner, each.stat)
            for each in self._piece
        ]
        try:
            self._starts.append(self._file.seek(0, 2))
            pickle.dump(pieces, self._file, pickle.HIGHEST_PROTOCOL)
        except OSError as error:
            raise _named(error) from error
        self._piece, self._piece_bytes = [], 0

    def _read(self, at: int) -> list[Record]:
        try:
            self._file.seek(self._starts[at])
            pieces = pickle.load(self._file)
        except OSError as error:
            raise _named(error) from error
        return [Record(*fields) for fields in pieces]


def _named(error: OSError) -> OSError:
    """Nobody knows of this file: that its folder is full is to be said of the folder."""
    return OSError(error.errno, f"{error.strerror}; it holds what is to be written, until it is", tempfile.gettempdir())
