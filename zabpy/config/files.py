"""A namespace as a folder of files, for people who keep their settings in git: plan what differs, then apply that.

    FOLDER/values.env            plain keys of the layer "default": db.host=db1, a line each
    FOLDER/db.yaml               the document db.yaml of the same layer; .json, .toml, and .yml for .yaml
    FOLDER/env.prod/...          the same for a layer, which has the folder's name
    FOLDER/.schema.json          the namespace's schema

A ``.env`` file (of any name before that; several are one) has lines ``key=value``. A name in capitals is taken as
environment variables have it: ``DB__HOST`` is ``db.host``. A value may stand in quotes; within "..." ``\\n``, ``\\t``,
``\\"`` and ``\\\\`` are known, within '...' nothing is special. ``export`` before a name says nothing, nor do lines
that begin with #, nor what stands behind a # with a space before it.

Other files whose names begin with a dot, and those that end in ``.md``, are none of ours; any other file is refused,
for it may be a slip of the fingers. What is read in, and what is written out, is the same again, byte by byte: a second
import, or export, changes nothing. Secrets are, and stay, encrypted.
"""

import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from .errors import ConfigError
from .layers import DEFAULT
from .values import BadDocumentError, is_document, parse

KEY: Final = re.compile(r"[a-z0-9][a-z0-9._-]*")
KEY_CHARS_MAX: Final = 200
LAYER: Final = re.compile(r"[a-z0-9][a-z0-9._-]*")
SCHEMA_FILE: Final = ".schema.json"
VALUES_FILE: Final = "values.env"
#: A value in the store cannot be larger, with what goes with it.
FILE_BYTES_MAX: Final = 1024 * 1024

_LINE: Final = re.compile(r"\s*(?:export\s+)?([^\s=]+)\s*=(.*)")
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "$": "$"}

#: (layer, key) → value.
Entries = Mapping[tuple[str, str], bytes]


