"""Ephemerals: which znodes go when a session goes."""

from collections.abc import Iterator


class Ephemerals:
    """Paths of ephemeral znodes by owning session id, each session's in the order of their creation.

    The order is part of the state: a closing session's txn lists them in it, and its events follow it.
    """

    def __init__(self) -> None:
        self._paths: dict[int, dict[str, None]] = {}
        self._total = 0

    def __len__(self) -> int:
        """How many ephemeral znodes there are."""
        return self._total

    @property
    def owner_count(self) -> int:
        """How many sessions own at least one."""
        return len(self._paths)

    def sessions(self) -> Iterator[int]:
        """Sessions that own at least one. Do not change the tree while iterating."""
        return iter(self._paths)

    def of(self, session_id: int) -> list[str]:
        """The session's znodes, oldest first; a new list."""
        return list(self._paths.get(session_id, ()))

    def add(self, session_id: int, path: str) -> None:
        self._paths.setdefault(session_id, {})[path] = None
        self._total += 1

    def remove(self, session_id: int, path: str) -> None:
        paths = self._paths[session_id]
        del paths[path]
        self._total -= 1
        if not paths:
            del self._paths[session_id]
