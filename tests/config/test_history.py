"""What was, and what of it is kept; what others than commits do to a namespace, and how it is mended."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

import zabpy
from zabpy.client import ConnectionLossError, NoServerError
from zabpy.client.transaction import Result, Transaction
from zabpy.config import DamagedError, NoConfigStoreError, Store, UnknownRevisionError, read, writing
from zabpy.config.head import EARLIER_MAX, RECENT_BYTES_MAX, Head, Sum, form_of, sums_of, value_of

Both = Callable[[Callable[[], Awaitable[None]]], None]


@asynccontextmanager
async def opened(hosts: str, path: str = "/app") -> AsyncIterator[tuple[zabpy.Client, Store]]:
    async with zabpy.connect(hosts) as zk:
        store = Store(zk, path)
        await store.create()
        yield zk, store


async def filled(store: Store, count: int) -> None:
    for number in range(1, count + 1):
        await store.commit({"n": str(number), f"k{number % 3}": None if number % 4 == 0 else str(number)}, author="ann")


def test_log_diff_and_any_revision(on_both: Both, hosts: str) -> None:
    async def story() -> None:
        async with opened(hosts) as (_, store):
            await store.commit({"a": "1", "db.password": "x"}, author="ann", message="first")
            await store.commit({"a": "2", ("env.prod", "b"): "3"})
            await store.commit({"a": None})
            assert [(each.revision, each.author, each.message) for each in await store.log()][2] == (1, "ann", "first")
            assert [each.revision for each in await store.log(2)] == [3, 2]
            assert [each.revision for each in await store.log(5, before=3)] == [2, 1]
            assert list(map(str, await store.diff())) == ["a (layer default): '2' -> ABSENT"]
            assert list(map(str, await store.diff(0, 2))) == [
                "a (layer default): ABSENT -> '2'",
                "db.password (layer default): ABSENT -> ***",
                "b (layer env.prod): ABSENT -> '3'",
            ]
            second = await store.at(-2)
            assert second.layers() == {"default": {"a": b"2", "db.password": b"x"}, "env.prod": {"b": b"3"}}
            assert (second.revision, second.verified, (await store.at(0)).entries) == (2, True, {})
            for wrong in (4, -5):
                with pytest.raises(UnknownRevisionError, match=f"no revision {wrong}: it is at 3"):
                    await store.at(wrong)
            assert await store.rollback(1, message="back") == 4
            assert (await store.at()).entries == (await store.at(1)).entries
            assert [(each.kind, each.of, each.keys) for each in await store.log(1)] == [
                ("rollback", 1, (("default", "a"), ("env.prod", "b")))
            ]
            assert await store.rollback(1) == 4  # nothing would be another value

    on_both(story)


def test_of_the_history_the_oldest_goes_and_the_rest_stays_right(hosts: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "REMOVED_MAX", 3)
    monkeypatch.setattr(writing, "KEPT_MIN", 2)

    async def story() -> None:
        async with opened(hosts) as (zk, store):

            async def kept() -> list[int]:
                assert await store.verify() == []
                return sorted(map(int, await zk.children("/app/.rev")))

            await filled(store, 12)
            before = {number: await store.at(number) for number in range(13)}
            await store.retain(records_max=4)
            await store.commit({"x": "1"})
            assert await kept() == list(range(4, 14))  # three with each commit
            for number in range(3):
                await store.commit({"x": f"and {number}"})
            assert await kept() == [13, 14, 15, 16]
            assert await store.at(12) == before[12]
            with pytest.raises(UnknownRevisionError, match="revision 11 is not kept any more"):
                await store.at(11)
            assert [each.revision for each in await store.log()] == [16, 15, 14, 13]

            await store.retain(age_ms_max=0)  # by the servers' clocks: the last commit is not older than itself
            await anyio.sleep(0.005)
            await store.commit({"x": "a"})
            await store.commit({"x": "b"})
            assert await kept() == [17, 18]
            await store.retain()
            await filled(store, 3)
            assert await kept() == [17, 18, 19, 20, 21]

    anyio.run(story)


def test_whose_record_is_gone_is_not_told_that_nothing_was_done(hosts: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with opened(hosts) as (_, store), zabpy.connect(hosts) as other:
            really = Transaction.commit

            async def lost(self: Transaction) -> list[Result]:
                monkeypatch.setattr(Transaction, "commit", really)
                await really(self)
                await Store(other, "/app").retain(records_max=1)
                await filled(Store(other, "/app"), 2)
                raise ConnectionLossError("lost")

            monkeypatch.setattr(Transaction, "commit", lost)
            with pytest.raises(ConnectionLossError, match="revision 1 may have been committed: its record is gone"):
                await store.commit({"a": "1"})

            async def gone(self: Transaction) -> list[Result]:
                raise ConnectionLossError("lost")

            async def nobody(*_: object) -> None:
                raise NoServerError("nobody is there: what was asked for was not done")

            # Nor is he who finds nobody to ask.
            monkeypatch.setattr(Transaction, "commit", gone)
            monkeypatch.setattr(zabpy.Client, "sync", nobody)
            with pytest.raises(ConnectionLossError, match="revision 4 may have been committed: nobody is there"):
                await store.commit({"a": "2"})

    anyio.run(story)


def test_values_that_are_changed_by_hand(hosts: str) -> None:
    async def story() -> None:
        async with opened(hosts) as (zk, store):
            await filled(store, 4)
            await zk.set("/app/n", b"by hand \xff")
            assert not (await read(zk, "/app", ["default"])).verified
            wrong = await store.verify()
            assert wrong[0].startswith("the values are not those of revision 4") and "no UTF-8" in wrong[-1]
            with pytest.raises(DamagedError, match="revision 2 cannot be told for sure"):
                await store.rollback(2)
            assert (await store.at(2)).entries["default", "n"] == b"2" and not (await store.at(2)).verified

            await store.commit({"other": "1"})  # takes it for what there is
            found = await read(zk, "/app", ["default"])
            assert found.verified and found.entries["default", "n"] == b"by hand \xff"
            await store.commit({"n": "6"})
            assert (await store.at(5)).entries == found.entries  # what is no text is kept as it was
            assert (await store.verify()) == [
                "revision 4 and those before it cannot be told for sure: values were changed without a commit"
            ]
            assert await store.rollback(4 + 2) == 6 and await store.rollback(-1) == 6

            # Made by hand, too: it is there already, or gone already. The next commit goes by what there is.
            await zk.create("/app/new", b"1")
            await zk.delete("/app/n")
            assert await store.commit({"new": "2", "n": "7"}) == 7
            assert (await read(zk, "/app", ["default"])).verified

    anyio.run(story)


@pytest.mark.parametrize("head", [None, b"", b"\xff", b"[1]", b'{"revision": "4"}', b'{"revision": 2, "later": 1}'])
def test_a_head_that_was_damaged_is_mended(head: bytes | None, hosts: str) -> None:
    async def story() -> None:
        async with opened(hosts) as (zk, store):
            await filled(store, 4)
            before = await store.at()
            if head is None:
                await zk.delete("/app/.head")
            else:
                await zk.set("/app/.head", head)
            with pytest.raises((NoConfigStoreError, DamagedError)):
                await store.commit({"a": "1"})
            assert await store.verify() != []
            assert await store.repair(author="ann") == 5
            assert await store.verify() == []
            assert (await store.at()).entries == before.entries
            assert [each.kind for each in await store.log()] == ["repair", *["commit"] * 4]
            assert await store.rollback(2) == 6

    anyio.run(story)


def test_records_that_are_gone_or_damaged(hosts: str) -> None:
    async def story() -> None:
        async with opened(hosts) as (zk, store):
            await filled(store, 6)
            await zk.delete("/app/.rev/0000000003")
            assert await store.verify() == ["the records of 1 revisions are gone; the newest of them is 3"]
            assert [each.revision for each in await store.log()] == [6, 5, 4]
            assert (await store.at(3)).entries["default", "n"] == b"3"
            with pytest.raises(UnknownRevisionError, match="the record of 3 is gone"):
                await store.at(2)
            await zk.set("/app/.rev/0000000005", b"{}")
            with pytest.raises(DamagedError, match="/app: the record of revision 5 cannot be read"):
                await store.log()
            assert "the record of revision 5 cannot be read" in (await store.verify())[1]
            assert await store.commit({"a": "1"}) == 7

    anyio.run(story)


def test_what_a_later_version_has_added_stays(hosts: str) -> None:
    async def story() -> None:
        async with opened(hosts) as (zk, store):
            await store.commit({"a": "1", ("x", "a"): "1"})

            async def change(path: str, change: Callable[[dict[str, Any]], object]) -> None:
                found = json.loads((await zk.get(path)).data or b"{}")
                change(found)
                await zk.set(path, json.dumps(found).encode())

            await change("/app/.head", lambda head: head.update(later={"x": 1}))
            await change("/app/.rev", lambda kept: kept.update(later=2))
            await change("/app/.rev/0000000001", lambda record: record.update(later=3))
            await store.retain(records_max=5)
            await store.canary({"a": "2"}, percent=5)
            await change("/app/.head", lambda head: head["canary"].update(later=5))
            await store.commit({"b": "1", ("x", "a"): "2"})
            head = json.loads((await zk.get("/app/.head")).data)
            assert (head["later"], head["canary"]["later"]) == ({"x": 1}, 5)
            assert json.loads((await zk.get("/app/.rev")).data) == {"later": 2, "records": 5, "age_ms": None}
            assert (await store.at(0)).entries == {} and await store.verify() == []
            await zk.set("/app", b'{"format": "zabpy.config", "version": 2}')
            for each in (store.commit({"a": "2"}), store.at(), store.log()):
                with pytest.raises(NoConfigStoreError, match="version 2"):
                    await each

    anyio.run(story)


# Forms ----------------------------------------------------------------------------------------------------------------


def test_sums_are_of_what_is_there_in_whichever_order_it_came() -> None:
    one, two = ("default", "ab"), ("default", "a")
    assert Sum().plus(one, b"c").plus(two, b"bc") == Sum().plus(two, b"bc").plus(one, b"c")
    assert Sum().plus(one, b"c").hash != Sum().plus(two, b"bc").hash
    assert (
        Sum().plus(one, b"c").plus(two, b"").minus(two, b"") == Sum().plus(one, b"c") == sums_of({one: b"c"})["default"]
    )
    assert Sum().hash == "0" * 64


def test_values_in_json() -> None:
    for value in (None, b"", b"x", "ü\0".encode(), b"\xff\0"):
        assert value_of(json.loads(json.dumps(form_of(value)))) == value
    wrongs: list[Any] = [1, [], {}, {"base64": "?"}, {"base64": 1}]
    for wrong in wrongs:
        with pytest.raises(ValueError):
            value_of(wrong)


def test_a_head_tells_of_the_last_changes_while_they_are_small() -> None:
    head = Head(0, {})
    recent: list[Any] = []
    for revision in range(1, 60):
        recent = head.recent_with(revision, {("default", "a"): str(revision).encode(), ("x", "b"): None})
        head = Head(revision, {"recent": recent})
    assert len(recent) == EARLIER_MAX + 1
    assert head.since(58) == head.since(30) == {("default", "a"): b"59", ("x", "b"): None}
    assert head.since(59) == {} and head.since(25) is None and head.since(60) is None
    assert head.recent_with(60, {("default", "a"): b"x" * RECENT_BYTES_MAX}) == []
    large = Head(60, {"recent": head.recent_with(60, {("default", "a"): b"x" * (RECENT_BYTES_MAX - 40)})})
    assert large.since(59) is not None and large.since(58) is None
    for wrong in ([], [[60]], [["60", []]], [[60, [["a", "b"]]]], [[60, [["a", "b", 1]]]], 1, None):
        assert Head(60, {"recent": wrong}).since(59) is None
    # What another client has left out of it is not told as if it were nothing.
    assert Head(61, {"recent": large.fields["recent"]}).since(60) is None
