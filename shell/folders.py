"""Trees as folders on this machine: a file for each znode without children, and for others a folder with their value in
it as ``%data``, if they have one. A % in a name is ``%25``. Values only: no ACLs and no kinds, which exports keep.
"""

from collections import deque
from collections.abc import Iterator, Sequence, Set as AbstractSet
from pathlib import Path

from zabpy.model import BadArgumentsError, validate

from .errors import UsageError
from .records import Record

DATA = "%data"


def write_folder(top: Path, records: Sequence[Record], parents: AbstractSet[str]) -> int:
    """Write the records, whose very first is their top, as a folder; how many files that were. ``parents``: the paths
    of those that have others below them. Ephemerals are left out.

    Raises:
        OSError: a name is too long for a file, the disk is full, and so on; some of it was written.
    """
    files = 0
    for record in records:
        if record.owner is not None:
            continue
        where = top.joinpath(*(name.replace("%", "%25") for name in record.path.split("/")[1:]))
        if record.path in parents or not record.path:
            where.mkdir(exist_ok=True)
            where /= DATA
            if not record.data:
                where.unlink(missing_ok=True)
                continue
        where.write_bytes(record.data)
        files += 1
    return files


def read_folder(top: Path) -> Iterator[Record]:
    """The records of a folder, parents before children. What is neither file nor folder is no part of it.

    Raises:
        UsageError: a name that no znode can have.
        OSError.
    """
    waiting = deque([(top, "")])
    while waiting:
        where, path = waiting.popleft()
        value = where / DATA
        yield Record(path, where.read_bytes() if where.is_file() else _data(value))
        if where.is_dir():
            for below in sorted(where.iterdir()):
                if below.name != DATA and (below.is_dir() or below.is_file()):
                    waiting.append((below, f"{path}/{_name_of(below)}"))


def _data(file: Path) -> bytes:
    return file.read_bytes() if file.exists() else b""


def _name_of(file: Path) -> str:
    name = file.name.replace("%25", "%")
    try:
        validate(f"/{name}")
    except BadArgumentsError as error:
        raise UsageError(f"{file}: no znode can have this name: {error}") from None
    return name
