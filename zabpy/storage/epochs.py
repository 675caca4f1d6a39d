"""The meta file, ``epochs``: what this server has promised and which log is its history.

Two slots, each a sealed block of its own page (offsets 0 and 4096). A save writes the first slot, syncs, writes the
second, syncs; only then does it count. So whatever a crash leaves, one slot is whole and not older than the last save
that returned, and a single slot that is damaged later is harmless too: no guessing which of the two was newer. That
costs two syncs of a page, for something done a few times an election.

    slot: sealed, magic "zabpyMET", body: 8 sequence, 8 server id, 8 accepted epoch, 8 start number, 8 log generation,
          8 synced base, 8 synced offset, 1 stopped cleanly

"Synced base" and "synced offset" are the lazily kept watermark: in the segment of that base, everything before that
offset has been synced. Generation 0: the directory is initialised, but no log was made yet.
"""

import struct
from typing import NamedTuple

from zabpy.model import NO_ZXID, Zxid

from .errors import DamagedMetaError
from .files import File, Files
from .format import seal, unseal

NAME = "epochs"
_MAGIC = b"zabpyMET"
_BODY = struct.Struct(">QQQQQQQB")
_SLOT_OFFSETS = (0, 4096)
_SLOT_BYTES = 12 + _BODY.size + 4


class Meta(NamedTuple):
    sequence: int
    server_id: int
    accepted_epoch: int = 0
    start_number: int = 0
    generation: int = 0
    synced_base: Zxid = NO_ZXID
    synced_offset: int = 0
    clean: bool = False


def _pack(meta: Meta) -> bytes:
    return seal(_MAGIC, _BODY.pack(*meta))


def read_meta(files: Files, path: str) -> Meta:
    """The newer of the two slots.

    Raises:
        DamagedMetaError: neither slot is whole.
        NewerFormatError, OSError
    """
    file = files.open(path)
    try:
        slots = [_read_slot(file, offset, path) for offset in _SLOT_OFFSETS]
    finally:
        file.close()
    whole = [slot for slot in slots if slot is not None]
    if not whole:
        raise DamagedMetaError(f"{path}: offsets 0 and 4096: expected a valid slot at one of them, both are damaged")
    return max(whole)


def _read_slot(file: File, offset: int, path: str) -> Meta | None:
    body = unseal(_MAGIC, file.read(_SLOT_BYTES, offset), path)
    if body is None or len(body) != _BODY.size:
        return None
    sequence, server_id, accepted, start, generation, base, synced, clean = _BODY.unpack(body)
    return Meta(sequence, server_id, accepted, start, generation, Zxid(base), synced, bool(clean))


def create_meta(files: Files, directory: str, meta: Meta) -> None:
    """Make the file, durably: after a crash it is whole or not there."""
    path, aside = f"{directory}/{NAME}", f"{directory}/{NAME}.tmp"
    file = files.open(aside, create=True)
    try:
        for offset in _SLOT_OFFSETS:
            file.write(_pack(meta), offset)
        file.sync()
    finally:
        file.close()
    files.rename(aside, path)
    files.sync_dir(directory)


class MetaFile:
    """The open meta file of a running store."""

    def __init__(self, files: Files, path: str, meta: Meta) -> None:
        self._file = files.open(path)
        self.meta = meta

    def save(self, meta: Meta) -> None:
        """Replace what is stored by ``meta``, at the next sequence number; durable on return."""
        assert meta.accepted_epoch >= self.meta.accepted_epoch
        assert meta.generation >= self.meta.generation
        meta = meta._replace(sequence=self.meta.sequence + 1)
        block = _pack(meta)
        for offset in _SLOT_OFFSETS:
            self._file.write(block, offset)
            self._file.sync_data()
        self.meta = meta

    def close(self) -> None:
        self._file.close()
