"""What a value is, how it is shown, and its form in JSON: the one place that knows.

A value is bytes. Those that are UTF-8 without control characters are text; text may be JSON or YAML; what is no text
may be gzip around any of these, CBOR, or just bytes, which a hex dump shows. Nothing is guessed from less than the
whole value, and what comes out for people has no control characters in it.
"""

import base64
import binascii
import json
import re
import zlib
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["empty", "text", "json", "yaml", "cbor", "binary"]

#: What is larger is not taken apart: to parse it would take long, and nobody reads it whole.
PARSED_BYTES_MAX = 4 * 1024 * 1024
YAML_BYTES_MAX = 64 * 1024
#: A small value can be a very large one, compressed.
UNPACKED_BYTES_MAX = 16 * 1024 * 1024
#: More of it is shown only to who asks for a hex dump.
DUMPED_BYTES_MAX = 1024 * 1024
#: What is deeper is not taken apart: Python's own JSON could not write it.
DEPTH_MAX = 100
CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
#: What JSON leaves as it is, and no terminal may get: see looks.py; and of that what no encoding has.
UNSHOWN = re.compile("[\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
HALVES = re.compile("[\ud800-\udfff]")
#: A line that YAML's mappings and lists have; all lines are to look like this, or be indented.
YAML_LINE = re.compile(r"(?:---|#.*|\s+.*|-\s+\S.*|[\w.\"'/-][^:{}\[\]]*:(?:\s.*)?|)\Z")
YAML_KEY = re.compile(r"(?:^|\n)(?:-\s+)?[\w.\"'/-]+:(?:\s|\Z)")


@dataclass(frozen=True)
class Value:
    """``content`` is the data, or what was compressed in it. ``parsed``: of json, yaml and cbor."""

    data: bytes
    kind: Kind
    content: bytes
    text: str | None = None
    parsed: Any = None
    is_gzip: bool = False

    @property
    def name(self) -> str:
        """``json``, ``gzip text``."""
        return f"gzip {self.kind}" if self.is_gzip else self.kind

    @property
    def is_structured(self) -> bool:
        return self.kind in ("json", "yaml", "cbor")


def recognised(data: bytes) -> Value:
    """What a value is. Never raises: what cannot be read as anything else is binary."""
    if data[:2] == b"\x1f\x8b":
        unpacked = _unpacked(data)
        if unpacked is not None:
            kind, text, parsed = _kind(unpacked)
            return Value(data, kind, unpacked, text, parsed, True)
    kind, text, parsed = _kind(data)
    return Value(data, kind, data, text, parsed)


def is_modest(parsed: Any, atoms_max: int) -> bool:
    """Whether what was parsed is no larger, written out, than what it was parsed from may make it, and no deeper than
    others can go down. A few bytes of YAML or CBOR whose parts are shared can stand for more than any memory holds."""
    level, atoms = [parsed], 0
    for _ in range(DEPTH_MAX):
        below: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                below += each.keys()
                below += each.values()
            elif isinstance(each, list | tuple | set | frozenset):
                below += each
            elif type(each) is not str and hasattr(each, "value"):  # what CBOR has tagged
                below.append(each.value)
            if atoms + len(below) > atoms_max:
                return False
        if not below:
            return True
        atoms += len(below)
        level = below
    return False


def _kind(data: bytes) -> tuple[Kind, str | None, Any]:
    if not data:
        return "empty", "", None
    text = as_text(data)
    if text is None:
        parsed = _cbor(data)
        return ("binary", None, None) if parsed is None else ("cbor", None, parsed)
    parsed = _json(text)
    if parsed is not None:
        return "json", text, parsed
    parsed = _yaml(text)
    return ("text", text, None) if parsed is None else ("yaml", text, parsed)


def as_text(data: bytes) -> str | None:
    """UTF-8 that a terminal can be given as it is: without control characters but tabs and line ends."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    return None if CONTROL.search(text) else text


def _json(text: str) -> Any:
    """An object or a list; bare numbers and words are text that happens to be JSON."""
    if text.lstrip()[:1] not in ("{", "[") or len(text) > PARSED_BYTES_MAX:
        return None
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return None
    # So many brackets are needed to go so deep, and most values have fewer.
    deep = text.count("[") + text.count("{") >= DEPTH_MAX
    return parsed if not deep or is_modest(parsed, len(text)) else None


def _yaml(text: str) -> Any:
    if len(text) > YAML_BYTES_MAX or not YAML_KEY.search(text):
        return None
    if not all(YAML_LINE.match(line) for line in text.splitlines()):
        return None
    import yaml

    try:
        parsed = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict | list) and is_modest(parsed, len(text) + 1) else None


def _cbor(data: bytes) -> Any:
    """Maps and arrays, perhaps tagged: any byte at all is CBOR of something."""
    if len(data) > PARSED_BYTES_MAX or data[0] >> 5 not in (4, 5, 6):
        return None
    import io

    import cbor2

    stream = io.BytesIO(data)
    try:
        parsed = cbor2.load(stream)
    except (cbor2.CBORDecodeError, ValueError, RecursionError, MemoryError, OverflowError, TypeError):
        return None
    is_it = stream.tell() == len(data) and isinstance(parsed, dict | list) and is_modest(parsed, len(data))
    return parsed if is_it else None


def _unpacked(data: bytes) -> bytes | None:
    unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        content = unpacker.decompress(data, UNPACKED_BYTES_MAX)
    except zlib.error:
        return None
    return content if unpacker.eof and not unpacker.unused_data else None


# In other forms -------------------------------------------------------------------------------------------------------


def data_fields(data: bytes | None) -> dict[str, Any]:
    """The value in JSON: ``data`` if it is text, ``data_base64`` otherwise; the other one is null."""
    if data is None:
        return {"data": None, "data_base64": None}
    try:
        return {"data": data.decode(), "data_base64": None}
    except UnicodeDecodeError:
        return {"data": None, "data_base64": base64.b64encode(data).decode()}


def data_of(fields: dict[str, Any]) -> bytes | None:
    """The value again, of what `data_fields` has given.

    Raises:
        ValueError: it says which field is wrong, and how.
    """
    text, coded = fields.get("data"), fields.get("data_base64")
    if text is not None and coded is not None:
        raise ValueError("either data or data_base64, not both")
    if coded is not None:
        if not isinstance(coded, str):
            raise ValueError(f"data_base64: expected a string, not {coded!r}")
        try:
            return base64.b64decode(coded, validate=True)
        except (binascii.Error, ValueError) as error:
            raise ValueError(f"data_base64: {error}") from None
    if text is not None and not isinstance(text, str):
        raise ValueError(f"data: expected a string, not {text!r}")
    return None if text is None else text.encode()


def pretty(value: Value) -> str:
    """For people: JSON and CBOR indented, a hex dump of what is binary, text as it is. No line end at the end."""
    match value.kind:
        case "json" | "cbor":
            return json_text(value.parsed, indent=2)
        case "binary" if len(value.content) > DUMPED_BYTES_MAX:
            more = len(value.content) - DUMPED_BYTES_MAX
            return f"{hex_dump(value.content[:DUMPED_BYTES_MAX])}\n… and {more:,} bytes more"
        case "binary":
            return hex_dump(value.content)
        case _:
            return (value.text or "").removesuffix("\n")


def searched(data: bytes) -> str | None:
    """The text to look for something in: what was packed is unpacked, CBOR is as `pretty` shows it. None: no text."""
    text = as_text(data)
    if text is not None:
        return text
    value = recognised(data)
    return None if value.kind == "binary" else pretty(value)


def lines_of_text(data: bytes) -> list[str]:
    """The lines of what `pretty` shows; a text's own lines."""
    text = as_text(data)
    return (pretty(recognised(data)) if text is None else text).splitlines()


def brief(data: bytes, width: int = 60) -> str:
    """The value on one line, not longer than this: for lists and events."""
    text = as_text(data)
    if text is None:
        start = data[:16].hex(" ")
        return f"{len(data)} bytes: {start}{' …' if len(data) > 16 else ''}"
    line = json.dumps(text, ensure_ascii=False)[1:-1] if "\n" in text or "\t" in text or "\r" in text else text
    return line if len(line) <= width else line[: width - 1] + "…"


def hex_dump(data: bytes, at: int = 0) -> str:
    """As ``hexdump -C`` shows it: where, sixteen bytes, what of it is ASCII."""
    lines = []
    for start in range(0, len(data), 16):
        piece = data[start : start + 16]
        halves = piece[:8].hex(" "), piece[8:].hex(" ")
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in piece)
        lines.append(f"{at + start:08x}  {halves[0]:23}  {halves[1]:23}  |{shown}|")
    return "\n".join(lines)


def as_json(part: Any) -> str:
    """A part of a value: a string bare, all else as JSON on one line."""
    return part if isinstance(part, str) and not HALVES.search(part) else json_text(part)


def json_text(value: Any, indent: int | None = None) -> str:
    """JSON that can be encoded, and shown by a terminal: control characters and halves of characters are escaped."""
    text = json.dumps(value, indent=indent, ensure_ascii=False, default=_other)
    return UNSHOWN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def jsonable(part: Any) -> Any:
    """The same value with nothing in it that JSON has not: what CBOR and YAML have besides becomes text."""
    return json.loads(json.dumps(part, default=_other, skipkeys=True))


def _other(value: Any) -> Any:
    if isinstance(value, bytes):
        return as_text(value) or value.hex()
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    return str(value)
