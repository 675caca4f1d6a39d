"""Forks: a call in the child raises at once, until the client is opened anew there; the parent notices nothing."""

import multiprocessing
import os
import pickle
import signal
import time
from collections.abc import Callable
from multiprocessing.pool import Pool
from typing import Any

import pytest

import zabpy
import zabpy.blocking
from zabpy.blocking import Client
from zabpy.recipes import LockLost

#: What a child may take for what is to happen at once.
SECONDS_MAX = 20
zk: Client


def in_child(fn: Callable[[], object]) -> Any:
    """What ``fn`` returns in a fork of this process, which then ends as a worker does, without our tests' clean-ups."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(SECONDS_MAX)  # whatever hangs is ended
            try:
                result: object = fn()
            except BaseException as error:
                result = error
            try:
                data = pickle.dumps(result)
            except Exception:
                data = pickle.dumps(repr(result))
            os.write(writing, data)
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        data = pipe.read()
    _, status = os.waitpid(pid, 0)
    assert status == 0 and data, f"the child ended with {status}"
    return pickle.loads(data)


def what_it_raises(use: Callable[[], object]) -> type | None:
    try:
        use()
    except Exception as error:
        return type(error)
    return None


def test_every_call_in_a_fork_raises_at_once(zk: Client) -> None:
    session, streaming = zk.session, zk.states()
    states = streaming.__enter__()
    next(states)

    def child() -> list[type | None]:
        return [
            what_it_raises(use)
            for use in (
                lambda: zk.get("/"),
                lambda: zk.state,
                lambda: zk.lock("/x"),
                zk.open,
                session.check,
                lambda: next(states),
                lambda: states.next(timeout_ms=5),
            )
        ]

    began = time.monotonic()
    assert in_child(child) == [zabpy.ForkedClientError] * 7
    assert time.monotonic() - began < 5
    assert zk.exists("/x") is None  # the parent noticed nothing
    streaming.__exit__(None, None, None)


def test_a_fork_that_leaves_the_blocks_hurts_nobody(zk: Client) -> None:
    lock = zk.lock("/forked")
    with lock as held:

        def child() -> list[type | None]:
            return [
                what_it_raises(held.check),
                what_it_raises(lambda: held.lost.wait(timeout_ms=5)),
                what_it_raises(lambda: bool(held.lost)),
                what_it_raises(lambda: lock.__exit__(None, None, None)),  # it never was the child's
                what_it_raises(lambda: zk.__exit__(None, None, None)),
                what_it_raises(zk.close),
            ]

        forked = zabpy.ForkedClientError
        assert in_child(child) == [forked, forked, forked, forked, None, None]
        held.check()
        assert [each.token for each in lock.queue()] == [held.token]


def test_the_message_says_what_to_do(zk: Client) -> None:
    error = in_child(lambda: zk.get("/"))
    assert "after_fork()" in str(error)


def test_after_a_fork_it_is_opened_anew_with_a_session_of_its_own(zk: Client) -> None:
    session_id = zk.session.id
    assert zk.after_fork() is zk and zk.session.id == session_id  # no fork, nothing to do

    def child() -> tuple[int, bool, str]:
        zk.after_fork()
        zk.after_fork()
        with zk.lock("/after") as held:
            path = zk.create("/made-", sequence=True).path
            holds = zk.exists(held.path) is not None
        own = zk.session.id
        zk.close()
        return own, holds, path

    own, holds, path = in_child(child)
    assert own != session_id and holds
    assert zk.exists(path) is not None and zk.session.id == session_id


def test_workers_of_a_forking_server(hosts: str) -> None:
    """As gunicorn does with preload_app: opened before, forked several times, opened anew in each worker's hook."""
    zk = zabpy.blocking.connect(hosts).open()
    zk.create("/workers")
    pids = []
    for number in range(3):
        pid = os.fork()
        if pid == 0:
            try:
                signal.alarm(SECONDS_MAX)
                zk.after_fork()
                zk.create(f"/workers/{number}", ephemeral=True)
                grandchild = os.fork()  # a worker that forks itself
                if grandchild == 0:
                    os._exit(0 if what_it_raises(lambda: zk.get("/")) is zabpy.ForkedClientError else 1)
                assert os.waitpid(grandchild, 0)[1] == 0
                time.sleep(0.3)  # all are there together
                zk.close()
                os._exit(0)
            finally:
                os._exit(1)
        pids.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0, 0, 0]
    assert zk.children("/workers") == []  # each has closed its session, and not ours
    zk.close()


def test_forks_after_close_begin_from_nothing(hosts: str) -> None:
    zk = zabpy.blocking.connect(hosts)
    with zk:
        pass

    def child() -> int:
        with zk:
            return zk.session.timeout_ms

    assert in_child(child) > 0


def _initialize() -> None:
    zk.after_fork()


def _work(number: int) -> tuple[int, int]:
    zk.create(f"/pool-{number}")
    return number, zk.session.id


def test_a_pool_of_multiprocessing(hosts: str) -> None:
    global zk
    with zabpy.blocking.connect(hosts) as zk:
        pool: Pool = multiprocessing.get_context("fork").Pool(2, initializer=_initialize)
        try:
            done = pool.map_async(_work, range(8), chunksize=1).get(SECONDS_MAX)
        finally:
            pool.terminate()
            pool.join()
        assert [number for number, _ in done] == list(range(8))
        sessions = {session_id for _, session_id in done}
        assert zk.session.id not in sessions and 1 <= len(sessions) <= 2
        assert len(zk.children("/")) == 8


def test_a_loss_in_the_parent_says_nothing_to_the_child(zk: Client) -> None:
    with pytest.raises(LockLost):
        with zk.lock("/gone") as held:
            zk.delete(held.path)
            assert held.lost.wait(timeout_ms=5_000)
            assert in_child(lambda: bool(held.lost)) is True
