"""A commit is whole, for one revision, and done once."""

import itertools
from collections.abc import Awaitable, Callable

import anyio
import pytest

import zabpy
from zabpy.client import ConnectionLossError, RequestTooLargeError, TransactionFailedError
from zabpy.client.transaction import Result, Transaction
from zabpy.config import (
    BadNameError,
    BadSchemaError,
    BadSettingsError,
    CanaryError,
    CommitTooLargeError,
    Config,
    ConflictError,
    Keyring,
    NoConfigStoreError,
    Secret,
    SecretError,
    Secrets,
    StaleBaseError,
    Store,
    key_line,
    read,
    reading,
)
from zabpy.config.reading import Seen, follow
from zabpy.model import BadArgumentsError, NoAuthError

Both = Callable[[Callable[[], Awaitable[None]]], None]


def test_what_is_committed_is_read(on_both: Both, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            store = Store(zk, "/config/s1")
            await store.create()
            await store.create()
            assert await store.commit({("default", "a"): b"1", ("env.prod", "b"): b"2"}, author="me") == 1
            assert await store.commit({("default", "a"): None, ("env.prod", "b"): b"3"}, base=1) == 2
            seen = await read(zk, "/config/s1", ["default", "env.prod"])
            assert (seen.revision, seen.entries) == (2, {("env.prod", "b"): b"3"})

    on_both(story)


def test_what_cannot_be_committed_leaves_all_as_it_was(on_both: Both, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            store = Store(zk, "/config/s2")
            await store.create()
            await store.commit({("default", "a"): b"1"})
            with pytest.raises(StaleBaseError, match="made for revision 0, but it is at 1"):
                await store.commit({("default", "a"): b"2"}, base=0)
            with pytest.raises(BadNameError):
                await store.commit({("default", "../a"): b"2"})
            with pytest.raises(RequestTooLargeError):
                await store.commit({("default", "a"): b"2", ("default", "b"): b"x" * 2_000_000})
            seen = await read(zk, "/config/s2", ["default"])
            assert (seen.revision, seen.entries) == (1, {("default", "a"): b"1"})
            await zk.create("/config/other", b"else")
            with pytest.raises(NoConfigStoreError):
                await Store(zk, "/config/other").commit({("default", "a"): b"2"})
            with pytest.raises(NoConfigStoreError):
                await Store(zk, "/config/other").create()

    on_both(story)


def test_of_writers_at_once_each_commit_is_done_once_though_answers_are_lost(
    on_both: Both, hosts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    really, sent = Transaction.commit, itertools.count()

    async def lossy(self: Transaction) -> list[Result]:
        turn = next(sent) % 3
        if turn == 0:  # lost on its way there
            raise ConnectionLossError("lost")
        results = await really(self)
        if turn == 1:  # lost on its way back
            raise ConnectionLossError("lost")
        return results

    async def story() -> None:
        done: list[int] = []
        monkeypatch.setattr(Transaction, "commit", lossy)

        async def attempt(zk: zabpy.Client, store: Store, key: str, value: bytes) -> bool:
            try:
                done.append(await store.commit({("default", key): value}))
            except StaleBaseError:
                return False
            return True

        async def write(number: int) -> None:
            async with zabpy.connect(hosts) as zk:
                store = Store(zk, "/config/s3")
                await store.create()
                for turn in range(4):
                    value = str(turn).encode()
                    while not await attempt(zk, store, f"k{number}", value):
                        pass

        async with anyio.create_task_group() as writers:
            for number in range(3):
                writers.start_soon(write, number)
        assert sorted(done) == list(range(1, 13))
        async with zabpy.connect(hosts) as zk:
            assert (await read(zk, "/config/s3", ["default"])).revision == 12

    async def bounded() -> None:
        with anyio.fail_after(20):
            await story()

    on_both(bounded)


def test_a_commit_is_made_anew_on_top_of_those_that_change_other_keys(hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            store = Store(zk, "/app")
            await store.create()
            await store.commit({"a": "1", "b": "1"})
            await store.commit({"b": "2"})
            assert await store.commit({"a": "2"}, base=1, rebase=True) == 3
            with pytest.raises(
                ConflictError, match=r"changed since revision 1, by others: a \(layer default\), b"
            ) as met:
                await store.commit({"a": "3", "b": "3", "c": "3"}, base=1, rebase=True)
            assert met.value.keys == (("default", "a"), ("default", "b")) and met.value.revision == 3
            with pytest.raises(StaleBaseError):
                await store.commit({"c": "1"}, base=-2)
            with pytest.raises(StaleBaseError, match="made for revision 9, but it is at 3"):
                await store.commit({"c": "1"}, base=9, rebase=True)
            await store.commit({}, schema=b"{}")
            with pytest.raises(ConflictError, match="the schema"):
                await store.commit({}, schema=b'{"type": "object"}', base=3, rebase=True)
            assert await store.commit({"c": "1"}, base=-1) == 5
            await zk.delete("/app/.rev/0000000002")
            with pytest.raises(StaleBaseError):  # what was changed cannot be told any more
                await store.commit({"d": "1"}, base=1, rebase=True)

    anyio.run(story)


def test_what_does_not_fit_is_refused_and_what_is_mended_is_not(on_both: Both, hosts: str) -> None:
    schema = b'{"properties": {"port": {"type": "integer"}, "pool": {"properties": {"size": {"maximum": 9}}}}}'

    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            store = Store(zk, "/app")
            await store.create()
            refused: list[tuple[dict[str, str | bytes], str]] = [
                ({"pool.json": "{"}, "pool.json .layer default.: no JSON: .* line 1 column 2"),
                ({"a": b"\xff"}, "a .layer default.*no UTF-8"),
                ({"a": "1", "a.b": "2"}, "a.b .layer default.: it is a value and has values below it: see a"),
                ({"p.json": "{}", "p.yaml": ""}, "it says the same as"),
            ]
            for changes, reason in refused:
                with pytest.raises(BadSettingsError, match=reason):
                    await store.commit(changes)
            await store.commit({"port": "5", "pool.json": '{"size": 12}'})
            with pytest.raises(BadSettingsError, match=r"pool.size .* 12 is greater .* \(line 1 of pool.json\)"):
                await store.commit({"port": "6"}, schema=schema)
            with pytest.raises(BadSchemaError):
                await store.commit({}, schema=b"[]")
            assert (await store.at()).revision == 1
            assert await store.commit({"pool.json": '{"size": 9}'}, schema=schema) == 2
            with pytest.raises(BadSettingsError, match="port .layer env.prod. = 'many': expected integer"):
                await store.commit({("env.prod", "port"): "many"})
            [problem] = await store.check({"pool.json": '{"size": 10}'})
            assert problem.key == "pool.size" and await store.check({"pool.json": '{"size": 8}'}) == []
            with pytest.raises(BadSettingsError, match="12 is greater"):
                await store.rollback(1)
            assert await store.rollback(1, schema=True) == 3
            assert ((await store.at()).schema, (await store.at(2)).schema) == (None, schema)
            assert [each.schema_changed for each in await store.log()] == [True, True, False]

            # By hand two values have come to be wrong. Who mends one of them may.
            await store.rollback(2, schema=True)
            await zk.set("/app/port", b"x")
            await zk.set("/app/pool.json", b'{"size": 99}')
            await store.commit({"port": "7"})
            with pytest.raises(BadSettingsError):
                await store.commit({"port": "y"})

    on_both(story)


def test_a_staged_rollout(on_both: Both, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            store = Store(zk, "/app")
            await store.create()
            await store.commit({"a": "1", "b": "1"})
            with pytest.raises(CanaryError, match="no staged rollout"):
                await store.promote()
            with pytest.raises(CanaryError, match="no staged rollout"):
                await store.canary(None, percent=5)
            for wrong in ({"percent": 101}, {"hosts": "web1"}, {"labels": {"a": 1}}):
                with pytest.raises(BadArgumentsError):
                    await store.canary({"a": "2"}, **wrong)
            with pytest.raises(BadSettingsError):
                await store.canary({"x.json": "{"}, percent=5)
            with pytest.raises(CommitTooLargeError, match="every reader is told of all of it"):
                await store.canary({"a": "x" * 70_000}, percent=5)
            assert await store.canary({"a": "2", "b": None}, hosts=["web1"]) == 2
            with pytest.raises(CanaryError, match="is under way"):
                await store.canary({"a": "3"}, hosts=["web2"])
            assert await store.canary(None, percent=30, labels={"zone": "a"}) == 3
            seen = await read(zk, "/app", ["default"])
            assert seen.canary is not None and seen.entries["default", "a"] == b"1"
            assert (seen.canary.revision, seen.canary.percent, seen.canary.takes("x", {"zone": "a"})) == (2, 30, True)
            assert await store.commit({"c": "1"}) == 4  # and it goes on
            with pytest.raises(BadSettingsError, match="b.c .layer default.: it is a value and has"):
                await store.commit({"a.c": "1", "b.c": "1"})
            with pytest.raises(BadSettingsError, match="a.c .layer default.: it is a value and has values below it"):
                await store.commit({"b": None, "a": None, "a.c": "1"})  # for its readers it would not fit
            assert await store.promote() == 5
            found = await store.at()
            assert (found.canary, found.entries) == (None, {("default", "a"): b"2", ("default", "c"): b"1"})
            await store.canary({"a": "3"}, percent=100)
            await store.commit({"a": "4"})
            with pytest.raises(ConflictError, match=r"changed since revision 6, by others: a"):
                await store.promote()
            assert await store.withdraw() == 8
            assert (await store.at()).canary is None and (await store.at()).entries["default", "a"] == b"4"
            assert [each.kind for each in await store.log(3)] == ["withdraw", "commit", "canary"]
            assert await store.verify() == []

    on_both(story)


def test_values_that_are_to_be_encrypted(hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            secrets = Secrets(Keyring.parse(key_line("k1"), "here"), "/app")
            store, blind = Store(zk, "/app", secrets=secrets), Store(zk, "/app")
            await store.create()
            with pytest.raises(SecretError, match="db.password .layer default.: there is no key"):
                await blind.commit({"db.password": Secret("hunter2")})
            assert await store.commit({"db.password": Secret("hunter2"), "a": "1"}) == 1
            assert await store.commit({"db.password": Secret("hunter2")}) == 1  # the same, though encrypted anew
            kept = (await store.at()).entries["default", "db.password"].decode()
            assert kept.startswith("!enc ") and secrets.reveal("default", "db.password", kept) == "hunter2"
            assert "hunter2" not in repr(Secret("hunter2"))
            data = b"".join(each.data for each in await zk.get_many(["/app/.head", "/app/.rev/0000000001"]) if each)
            assert b"hunter2" not in data and b"!enc" in data
            schema = b'{"properties": {"db": {"properties": {"password": {"minLength": 9}}}}}'
            with pytest.raises(BadSettingsError) as met:
                await store.commit({}, schema=schema)
            assert "hunter2" not in str(met.value)
            assert await blind.commit({}, schema=schema) == 2  # who has no key cannot look into it
            assert await store.commit({"db.password": Secret("hunter2hunter2")}) == 3
            assert [str(each) for each in await store.diff(1)] == ["db.password (layer default): *** -> ***"]

    anyio.run(story)


def test_namespaces_may_be_larger_than_a_frame_and_commits_may_not(hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            store = Store(zk, "/app")
            await store.create()
            value = "x" * 500_000
            for number in range(5):
                await store.commit(
                    {f"large{number}": value + str(number), **{f"k{number}.n{n}": "1" for n in range(9)}}
                )
            seen = await read(zk, "/app", ["default"])
            assert sum(map(len, seen.entries.values())) > 2_500_000 and (seen.revision, seen.verified) == (5, True)
            with pytest.raises(CommitTooLargeError) as met:
                await store.commit({"large1": value + "a", "large2": value + "b", "k1": None})
            assert met.value.size > met.value.limit == 1_048_575
            for part in ("of 2 values takes 2,00", "where 1,048,575 are the most", "large1", "commit them in parts"):
                assert part in str(met.value)
            assert await store.commit({"large1": value + "a"}) == 6
            assert (await store.at(5)).entries == seen.entries
            assert await store.verify() == []

    anyio.run(story)


def test_two_hundred_keys_are_one_transaction(hosts: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    really = Transaction.commit

    async def counted(self: Transaction) -> list[Result]:
        sent.append(len(self))
        return await really(self)

    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            store = Store(zk, "/app")
            await store.create()
            monkeypatch.setattr(Transaction, "commit", counted)
            await store.commit({f"k{number}": "1" for number in range(200)})
            assert sent == [202]  # and the head, and the record

    anyio.run(story)


def test_a_reader_that_follows_is_up_to_date_after_one_look(
    on_both: Both, hosts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    get, get_many = zabpy.Client.get, zabpy.Client.get_many

    async def counted_get(self: zabpy.Client, path: str) -> object:
        asked.append(path)
        return await get(self, path)

    async def counted_get_many(self: zabpy.Client, paths: list[str]) -> object:
        asked.append(f"{len(paths)} of them")
        return await get_many(self, paths)

    async def story() -> None:
        async with zabpy.connect(hosts) as zk, zabpy.connect(hosts) as other:
            store = Store(zk, "/app")
            await store.create()
            await store.commit({f"k{number}": "1" for number in range(20)})
            async with follow(other, "/app", ["default", "x"]) as states:
                state = await anext(states)
                with monkeypatch.context() as patch:
                    for number in range(2, 6):
                        await store.commit({"k1": str(number), ("x", f"new{number}"): "1", f"k{number}": None})
                        patch.setattr(zabpy.Client, "get", counted_get)
                        patch.setattr(zabpy.Client, "get_many", counted_get_many)
                        state = await anext(states)
                        patch.undo()
                assert state.revision == 5 and asked == ["/app/.head"] * 4
            assert state.entries == (await store.at()).entries

            # Also who was away a while; and who holds something else looks at all of it.
            await store.commit({"k1": "7"})
            await store.commit({"k1": "8"})
            wrong = Seen(state.revision, {}, None, state.zxid, state.born, {})
            for known, looks in ((state, 0), (wrong, 1)):
                many: list[int] = []

                async def counted(self: zabpy.Client, paths: list[str], many: list[int] = many) -> object:
                    many.append(len(paths))
                    return await get_many(self, paths)

                async with follow(other, "/app", ["default", "x"], known) as states:
                    with monkeypatch.context() as patch:
                        patch.setattr(zabpy.Client, "get_many", counted)
                        found = await anext(states)
                assert found.entries == (await store.at()).entries and found.revision == 7
                assert len(many) == looks * 2

    on_both(story)


def test_a_reader_that_has_seen_more_at_another_server_waits_for_that(
    hosts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            store = Store(zk, "/app")
            await store.create()
            await store.commit({"a": "1"})
            new = await read(zk, "/app", ["default"])
            old = Seen(0, {}, None, new.zxid - 1, new.born, {})
            really, states = reading.read, [old, new]

            async def lagging(zk: zabpy.Client, path: str, layers: list[str]) -> Seen:
                return states.pop(0) if states else await really(zk, path, layers)

            monkeypatch.setattr(reading, "read", lagging)
            # Of the process that ran before a cache tells nothing but the revision.
            for known in (Seen(1, {}), Seen(1, {}, None, new.zxid + 1)):
                states[:] = [old, new]
                async with follow(zk, "/app", ["default"], known) as followed:
                    assert await anext(followed) == new and states == []

    anyio.run(story)


def test_whoever_may_not_write_may_read_and_say_so(hosts: str) -> None:
    acl = [zabpy.creator_acl(), zabpy.world_acl("r")]

    async def story() -> None:
        async with zabpy.connect(hosts, auth=[("digest", "ann:secret")]) as zk, zabpy.connect(hosts) as other:
            store = Store(zk, "/app", acl=acl)
            await store.create()
            await store.commit({"a": "1", ("x", "a"): "1"}, schema=b"{}")
            async with Config.open(other, "/app", layers=["x"]) as cfg:
                assert cfg.current == {"a": "1"}
                with anyio.fail_after(10):
                    while not await store.readers():  # noqa: ASYNC110
                        await anyio.sleep(0.01)
            for changes in ({"b": "1"}, {"a": "2"}, {("x", "a"): None}):
                with pytest.raises(TransactionFailedError) as met:
                    await Store(other, "/app").commit(changes)
                assert isinstance(met.value.error, NoAuthError)
            for path in ("a", ".layers/x/a", ".schema", ".rev/0000000001", ".head"):
                with pytest.raises(NoAuthError):
                    await other.set(f"/app/{path}", b"")
            assert await store.rollback(0, schema=True) == 2

    anyio.run(story)
