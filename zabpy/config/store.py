"""Who writes to a namespace: a commit is one transaction, on the revision it was made for, done once.

    store = Store(zk, "/config/app")
    await store.create()
    await store.commit({"db.host": "db1", ("env.prod", "db.host"): "db7"}, author="ann", message="its own database")
    await store.rollback(-2)

How a commit is done stands in writing.py, what it leaves behind in history.py.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from zabpy.client import Client, ConnectionLossError, TransactionFailedError
from zabpy.model import Acl, BadArgumentsError, BadVersionError, NodeExistsError, NoNodeError, join

from .canary import Canary, decoded
from .errors import (
    BadNameError as BadNameError,
    CanaryError,
    CommitTooLargeError,
    ConflictError,
    DamagedError,
    StaleBaseError as StaleBaseError,
)
from .head import RECENT_BYTES_MAX, At, form_of, hash_of, packed, parsed
from .history import Change, Record, Revision, differing
from .layers import DEFAULT
from .reading import FORMAT, HEAD, VERSION, NoConfigStoreError, check_marker
from .secrets import SecretError, Secrets
from .upkeep import repair, verify
from .values import Problem
from .writing import HISTORY, KEPT as KEPT, RECORDS_AT_ONCE, SENDS_MAX, Kept as Kept, Now, Step, Writer, int_of

READERS: Final = ".readers"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,199}")


@dataclass(frozen=True, slots=True)
class Secret:
    """A value that is to be encrypted. Its ``repr`` does not show it."""

    text: str = field(repr=False)


#: None deletes.
Value = bytes | str | Secret | None
#: By key, of the default layer then, or by layer and key. (A mapping of both has no other type that is of use.)
Wanted = Mapping[Any, Value]


@dataclass(frozen=True, slots=True)
class Reader:
    """Who says of itself that it reads a namespace: which revision it runs, and whether it has refused a newer one."""

    host: str
    pid: int
    instance: str
    revision: int
    canary: int | None
    refused: bool


class Store:
    """The writer's side of a namespace. Its methods may be called by several tasks at once."""

    def __init__(
        self, client: Client, path: str, *, secrets: Secrets | None = None, acl: Iterable[Acl] | None = None
    ) -> None:
        """
        Args:
            secrets: encrypts what is given as a `Secret`, and lets the schema look into what is encrypted.
            acl: who may do what to the znodes that are created; None: everybody everything. All who write have to give
                the same.
        """
        self._acl = None if acl is None else tuple(acl)
        self._writer, self.path, self._secrets = Writer(client, path, secrets, self._acl), path, secrets

    async def create(self) -> None:
        """Have the namespace be there. Raises `NoConfigStoreError` if something else is."""
        above = self.path.rpartition("/")[0]
        if above:
            await self._writer.zk.ensure(above)
        for _ in range(SENDS_MAX):
            marker = packed({"format": FORMAT, "version": VERSION})
            made = self._writer.zk.transaction().create(self.path, marker, acl=self._acl)
            made.create(self._writer.below(HEAD), b'{"revision": 0}', acl=self._acl)
            made.create(self._writer.below(HISTORY), acl=self._acl)
            if self._acl is not None:
                made.create(self._writer.below(READERS))  # who may not write may say that he reads
            try:
                await made.commit()
            except ConnectionLossError:
                continue  # sent again it is done, or it says that it was done before
            except TransactionFailedError as error:
                if not isinstance(error.error, NodeExistsError):
                    raise
                found, head = await self._writer.zk.get_many([self.path, self._writer.below(HEAD)])
                check_marker(self.path, found)
                if head is None:
                    raise NoConfigStoreError(f"{self.path}: no config store: it has no {HEAD}") from None
            return
        raise ConnectionLossError(f"{self.path}: {SENDS_MAX} answers were lost; it may have been made")

    # Commits ----------------------------------------------------------------------------------------------------------

    async def commit(
        self,
        changes: Wanted,
        *,
        schema: bytes | Kept | None = KEPT,
        author: str = "",
        message: str = "",
        base: int | None = None,
        rebase: bool = False,
    ) -> int:
        """Set and delete values, of any number of keys, as one revision, which is returned.

        Where nothing would be another one, nothing is written, and what is returned is the newest revision.

        Args:
            changes: key, or layer and key → value; None deletes.
            schema: the JSON Schema that all values have to fit from now on; None: none.
            base: the revision the changes were made for; None: whichever there is.
            rebase: where others have committed since, and to none of these keys, it is done on top of theirs.
        Raises:
            StaleBaseError: another commit was faster.
            ConflictError: with ``rebase``, and it changed the same.
            BadSettingsError, BadSchemaError: what would come of it is refused, and why. Nothing was written.
            BadNameError, SecretError, NoConfigStoreError.
            CommitTooLargeError: all of it, with the values before, has to fit into one request. Nothing was sent.
            ConnectionLossError: it may have been done; answers were lost, and then nobody could be asked.
        """
        named = _named(changes)

        async def make(now: Now) -> Step:
            return Step(self._sealed(named, now), schema)

        return await self._writer.commit(make, author, message, base, rebase=rebase)

    async def rollback(
        self, revision: int, *, schema: bool = False, author: str = "", message: str = "", base: int | None = None
    ) -> int:
        """Make the values what they were at a revision, by a new commit. With ``schema``: and the schema, too.

        A staged rollout that is under way goes on. Raises, besides what `commit` does:

            UnknownRevisionError: there is no such revision any more, or yet.
            DamagedError: its values are not known for sure, see `Revision.verified`.
        """

        async def make(now: Now) -> Step:
            wanted = await self._writer.revision_at(revision, now)
            if not wanted.verified:
                raise DamagedError(
                    f"{self.path}: revision {wanted.revision} cannot be told for sure: values were changed without a"
                    " commit since; look at what `at` gives, and commit what is right"
                )
            changes = differing(now.entries, wanted.entries)
            return Step(changes, wanted.schema if schema else KEPT, kind="rollback", of=wanted.revision)

        return await self._writer.commit(make, author, message, base)

    async def canary(
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
        """Begin a staged rollout: some readers take these changes, all others do with the next `promote`.

        Args:
            changes: None: those of the rollout that is under way, for another choice of readers.
            hosts: these, by name; a star stands for anything.
            labels: readers that have all of them.
            percent: this share of all hosts. Who is of ten percent is of twenty.
        Raises:
            CanaryError: one is under way already; or, without changes, none is.
            CommitTooLargeError: every reader is told of it all, so it may not be larger than 64 KiB.
            Also what `commit` does.
        """
        if isinstance(hosts, str):
            raise BadArgumentsError(f"hosts={hosts!r}: expected a list of names")
        chosen = {"hosts": list(hosts), "labels": dict(labels or {}), "percent": percent}
        try:
            decoded({"revision": 0, "changes": [], **chosen})
        except ValueError as error:
            raise BadArgumentsError(f"no such choice of readers: {error}") from None
        named = None if changes is None else _named(changes)

        async def make(now: Now) -> Step:
            before = now.read.head.fields.get("canary")
            if named is None:
                current = self._under_way(now)
                return Step({}, canary={**(before or {}), **chosen}, kind="canary", of=current.revision)
            if before is not None:
                raise CanaryError(f"{self.path}: a staged rollout is under way; promote or withdraw it first")
            sealed = self._sealed(named, now)
            form = {
                "revision": now.revision + 1,
                **chosen,
                "salt": str(now.revision + 1),
                "changes": [[*at, form_of(value)] for at, value in sealed.items()],
                "before": [hash_of(now.entries.get(at)) for at in sealed],
            }
            size = len(packed(form))
            if size > RECENT_BYTES_MAX:
                raise CommitTooLargeError(
                    f"{self.path}: a staged rollout of {size:,} bytes, where {RECENT_BYTES_MAX:,} are the most: every"
                    " reader is told of all of it; do it in parts",
                    size,
                    RECENT_BYTES_MAX,
                )
            return Step({}, canary=form, kind="canary", of=now.revision + 1)

        return await self._writer.commit(make, author, message, base)

    async def promote(self, *, author: str = "", message: str = "", base: int | None = None) -> int:
        """Its changes are everybody's. Raises `ConflictError` where one of its keys was changed meanwhile."""

        async def make(now: Now) -> Step:
            current = self._under_way(now)
            before = now.read.head.fields["canary"].get("before", [])
            was = dict(zip(current.changes, before))
            others = [at for at in was if was[at] != hash_of(now.entries.get(at))]
            if others:
                raise ConflictError(self.path, current.revision, now.revision, others)
            return Step(current.changes, canary=None, kind="promote", of=current.revision)

        return await self._writer.commit(make, author, message, base)

    async def withdraw(self, *, author: str = "", message: str = "", base: int | None = None) -> int:
        """End a staged rollout: its readers are back at what all others have."""

        async def make(now: Now) -> Step:
            return Step({}, canary=None, kind="withdraw", of=self._under_way(now).revision)

        return await self._writer.commit(make, author, message, base)

    async def check(self, changes: Wanted, *, schema: bytes | Kept | None = KEPT) -> list[Problem]:
        """Why `commit` would refuse these values now; nothing if it would not. Raises `BadSchemaError`."""
        named, now = _named(changes), await self._writer.now()
        return await self._writer.problems(now, Step(self._sealed(named, now), schema))

    # What was ---------------------------------------------------------------------------------------------------------

    async def at(self, revision: int = -1) -> Revision:
        """The namespace as it was at a revision; -1 is the newest, -2 the one before. 0 is before the first commit.

        Raises:
            UnknownRevisionError: there is no such revision any more, or yet.
        """
        return await self._writer.revision_at(revision, await self._writer.now())

    async def diff(self, a: int = -2, b: int = -1) -> tuple[Change, ...]:
        """What is another value at ``b`` than it was at ``a``, by layer and key. Raises as `at` does."""
        now = await self._writer.now()
        old, new = await self._writer.revision_at(a, now), await self._writer.revision_at(b, now)
        found = differing(old.entries, new.entries)
        return tuple(Change(*at, old.entries.get(at), value) for at, value in found.items())

    async def log(self, limit: int = 20, *, before: int | None = None) -> list[Record]:
        """The last commits, the newest first; with ``before``, those before that revision. Ends where the history does.

        Raises `DamagedError` for a record that cannot be read.
        """
        newest = (await self._writer.now()).revision
        first = newest if before is None else min(newest, before - 1)
        found: list[Record] = []
        for start in range(first, max(first - limit, 0), -RECORDS_AT_ONCE):
            wanted = range(start, max(start - RECORDS_AT_ONCE, first - limit, 0), -1)
            for each in await self._writer.records(wanted):
                if each is None:
                    return found
                found.append(each)
        return found

    async def retain(self, records_max: int | None = None, age_ms_max: int | None = None) -> None:
        """How much history the namespace keeps from now on; older records go with later commits, some with each.

        Args:
            records_max: so many; None: 1,000.
            age_ms_max: none that is older, by the servers' clocks, but for the ten newest; None: of any age.
        """
        for name, value, least in (("records_max", records_max, 1), ("age_ms_max", age_ms_max, 0)):
            if value is not None and (type(value) is not int or value < least):
                raise BadArgumentsError(f"{name}={value!r}: expected a whole number, {least} or more")
        while True:
            marker, found = await self._writer.zk.get_many([self.path, self._writer.below(HISTORY)])
            check_marker(self.path, marker)
            kept = parsed(found.data) if found is not None else None
            data = packed({**(kept if isinstance(kept, dict) else {}), "records": records_max, "age_ms": age_ms_max})
            try:
                if found is None:
                    await self._writer.zk.create(self._writer.below(HISTORY), data, acl=self._acl)
                else:
                    await self._writer.zk.set(self._writer.below(HISTORY), data, found.stat.version, lost_reply="once")
            except (BadVersionError, NodeExistsError):
                continue  # somebody else says so, too; one of us is the last
            return

    async def verify(self) -> list[str]:
        """What is not as commits leave it, and which values are no settings; a sentence each, none if all is well.

        Reads all of the history.
        """
        return await verify(self._writer)

    async def repair(self, *, author: str = "", message: str = "") -> int:
        """Make a ``.head`` anew that was damaged, from history and values, by a commit; returns its revision.

        Values stay as they are. A staged rollout that cannot be read any more is over.
        """
        return await repair(self._writer, author, message)

    async def readers(self) -> list[Reader]:
        """Who reads the namespace, as far as they tell; by host."""
        try:
            names = await self._writer.zk.children(self._writer.below(READERS))
        except NoNodeError:
            return []
        found = []
        for each in await self._writer.zk.get_many([join(self._writer.below(READERS), name) for name in names]):
            said = None if each is None else parsed(each.data)
            if isinstance(said, dict):
                found.append(
                    Reader(
                        str(said.get("host", "")),
                        int_of(said.get("pid")) or 0,
                        str(said.get("instance", "")),
                        int_of(said.get("revision")) or 0,
                        int_of(said.get("canary")),
                        bool(said.get("refused")),
                    )
                )
        return sorted(found, key=lambda each: (each.host, each.pid, each.instance))

    # Helpers ----------------------------------------------------------------------------------------------------------

    def _under_way(self, now: Now) -> Canary:
        if now.canary is None:
            raise CanaryError(f"{self.path}: no staged rollout is under way")
        return now.canary

    def _sealed(self, changes: Mapping[At, bytes | Secret | None], now: Now) -> dict[At, bytes | None]:
        """With what is to be encrypted encrypted; what is that already stays as it is."""
        found: dict[At, bytes | None] = {}
        for at, value in changes.items():
            if not isinstance(value, Secret):
                found[at] = value
                continue
            if self._secrets is None:
                raise SecretError(f"{at[1]} (layer {at[0]}): there is no key to encrypt it with")
            before = now.entries.get(at)
            try:
                known = before is not None and self._secrets.reveal(*at, before.decode()) == value.text
            except ValueError:
                known = False
            found[at] = before if known else self._secrets.conceal(*at, value.text).encode()
        return found


def _named(changes: Wanted) -> dict[At, bytes | Secret | None]:
    """Raises `BadNameError`, and `BadSettingsError` for what is no text."""
    found: dict[At, bytes | Secret | None] = {}
    for name, value in changes.items():
        layer, key = name if isinstance(name, tuple) and len(name) == 2 else (DEFAULT, name)
        if not all(isinstance(each, str) and _NAME.fullmatch(each) for each in (layer, key)):
            raise BadNameError(f"{layer!r}, {key!r}: names are of a-z, 0-9, '.', '_' and '-', 200 at most")
        if (layer, key) in found:
            raise BadNameError(f"{key!r} (layer {layer!r}) is named twice")
        found[layer, key] = value.encode() if isinstance(value, str) else value
    return found
