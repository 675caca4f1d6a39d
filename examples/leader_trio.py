"""A worker that one process at a time runs: the leader. For trio; start several, and kill one.

    python examples/leader_trio.py HOSTS [STORE]

Promised: of all that run this, or its like for asyncio and plain code, one leads at a time,
as the servers see it. If the leader dies, or is cut off, another one leads once its session has timed out. What an
older leader still writes, the store refuses.
Not promised: that a process which is stopped in the middle (a closed laptop, a moving virtual machine) does not believe
to lead for a moment when it goes on. It is told as soon as it looks; the store needs no telling.
"""

import os
import sqlite3
import sys

import trio

import zabpy


def open_store(path: str) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=30, isolation_level=None)
    db.execute("CREATE TABLE IF NOT EXISTS beats (token INTEGER NOT NULL, process INTEGER NOT NULL)")
    return db


def beat(db: sqlite3.Connection, token: int) -> bool:
    """Note that we lead, unless somebody newer has."""
    done = db.execute(
        "INSERT INTO beats SELECT ?, ? WHERE NOT EXISTS (SELECT * FROM beats WHERE token > ?)",
        (token, os.getpid(), token),
    )
    return done.rowcount == 1


async def work() -> None:
    await trio.sleep(0.1)


async def main(hosts: str, store: str) -> None:
    db = open_store(store)
    async with zabpy.connect(hosts, session_timeout_ms=4_000) as zk:
        async with zk.election("/examples/leader", data=str(os.getpid()).encode()) as election:
            async for term in election.terms(stand_again=True):
                async with term:  # cancelled when the leadership is lost
                    print(f"process {os.getpid()} leads, token {term.token:#x}", flush=True)
                    while beat(db, term.token):
                        await work()


if __name__ == "__main__":
    trio.run(main, sys.argv[1], (sys.argv[2:] or ["leader.db"])[0])
