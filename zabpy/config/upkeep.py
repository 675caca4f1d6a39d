"""Is a namespace as commits leave it? And what of it can be mended.

What can go wrong: somebody sets a value, or ``.head``, with another client; deletes a record; restores a part of the
tree from a copy. Readers take what stands there, as long as ``.head`` tells a revision.
"""

from collections.abc import Iterable

from zabpy.model import BadVersionError, NodeExistsError

from .errors import ConfigError, DamagedError
from .head import Head, Sum, packed, stated_of, total_of
from .history import Revision
from .reading import HEAD, NoConfigStoreError, check_marker
from .rules import problems
from .schema import BadSchemaError
from .writing import HISTORY, KEPT, RECORD, RECORDS_AT_ONCE, Now, Step, Writer, canary_of

#: How often somebody else may be mending at the same time.
REPAIRS_MAX = 10


async def verify(writer: Writer) -> list[str]:
    """What is not as it should be; a sentence each."""
    try:
        now = await writer.now()
    except NoConfigStoreError as error:
        return [str(error)]
    return [*_sums(now), *await _history(writer, now), *_values(writer, now)]


def _sums(now: Now) -> Iterable[str]:
    head = now.read.head
    total = total_of(now.read.sums)
    if head.revision and "hash" not in head.fields:
        yield f"{HEAD} does not say what revision {head.revision} comes to: it was written by other means"
    elif head.revision and [head.fields.get("count"), head.fields["hash"]] != total.stated:
        yield f"the values are not those of revision {head.revision}: some were changed without a commit"
    for layer, place in now.read.places.items():
        stated = head.sums.get(layer) or (None if place is None else stated_of(place.data))
        if stated is not None and stated != now.read.sums.get(layer, Sum()).stated:
            yield f"layer {layer}: its values are not those that commits left there"


async def _history(writer: Writer, now: Now) -> list[str]:
    names = await writer.zk.children(writer.below(HISTORY)) if now.has_history else []
    there = {int(name) for name in names if RECORD.fullmatch(name)}
    oldest = now.read.head.oldest or min(there, default=now.revision + 1)
    found = []
    if later := [number for number in there if number > now.revision]:
        found.append(f"there are records of revisions that are not yet, up to {max(later)}")
    if earlier := [number for number in there if number < oldest]:
        found.append(f"there are {len(earlier)} records older than the oldest of the history, {oldest}")
    if missing := sorted(set(range(oldest, now.revision + 1)) - there):
        found.append(f"the records of {len(missing)} revisions are gone; the newest of them is {missing[-1]}")
        oldest = missing[-1] + 1
    state = Revision(now.revision, now.entries, now.schema)
    for start in range(now.revision, oldest - 1, -RECORDS_AT_ONCE):
        try:
            records = await writer.records(range(start, max(start - RECORDS_AT_ONCE, oldest - 1), -1))
        except DamagedError as error:
            return [*found, str(error)]
        for each in records:
            if each is None:
                return found  # it was removed meanwhile, being the oldest
            if not each.is_of(state):
                reason = "values were changed without a commit"
                return [*found, f"revision {each.revision} and those before it cannot be told for sure: {reason}"]
            state = each.undone(state)
    return found


def _values(writer: Writer, now: Now) -> list[str]:
    reveal = None if writer.secrets is None else writer.secrets.reveal
    try:
        wrong = problems({}, now.entries, now.schema, reveal, schema_changed=True)
    except BadSchemaError as error:
        return [str(error)]
    return list(map(str, wrong))


async def repair(writer: Writer, author: str, message: str) -> int:
    """Have ``.head`` be right again, by a commit of its own; returns the revision. Values stay as they are.

    A staged rollout that cannot be read any more is over. What the history cannot tell it will not.
    """
    for _ in range(REPAIRS_MAX):
        marker, found, history = await writer.zk.get_many([writer.path, writer.below(HEAD), writer.below(HISTORY)])
        check_marker(writer.path, marker)
        names = await writer.zk.children(writer.below(HISTORY)) if history is not None else []
        newest = max((int(name) for name in names if RECORD.fullmatch(name)), default=0)
        try:
            head = Head.parse(b"" if found is None else found.data)
        except ValueError:
            head = Head(-1, {})
        fields = {**head.fields, "revision": max(head.revision, newest), "recent": []}
        fields.pop("oldest", None)
        try:
            canary_of(fields.get("canary"))
        except DamagedError:
            fields["canary"] = None
        try:
            # Two steps, each of which leaves what can be read: if the second is not done, this may be called again.
            if found is None:
                await writer.zk.create(writer.below(HEAD), packed(fields), acl=writer.acl)
            else:
                await writer.zk.set(writer.below(HEAD), packed(fields), found.stat.version, lost_reply="once")
        except (BadVersionError, NodeExistsError):
            continue

        async def make(now: Now) -> Step:
            return Step({}, KEPT, kind="repair")

        return await writer.commit(make, author, message or "repaired", None)
    raise ConfigError(f"{writer.path}: {REPAIRS_MAX} times others wrote to its {HEAD} while it was repaired")
