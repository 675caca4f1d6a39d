"""Entry: one place in the order, its content unread, tied to all before it by a running checksum."""

from collections.abc import Callable
from typing import Any, NamedTuple
from zlib import crc32 as _crc32

from .zxid import NO_ZXID, Zxid

#: The chain value of a history that has no record yet.
NO_CHAIN = 0
_new: Callable[..., Any] = tuple.__new__  # half the cost of calling a NamedTuple by name


class Entry(NamedTuple):
    """A payload at its zxid.

    ``chain`` is a CRC-32 over the previous record's chain, this zxid and this payload. The leader computes it once;
    peers check it on receipt and the log stores it as the record's checksum. Two servers whose records at one zxid
    have equal chains hold equal histories up to there, which is what synchronisation verifies.
    """

    zxid: Zxid
    payload: bytes
    chain: int


def chain_of(previous: int, zxid: Zxid, payload: bytes) -> int:
    """The chain value of a record that follows one whose chain is ``previous``."""
    return _crc32(payload, _crc32(zxid.to_bytes(8, "big"), previous))


def entry_after(previous: int, zxid: Zxid, payload: bytes) -> Entry:
    return _new(Entry, (zxid, payload, _crc32(payload, _crc32(zxid.to_bytes(8, "big"), previous))))  # type: ignore[no-any-return]


class Tip(NamedTuple):
    """The end of a history, or the point a snapshot stands for: the last zxid and the chain value there."""

    zxid: Zxid
    chain: int


NO_TIP = Tip(NO_ZXID, NO_CHAIN)
