"""Jute, ZooKeeper's encoding of client records: big-endian, no tags, no names.

A length of -1 means null, which differs from empty. Bytes behind the last field of a record are left alone: newer
clients may append fields.
"""

import codecs
import re
import struct

# The methods below are named after jute's types, so inside the classes the builtins go by other names.
from builtins import bool as _Bool, bytes as _Bytes, int as _Int
from collections.abc import Callable, Iterable
from typing import TypeVar

from zabpy.model import MarshallingError

T = TypeVar("T")

_INT = struct.Struct(">i")
_LONG = struct.Struct(">q")
#: For `bytes.decode`: what is not UTF-8 becomes what Java makes of it.
UNDECODABLE = "zabpy.java"
_NULL = b"\xff\xff\xff\xff"
#: Above U+FFFF; Java's own encoding in six bytes, each half of a surrogate pair by itself.
_ASTRAL = re.compile("[\U00010000-\U0010ffff]")


class Reader:
    """Reads one record after another from bytes. Every method raises `JuteError` where the bytes do not hold it.

    ``at`` is the offset of the next byte. Never makes more than the bytes that are there, whatever lengths they claim.
    """

    __slots__ = ("_data", "at")

    def __init__(self, data: _Bytes | memoryview, at: _Int = 0) -> None:
        self._data: bytes = data if type(data) is bytes else bytes(data)
        self.at = at

    def int(self) -> _Int:
        """Four bytes, signed."""
        at = self.at
        try:
            (value,) = _INT.unpack_from(self._data, at)
        except struct.error:
            raise JuteError(f"int cut short at byte {at}") from None
        self.at = at + 4
        return value  # type: ignore[no-any-return]

    def long(self) -> _Int:
        """Eight bytes, signed."""
        at = self.at
        try:
            (value,) = _LONG.unpack_from(self._data, at)
        except struct.error:
            raise JuteError(f"long cut short at byte {at}") from None
        self.at = at + 8
        return value  # type: ignore[no-any-return]

    def bool(self) -> _Bool:
        """One byte; all but 0 is true."""
        try:
            value = self._data[self.at]
        except IndexError:
            raise JuteError(f"boolean cut short at byte {self.at}") from None
        self.at += 1
        return value != 0

    def buffer(self) -> _Bytes | None:
        """Length and bytes; None for null."""
        data, at = self._data, self.at
        try:
            (length,) = _INT.unpack_from(data, at)
        except struct.error:
            raise JuteError(f"length cut short at byte {at}") from None
        end = at + 4 + length
        if length < 0:
            if length != -1:
                raise JuteError(f"length {length} at byte {at}")
            self.at = at + 4
            return None
        if end > len(data):
            raise JuteError(f"length {length} at byte {at}, but {len(data) - at - 4} bytes follow")
        self.at = end
        return data[at + 4 : end]

    def ustring(self) -> str | None:
        """Length and UTF-8; None for null. What is not UTF-8 reads as U+FFFD, as in Java: no path may hold that."""
        value = self.buffer()
        return None if value is None else text_of(value)

    def text(self) -> str:
        """A ustring where null means empty: kazoo writes every empty string as null."""
        value = self.buffer()
        return "" if value is None else text_of(value)

    def vector(self, read: Callable[["Reader"], T]) -> list[T] | None:
        """Count and elements, each read by ``read``; None for null. An element takes at least one byte.

        A count below -1 means no elements, as in ZooKeeper.
        """
        at, count = self.at, self.int()
        if count < 0:
            return None if count == -1 else []
        if not count <= len(self._data) - self.at:
            raise JuteError(f"vector of {count} at byte {at}, but {len(self._data) - self.at} bytes follow")
        return [read(self) for _ in range(count)]

    def unpack(self, layout: struct.Struct) -> tuple[_Int, ...]:
        """Several fixed fields at once, as ``layout`` has them."""
        at = self.at
        try:
            values = layout.unpack_from(self._data, at)
        except struct.error:
            raise JuteError(f"{layout.size} bytes cut short at byte {at}") from None
        self.at = at + layout.size
        return values

    @property
    def starts_null(self) -> _Bool:
        """Whether what is read next, a string, buffer or vector, is null."""
        return self._data.startswith(_NULL, self.at)

    @property
    def left(self) -> _Int:
        """How many bytes are unread."""
        return len(self._data) - self.at

    @property
    def rest(self) -> _Bytes:
        """The unread bytes; they stay unread."""
        return self._data[self.at :]


class Writer:
    """Writes one field after another; the bytes are had from `bytes`. Values out of range are our own bug."""

    __slots__ = ("_out",)

    def __init__(self) -> None:
        self._out = bytearray()

    def int(self, value: _Int) -> None:
        self._out += _INT.pack(value)

    def long(self, value: _Int) -> None:
        self._out += _LONG.pack(value)

    def bool(self, value: _Bool) -> None:
        self._out += b"\1" if value else b"\0"

    def buffer(self, value: _Bytes | None) -> None:
        """None is written as null."""
        if value is None:
            self._out += b"\xff\xff\xff\xff"
        else:
            self._out += _INT.pack(len(value))
            self._out += value

    def ustring(self, value: str | None) -> None:
        """None is written as null."""
        self.buffer(None if value is None else bytes_of(value))

    def vector(self, values: Iterable[T] | None, write: Callable[["Writer", T], None]) -> None:
        """None is written as null; each element by ``write(self, element)``."""
        if values is None:
            self.int(-1)
            return
        items = list(values)
        self.int(len(items))
        for item in items:
            write(self, item)

    def raw(self, packed: _Bytes) -> None:
        """Bytes that are jute already, such as a packed Stat."""
        self._out += packed

    def bytes(self) -> _Bytes:
        """All that was written."""
        return bytes(self._out)


def text_of(raw: _Bytes) -> str:
    """UTF-8 as Java reads it: what is none becomes U+FFFD, and a surrogate in three bytes one of them."""
    return raw.decode("utf-8", UNDECODABLE)


def bytes_of(text: str) -> _Bytes:
    """UTF-8 as ZooKeeper writes it: a character above U+FFFF as its two surrogates, three bytes each (CESU-8)."""
    if not text.isascii():
        text = _ASTRAL.sub(_surrogates, text)
    return text.encode("utf-8", "surrogatepass")


def _surrogates(found: re.Match[str]) -> str:
    above = ord(found.group()) - 0x10000
    return chr(0xD800 + (above >> 10)) + chr(0xDC00 + (above & 0x3FF))


def _replace(error: UnicodeError) -> tuple[str, _Int]:
    assert isinstance(error, UnicodeDecodeError)
    raw, at = error.object, error.start
    surrogate = raw[at] == 0xED and len(raw) > at + 2 and raw[at + 1] & 0xE0 == 0xA0 and raw[at + 2] & 0xC0 == 0x80
    return "\ufffd", at + 3 if surrogate else error.end


codecs.register_error(UNDECODABLE, _replace)


class JuteError(MarshallingError):
    """These bytes are not the record they should be. A client is told -5 and keeps its connection."""


class NullPathError(JuteError):
    """A multi that could be read to its end, but one of its paths is null."""
