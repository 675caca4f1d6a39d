"""How a commit is done: planned on what there is, checked, sent as one transaction, once.

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
from dataclasses import dataclass, replace
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
from zabpy.model import Acl, BadArgumentsError, BadVersionError, NodeExistsError, NoNodeError, join

from .canary import Canary, decoded
from .errors import (
    BadNameError as BadNameError,
    CommitTooLargeError,
    ConfigError,
    ConflictError,
    DamagedError,
    StaleBaseError as StaleBaseError,
    UnknownRevisionError,
)
from .head import (
    At,
    Sum,
    applied,
    form_of,
    packed,
    parsed,
    stated_of,
    summed,
    total_of,
)
from .history import Record, Revision, fields_of
from .layers import DEFAULT
from .reading import HEAD, LAYERS, Gathered, gather
from .rules import problems
from .secrets import Secrets
from .values import BadSettingsError, Problem

HISTORY: Final = ".rev"
SCHEMA: Final = ".schema"
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
RECORD: Final = re.compile(r"[0-9]{10,}")


class Kept:
    """As it is."""

    def __repr__(self) -> str:
        return "KEPT"


KEPT: Final = Kept()


@dataclass(frozen=True, slots=True)
class Now:
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

    @property
    def canary(self) -> Canary | None:
        """Raises `DamagedError`."""
        return canary_of(self.read.head.fields.get("canary"))


@dataclass(frozen=True, slots=True)
class Step:
    """What a commit is to change. ``canary``: its form in ``.head``."""

    changes: Mapping[At, bytes | None]
    schema: bytes | Kept | None = KEPT
    canary: Any = KEPT
    kind: str = "commit"
    of: int | None = None


Make = Callable[[Now], Awaitable[Step]]


class Writer:
    """Reads and commits to one namespace, for `Store`."""

    def __init__(self, client: Client, path: str, secrets: Secrets | None, acl: Sequence[Acl] | None) -> None:
        self.zk, self.path, self.secrets, self.acl = client, path, secrets, acl

    # One commit -------------------------------------------------------------------------------------------------------

    async def commit(
        self,
        make: Make,
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
                    await self.zk.sync(self.path)
                now = await self.now(base)
                if pending is not None and now.revision >= pending:
                    if await self._is_mine(pending, mine):
                        return pending
                    pending = None  # somebody else was, so ours never can be
                if pending is not None and losses >= SENDS_MAX:
                    raise ConnectionLossError(f"{losses} answers were lost")
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
                raise self._unknown(pending, error) from error
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
                raise self._unknown(pending, error) from error
            else:
                return now.revision + 1
        raise ConfigError(f"{self.path}: {ATTEMPTS_MAX} times another commit was faster: nothing was written")

    def _unknown(self, pending: int, error: ClientError) -> ConnectionLossError:
        """What the error says (that nothing was done, say) is of what was asked last, and not of the commit."""
        return ConnectionLossError(f"{self.path}: revision {pending} may have been committed: {error}")

    async def _base(self, base: int, now: Now, step: Step, rebase: bool) -> int:
        """The revision to be committed on, if it may be: that of now."""
        if base < 0:
            base = self.number(base, now)
        if base == now.revision:
            return base
        if not rebase or base > now.revision:
            raise StaleBaseError(self.path, base, now.revision)
        keys: set[At] = set()
        for record in await self.records(range(base + 1, now.revision + 1)):
            if record is None:
                raise StaleBaseError(self.path, base, now.revision)  # what was changed cannot be told any more
            keys.update(record.keys)
            if record.schema_changed and not isinstance(step.schema, Kept):
                raise ConflictError(self.path, base, now.revision, ())
        if keys & step.changes.keys():
            raise ConflictError(self.path, base, now.revision, keys & step.changes.keys())
        return now.revision

    def _changes_more(self, now: Now, step: Step) -> bool:
        """Whether it changes something besides values."""
        schema = now.schema if isinstance(step.schema, Kept) else step.schema
        before = now.read.head.fields.get("canary")
        canary = before if isinstance(step.canary, Kept) else step.canary
        return schema != now.schema or canary != before or step.kind == "repair"

    async def _check(self, now: Now, step: Step) -> None:
        found = await self.problems(now, step)
        if found:
            raise BadSettingsError(found, f"{self.path}: a commit on revision {now.revision} is refused")

    async def problems(self, now: Now, step: Step) -> list[Problem]:
        schema = now.schema if isinstance(step.schema, Kept) else step.schema
        form = now.read.head.fields.get("canary") if isinstance(step.canary, Kept) else step.canary
        reveal = None if self.secrets is None else self.secrets.reveal
        after = applied(now.entries, step.changes)
        states = [(now.entries, after)]
        canary = canary_of(form)
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

    async def _transaction(self, now: Now, step: Step, mine: str, facts: dict[str, Any]) -> Transaction:
        head, revision = now.read.head, now.revision + 1
        sums = summed(now.read.sums, now.entries, step.changes)
        total = total_of(sums)
        layers = {at[0] for at in step.changes}
        for layer, place in now.read.places.items():
            if place is not None and stated_of(place.data) != sums.get(layer, Sum()).stated:
                layers.add(layer)
        layers.discard(DEFAULT)
        oldest, removed = await self._too_old(now)
        facts = {"revision": revision, "time_ms": time.time_ns() // 1_000_000, **facts}
        fields = {
            **head.fields,
            **facts,
            "count": total.count,
            "bytes": total.size,
            "hash": total.hash,
            "sums": {layer: sums.get(layer, Sum()).stated for layer in (DEFAULT, *sorted(layers))},
            "oldest": oldest,
            "recent": head.recent_with(revision, step.changes),
        }
        if not isinstance(step.canary, Kept):
            fields["canary"] = step.canary
        record = {**facts, "id": mine, "kind": step.kind, **fields_of(now.entries, step.changes, total)}
        if step.of is not None:
            record["of"] = step.of
        made = self.zk.transaction().set(self.below(HEAD), packed(fields), now.read.stat.version)
        if not now.has_history:
            made.create(self.below(HISTORY), acl=self.acl)
        if layers and not now.has_layers:
            made.create(self.below(LAYERS), acl=self.acl)
        for layer in sorted(layers):
            stated = packed(dict(zip(("count", "hash"), sums.get(layer, Sum()).stated)))
            if now.read.places.get(layer) is None:
                made.create(self.place(layer), stated, acl=self.acl)
            else:
                made.set(self.place(layer), stated)
        for at, value in step.changes.items():
            path, version = join(self.place(at[0]), at[1]), now.read.versions.get(at, -1)
            if value is None:
                made.delete(path, version)
            elif at in now.entries:
                made.set(path, value, version)
            else:
                made.create(path, value, acl=self.acl)
        if not isinstance(step.schema, Kept) and step.schema != now.schema:
            record["schema"] = [form_of(now.schema)]
            if step.schema is None:
                made.delete(self.below(SCHEMA), now.schema_version)
            elif now.schema is None:
                made.create(self.below(SCHEMA), step.schema, acl=self.acl)
            else:
                made.set(self.below(SCHEMA), step.schema, now.schema_version)
        made.create(self.record(revision), packed(record), acl=self.acl)
        for each in removed:
            made.delete(self.record(each))
        return made

    async def _too_old(self, now: Now) -> tuple[int, list[int]]:
        """The oldest record there will be after the next commit, and those that go with it."""
        newest = now.revision + 1
        oldest = now.read.head.oldest
        if oldest is None:
            names = await self.zk.children(self.below(HISTORY)) if now.has_history else []
            there, oldest = {int(name) for name in names if RECORD.fullmatch(name)}, newest
            while oldest - 1 in there:
                oldest -= 1
        settings = now.settings if isinstance(now.settings, dict) else {}
        records_max, age_ms = int_of(settings.get("records")) or RECORDS_MAX, int_of(settings.get("age_ms"))
        last = newest - records_max if age_ms is None else newest - KEPT_MIN
        asked = list(range(oldest, min(max(last, newest - records_max), oldest + REMOVED_MAX - 1) + 1))
        removed = []
        stats = await in_parallel(self.zk.exists, [self.record(each) for each in asked]) if asked else []
        for number, stat in zip(asked, stats):
            is_old = age_ms is not None and stat is not None and stat.ctime_ms < now.read.stat.mtime_ms - age_ms
            if number > newest - records_max and stat is not None and not is_old:
                break
            oldest = number + 1
            if stat is not None:
                removed.append(number)
        return oldest, removed

    async def now(self, at_least: int | None = None) -> Now:
        """What there is now; as new as that revision, if there is such a one."""
        now = await self.look()
        if at_least is not None and at_least > now.revision:
            # Others know of it, and our server does not.
            await self.zk.sync(self.path)
            now = await self.look()
        return now

    async def look(self) -> Now:
        read = await gather(self.zk, self.path, None, [SCHEMA, HISTORY, LAYERS])
        schema, history, layers = read.more
        return Now(
            read,
            None if schema is None else schema.data,
            -1 if schema is None else schema.stat.version,
            None if history is None else parsed(history.data),
            history is not None,
            layers is not None,
        )

    async def _is_mine(self, revision: int, mine: str) -> bool:
        """Whether this commit is ours. Raises `ConnectionLossError` if that cannot be told any more."""
        (found,) = await self.zk.get_many([self.record(revision)])
        try:
            if found is not None:
                return Record.parse(revision, found.data).id == mine
        except DamagedError:
            pass
        raise ConnectionLossError("its record is gone")

    # What was ---------------------------------------------------------------------------------------------------------

    async def revision_at(self, revision: int, now: Now) -> Revision:
        number = self.number(revision, now)
        found = Revision(now.revision, now.entries, now.schema, now.canary, now.read.verified)
        records = await self.records(range(now.revision, number, -1))
        for each, expected in zip(records, range(now.revision, number, -1)):
            if each is None:
                raise UnknownRevisionError(
                    f"{self.path}: revision {number} is not kept any more: the record of {expected} is gone"
                )
            found = replace(found, verified=found.verified and each.is_of(found))
            found = each.undone(found)
        return found

    def number(self, revision: int, now: Now) -> int:
        number = revision if revision >= 0 else now.revision + 1 + revision
        if not 0 <= number <= now.revision:
            raise UnknownRevisionError(f"{self.path}: there is no revision {revision}: it is at {now.revision}")
        return number

    async def records(self, revisions: Sequence[int]) -> list[Record | None]:
        """None for one there is not."""
        found: list[Record | None] = []
        for start in range(0, len(revisions), RECORDS_AT_ONCE):
            wanted = revisions[start : start + RECORDS_AT_ONCE]
            for number, each in zip(wanted, await self.zk.get_many([self.record(number) for number in wanted])):
                try:
                    found.append(None if each is None else Record.parse(number, each.data))
                except DamagedError as error:
                    raise DamagedError(f"{self.path}: {error}") from None
        return found

    # Forms and places -------------------------------------------------------------------------------------------------

    def _too_large(self, now: Now, step: Step, error: RequestTooLargeError) -> CommitTooLargeError:
        new = {at: len(value or b"") for at, value in step.changes.items()}
        old = {at: len(now.entries.get(at, b"")) for at in step.changes}
        layer, key = max(new, key=lambda at: new[at] + old[at], default=(DEFAULT, SCHEMA))
        many = "1 value" if len(new) == 1 else f"{len(new)} values"
        return CommitTooLargeError(
            f"{self.path}: a commit of {many} takes {error.size:,} bytes, where {error.limit:,} are the most that"
            f" servers take: {sum(new.values()):,} bytes of new values and {sum(old.values()):,} of those before,"
            f" which are kept for a rollback; the largest is {key} (layer {layer}): commit them in parts, or a large"
            " value as several",
            error.size,
            error.limit,
        )

    def below(self, name: str) -> str:
        return join(self.path, name)

    def place(self, layer: str) -> str:
        return self.path if layer == DEFAULT else join(self.below(LAYERS), layer)

    def record(self, revision: int) -> str:
        return join(self.below(HISTORY), f"{revision:010}")


def canary_of(form: Any) -> Canary | None:
    try:
        return decoded(form)
    except ValueError as error:
        raise DamagedError(f"its head: {error}") from None


def int_of(value: Any) -> int | None:
    return value if type(value) is int else None
