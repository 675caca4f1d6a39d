"""What is written under a lock is written while it is held: in the tree by a guard, elsewhere by its token."""

import sqlite3
from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

import zabpy
from tests.client.conftest import Story
from tests.recipes.hurting import crowd, kill
from zabpy.client import TransactionFailedError
from zabpy.recipes import Fence, LockLost, StaleTokenError


def test_a_guarded_transaction_is_done_while_the_lock_is_held(on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk, zabpy.connect(hosts) as other:
            await zk.create("/state", b"0")
            async with zk.lock("/locks/job") as held:
                async with zk.transaction(guard=held) as t:
                    t.set("/state", b"1")
                    t.create("/made")
                assert [type(each).__name__ for each in t.results] == ["Stat", "str"]
                with pytest.raises(TransactionFailedError) as failed:
                    await zk.transaction(guard=held).set("/state", b"2", version=7).commit()
                assert failed.value.index == 0 and not held.lost
            assert (await zk.get("/state")).data == b"1"
            with pytest.raises(LockLost, match="released"):
                zk.transaction(guard=held)
            with pytest.raises(LockLost):
                async with zk.lock("/locks/job") as held:
                    transaction = zk.transaction(guard=held).set("/state", b"3")
                    await other.delete(held.path)
                    await other.sync()
                    # Whether or not the news has come here already.
                    await transaction.commit()
            assert (await zk.get("/state")).data == b"1"

    on_both(story)


async def test_a_leases_item_can_guard_too(autojump_clock: MockClock) -> None:
    async with crowd(servers=1) as all, all.client("a") as zk:
        await zk.create("/state")
        await zk.work_queue("/queue").put(b"x")
        async with zk.work_queue("/queue") as queue:
            with pytest.raises(zabpy.recipes.LeaseLost):
                async with queue.take() as item:
                    await zk.transaction(guard=item).set("/state", b"1").commit()
                    held = zk.transaction(guard=item).set("/state", b"2")
                    await kill(all.servers, zk.session)
                    await held.commit()
            with trio.fail_after(60):
                async with queue.take() as again:
                    assert again.token > item.token
        assert (await zk.get("/state")).data == b"1"


def test_a_fence_lets_nobody_with_an_older_token_write() -> None:
    with sqlite3.connect(":memory:") as db:
        job, other = Fence("job", paramstyle=sqlite3.paramstyle), Fence("other")
        job.create_table(db.cursor())
        job.create_table(db.cursor())
        job.admit(db.cursor(), 0x100000005)
        job.admit(db.cursor(), 0x100000005)
        job.admit(db.cursor(), 0x200000001)
        other.admit(db.cursor(), 7)
        with pytest.raises(StaleTokenError, match="job: token 0x100000005 is older"):
            job.admit(db.cursor(), 0x100000005)
        job.admit(db.cursor(), 0x7FFFFFFF00000000)
        assert dict(db.execute("SELECT resource, token FROM fences")) == {"job": 0x7FFFFFFF00000000, "other": 7}


def test_a_row_with_a_fence_of_its_own_is_changed_by_the_newest_only() -> None:
    """The statement at the head of fencing.py."""
    with sqlite3.connect(":memory:") as db:
        db.execute("CREATE TABLE accounts (id INTEGER PRIMARY KEY, balance INTEGER, fence INTEGER)")
        db.execute("INSERT INTO accounts VALUES (1, 0, 0)")
        update = "UPDATE accounts SET balance = :balance, fence = :token WHERE id = :id AND fence <= :token"
        changed = [
            db.execute(update, {"id": 1, "balance": balance, "token": token}).rowcount
            for balance, token in ((10, 5), (20, 5), (30, 9), (40, 5))
        ]
        assert changed == [1, 1, 1, 0]
        assert db.execute("SELECT balance, fence FROM accounts").fetchone() == (30, 9)


def test_a_fence_that_cannot_be_is_refused() -> None:
    with pytest.raises(zabpy.BadArgumentsError, match="no name of a table"):
        Fence("job", table="fences; DROP TABLE x")
    with pytest.raises(zabpy.BadArgumentsError, match="paramstyle='named'"):
        Fence("job", paramstyle="named")
    assert Fence("job", table="ops.fences") is not None
