"""Exports: files that hold a tree, all of it that a client can learn, to be read by people, by `jq` and by ``import``.

NDJSON, one JSON object a line, perhaps gzip around it:

1. ``{"zabpy_export": 1, "path": "/app", "server": ..., "zxid": "0x...", "time_ms": ..., "acls": true}``; the path is
   the one that was exported, the zxid that of the server when it began.
2. One line for each znode, parents before their children: ``path`` from the top of the export (``/`` is the top);
   ``data``, or ``data_base64`` for what is no UTF-8, or null; ``acl`` as zkCli.sh writes it, null if it was not read;
   the fields of a stat, among them ``ephemeral_owner`` and ``cversion``, by which servers count the names of znodes in
   sequence; and ``kind``: persistent or ephemeral. Servers tell no client which znodes are containers or have a
   lifetime, so exports cannot either; in a file made by hand ``kind`` may be container, or ttl with ``ttl_ms``.
3. ``{"end": true, "znodes": 3, "zxid": "0x...", "changed_meanwhile": 0, "denied": []}``: a file without this line is
   cut off, and one with another number of znodes has lost some. ``changed_meanwhile``: so many of the znodes have
   changed since the export began; ``denied``: paths that could not be read, which are missing with all that is below.

tar holds the same: ``export.json`` and ``end.json`` are 1 and 3, and below ``znodes/`` there is a file for each znode
without children, and for others a folder with their value in it as ``%data``; a % in a name is ``%25``. What else is
known of a znode is line 2, without data, in the pax header ``ZABPY.znode`` of its file or folder.

Of what is written nothing is kept. While a file is read its paths are in memory, about 150 bytes a znode, so that none
comes twice or before its parent; all else of the records is in a `Spool`.
"""

import gzip
import io
import json
import tarfile
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby
from pathlib import PurePosixPath
from typing import IO, Any, Protocol

from zabpy.model import Acls, BadArgumentsError, Stat, validate

from .acls import acl_text, parse_acl
from .errors import UsageError
from .records import Record
from .spool import Spool
from .stats import hexed, stat_fields
from .values import data_fields, data_of

VERSION = 1
#: What an export holds besides its znodes.
HEADER, END, ZNODES, DATA, META = "export.json", "end.json", "znodes", "%data", "ZABPY.znode"
#: So many problems of a file are told one by one.
PROBLEMS_MAX = 20
#: A znode of ours is a few MB at most; what goes on for longer without a line's end is no line of an export.
LINE_BYTES_MAX = 64 * 1024 * 1024


@dataclass
class Archive:
    """What was read. ``problems``: what is wrong with which line, the first of them, and how many there are; then
    nothing is to be done by it."""

    header: dict[str, Any] = field(default_factory=dict)
    end: dict[str, Any] = field(default_factory=dict)
    records: Spool = field(default_factory=Spool)
    problems: list[str] = field(default_factory=list)
    problem_count: int = 0

    def complain(self, problem: str) -> None:
        self.problem_count += 1
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(problem)


class ArchiveWriter(Protocol):
    """All of it may block."""

    def begin(self, header: dict[str, Any]) -> None: ...

    def add(self, records: list[Record]) -> None: ...

    def end(self, footer: dict[str, Any]) -> None: ...

    def close(self) -> None:
        """It is over, whether its end was written or not."""


def fields_of(record: Record) -> dict[str, Any]:
    """Line 2 of above, without data."""
    assert record.stat is not None
    acl = None if record.acl is None else acl_text(record.acl)
    kind = "ephemeral" if record.stat.ephemeral_owner else "persistent"
    return {"path": record.path or "/", "acl": acl, **stat_fields(record.stat), "kind": kind}


_hexed = lru_cache(hexed)  # the three zxids of a znode are mostly one
_quoted = json.encoder.encode_basestring  # json.dumps of a text with ensure_ascii=False


@lru_cache(1_000)
def _acl_json(acl: Acls) -> str:
    return _quoted(acl_text(acl))


def line_of(record: Record) -> str:
    """Line 2 of above; what json.dumps would write, in a third of the time."""
    assert record.stat is not None
    try:
        data, coded = _quoted(record.data.decode()), "null"
    except UnicodeDecodeError:
        fields = data_fields(record.data)
        data, coded = "null", f'"{fields["data_base64"]}"'
    acl = "null" if record.acl is None else _acl_json(record.acl)
    return (
        f'{{"path": {_quoted(record.path or "/")}, "data": {data}, "data_base64": {coded}, "acl": {acl}'
        + line_end_of(record.stat)
    )


def line_end_of(stat: Stat) -> str:
    """What `line_of` ends with: all of the stat, and nothing else."""
    owner = stat.ephemeral_owner
    return (
        f', "czxid": "{_hexed(stat.czxid)}", "mzxid": "{_hexed(stat.mzxid)}", "pzxid": "{_hexed(stat.pzxid)}", '
        f'"ctime_ms": {stat.ctime_ms}, "mtime_ms": {stat.mtime_ms}, "version": {stat.version}, '
        f'"cversion": {stat.cversion}, "aversion": {stat.aversion}, '
        f'"ephemeral_owner": {_quoted(hexed(owner)) if owner else "null"}, '
        f'"data_length": {stat.data_length}, "num_children": {stat.num_children}, '
        f'"kind": "{"ephemeral" if owner else "persistent"}"}}\n'
    )


