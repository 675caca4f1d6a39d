"""Who writes to a namespace: a commit is one transaction, on the revision it was made for, done once.

    /config/app/.rev/0000000012    commit 12: who, when, why, its id, and per change layer, key and the value before

Of two commits on one base the transaction of one fails, since both ask for the same version of ``.head``. An answer
that was lost is made up for by the record: it has our id, or the commit was not done; sent again, it cannot be done
twice.
"""

import json
import re
import time
import uuid
from collections.abc import Mapping
from typing import Any, Final

from zabpy.client import Client, ConnectionLossError, TransactionFailedError
from zabpy.model import BadVersionError, NodeExistsError, NoNodeError, join

from .errors import ConfigError
from .layers import DEFAULT
from .reading import FORMAT, HEAD, LAYERS, VERSION, NoConfigStoreError, check_marker

HISTORY: Final = ".rev"
#: So many records are kept; a commit removes the one that is too many.
RECORDS_MAX: Final = 1_000
#: How often a commit whose answer was lost is sent anew.
SENDS_MAX: Final = 10
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,199}")


class StaleBaseError(ConfigError):
    """Somebody has committed since: ``revision`` is what there is now. Nothing was written."""

    def __init__(self, path: str, base: int, revision: int) -> None:
        super().__init__(f"{path}: made for revision {base}, but it is at {revision}: nothing was written")
        self.base, self.revision = base, revision


class BadNameError(ConfigError, ValueError):
    """No key, or layer, can be called that."""


class Store:
    """The writer's side of a namespace."""

    def __init__(self, client: Client, path: str) -> None:
        self._zk, self._path = client, path

    async def create(self) -> None:
        """Have the namespace be there. Raises `NoConfigStoreError` if something else is."""
        above = self._path.rpartition("/")[0]
        if above:
            await self._zk.ensure(above)
        marker = json.dumps({"format": FORMAT, "version": VERSION}).encode()
        for _ in range(SENDS_MAX):
            made = self._zk.transaction().create(self._path, marker)
            made.create(self._at(HEAD), b'{"revision": 0}').create(self._at(HISTORY))
            try:
                await made.commit()
            except ConnectionLossError:
                continue  # sent again it is done, or it says that it was done before
            except TransactionFailedError as error:
                if not isinstance(error.error, NodeExistsError):
                    raise
                await self._revision()  # raises what is wrong with what is there
            return
        raise ConnectionLossError(f"{self._path}: {SENDS_MAX} answers were lost; it may have been made")

    async def commit(
        self,
        changes: Mapping[tuple[str, str], bytes | None],
        *,
        author: str = "",
        message: str = "",
        base: int | None = None,
    ) -> int:
        """Layer and key → value; None deletes. Returns the revision that came of it.

        Args:
            base: the revision the changes were made for; None: whichever there is.
        Raises:
            StaleBaseError: another commit was faster.
            BadNameError, NoConfigStoreError.
            RequestTooLargeError: all of it, with the values before, has to fit into one request. Nothing was sent.
            ConnectionLossError: the answer was lost `SENDS_MAX` times; it may have been done.
        """
        for layer, key in changes:
            if not _NAME.fullmatch(layer) or not _NAME.fullmatch(key):
                raise BadNameError(f"{layer!r}, {key!r}: names are of a-z, 0-9, '.', '_' and '-', 200 at most")
        mine = uuid.uuid4().hex
        for send in range(SENDS_MAX):
            revision, transaction = await self._planned(changes, base, mine, author, message)
            base = revision - 1  # sent again, it is for the same revision
            try:
                await transaction.commit()
            except ConnectionLossError:
                if await self._is_mine(revision, mine):
                    return revision
                if send == SENDS_MAX - 1:
                    raise
            except TransactionFailedError as error:
                if not isinstance(error.error, BadVersionError | NodeExistsError | NoNodeError):
                    raise
                # Whoever was faster, it may have been we: an answer that was lost before.
                if await self._is_mine(revision, mine):
                    return revision
                now = await self._revision()
                if now == base:
                    raise
                raise StaleBaseError(self._path, base, now) from None
            else:
                return revision
        raise AssertionError

    async def _planned(
        self, changes: Mapping[tuple[str, str], bytes | None], base: int | None, mine: str, author: str, message: str
    ) -> tuple[int, Any]:
        layers = sorted({layer for layer, _ in changes} - {DEFAULT})
        places = [self._at(LAYERS), self._at(HISTORY), *(self._place(layer) for layer in layers)]
        paths = {at: join(self._place(at[0]), at[1]) for at in changes}
        now = await self._revision()
        surplus = self._record(now + 1 - RECORDS_MAX)
        # The version of .head is asked for before what it stands for: were that newer, the transaction would fail.
        head, *found = await self._zk.get_many([self._at(HEAD), *places, *paths.values(), surplus])
        assert head is not None  # `_revision` has seen it, and nobody removes it
        read = json.loads(head.data)
        revision = read["revision"] + 1
        if base is not None and base != revision - 1:
            if await self._is_mine(base + 1, mine):
                return base + 1, _Done()
            raise StaleBaseError(self._path, base, revision - 1)
        before = dict(zip(changes, found[len(places) : -1], strict=True))
        transaction = self._zk.transaction()
        facts = {"revision": revision, "time_ms": time.time_ns() // 1_000_000, "author": author, "message": message}
        transaction.set(self._at(HEAD), json.dumps({**read, **facts}).encode(), head.stat.version)
        for place, there in zip(places, found):
            if there is None and (layers or place == self._at(HISTORY)):
                transaction.create(place)
        undo = []
        for at, value in changes.items():
            old = before[at]
            undo.append([*at, None if old is None else old.data.decode("utf-8", "surrogateescape")])
            if value is None and old is not None:
                transaction.delete(paths[at], old.stat.version)
            elif value is not None and old is not None:
                transaction.set(paths[at], value, old.stat.version)
            elif value is not None:
                transaction.create(paths[at], value)
        transaction.create(self._record(revision), json.dumps({**facts, "id": mine, "undo": undo}).encode())
        if found[-1] is not None and now + 1 > RECORDS_MAX:
            transaction.delete(surplus)
        return revision, transaction

    async def _revision(self) -> int:
        marker, head = await self._zk.get_many([self._path, self._at(HEAD)])
        check_marker(self._path, marker)
        if head is None:
            raise NoConfigStoreError(f"{self._path}: no config store: it has no {HEAD}")
        try:
            revision = json.loads(head.data)["revision"]
        except (ValueError, TypeError, KeyError):
            revision = None
        if type(revision) is not int:
            raise NoConfigStoreError(f"{self._path}: no config store: its {HEAD} tells no revision")
        return revision

    async def _is_mine(self, revision: int, mine: str) -> bool:
        await self._zk.sync(self._path)
        (found,) = await self._zk.get_many([self._record(revision)])
        return found is not None and json.loads(found.data).get("id") == mine

    def _at(self, name: str) -> str:
        return join(self._path, name)

    def _place(self, layer: str) -> str:
        return self._path if layer == DEFAULT else join(self._at(LAYERS), layer)

    def _record(self, revision: int) -> str:
        return join(self._at(HISTORY), f"{max(revision, 0):010}")


class _Done:
    """Stands for a transaction that was done already."""

    async def commit(self) -> None:
        return None
