"""What is known of the tree while somebody types: asked for in the background, kept for a moment, never waited for.

Whoever asks gets what is there at once, and is told (`on_news`) when there is more. What was asked for is fetched once
typing pauses, the newest wish first, so a path that is typed in one go costs one request and not one a name.
"""

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from time import monotonic

import anyio

#: For so long what was fetched is taken for true; after that it still serves, until a newer one has come.
FRESH_MS = 5_000
#: So long nothing must have been asked for before it is fetched.
DEBOUNCE_MS = 60
#: At most so many wishes wait, so many znodes' children are kept, and so many names of them altogether.
WISHES_MAX, ENTRIES_MAX, NAMES_MAX = 16, 256, 500_000
#: After what went wrong, such as a lost connection, a pause.
PAUSE_MS = 500

#: The names of its children, sorted; None if there is no such znode.
Children = list[str] | None
Fetch = Callable[[str], Awaitable[Children]]


class Known:
    """``fetch`` asks a server, and raises what it likes. Not for more than one thread."""

    def __init__(self, fetch: Fetch, on_news: Callable[[], None], *, now: Callable[[], float] = monotonic) -> None:
        self._fetch, self._on_news, self._now = fetch, on_news, now
        self._entries: OrderedDict[str, tuple[float, Children]] = OrderedDict()
        self._names = 0
        self._wishes: OrderedDict[str, None] = OrderedDict()
        self._wished: Callable[[], None] = lambda: None
        self._generation = 0

    def children(self, path: str) -> tuple[bool, Children]:
        """Whether anything is known yet, and the names, or None for a znode that is not there."""
        entry = self._entries.get(path)
        if entry is None or self._now() - entry[0] > FRESH_MS / 1000:
            self._wish(path)
        return (False, None) if entry is None else (True, entry[1])

    def is_missing(self, path: str, *, prefix: bool = False) -> bool:
        """Whether it is known not to exist: False as long as it is not known. ``prefix``: the path may go on, so it is
        missing only if nothing begins so."""
        if path == "/":
            return False
        parent, _, name = path.rpartition("/")
        entry = self._entries.get(parent or "/")
        if entry is None:
            above = parent
            while above:  # what is below something that is missing is missing, too
                above = above.rpartition("/")[0]
                seen = self._entries.get(above or "/")
                if seen is not None:
                    step = path[len(above) + 1 :].partition("/")[0]
                    if seen[1] is None or not _has(seen[1], step):
                        return True
                    break
            self._wish(parent or "/")
            return False
        if self._now() - entry[0] > FRESH_MS / 1000:
            self._wish(parent or "/")
        names = entry[1]
        if names is None:
            return True
        return not (_has(names, name) or (prefix and _begins(names, name)))

    def forget(self) -> None:
        """Something was written, or it is another tree."""
        self._entries.clear()
        self._wishes.clear()
        self._names = 0
        self._generation += 1

    async def run(self) -> None:
        """Fetch what is wished for, for ever."""
        while True:
            wished = anyio.Event()
            self._wished = wished.set
            if not self._wishes:
                await wished.wait()
            while True:  # until a pause in typing
                wished = anyio.Event()
                self._wished = wished.set
                with anyio.move_on_after(DEBOUNCE_MS / 1000):
                    await wished.wait()
                    continue
                break
            while self._wishes:
                path, _ = self._wishes.popitem()
                generation = self._generation
                try:
                    names = await self._fetch(path)
                except Exception:  # its place is the command that needs it: here nobody waits for it
                    await anyio.sleep(PAUSE_MS / 1000)
                    break
                if generation == self._generation:
                    self._keep(path, names)
                    self._on_news()

    def _wish(self, path: str) -> None:
        self._wishes[path] = None
        self._wishes.move_to_end(path)
        if len(self._wishes) > WISHES_MAX:
            self._wishes.popitem(last=False)
        self._wished()

    def _keep(self, path: str, names: Children) -> None:
        before = self._entries.pop(path, None)
        self._names += len(names or ()) - len((before[1] if before else None) or ())
        self._entries[path] = (self._now(), names)
        while len(self._entries) > ENTRIES_MAX or (self._names > NAMES_MAX and len(self._entries) > 1):
            _, (_, oldest) = self._entries.popitem(last=False)
            self._names -= len(oldest or ())


def _has(names: list[str], name: str) -> bool:
    at = bisect_left(names, name)
    return at < len(names) and names[at] == name


def _begins(names: list[str], prefix: str) -> bool:
    at = bisect_left(names, prefix)
    return at < len(names) and names[at].startswith(prefix)
