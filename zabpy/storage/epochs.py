"""The meta file, ``epochs``: what this server has promised and which log is its history.

Two slots, each a sealed block of its own page (offsets 0 and 4096). A save writes one slot, syncs, writes the other,
syncs; only then does it count. So whatever a crash leaves, one slot is whole and not older than the last save that
returned, and a single slot that is damaged later is harmless too: no guessing which of the two was newer. That costs
two syncs of a page, for something done a few times an election. The first save after a start begins with the slot that
was not read: the other may be the only whole one.

    slot: sealed, magic "zabpyMET", body: 8 sequence, 8 server id, 8 accepted epoch, 8 start number, 8 log generation,
          8 synced base, 8 synced offset, 1 stopped cleanly

"Synced base" and "synced offset" are the watermark: in the segment of that base, everything before that offset has been
synced. Generation 0: the directory is initialised, but no log was made yet.

A third block, at offset 8192, holds the watermark of the last sync of the log, sealed with magic "zabpySYN": 8 log
generation, 8 synced base, 8 synced offset. It is written after every sync and never waited for, which costs some
microseconds: after a kill it is exact, after a power cut some seconds old or torn, and then the slots' counts.
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
_HINT_MAGIC = b"zabpySYN"
_HINT = struct.Struct(">QQQ")
_SLOT_OFFSETS = (0, 4096)
_HINT_OFFSET = 8192
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


def read_meta(files: Files, path: str) -> tuple[Meta, int]:
    """The newer of the two slots, with the later of the watermarks; and which one that is (0, 1).

    Raises:
        DamagedMetaError: neither slot is whole.
        NewerFormatError, OSError
    """
    file = files.open(path)
    try:
        slots = [_read_slot(file, offset, path) for offset in _SLOT_OFFSETS]
        hint = unseal(_HINT_MAGIC, file.read(_SLOT_BYTES, _HINT_OFFSET), path)
    finally:
        file.close()
    whole = [(slot, number) for number, slot in enumerate(slots) if slot is not None]
    if not whole:
        raise DamagedMetaError(f"{path}: offsets 0 and 4096: expected a valid slot at one of them, both are damaged")
    meta, slot = max(whole)
    if hint is not None and len(hint) == _HINT.size:
        generation, base, offset = _HINT.unpack(hint)
        if generation == meta.generation and (base, offset) > (meta.synced_base, meta.synced_offset):
            meta = meta._replace(synced_base=Zxid(base), synced_offset=offset)
    return meta, slot


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

    def __init__(self, files: Files, path: str, meta: Meta, slot: int) -> None:
        """``meta`` was read from ``slot``."""
        self._file = files.open(path)
        self.meta = meta
        self._offsets = _SLOT_OFFSETS[1 - slot], _SLOT_OFFSETS[slot]

    def save(self, meta: Meta) -> None:
        """Replace what is stored by ``meta``, at the next sequence number; durable on return."""
        assert meta.accepted_epoch >= self.meta.accepted_epoch
        assert meta.generation >= self.meta.generation
        meta = meta._replace(sequence=self.meta.sequence + 1)
        self._write_hint(meta.generation, meta.synced_base, meta.synced_offset)
        block = _pack(meta)
        for offset in self._offsets:
            self._file.write(block, offset)
            self._file.sync_data()
        self.meta = meta

    def note_synced(self, base: Zxid, offset: int) -> None:
        """The log is synced so far. Not durable, and need not be."""
        self._write_hint(self.meta.generation, base, offset)

    def _write_hint(self, generation: int, base: Zxid, offset: int) -> None:
        self._file.write(seal(_HINT_MAGIC, _HINT.pack(generation, base, offset)), _HINT_OFFSET)

    def close(self) -> None:
        self._file.close()
