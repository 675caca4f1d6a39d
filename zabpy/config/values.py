"""What stands in the store → values: plain text, or documents by the suffix of their key. No I/O.

    db.host         text. What becomes of it ("5432" → 5432) the model says, see binding.py
    db.json         a document: what it holds stands below ``db``, as if each member were a key of its own
    db.yaml         the same; what is written without quotes is read as JSON would: ``no`` and ``12:30`` are text
    db.toml         the same

A document is made of texts, numbers, booleans, null, lists and mappings with texts as keys, and of nothing else.
"""

import functools
import json
import math
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time
from typing import Any, Final, NamedTuple, cast

from .errors import ConfigError

#: The names that a key stands for, from the outermost on.
Path = tuple[str, ...]

#: What an encrypted text begins with, wherever it stands.
ENCRYPTED: Final = "!enc "
MASK: Final = "***"
#: How deep a document may be, and how many values it may hold once its YAML aliases are written out.
DEPTH_MAX, VALUES_MAX = 32, 100_000
#: Names whose values are masked though they are not encrypted.
_SECRET_NAME = re.compile(
    r"passw(or)?d|passphrase|secret|credential|private_?key|token|api_?key|access_?key", re.IGNORECASE
)


class Problem(NamedTuple):
    """Why a value is refused. ``given`` is as may be shown: masked where it is secret; None where there is no value."""

    key: str
    layer: str | None
    given: str | None
    reason: str

    def __str__(self) -> str:
        where = self.key or "the settings"
        if self.layer is not None:
            where += f" (layer {self.layer})"
        return f"{where}: {self.reason}" if self.given is None else f"{where} = {self.given}: {self.reason}"


class BadSettingsError(ConfigError, ValueError):
    """These values cannot be the settings. ``problems`` says of each one why."""

    def __init__(self, problems: Iterable[Problem], about: str = "") -> None:
        """``about``: whose settings these would be."""
        self.problems, self.about = tuple(problems), about
        said = list(map(str, self.problems))
        super().__init__("\n  ".join([f"{about}:", *said]) if about else "\n".join(said))

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.problems, self.about))


class BadDocumentError(ValueError):
    """A value that cannot be read; it says why, and in which line."""


def is_document(key: str) -> bool:
    return "." in key and key.rpartition(".")[2] in _READERS


def path_of(key: str) -> Path:
    """The place of a value: ``db.pool.json`` stands at ``("db", "pool")``, and ``db.host`` at ``("db", "host")``."""
    path = tuple((key.rpartition(".")[0] if is_document(key) else key).split("."))
    if not all(path):
        raise BadDocumentError("a name between the dots of the key is missing")
    return path


def dotted(path: Iterable[str]) -> str:
    return ".".join(path)


def parse(key: str, data: bytes) -> Any:
    """The value of a key. Raises `BadDocumentError`."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadDocumentError(f"no UTF-8: {error.reason} at byte {error.start}") from None
    if not is_document(key):
        return text
    suffix = key.rpartition(".")[2]
    try:
        return _plain(_READERS[suffix](text))
    except RecursionError:
        raise BadDocumentError(f"deeper than {DEPTH_MAX} levels") from None
    except BadDocumentError as error:
        raise BadDocumentError(f"no {suffix.upper()} that can be used here: {error}") from None
    except ValueError as error:
        raise BadDocumentError(f"no {suffix.upper()}: {error}") from None


def is_secret(path: Path, value: object) -> bool:
    """Whether it is not to be shown: it is encrypted, or of a name that passwords have."""
    encrypted = isinstance(value, str) and value.startswith(ENCRYPTED)
    return encrypted or any(_SECRET_NAME.search(name.replace("-", "_")) for name in path[-1:])


def shown(value: object, *, secret: bool = False, chars_max: int = 200) -> str:
    """A value for people, in one line."""
    if secret:
        return MASK
    text = repr(value)
    return text if len(text) <= chars_max else text[: chars_max - 3] + "..."


# For processes that know environment variables only -------------------------------------------------------------------


def env_name(prefix: str, path: Path) -> str:
    """``APP__DB__HOST`` for ``db.host`` of ``app``: what no variable may have in its name is an underscore."""
    return "__".join(re.sub(r"[^A-Z0-9_]", "_", name.upper()) for name in ((prefix, *path) if prefix else path))


def env_form(leaves: Mapping[Path, object], prefix: str = "") -> dict[str, str]:
    """Each value as an environment variable. Raises `BadSettingsError` where two would be one variable."""
    found: dict[str, str] = {}
    owners: dict[str, Path] = {}
    problems = []
    for path, value in leaves.items():
        name = env_name(prefix, path)
        if name in owners:
            reason = f"as a variable it would be {name}, as {dotted(owners[name])} is"
            problems.append(Problem(dotted(path), None, None, reason))
            continue
        owners[name], found[name] = path, as_text(value)
        if "\0" in found[name]:
            problems.append(Problem(dotted(path), None, None, "a variable cannot hold a zero byte"))
    if problems:
        raise BadSettingsError(problems)
    return found


def as_text(value: object) -> str:
    """As it would stand in a plain key: text as it is, all else as JSON; null is empty."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)