class BadFilesError(ConfigError, ValueError):
    """The folder is not what can be a namespace. ``problems``: file, line and reason of each."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (list(self.problems),))


class Found(NamedTuple):
    """What a folder says. ``where``: file, and line, of each value. ``schema`` None: it says nothing of one."""

    entries: dict[tuple[str, str], bytes]
    schema: bytes | None
    where: dict[tuple[str, str], str]


class Step(NamedTuple):
    """One value that is to be another. ``before`` None: it is new; ``after`` None: it is to go."""

    layer: str
    key: str
    before: bytes | None
    after: bytes | None

    @property
    def what(self) -> str:
        return "create" if self.before is None else "delete" if self.after is None else "change"


def read_folder(folder: Path) -> Found:
    """Blocks. Raises `BadFilesError`, which names all that is wrong in it."""
    found, problems = Found({}, None, {}), list[str]()
    if not folder.is_dir():
        raise BadFilesError([f"{folder}: no such folder"])
    schema: bytes | None = None
    for path in sorted(folder.iterdir()):
        if path.name == SCHEMA_FILE:
            schema = _bytes(path, problems)
        elif _is_foreign(path):
            continue
        elif path.is_dir():
            if not LAYER.fullmatch(path.name):
                problems.append(f"{path}: no layer can be called so: a-z, 0-9, dots, - and _")
                continue
            for each in sorted(path.iterdir()):
                if each.is_dir() and not _is_foreign(each):
                    problems.append(f"{each}: a layer has no folders in it; dots in a key's name say the same")
                elif not _is_foreign(each):
                    _read(each, path.name, found, problems)
        else:
            _read(path, DEFAULT, found, problems)
    if problems:
        raise BadFilesError(problems)
    return found._replace(schema=schema)


def read_lines(where: str, data: bytes, layer: str = DEFAULT) -> dict[str, bytes]:
    """The plain values of one ``.env`` file. Raises `BadFilesError`, each problem with ``where`` and the line."""
    found, problems = Found({}, None, {}), list[str]()
    _read_env(where, data, layer, found, problems)
    if problems:
        raise BadFilesError(problems)
    return {key: value for (_, key), value in found.entries.items()}


def lines_of(values: Mapping[str, bytes]) -> bytes:
    """Plain values as a ``.env`` file. Raises `BadFilesError` for one that is no text."""
    files = files_of({(DEFAULT, key): value for key, value in values.items()})
    return files.get(VALUES_FILE, b"")


def steps(now: Entries, wanted: Entries, *, prune: bool = False) -> list[Step]:
    """What makes of one state the other, in order of layer and key. ``prune``: what is not wanted is to go."""
    found = []
    for layer, key in sorted({*now, *wanted} if prune else wanted):
        before, after = now.get((layer, key)), wanted.get((layer, key))
        if before != after:
            found.append(Step(layer, key, before, after))
    return found


def files_of(entries: Entries, schema: bytes | None = None) -> dict[str, bytes]:
    """The files of a namespace, by their place in the folder. Raises `BadFilesError` for a value that is no text."""
    files: dict[str, bytes] = {}
    plain: dict[str, list[str]] = {}
    problems: list[str] = []
    for (layer, key), data in sorted(entries.items()):
        place = "" if layer == DEFAULT else f"{layer}/"
        if is_document(key):
            files[f"{place}{key}"] = data
            continue
        try:
            plain.setdefault(f"{place}{VALUES_FILE}", []).append(f"{key}={_quoted(data.decode())}\n")
        except UnicodeDecodeError:
            problems.append(f"{key} (layer {layer}): it is no UTF-8, and cannot be in a file of texts")
    if problems:
        raise BadFilesError(problems)
    files |= {name: "".join(lines).encode() for name, lines in plain.items()}
    if schema is not None:
        files[SCHEMA_FILE] = schema
    return dict(sorted(files.items()))


def write_folder(folder: Path, files: Mapping[str, bytes], *, prune: bool = False, dry_run: bool = False) -> list[str]:
    """Have the folder say that; each file is replaced whole, where it differs. What was done, a line each. Blocks.

    ``prune``: files of ours that say something else are deleted; others never are.

    Raises:
        OSError: what was written before is there.
    """
    done = []
    for name, data in files.items():
        path = folder / name
        before = path.read_bytes() if path.is_file() else None
        if before == data:
            continue
        done.append(f"{'create' if before is None else 'change'} {name}")
        if not dry_run:
            path.parent.mkdir(parents=True, exist_ok=True)
            _replace(path, data)
    if prune and folder.is_dir():
        for path in sorted(_ours(folder)):
            name = str(path.relative_to(folder))
            if name not in files:
                done.append(f"delete {name}")
                if not dry_run:
                    path.unlink()
    return done


def _ours(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name == SCHEMA_FILE and path.is_file():
            yield path
        elif _is_foreign(path):
            continue
        elif path.is_file():
            yield path
        elif path.is_dir() and LAYER.fullmatch(path.name):
            yield from (each for each in path.iterdir() if each.is_file() and not _is_foreign(each))


def _is_foreign(path: Path) -> bool:
    return (path.name.startswith(".") and path.name != ".env") or path.suffix == ".md"


def _read(path: Path, layer: str, found: Found, problems: list[str]) -> None:
    data = _bytes(path, problems)
    if data is None:
        return
    name = f"{path.name[:-4]}.yaml" if path.name.endswith(".yml") else path.name
    if name.endswith(".env"):
        _read_env(path, data, layer, found, problems)
    elif is_document(name):
        if _add(str(path), layer, name, data, found, problems):
            try:
                parse(name, data)
            except BadDocumentError as error:
                problems.append(f"{path}: {error}")
    else:
        problems.append(f"{path}: not one of ours: expected .env, .yaml, .yml, .json or .toml")


def _read_env(path: Path | str, data: bytes, layer: str, found: Found, problems: list[str]) -> None:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        problems.append(f"{path}:{data.count(bytes([10]), 0, error.start) + 1}: no UTF-8")
        return
    for number, whole in enumerate(text.split("\n"), 1):
        line = whole.rstrip("\r")
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        where = f"{path}:{number}"
        match = _LINE.fullmatch(line)
        if match is None:
            problems.append(f"{where}: expected key=value")
            continue
        name = match[1].lower().replace("__", ".") if match[1].isupper() else match[1]
        try:
            value = _unquoted(match[2])
        except ValueError as error:
            problems.append(f"{where}: {name}: {error}")
            continue
        if is_document(name):
            problems.append(f"{where}: {name}: a document needs a file of its own, called {name}")
            continue
        _add(where, layer, name, value.encode("utf-8", "surrogateescape"), found, problems)


def _add(where: str, layer: str, key: str, value: bytes, found: Found, problems: list[str]) -> bool:
    if not KEY.fullmatch(key) or len(key) > KEY_CHARS_MAX:
        problems.append(f"{where}: {key!r} cannot be a key: a-z, 0-9, dots, - and _, {KEY_CHARS_MAX} at most")
        return False
    if (layer, key) in found.where:
        problems.append(f"{where}: {key} stands in {found.where[layer, key]}, too")
        return False
    found.entries[layer, key], found.where[layer, key] = value, where
    return True


def _bytes(path: Path, problems: list[str]) -> bytes | None:
    try:
        if not path.is_file():
            problems.append(f"{path}: it is no file")
            return None
        if path.stat().st_size > FILE_BYTES_MAX:
            problems.append(f"{path}: more than {FILE_BYTES_MAX:,} bytes")
            return None
        return path.read_bytes()
    except OSError as error:
        problems.append(f"{path}: {error.strerror}")
        return None


def _unquoted(text: str) -> str:
    """Raises `ValueError`."""
    if text.lstrip()[:1] not in ("'", '"'):
        return re.sub(r"\s+#.*", "", text).strip()
    text = text.lstrip()
    quote = text[0]
    end = _end_of(text, quote)
    rest = text[end + 1 :].strip()
    if rest and not rest.startswith("#"):
        raise ValueError(f"behind the quote {quote} at the end stands more")
    if quote == "'":
        return text[1:end]

    def escaped(match: re.Match[str]) -> str:
        if match[1] not in _ESCAPES:
            raise ValueError(f"\\{match[1]} is not known; \\\\ is a backslash")
        return _ESCAPES[match[1]]

    return re.sub(r"\\(.)", escaped, text[1:end])


def _end_of(text: str, quote: str) -> int:
    at = 1
    while at < len(text):
        if text[at] == "\\" and quote == '"':
            at += 1
        elif text[at] == quote:
            return at
        at += 1
    raise ValueError(f"the quote {quote} does not end in this line")


def _quoted(text: str) -> str:
    if re.fullmatch(r"[\w./:@%+,-]*|!enc 1:[\w.:-]+", text, re.ASCII):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    for char, name in (("\n", "n"), ("\t", "t"), ("\r", "r")):
        escaped = escaped.replace(char, f"\\{name}")
    return f'"{escaped}"'


def _replace(path: Path, data: bytes) -> None:
    descriptor, name = tempfile.mkstemp(".zabpy", f".{path.name}.", path.parent)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(descriptor, path.stat().st_mode & 0o777 if path.exists() else 0o644)
            os.fsync(descriptor)
        os.rename(name, path)
    except BaseException:
        os.unlink(name)
        raise
