"""Paths of znodes: what is a legal one, and taking them apart. Rules: ZooKeeper's."""

import re

from .errors import BadArgumentsError

# By UTF-16 code unit: C0, DEL and C1, surrogates (so all above U+FFFF), private use, specials.
_FORBIDDEN = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\ud800-\\uf8ff\\ufff0-\\uffff\\U00010000-\\U0010ffff]")
# An empty, "." or ".." component, or a slash at the end. Matched on path + "/".
_BAD_COMPONENT = re.compile(r"/\.{0,2}(?=/)")
_PLAIN = re.compile(r"(/[A-Za-z0-9_\-]+)+")


def validate(path: str) -> None:
    """Raise `BadArgumentsError`, naming the rule, unless ``path`` may name a znode."""
    if _PLAIN.fullmatch(path) or path == "/":  # nearly all of them
        return
    if not path.startswith("/"):
        raise BadArgumentsError(f"path {path!r} does not start with a slash")
    if path.endswith("/"):
        raise BadArgumentsError(f"path {path!r} ends with a slash")
    if _BAD_COMPONENT.search(path + "/"):
        raise BadArgumentsError(f"path {path!r} has an empty, '.' or '..' component")
    if found := _FORBIDDEN.search(path):
        raise BadArgumentsError(f"path {path!r} holds the forbidden character U+{ord(found.group()):04X}")


def parent_of(path: str) -> str:
    """The path one level up; of a top-level znode ``/``. Not for ``/`` itself."""
    return path[: path.rindex("/")] or "/"


def name_of(path: str) -> str:
    """The last component."""
    return path[path.rindex("/") + 1 :]


def join(parent: str, name: str) -> str:
    return f"/{name}" if parent == "/" else f"{parent}/{name}"
