"""Lock delay: after a holder ended in an unclean way nobody gets the lock for a while, so that what it sent can land.

A holder that asked for it puts a persistent znode ``delay-<its GUID>`` beside the contenders before it holds the lock,
and takes it away when it releases. So whoever is first in the queue and finds one has come after an unclean end: a
crash, a lost session, a znode deleted by hand. The first to see that sets its data once more: from then on the time
counts, by the servers' clock (its ``mtime``), for all who may come. When the time is over the znode is deleted.

Limits: only ours look at it. kazoo's and Curator's contenders take the lock at once. A leader whose clock is ahead of
its predecessor's makes the time that much shorter. After a crash the znode stays until somebody wants the lock.
"""

import anyio

from zabpy.client import Client, ConnectionLossError, Session
from zabpy.model import Acls, BadVersionError, NodeExistsError, NoNodeError, join

from .removal import Removal
from .server_clock import ServerClock

PREFIX = "delay-"


async def put(zk: Client, session: Session, parent: str, guid: str, delay_ms: int, acl: Acls | None) -> None:
    """Leave word that we are about to hold the lock."""
    path = join(parent, PREFIX + guid)
    try:
        await zk.create(path, str(delay_ms).encode(), acl=acl, lost_reply="again", session=session)
    except NodeExistsError:
        pass  # the answer to the first time was lost


def take_away(zk: Client, parent: str, guid: str) -> Removal:
    """The end was a clean one. It need not be of the session that put it there."""
    return Removal(zk, None, parent, name=PREFIX + guid)


def among(names: list[str]) -> bool:
    return any(name.startswith(PREFIX) for name in names)


async def wait_out(
    zk: Client, session: Session, parent: str, names: list[str], clock: ServerClock, *, wait: bool
) -> bool:
    """See to every unclean end among these children; to be called by the first in the queue.

    Returns whether the time of all is over: always so with ``wait``, which waits for it.
    """
    return all(
        [await _wait_out(zk, session, join(parent, name), clock, wait) for name in names if name.startswith(PREFIX)]
    )


async def _wait_out(zk: Client, session: Session, path: str, clock: ServerClock, wait: bool) -> bool:
    until = None
    try:
        while True:
            data, stat, fired = await zk.get_watched(path, session=session)
            with fired:
                if stat.version == 0:
                    await _mark(zk, session, path, data)
                    continue
                delay_ms = int(data) if data.isdigit() else 0
                if until is None:
                    left_ms = stat.mtime_ms + delay_ms - clock.now_ms()
                    until = anyio.current_time() + min(left_ms, delay_ms) / 1000
                if until > anyio.current_time():
                    if not wait:
                        return False
                    with anyio.CancelScope(deadline=until) as waiting:
                        await fired.wait()
                    if not waiting.cancelled_caught:
                        continue
                await zk.delete(path, session=session, lost_reply="again")
                return True
    except NoNodeError:
        return True  # the holder had only just not come to it, or somebody else has waited


async def _mark(zk: Client, session: Session, path: str, data: bytes) -> None:
    """Have the time begin."""
    try:
        await zk.set(path, data, 0, session=session)
    except (BadVersionError, ConnectionLossError):
        pass  # somebody has, or we look again
