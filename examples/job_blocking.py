"""A job in steps that one process at a time does, under a lock, into a store that checks the token. For plain code.

    python examples/job_blocking.py HOSTS [STORE]

Promised: one process at a time does the job, as the servers see it; who loses the lock is told when it asks;
and the store takes no step from anybody after a step of a later holder, however late it arrives.
Not promised: that a job which was begun is finished (the next holder begins a new one), nor, without the store's
check, that a process which is stopped in the middle and goes on does not write one more step. No lock can promise that.
"""

import os
import sqlite3
import sys
import time

import zabpy.blocking
from zabpy.recipes import Fence, StaleTokenError

fence = Fence("job", paramstyle=sqlite3.paramstyle)


def open_store(path: str) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=30)
    with db:
        fence.create_table(db.cursor())
        db.execute("CREATE TABLE IF NOT EXISTS steps (token INTEGER NOT NULL, process INTEGER NOT NULL, step INTEGER)")
    return db


def write(db: sqlite3.Connection, token: int, step: int) -> None:
    """Both in one transaction. Raises `StaleTokenError` if somebody newer was there."""
    with db:
        fence.admit(db.cursor(), token)
        db.execute("INSERT INTO steps VALUES (?, ?, ?)", (token, os.getpid(), step))


def main(hosts: str, store: str) -> None:
    db = open_store(store)
    with zabpy.blocking.connect(hosts, session_timeout_ms=4_000) as zk:
        lock = zk.lock("/examples/job", data=str(os.getpid()).encode())
        while True:
            try:
                with lock as held:
                    print(f"process {os.getpid()} does the job, token {held.token:#x}", flush=True)
                    for step in range(5):
                        held.check()  # plain code is not cancelled: it asks
                        write(db, held.token, step)
                        time.sleep(0.05)
            except (zabpy.LockLost, StaleTokenError) as error:
                print(f"process {os.getpid()} lost it: {error}", flush=True)
            except zabpy.NoServerError as error:
                print(f"process {os.getpid()} waits: {error}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], (sys.argv[2:] or ["job.db"])[0])