# Documents ------------------------------------------------------------------------------------------------------------


def _plain(document: object) -> Any:
    """The document, made of what documents are made of. Aliases of YAML are written out, within bounds."""
    left = VALUES_MAX

    def walk(value: object, depth: int) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise BadDocumentError(f"more than {VALUES_MAX} values")
        if depth > DEPTH_MAX:
            raise BadDocumentError(f"deeper than {DEPTH_MAX} levels")
        if isinstance(value, dict):
            for key in value:
                if not isinstance(key, str):
                    raise BadDocumentError(f"the name {key!r} is no text: put it in quotes")
                if not key:
                    raise BadDocumentError("a name is empty")
            return {key: walk(each, depth + 1) for key, each in value.items()}
        if isinstance(value, list):
            return [walk(each, depth + 1) for each in value]
        if isinstance(value, float) and not math.isfinite(value):
            raise BadDocumentError(f"{value} is no number here")
        if isinstance(value, datetime | date | time):
            return value.isoformat()
        if value is None or isinstance(value, str | int | float):
            return value
        raise BadDocumentError(f"a {type(value).__name__} has no place in a document")

    return walk(document, 0)


def _json(text: str) -> object:
    def no_twice(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found: dict[str, object] = {}
        for name, value in pairs:
            if name in found:
                raise BadDocumentError(f"the name {name!r} stands in it twice")
            found[name] = value
        return found

    def no_number(text: str) -> object:
        raise BadDocumentError(f"{text} is no number here")

    return json.loads(text, object_pairs_hook=no_twice, parse_constant=no_number)


def _yaml(text: str) -> object:
    import yaml

    try:
        loader = _yaml_loader()(text)
        node = loader.get_single_node()
        return {} if node is None else loader.construct_document(node)  # nothing but comments: nothing is said
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = "" if mark is None else f" in line {mark.line + 1}, column {mark.column + 1}"
        raise BadDocumentError(f"{error.problem or error.context}{where}") from None
    except yaml.YAMLError as error:
        raise BadDocumentError(" ".join(str(error).split())) from None


@functools.cache
def _yaml_loader() -> Any:
    """PyYAML's safe one, with names that stand once, and plain words that mean what they mean in YAML 1.2 and JSON."""
    import yaml

    class Loader(yaml.SafeLoader):
        yaml_implicit_resolvers = {}

        def __init__(self, stream: Any) -> None:
            super().__init__(stream)
            self._looked_at: set[int] = set()

        def flatten_mapping(self, node: yaml.MappingNode) -> None:
            # Before what is merged into it (``<<``) is put among its own names, which may name the same.
            if id(node) not in self._looked_at:
                self._looked_at.add(id(node))
                seen = set()
                for name, _ in node.value:
                    if name.tag == "tag:yaml.org,2002:merge":
                        continue
                    if name.tag != "tag:yaml.org,2002:str":
                        what = repr(name.value) if isinstance(name, yaml.ScalarNode) else "of a mapping"
                        raise yaml.constructor.ConstructorError(
                            None, None, f"the name {what} is no text: put it in quotes", name.start_mark
                        )
                    if name.value in seen:
                        raise yaml.constructor.ConstructorError(
                            None, None, f"the name {name.value!r} stands there twice", name.start_mark
                        )
                    seen.add(name.value)
            super().flatten_mapping(node)

    for tag, pattern, first in (
        ("merge", r"<<", "<"),
        ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
        ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
        ("int", r"[-+]?(?:0|[1-9][0-9]*)|0x[0-9a-fA-F]+", "-+0123456789"),
        ("float", r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?", "-+0123456789."),
    ):
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"(?:{pattern})$"), list(first))
    Loader.add_constructor("!enc", lambda loader, node: ENCRYPTED + str(loader.construct_scalar(cast(Any, node))))
    return Loader


_READERS: Final[dict[str, Callable[[str], object]]] = {"json": _json, "yaml": _yaml, "toml": tomllib.loads}
