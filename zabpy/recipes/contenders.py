"""Who is before whom in a queue of ephemeral znodes, ours and other libraries'. Pure functions of names.

Contenders are the children of the lock's znode whose names end in a sequence number behind one of these marks:

===================================  ===========  ==============================================================
name                                 takes        written by
===================================  ===========  ==============================================================
``<32 hex>__lock__<number>``         alone        kazoo: Lock, WriteLock; ours by default
``<32 hex>__rlock__<number>``        shared       kazoo: ReadLock; ours by default
``_c_<uuid>-lock-<number>``          alone        Curator: InterProcessMutex; go-zookeeper; ours: ``layout="curator"``
``_c_<uuid>-latch-<number>``         alone        Curator: LeaderLatch; ours: ``layout="latch"``
``_c_<uuid>-__WRIT__<number>``       alone        Curator: InterProcessReadWriteLock; ours: ``layout="curator"``
``_c_<uuid>-__READ__<number>``       shared       the same
``lock-<32 hex>-<number>``           alone        aiozk: Lock; ``write-`` and ``read-``: its SharedLock
===================================  ===========  ==============================================================

We see all of these. Whether *they* see *us* is up to them: kazoo sees the first two only (and ``-lock-`` if it was
given ``extra_lock_patterns=["-lock-"]``), aiozk everything that ends in ten digits. Curator takes any child for a
contender, but sorts those of other layouts by the whole name, so that it believes to be before them: kazoo and Curator
cannot share a path, and where Curator contends, ours must be told ``layout="curator"``.

**The order is that of czxids**: who was created first. The name tells it, too, and costs no request, but its number is
the low 32 bits of how many children were ever created there: ten digits, from 2,147,483,647 on to -2,147,483,648 and up
to ``-000000001``. kazoo compares that as text and goes wrong there. We go by how much earlier the other was created,
``(ours - theirs) modulo 2**32``, at the one moment when it is sure: in the first list of children after our own
create. What is in that list was created before us, or within the time that answer took, so fewer than `LATECOMERS`
creates after us. Nobody who comes later can be before us; so that list is kept and only ever gets shorter, however long
the wait is. Who is then found to be the next one before us is watched, and its czxid compared: one that a hand has made
under a number of its choice is not waited for if it came later.

The limit: a contender that still lives after 2**32 - `LATECOMERS` further creates below the same znode (six days at
8,000 a second) is taken for one that came after us.
"""

import re
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

Layout = Literal["kazoo", "curator", "latch"]
LAYOUTS: Final = ("kazoo", "curator", "latch")
#: More than can be created between our own create and the list of children that follows.
LATECOMERS: Final = 2**24
#: What a revoker writes into the znode of the contender it wants to give way; Curator's word.
REVOKE: Final = b"__REVOKE__"

_ALONE: Final = ("__lock__", "-lock-", "-latch-", "__WRIT__")
_SHARED: Final = ("__rlock__", "__READ__")
_AIOZK: Final = re.compile("(lock|write|read)-[0-9a-f]{32}-")


class Contender(NamedTuple):
    """A child that stands in line, by its name: its number in the order, and whether it shares (a reader)."""

    name: str
    number: int
    shared: bool


def contender(name: str) -> Contender | None:
    """What the name of a child says; None if it is no contender's."""
    # A thousand contenders make lists of a thousand names: an expression that searches would take ten times as long.
    digits = name[-10:]
    if not digits.isdecimal() and not (digits[:1] == "-" and digits[1:].isdecimal()):
        return None
    stem, number = name[:-10], int(digits)
    if stem.endswith(("--", "_-")):
        stem, number = stem[:-1], -number  # ten digits behind a minus
    if stem.endswith(_ALONE) or stem == "lock-":
        return Contender(name, number, False)
    if stem.endswith(_SHARED):
        return Contender(name, number, True)
    aiozk = _AIOZK.fullmatch(stem)
    return Contender(name, number, aiozk[1] == "read") if aiozk else None


def before(own: Contender, names: Iterable[str]) -> list[str]:
    """Of the first list of children after our own create: whom we must wait for, the next one before us last.

    One that takes it alone waits for all before it, one that shares it for those that take it alone.
    """
    blockers: list[tuple[int, str]] = []
    for name in names:
        other = contender(name)
        if other is None or name == own.name or (own.shared and other.shared):
            continue
        age = (own.number - other.number) % 2**32  # how many were created from then until our own
        if age <= 2**32 - LATECOMERS:
            blockers.append((-age, name))
    return [name for _, name in sorted(blockers)]


def prefix(layout: Layout, guid: str, *, shared: bool, rw: bool) -> str:
    """What stands before the number in the name of a contender of ours. ``guid``: 32 hex digits."""
    if layout == "kazoo":
        return f"{guid}__rlock__" if shared else f"{guid}__lock__"
    if rw:
        return f"{curator_guid(guid)}-{'__READ__' if shared else '__WRIT__'}"
    return f"{curator_guid(guid)}-{'latch-' if layout == 'latch' else 'lock-'}"


def curator_guid(guid: str) -> str:
    """As Curator's protected creates write it."""
    return f"_c_{guid[:8]}-{guid[8:12]}-{guid[12:16]}-{guid[16:20]}-{guid[20:]}"
