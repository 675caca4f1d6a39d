"""One who contends for a lock, as a program; `test_contest.py` starts several and judges by what they wrote down.

    python -m tests.interop.contender KIND NAME HOSTS RECORD SEED

KIND is ``kazoo``, ``trio``, ``asyncio`` or ``blocking``. It takes the lock, does some work and gives it back, again and
again, until a line comes in; then it ends in an orderly way. RECORD is a file that all append to, a line at a time:

    NANOSECONDS NAME WHAT TOKEN SESSION

The time is that of a clock which all processes share, *read before* the holder was asked whether it still holds, so
the lock was held then, as far as the holder can know. TOKEN is the czxid of its znode. WHAT:

    in       the first line of a turn
    still    it is still held
    lost     it was lost, by the holder's own word: for kazoo, its listener has heard LOST of this session
    out      behind the last line of a turn; it is given back only after that
    left     a znode of the session that should not be there, after everything was given back
    stuck    kazoo has not got it in any time that makes sense, for a znode of its own stands before it (see below);
             it begins a new session

kazoo asks once whether a create whose answer was lost had come through; if it asks a server that does not know yet, it
creates another znode, and waits for itself for ever.
"""

import os
import random
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import anyio
from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import KazooException, LockTimeout, NoNodeError
from kazoo.retry import KazooRetry

import zabpy
import zabpy.blocking
from zabpy.recipes import LockLost

PATH = "/contest/lock"
SESSION_TIMEOUT_MS = 6_000
#: Longer than anybody is kept waiting by another one that is killed or stopped.
STUCK_S = 20.0
#: How long a client's own clean-up may take, behind the last turn.
LEFT_S = 10.0


class Contender:
    def __init__(self, name: str, record: str, seed: str) -> None:
        self.name = name
        self.rng = random.Random(seed)
        self._record = os.open(record, os.O_WRONLY | os.O_APPEND)
        self._ending = threading.Event()
        threading.Thread(target=self._wait_end, daemon=True).start()

    def _wait_end(self) -> None:
        sys.stdin.readline()
        self._ending.set()

    @property
    def goes_on(self) -> bool:
        return not self._ending.is_set()

    def say(self, at_ns: int, what: str, token: int, session: int) -> None:
        os.write(self._record, f"{at_ns} {self.name} {what} {token:x} {session & (1 << 64) - 1:x}\n".encode())

    def pauses(self) -> Iterator[float]:
        """A turn's work, in seconds."""
        for _ in range(self.rng.randrange(1, 6)):
            yield self.rng.random() / 100


async def ours(me: Contender, hosts: str) -> None:
    async with zabpy.connect(hosts, session_timeout_ms=SESSION_TIMEOUT_MS) as zk:
        while me.goes_on:
            try:
                async with zk.lock(PATH, data=me.name.encode()) as held:
                    what = "in"
                    for pause in me.pauses():
                        at_ns = time.monotonic_ns()
                        held.check()
                        me.say(at_ns, what, held.token, held.session.id)
                        what = "still"
                        await anyio.sleep(pause)
                    at_ns = time.monotonic_ns()
                    held.check()
                    me.say(at_ns, "out", held.token, held.session.id)
            except LockLost:
                me.say(time.monotonic_ns(), "lost", 0, 0)
            await anyio.sleep(me.rng.random() / 100)
        until = time.monotonic() + LEFT_S
        while (left := await zk.ephemerals("/")) and time.monotonic() < until:  # noqa: ASYNC110
            await anyio.sleep(0.1)
        for _ in left:
            me.say(time.monotonic_ns(), "left", 0, zk.session.id)


def plain(me: Contender, hosts: str) -> None:
    with zabpy.blocking.connect(hosts, session_timeout_ms=SESSION_TIMEOUT_MS) as zk:
        while me.goes_on:
            try:
                with zk.lock(PATH, data=me.name.encode()) as held:
                    what = "in"
                    for pause in me.pauses():
                        at_ns = time.monotonic_ns()
                        held.check()
                        me.say(at_ns, what, held.token, held.session.id)
                        what = "still"
                        time.sleep(pause)
                    at_ns = time.monotonic_ns()
                    held.check()
                    me.say(at_ns, "out", held.token, held.session.id)
            except LockLost:
                me.say(time.monotonic_ns(), "lost", 0, 0)
            time.sleep(me.rng.random() / 100)
        until = time.monotonic() + LEFT_S
        while (left := zk.ephemerals("/")) and time.monotonic() < until:
            time.sleep(0.1)
        for _ in left:
            me.say(time.monotonic_ns(), "left", 0, zk.session.id)


def theirs(me: Contender, hosts: str) -> None:
    while me.goes_on:
        their_session(me, hosts)


def their_session(me: Contender, hosts: str) -> None:
    """A client that has lost its session is not used for another: whose a turn is would be told too late."""
    retry = KazooRetry(max_tries=-1, delay=0.05, max_delay=0.5)
    k: Any = KazooClient(hosts, timeout=SESSION_TIMEOUT_MS / 1000, connection_retry=retry, command_retry=retry)
    session = 0
    lost = threading.Event()

    def listen(state: str) -> None:
        if state == KazooState.LOST and session:
            me.say(time.monotonic_ns(), "lost", 0, session)
            lost.set()

    k.add_listener(listen)
    k.start(30)
    session = k.client_id[0]
    try:
        while me.goes_on and not lost.is_set():
            their_turn(me, k, session, lost)
            time.sleep(me.rng.random() / 100)
    except LockTimeout:
        me.say(time.monotonic_ns(), "stuck", 0, session)
    except KazooException:
        if not lost.is_set():
            raise
    finally:
        session = 0  # the end of it is no loss
        k.stop()
        k.close()


def their_turn(me: Contender, k: Any, session: int, lost: threading.Event) -> None:
    lock: Any = k.Lock(PATH, me.name)
    if not lock.acquire(timeout=STUCK_S):
        raise LockTimeout(PATH)
    try:
        try:
            stat = k.retry(k.get, f"{PATH}/{lock.node}")[1]
        except NoNodeError:
            return  # the session was lost between its looking and now
        what = "in"
        for pause in me.pauses():
            at_ns = time.monotonic_ns()
            if lost.is_set() or stat.ephemeralOwner != session:
                return
            me.say(at_ns, what, stat.czxid, session)
            what = "still"
            time.sleep(pause)
        at_ns = time.monotonic_ns()
        if not lost.is_set():
            me.say(at_ns, "out", stat.czxid, session)
    finally:
        lock.release()


def main(kind: str, name: str, hosts: str, record: str, seed: str) -> None:
    me = Contender(name, record, seed)
    if kind == "kazoo":
        theirs(me, hosts)
    elif kind == "blocking":
        plain(me, hosts)
    else:
        anyio.run(ours, me, hosts, backend=kind)


if __name__ == "__main__":
    main(*sys.argv[1:])
