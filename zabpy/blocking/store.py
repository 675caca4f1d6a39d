"""The writer's side of a config store for plain code: `zabpy.config.Store`, which says what each of it promises.

    with zabpy.blocking.connect("zk1,zk2") as zk:
        store = open_store(zk, "/config/app")
        store.commit({"db.host": "db1"}, author="ann")

Names, parameters and promises are those of the async one; tests/config/test_blocking.py holds it to that.
"""

from collections.abc import Iterable, Mapping, Sequence

from zabpy import config
from zabpy.config import KEPT, Change, Kept, Problem, Reader, Record, Revision, Secrets, Wanted
from zabpy.model import Acl, BadArgumentsError

from .client import Client
from .wrapping import Blocking


class Store(Blocking):
    """To be had from `open_store`; of use as long as the client is open."""

    _bare: config.Store

    @property
    def path(self) -> str:
        return self._bare.path

    def create(self) -> None:
        """Have the namespace be there."""
        self._call(self._bare.create)

    def commit(
        self,
        changes: Wanted,
        *,
        schema: bytes | Kept | None = KEPT,
        author: str = "",
        message: str = "",
        base: int | None = None,
        rebase: bool = False,
    ) -> int:
        """Set and delete values as one revision, which is returned."""
        return self._call(
            self._bare.commit, changes, schema=schema, author=author, message=message, base=base, rebase=rebase
        )

    def rollback(
        self, revision: int, *, schema: bool = False, author: str = "", message: str = "", base: int | None = None
    ) -> int:
        """Make the values what they were at a revision, by a new commit."""
        return self._call(self._bare.rollback, revision, schema=schema, author=author, message=message, base=base)

    def canary(
        self,
        changes: Wanted | None,
        *,
        hosts: Sequence[str] = (),
        labels: Mapping[str, str] | None = None,
        percent: float = 0,
        author: str = "",
        message: str = "",
        base: int | None = None,
    ) -> int:
        """Begin a staged rollout, or have another choice of readers for it."""
        return self._call(
            self._bare.canary,
            changes,
            hosts=hosts,
            labels=labels,
            percent=percent,
            author=author,
            message=message,
            base=base,
        )

    def promote(self, *, author: str = "", message: str = "", base: int | None = None) -> int:
        """Its changes are everybody's."""
        return self._call(self._bare.promote, author=author, message=message, base=base)

    def withdraw(self, *, author: str = "", message: str = "", base: int | None = None) -> int:
        """End a staged rollout."""
        return self._call(self._bare.withdraw, author=author, message=message, base=base)

    def check(self, changes: Wanted, *, schema: bytes | Kept | None = KEPT) -> list[Problem]:
        """Why `commit` would refuse these values now."""
        return self._call(self._bare.check, changes, schema=schema)

    def at(self, revision: int = -1) -> Revision:
        """The namespace as it was at a revision; -1 is the newest."""
        return self._call(self._bare.at, revision)

    def diff(self, a: int = -2, b: int = -1) -> tuple[Change, ...]:
        """What is another value at ``b`` than it was at ``a``."""
        return self._call(self._bare.diff, a, b)

    def log(self, limit: int = 20, *, before: int | None = None) -> list[Record]:
        """The last commits, the newest first."""
        return self._call(self._bare.log, limit, before=before)

    def retain(self, records_max: int | None = None, age_ms_max: int | None = None) -> None:
        """How much history the namespace keeps from now on."""
        self._call(self._bare.retain, records_max, age_ms_max)

    def verify(self) -> list[str]:
        """What is not as commits leave it, and which values are no settings."""
        return self._call(self._bare.verify)

    def repair(self, *, author: str = "", message: str = "") -> int:
        """Make a ``.head`` anew that was damaged."""
        return self._call(self._bare.repair, author=author, message=message)

    def readers(self) -> list[Reader]:
        """Who reads the namespace, as far as they tell."""
        return self._call(self._bare.readers)


def open_store(client: Client, path: str, *, secrets: Secrets | None = None, acl: Iterable[Acl] | None = None) -> Store:
    """The namespace at that path, for who writes to it. ``client`` is open, and `Store.create` makes the namespace."""
    if not isinstance(client, Client):
        raise BadArgumentsError(f"client: a client of zabpy.blocking is expected, not a {type(client).__name__}")
    return Store(client, config.Store(client._bare, path, secrets=secrets, acl=acl))