class Kept(Record):
    """One whose line an earlier export has written already, which is written as it is; it has no data here."""

    __slots__ = ("line",)

    def __init__(self, path: str, stat: Stat, line: Callable[[], bytes]) -> None:
        super().__init__(path, b"", stat=stat)
        self.line = line


class NdjsonWriter:
    """Writes into a binary stream."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def begin(self, header: dict[str, Any]) -> None:
        self._line(header)

    def add(self, records: list[Record]) -> None:
        for are_kept, some in groupby(records, lambda record: isinstance(record, Kept)):
            if are_kept:
                self._stream.writelines(record.line() for record in some if isinstance(record, Kept))
            else:
                self._stream.write("".join(map(line_of, some)).encode("utf-8", "surrogatepass"))

    def end(self, footer: dict[str, Any]) -> None:
        self._line({"end": True, **footer})

    def close(self) -> None:
        pass

    def _line(self, fields: dict[str, Any]) -> None:
        self._stream.write((json.dumps(fields, ensure_ascii=False) + "\n").encode())


class TarWriter:
    """Writes a tar, gzipped or not, into a binary stream that need not be seekable."""

    def __init__(self, stream: IO[bytes], *, is_gzip: bool) -> None:
        self._tar = tarfile.open(  # noqa: SIM115 - closed by `close`
            fileobj=stream, mode="w|gz" if is_gzip else "w|", format=tarfile.PAX_FORMAT
        )

    def begin(self, header: dict[str, Any]) -> None:
        self._add(HEADER, json.dumps(header, indent=2).encode() + b"\n")

    def add(self, records: list[Record]) -> None:
        for record in records:
            assert record.stat is not None
            name = ZNODES + "/".join(part.replace("%", "%25") for part in record.path.split("/"))
            meta = json.dumps(fields_of(record), ensure_ascii=False)
            mtime_s = record.stat.mtime_ms / 1000
            if record.stat.num_children or not record.path:
                self._add(name, None, meta, mtime_s)
                self._add(f"{name}/{DATA}", record.data, "", mtime_s)
            else:
                self._add(name, record.data, meta, mtime_s)

    def end(self, footer: dict[str, Any]) -> None:
        self._add(END, json.dumps(footer, indent=2).encode() + b"\n")
        self.close()

    def close(self) -> None:
        self._tar.close()

    def _add(self, name: str, data: bytes | None, meta: str = "", mtime_s: float | None = None) -> None:
        member = tarfile.TarInfo(name)
        member.mtime = time.time() if mtime_s is None else mtime_s
        if meta:
            member.pax_headers = {META: meta}
        if data is None:
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            self._tar.addfile(member)
        else:
            member.size = len(data)
            self._tar.addfile(member, io.BytesIO(data))
        self._tar.members.clear()  # type: ignore[attr-defined]  # else it keeps what it knows of each


# Reading --------------------------------------------------------------------------------------------------------------


def read_archive(stream: IO[bytes]) -> Archive:
    """An export of any kind, which is told by its first bytes.

    Raises:
        UsageError: it is no export at all.
        OSError: it cannot be read, gzip's complaints included.
    """
    start = stream.read(2)
    plain: Any = io.BufferedReader(_Rest(start, stream))
    if start == b"\x1f\x8b":
        plain = io.BufferedReader(gzip.GzipFile(fileobj=plain))
    archive = Archive()
    try:
        head = plain.peek(512)
        if head[257:262] == b"ustar":
            _read_tar(plain, archive)
        else:
            _read_ndjson(plain, archive)
    except (EOFError, tarfile.TarError, gzip.BadGzipFile, zlib.error, ValueError) as error:
        archive.complain(f"it cannot be read further: {error}")
    if not archive.header and not archive.records:
        raise UsageError(f"no export of zabpy: {archive.problems[0] if archive.problems else 'it is empty'}")
    if not archive.end:
        archive.complain(f"it is cut off: behind {len(archive.records):,} znodes its end is missing")
    wanted = archive.end.get("znodes", len(archive.records))
    if wanted != len(archive.records) and not archive.problems:
        archive.complain(f"its end tells of {wanted:,} znodes, and there are {len(archive.records):,}")
    return archive


class _Rest(io.RawIOBase):
    """A stream with its first bytes given back."""

    def __init__(self, start: bytes, stream: IO[bytes]) -> None:
        self._start, self._stream = start, stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        start, self._start = self._start[: len(buffer)], self._start[len(buffer) :]
        data = start + self._stream.read(len(buffer) - len(start))
        buffer[: len(data)] = data
        return len(data)


def _read_ndjson(stream: IO[bytes], archive: Archive) -> None:
    seen: set[str] = set()
    for number, line in enumerate(iter(lambda: stream.readline(LINE_BYTES_MAX), b""), 1):
        if not line.strip():
            continue
        try:
            if len(line) == LINE_BYTES_MAX:
                raise EOFError(f"line {number} has more than {LINE_BYTES_MAX:,} bytes")
            if archive.end:
                raise ValueError("it stands behind the end, as if two files were one")
            fields = json.loads(line)
            if not isinstance(fields, dict):
                raise ValueError("expected an object")
            if "zabpy_export" in fields:
                _take_header(fields, archive)
            elif fields.get("end"):
                archive.end = fields
            else:
                record = record_of(fields, data_of(fields) or b"")
                _check_place(record, seen)
                archive.records.add(record)
        except (ValueError, UsageError, RecursionError) as error:
            archive.complain(f"line {number}: {error}")
            if number == 1 and not archive.records:
                return


def _take_header(fields: dict[str, Any], archive: Archive) -> None:
    if archive.header or archive.records:
        raise ValueError("another beginning, as if two files were one")
    if fields["zabpy_export"] != VERSION:
        raise UsageError(f"an export of format {fields['zabpy_export']!r}, where {VERSION} is known")
    archive.header = fields


def _check_place(record: Record, seen: set[str]) -> None:
    if record.path in seen:
        raise ValueError(f"path: {record.path or '/'} is there twice")
    if record.path and record.path.rpartition("/")[0] not in seen:
        raise ValueError(f"path: {record.path} comes before its parent, or that is missing")
    seen.add(record.path)


def record_of(fields: dict[str, Any], data: bytes) -> Record:
    """The znode of a line.

    Raises:
        ValueError, UsageError: it says which field is wrong, and how.
    """
    path, acl, kind = fields.get("path"), fields.get("acl"), fields.get("kind", "persistent")
    if not isinstance(path, str):
        raise ValueError(f"path: expected a string, not {path!r}")
    try:
        validate(path)
    except BadArgumentsError as error:
        raise ValueError(str(error)) from None
    if acl is not None and not isinstance(acl, str):
        raise ValueError(f"acl: expected a string, not {acl!r}")
    if kind not in ("persistent", "ephemeral", "container", "ttl"):
        raise ValueError(f"kind: expected persistent, ephemeral, container or ttl, not {kind!r}")
    ttl_ms = fields.get("ttl_ms")
    if kind == "ttl" and (type(ttl_ms) is not int or ttl_ms < 1):
        raise ValueError(f"ttl_ms: expected whole ms, not {ttl_ms!r}")
    owner = None
    if kind == "ephemeral":
        try:
            owner = int(str(fields.get("ephemeral_owner")), 16)
        except ValueError:
            raise ValueError(f"ephemeral_owner: expected 0x…, not {fields.get('ephemeral_owner')!r}") from None
    entries = None if acl is None else parse_acl(acl)
    where = "" if path == "/" else path
    return Record(where, data, entries, kind == "container", ttl_ms if kind == "ttl" else None, owner)


def _read_tar(stream: IO[bytes], archive: Archive) -> None:
    seen: set[str] = set()
    last: Record | None = None  # its value may stand behind it
    is_whole = True  # or its value must stand there, and may have been cut off
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for member in tar:
            tar.members.clear()  # type: ignore[attr-defined]  # else it keeps what it knows of each
            try:
                record = _take_member(tar, member, archive, last, seen)
            except (ValueError, UsageError, RecursionError) as error:
                archive.complain(f"{member.name}: {error}")
                continue
            if record is not last and last is not None:
                archive.records.add(last)
            last, is_whole = record, not member.isdir()
    if last is not None and (is_whole or archive.end):
        archive.records.add(last)


def _take_member(
    tar: tarfile.TarFile, member: tarfile.TarInfo, archive: Archive, last: Record | None, seen: set[str]
) -> Record | None:
    """The record that is being read behind it: another one than ``last``, or that with its value."""
    file = tar.extractfile(member)
    data = b"" if file is None else file.read()
    name = PurePosixPath(member.name)
    if archive.end:
        raise ValueError("it stands behind the end, as if two files were one")
    if member.name == HEADER:
        _take_header(json.loads(data), archive)
    elif member.name == END:
        archive.end = json.loads(data) | {"end": True}
    elif name.name == DATA:
        if last is None or path_of(name.parent) != last.path:
            raise ValueError("the value of a znode does not stand behind it")
        last.data = data
    else:
        meta = member.pax_headers.get(META)
        fields = json.loads(meta) if meta else {"path": path_of(name) or "/"}
        record = record_of(fields, data)
        _check_place(record, seen)
        return record
    return last


def path_of(name: PurePosixPath) -> str:
    """``znodes/a/b%25`` is ``/a/b%``."""
    if name.parts[:1] != (ZNODES,):
        raise ValueError("it is not part of an export")
    return "".join("/" + part.replace("%25", "%") for part in name.parts[1:])


def problems_told(archive: Archive) -> Iterator[str]:
    yield from archive.problems
    if archive.problem_count > len(archive.problems):
        yield f"… and {archive.problem_count - len(archive.problems):,} more"
