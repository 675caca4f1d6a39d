"""Who writes to a namespace: a commit is one transaction, on the revision it was made for, done once.

    store = Store(zk, "/config/app")
    await store.create()
    await store.commit({"db.host": "db1", ("env.prod", "db.host"): "db7"}, author="ann", message="its own database")
    await store.rollback(-2)

Of two commits on one base the transaction of one fails, since both ask for the same version of ``.head``. An answer
that was lost is made up for by the record (history.py): it has our id, or the commit was not done; sent again, it
cannot be done twice.

Before it writes, a commit reads all of the namespace: it checks what would come of it (rules.py), and states what it
comes to (head.py), also where somebody has changed a value by other means.
"""

import re
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import anyio

from zabpy.client import (
    Client,
    ClientError,
    ConnectionLossError,
    RequestTooLargeError,
    SessionLostError,
    Transaction,
    TransactionFailedError,
    in_parallel,
)
from zabpy.model import BadArgumentsError, BadVersionError, NodeExistsError, NoNodeError, join

from .canary import Canary, decoded
from .errors import (
    BadNameError as BadNameError,
    CanaryError,
    CommitTooLargeError,
    ConfigError,
    ConflictError,
    DamagedError,
    StaleBaseError as StaleBaseError,
    UnknownRevisionError,
)
from .head import (
    RECENT_BYTES_MAX,
    At,
    applied,
    form_of,
    hash_of,
    packed,
    parsed,
    summed,
    total_of,
)
from .history import Change, Record, Revision, differing, fields_of
from .layers import DEFAULT
from .reading import FORMAT, HEAD, LAYERS, VERSION, Gathered, NoConfigStoreError, check_marker, gather
from .rules import problems
from .secrets import SecretError, Secrets
from .values import BadSettingsError, Problem

HISTORY: Final = ".rev"
SCHEMA: Final = ".schema"
READERS: Final = ".readers"
#: So many records are kept, unless `Store.retain` says otherwise.
RECORDS_MAX: Final = 1_000
#: A commit removes so many old records; and however old they are, these many of the newest stay.
REMOVED_MAX, KEPT_MIN = 8, 10
#: How often a commit whose answer was lost is sent anew, and how often one is made anew on top of those of others.
SENDS_MAX: Final = 10
ATTEMPTS_MAX: Final = 1_000
#: Author and message together.
WORDS_BYTES_MAX: Final = 16 * 1024
#: Records are read so many at a time; each may be a megabyte.
RECORDS_AT_ONCE: Final = 16
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,199}")
_RECORD: Final = re.compile(r"[0-9]{10,}")


@dataclass(frozen=True, slots=True)
class Secret:
    """A value that is to be encrypted. Its ``repr`` does not show it."""

    text: str = field(repr=False)


class Kept:
    """As it is."""

    def __repr__(self) -> str:
        return "KEPT"


KEPT: Final = Kept()

#: Key, or layer and key → value; None deletes.
Changes = Mapping[str | At, bytes | str | Secret | None]


@dataclass(frozen=True, slots=True)
class Reader:
    """Who says of itself that it reads a namespace: which revision it runs, and whether it has refused a newer one."""

    host: str
    pid: int
    instance: str
    revision: int
    canary: int | None
    refused: bool


@dataclass(frozen=True, slots=True)
class _Now:
    """The namespace as it is."""

    read: Gathered
    schema: bytes | None
    schema_version: int
    settings: Any  # of the history: the data of ``.rev``, or None
    has_history: bool
    has_layers: bool

    @property
    def revision(self) -> int:
        return self.read.head.revision

    @property
    def entries(self) -> dict[At, bytes]:
        return self.read.entries


@dataclass(frozen=True, slots=True)
class _Step:
    """What a commit is to change. ``canary``: its form in ``.head``."""

    changes: Mapping[At, bytes | None]
    schema: bytes | Kept | None = KEPT
    canary: Any = KEPT
    kind: str = "commit"
    of: int | None = None


_Make = Callable[[_Now], Awaitable[_Step]]


class Store:
    """The writer's side of a namespace. Its methods may be called by several tasks at once."""

    def __init__(self, client: Client, path: str, *, secrets: Secrets | None = None) -> None:
        """
        Args:
            secrets: encrypts what is given as a `Secret`, and lets the schema look into what is encrypted.
        """
        self._zk, self.path, self._secrets = client, path, secrets

    async def create(self) -> None:
        """Have the namespace be there. Raises `NoConfigStoreError` if something else is."""
        above = self.path.rpartition("/")[0]
        if above:
            await self._zk.ensure(above)
        for _ in range(SENDS_MAX):
            made = self._zk.transaction().create(self.path, packed({"format": FORMAT, "version": VERSION}))
            made.create(self._at(HEAD), b'{"revision": 0}').create(self._at(HISTORY))
            try:
                await made.commit()
            except ConnectionLossError:
                continue  # sent again it is done, or it says that it was done before
            except TransactionFailedError as error:
                if not isinstance(error.error, NodeExistsError):
                    raise
                marker, head = await self._zk.get_many([self.path, self._at(HEAD)])
                check_marker(self.path, marker)
                if head is None:
                    raise NoConfigStoreError(f"{self.path}: no config store: it has no {HEAD}") from None
            return
        raise ConnectionLossError(f"{self.path}: {SENDS_MAX} answers were lost; it may have been made")

    # Commits ----------------------------------------------------------------------------------------------------------

    async def commit(
        self,
        changes: Changes,
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

        async def make(now: _Now) -> _Step:
            return _Step(self._sealed(named, now), schema)

        return await self._commit(make, author, message, base, rebase=rebase)

    async def rollback(
        self, revision: int, *, schema: bool = False, author: str = "", message: str = "", base: int | None = None
    ) -> int:
        """Make the values what they were at a revision, by a new commit. With ``schema``: and the schema, too.

        A staged rollout that is under way goes on. Raises, besides what `commit` does:

            UnknownRevisionError: there is no such revision any more, or yet.
            DamagedError: its values are not known for sure, see `Revision.verified`.
        """

        async def make(now: _Now) -> _Step:
            wanted = await self._revision(revision, now)
            if not wanted.verified:
                raise DamagedError(
                    f"{self.path}: revision {wanted.revision} cannot be told for sure: values were changed without a"
                    " commit since; look at what `at` gives, and commit what is right"
                )
            changes = differing(now.entries, wanted.entries)
            return _Step(changes, wanted.schema if schema else KEPT, kind="rollback", of=wanted.revision)

        return await self._commit(make, author, message, base)

    async def canary(
        self,
        changes: Changes | None,
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

        async def make(now: _Now) -> _Step:
            before = now.read.head.fields.get("canary")
            if named is None:
                current = self._under_way(now)
                return _Step({}, canary={**(before or {}), **chosen}, kind="canary", of=current.revision)
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
            return _Step({}, canary=form, kind="canary", of=now.revision + 1)

        return await self._commit(make, author, message, base)

    async def promote(self, *, author: str = "", message: str = "", base: int | None = None) -> int:
        """Its changes are everybody's. Raises `ConflictError` where one of its keys was changed meanwhile."""

        async def make(now: _Now) -> _Step:
            current = self._under_way(now)
            before = now.read.head.fields["canary"].get("before", [])
            was = dict(zip(current.changes, before))
            others = [at for at in was if was[at] != hash_of(now.entries.get(at))]
            if others:
                raise ConflictError(self.path, current.revision, now.revision, others)
            return _Step(current.changes, canary=None, kind="promote", of=current.revision)

        return await self._commit(make, author, message, base)

    async def withdraw(self, *, author: str = "", message: str = "", base: int | None = None) -> int:
        """End a staged rollout: its readers are back at what all others have."""

        async def make(now: _Now) -> _Step:
            return _Step({}, canary=None, kind="withdraw", of=self._under_way(now).revision)

        return await self._commit(make, author, message, base)

    async def check(self, changes: Changes, *, schema: bytes | Kept | None = KEPT) -> list[Problem]:
        """Why `commit` would refuse these values now; nothing if it would not. Raises `BadSchemaError`."""
        named, now = _named(changes), await self._now()
        return await self._problems(now, _Step(self._sealed(named, now), schema))

    # What was ---------------------------------------------------------------------------------------------------------

    async def at(self, revision: int = -1) -> Revision:
        """The namespace as it was at a revision; -1 is the newest, -2 the one before. 0 is before the first commit.

        Raises:
            UnknownRevisionError: there is no such revision any more, or yet.
        """
        return await self._revision(revision, await self._now())

    async def diff(self, a: int = -2, b: int = -1) -> tuple[Change, ...]:
        """What is another value at ``b`` than it was at ``a``, by layer and key. Raises as `at` does."""
        now = await self._now()
        old, new = await self._revision(a, now), await self._revision(b, now)
        found = differing(old.entries, new.entries)
        return tuple(Change(*at, old.entries.get(at), value) for at, value in found.items())

    async def log(self, limit: int = 20, *, before: int | None = None) -> list[Record]:
        """The last commits, the newest first; with ``before``, those before that revision. Ends where the history does.

        Raises `DamagedError` for a record that cannot be read.
        """
        newest = (await self._now()).revision
        first = newest if before is None else min(newest, before - 1)
        found: list[Record] = []
        for start in range(first, max(first - limit, 0), -RECORDS_AT_ONCE):
            wanted = range(start, max(start - RECORDS_AT_ONCE, first - limit, 0), -1)
            for each in await self._records(wanted):
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
            marker, found = await self._zk.get_many([self.path, self._at(HISTORY)])
            check_marker(self.path, marker)
            kept = parsed(found.data) if found is not None else None
            data = packed({**(kept if isinstance(kept, dict) else {}), "records": records_max, "age_ms": age_ms_max})
            try:
                if found is None:
                    await self._zk.create(self._at(HISTORY), data)
                else:
                    await self._zk.set(self._at(HISTORY), data, found.stat.version, lost_reply="once")
            except (BadVersionError, NodeExistsError):
                continue  # somebody else says so, too; one of us is the last
            return

    async def readers(self) -> list[Reader]:
        """Who reads the namespace, as far as they tell; by host."""
        try:
            names = await self._zk.children(self._at(READERS))
        except NoNodeError:
            return []
        found = []
        for each in await self._zk.get_many([join(self._at(READERS), name) for name in names]):
            said = None if each is None else parsed(each.data)
            if isinstance(said, dict):
                found.append(
                    Reader(
                        str(said.get("host", "")),
                        _int(said.get("pid")) or 0,
                        str(said.get("instance", "")),
                        _int(said.get("revision")) or 0,
                        _int(said.get("canary")),
                        bool(said.get("refused")),
                    )
                )
        return sorted(found, key=lambda each: (each.host, each.pid, each.instance))

    # One commit -------------------------------------------------------------------------------------------------------

    async def _commit(
        self,
        make: _Make,
        author: str,
        message: str,
        base: int | None,
        *,
        rebase: bool = False,
    ) -> int:
        try:
            size = len(author.encode()) + len(message.encode())
        except UnicodeEncodeError:
            raise BadArgumentsError("author and message: they are no Unicode") from None
        if size > WORDS_BYTES_MAX:
            raise BadArgumentsError(f"author and message: more than {WORDS_BYTES_MAX:,} bytes")
        facts = {"author": author, "message": message}
        mine, losses, strange = uuid.uuid4().hex, 0, 0
        pending: int | None = None  # sent as this revision, and whether that was done is not known
        for _ in range(ATTEMPTS_MAX):
            try:
                if pending is not None:
                    await self._zk.sync(self.path)
                now = await self._now(base)
                if pending is not None and now.revision >= pending:
                    if await self._is_mine(pending, mine):
                        return pending
                    pending = None  # somebody else was, so ours never can be
                elif losses == SENDS_MAX:
                    raise ConnectionLossError(f"{SENDS_MAX} answers were lost")
                step = await make(now)
                if base is not None:
                    base = await self._base(base, now, step, rebase)
                changes = {at: value for at, value in step.changes.items() if now.entries.get(at) != value}
                step = replace(step, changes=changes)
                if not changes and not self._changes_more(now, step) and pending is None:
                    return now.revision
                await self._check(now, step)
                transaction = await self._transaction(now, step, mine, facts)
            except ClientError as error:
                if pending is None:
                    raise
                # What the error says, that nothing was done, say, is of what was asked last.
                raise ConnectionLossError(
                    f"{self.path}: revision {pending} may have been committed: {error}"
                ) from error
            try:
                await transaction.commit()
            except RequestTooLargeError as error:
                raise self._too_large(now, step, error) from None
            except (ConnectionLossError, SessionLostError):
                pending, losses = now.revision + 1, losses + 1
            except TransactionFailedError as error:
                if not isinstance(error.error, BadVersionError | NodeExistsError | NoNodeError):
                    raise
                # Whoever was faster, it may have been we: by what was sent before. If ``.head`` is as it was, somebody
                # changes values without commits, or has damaged the history.
                strange += error.index > 0
                if strange == SENDS_MAX:
                    reason = f"{error.path} is not as commits leave it ({error.error.name})"
                    raise DamagedError(
                        f"{self.path}: {reason}: nothing was written; see `verify` and `repair`"
                    ) from None
            except ClientError as error:
                if pending is None:
                    raise
                raise ConnectionLossError(
                    f"{self.path}: revision {pending} may have been committed: {error}"
                ) from error
            else:
                return now.revision + 1
        raise ConfigError(f"{self.path}: {ATTEMPTS_MAX} times another commit was faster: nothing was written")

    def _unknown(self, pending: int, error: ClientError) -> ConnectionLossError:
        """What the error says (that nothing was done, say) is of what was asked last, and not of the commit."""
        return ConnectionLossError(f"{self.path}: revision {pending} may have been committed: {error}")

    async def _base(self, base: int, now: _Now, step: _Step, rebase: bool) -> int:
        """The revision to be committed on, if it may be: that of now."""
        if base < 0:
            base = self._number(base, now)
        if base == now.revision:
            return base
        if not rebase or base > now.revision:
            raise StaleBaseError(self.path, base, now.revision)
        keys: set[At] = set()
        for record in await self._records(range(base + 1, now.revision + 1)):
            if record is None:
                raise StaleBaseError(self.path, base, now.revision)  # what was changed cannot be told any more
            keys.update(record.keys)
            if record.schema_changed and not isinstance(step.schema, Kept):
                raise ConflictError(self.path, base, now.revision, ())
        if keys & step.changes.keys():
            raise ConflictError(self.path, base, now.revision, keys & step.changes.keys())
        return now.revision

    def _changes_more(self, now: _Now, step: _Step) -> bool:
        """Whether it changes something besides values."""
        schema = now.schema if isinstance(step.schema, Kept) else step.schema
        before = now.read.head.fields.get("canary")
        canary = before if isinstance(step.canary, Kept) else step.canary
        return schema != now.schema or canary != before

    async def _check(self, now: _Now, step: _Step) -> None:
        found = await self._problems(now, step)
        if found:
            raise BadSettingsError(found, f"{self.path}: a commit on revision {now.revision} is refused")

    async def _problems(self, now: _Now, step: _Step) -> list[Problem]:
        schema = now.schema if isinstance(step.schema, Kept) else step.schema
        form = now.read.head.fields.get("canary") if isinstance(step.canary, Kept) else step.canary
        reveal = None if self._secrets is None else self._secrets.reveal
        after = applied(now.entries, step.changes)
        states = [(now.entries, after)]
        canary = _canary(form)
        if canary is not None:
            # Its readers have these values together, as long as it lasts.
            started = not isinstance(step.canary, Kept)
            states.append((now.entries if started else canary.applied(now.entries), canary.applied(after)))

        def look() -> list[Problem]:
            found: dict[Problem, None] = {}
            for before, later in states:
                changed = schema != now.schema
                found |= dict.fromkeys(problems(before, later, schema, reveal, schema_changed=changed))
            return list(found)

        # What a schema asks may take a while.
        return look() if schema is None else await anyio.to_thread.run_sync(look)

    async def _transaction(self, now: _Now, step: _Step, mine: str, facts: dict[str, Any]) -> Transaction:
        head, revision = now.read.head, now.revision + 1
        sums = summed(now.read.sums, now.entries, step.changes)
        total = total_of(sums)
        layers = {at[0] for at in step.changes} - {DEFAULT}
        oldest, removed = await self._too_old(now)
        facts = {"revision": revision, "time_ms": time.time_ns() // 1_000_000, **facts}
        fields = {
            **head.fields,
            **facts,
            "count": total.count,
            "bytes": total.size,
            "hash": total.hash,
            "sums": {layer: sums[layer].stated for layer in (DEFAULT, *sorted(layers))},
            "oldest": oldest,
            "recent": head.recent_with(revision, step.changes),
        }
        if not isinstance(step.canary, Kept):
            fields["canary"] = step.canary
        record = {**facts, "id": mine, "kind": step.kind, **fields_of(now.entries, step.changes, total)}
        if step.of is not None:
            record["of"] = step.of
        made = self._zk.transaction().set(self._at(HEAD), packed(fields), now.read.stat.version)
        if not now.has_history:
            made.create(self._at(HISTORY))
        if layers and not now.has_layers:
            made.create(self._at(LAYERS))
        for layer in sorted(layers):
            stated = packed(dict(zip(("count", "hash"), sums[layer].stated)))
            if now.read.places.get(layer) is None:
                made.create(self._place(layer), stated)
            else:
                made.set(self._place(layer), stated)
        for at, value in step.changes.items():
            path, version = join(self._place(at[0]), at[1]), now.read.versions.get(at, -1)
            if value is None:
                made.delete(path, version)
            elif at in now.entries:
                made.set(path, value, version)
            else:
                made.create(path, value)
        if not isinstance(step.schema, Kept) and step.schema != now.schema:
            record["schema"] = [form_of(now.schema)]
            if step.schema is None:
                made.delete(self._at(SCHEMA), now.schema_version)
            elif now.schema is None:
                made.create(self._at(SCHEMA), step.schema)
            else:
                made.set(self._at(SCHEMA), step.schema, now.schema_version)
        made.create(self._record(revision), packed(record))
        for each in removed:
            made.delete(self._record(each))
        return made

    async def _too_old(self, now: _Now) -> tuple[int, list[int]]:
        """The oldest record there will be after the next commit, and those that go with it."""
        newest = now.revision + 1
        oldest = now.read.head.oldest
        if oldest is None:
            names = await self._zk.children(self._at(HISTORY)) if now.has_history else []
            oldest = min((int(name) for name in names if _RECORD.fullmatch(name)), default=newest)
        settings = now.settings if isinstance(now.settings, dict) else {}
        records_max, age_ms = _int(settings.get("records")) or RECORDS_MAX, _int(settings.get("age_ms"))
        last = newest - records_max if age_ms is None else newest - KEPT_MIN
        asked = list(range(oldest, min(max(last, newest - records_max), oldest + REMOVED_MAX - 1) + 1))
        removed = []
        stats = await in_parallel(self._zk.exists, [self._record(each) for each in asked]) if asked else []
        for number, stat in zip(asked, stats):
            is_old = age_ms is not None and stat is not None and stat.ctime_ms < now.read.stat.mtime_ms - age_ms
            if number > newest - records_max and stat is not None and not is_old:
                break
            oldest = number + 1
            if stat is not None:
                removed.append(number)
        return oldest, removed

    async def _now(self, at_least: int | None = None) -> _Now:
        """What there is now; as new as that revision, if there is such a one."""
        now = await self._look()
        if at_least is not None and at_least > now.revision:
            # Others know of it, and our server does not.
            await self._zk.sync(self.path)
            now = await self._look()
        return now

    async def _look(self) -> _Now:
        read = await gather(self._zk, self.path, None, [SCHEMA, HISTORY, LAYERS])
        schema, history, layers = read.more
        return _Now(
            read,
            None if schema is None else schema.data,
            -1 if schema is None else schema.stat.version,
            None if history is None else parsed(history.data),
            history is not None,
            layers is not None,
        )

    async def _is_mine(self, revision: int, mine: str) -> bool:
        """Whether this commit is ours. Raises `ConnectionLossError` if that cannot be told any more."""
        (found,) = await self._zk.get_many([self._record(revision)])
        try:
            if found is not None:
                return Record.parse(revision, found.data).id == mine
        except DamagedError:
            pass
        raise ConnectionLossError("its record is gone")

    # What was ---------------------------------------------------------------------------------------------------------

    async def _revision(self, revision: int, now: _Now) -> Revision:
        number = self._number(revision, now)
        found = Revision(
            now.revision, now.entries, now.schema, _canary(now.read.head.fields.get("canary")), now.read.verified
        )
        records = await self._records(range(now.revision, number, -1))
        for each, expected in zip(records, range(now.revision, number, -1)):
            if each is None:
                raise UnknownRevisionError(
                    f"{self.path}: revision {number} is not kept any more: the record of {expected} is gone"
                )
            found = replace(found, verified=found.verified and each.is_of(found))
            found = each.undone(found)
        return found

    def _number(self, revision: int, now: _Now) -> int:
        number = revision if revision >= 0 else now.revision + 1 + revision
        if not 0 <= number <= now.revision:
            raise UnknownRevisionError(f"{self.path}: there is no revision {revision}: it is at {now.revision}")
        return number

    async def _records(self, revisions: Sequence[int]) -> list[Record | None]:
        """None for one there is not."""
        found: list[Record | None] = []
        for start in range(0, len(revisions), RECORDS_AT_ONCE):
            wanted = revisions[start : start + RECORDS_AT_ONCE]
            for number, each in zip(wanted, await self._zk.get_many([self._record(number) for number in wanted])):
                try:
                    found.append(None if each is None else Record.parse(number, each.data))
                except DamagedError as error:
                    raise DamagedError(f"{self.path}: {error}") from None
        return found

    # Forms and places -------------------------------------------------------------------------------------------------

    def _under_way(self, now: _Now) -> Canary:
        found = _canary(now.read.head.fields.get("canary"))
        if found is None:
            raise CanaryError(f"{self.path}: no staged rollout is under way")
        return found

    def _sealed(self, changes: Mapping[At, bytes | Secret | None], now: _Now) -> dict[At, bytes | None]:
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

    def _too_large(self, now: _Now, step: _Step, error: RequestTooLargeError) -> CommitTooLargeError:
        new = {at: len(value or b"") for at, value in step.changes.items()}
        old = {at: len(now.entries.get(at, b"")) for at in step.changes}
        layer, key = max(new, key=lambda at: new[at] + old[at], default=(DEFAULT, SCHEMA))
        return CommitTooLargeError(
            f"{self.path}: a commit of {len(new)} values takes {error.size:,} bytes, where {error.limit:,} are the most"
            f" that servers take: {sum(new.values()):,} bytes of new values and {sum(old.values()):,} of those before,"
            f" which are kept for a rollback; the largest is {key} (layer {layer}): commit them in parts, or a large"
            " value as several",
            error.size,
            error.limit,
        )

    def _at(self, name: str) -> str:
        return join(self.path, name)

    def _place(self, layer: str) -> str:
        return self.path if layer == DEFAULT else join(self._at(LAYERS), layer)

    def _record(self, revision: int) -> str:
        return join(self._at(HISTORY), f"{revision:010}")


def _named(changes: Changes) -> dict[At, bytes | Secret | None]:
    """Raises `BadNameError`, and `BadSettingsError` for what is no text."""
    found: dict[At, bytes | Secret | None] = {}
    for name, value in changes.items():
        layer, key = (DEFAULT, name) if isinstance(name, str) else name
        if not _NAME.fullmatch(layer) or not _NAME.fullmatch(key):
            raise BadNameError(f"{layer!r}, {key!r}: names are of a-z, 0-9, '.', '_' and '-', 200 at most")
        if (layer, key) in found:
            raise BadNameError(f"{key!r} (layer {layer!r}) is named twice")
        found[layer, key] = value.encode() if isinstance(value, str) else value
    return found


def _canary(form: Any) -> Canary | None:
    try:
        return decoded(form)
    except ValueError as error:
        raise DamagedError(f"its head: {error}") from None


def _int(value: Any) -> int | None:
    return value if type(value) is int else None
