"""Every operation of the protocol, on a real server, under trio and under asyncio."""

from collections.abc import Callable

import anyio
import pytest

import zabpy
from tests.client.conftest import Story, reconnect
from zabpy.client import Op, records
from zabpy.model import ALL, READ, Acl, Identity

OnBoth = Callable[[Story], None]


def test_every_kind_of_znode(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            made = await zk.create("/a", b"1", acl=[Acl(READ, "world", "anyone"), Acl(ALL, "ip", "127.0.0.1")])
            assert made.path == "/a" and made.stat.data_length == 1 and made.stat.ephemeral_owner == 0
            mine = await zk.create("/e", ephemeral=True)
            assert mine.stat.ephemeral_owner == zk.session.id
            first, second = await zk.create("/q-", sequence=True), await zk.create("/q-", sequence=True, ephemeral=True)
            assert first.path == "/q-0000000002" and second.path == "/q-0000000003"
            assert (await zk.create("/c", container=True)).stat.ephemeral_owner == 0
            assert (await zk.create("/c/", sequence=True)).path == "/c/0000000000"
            assert (await zk.create("/x/y/z", b"deep", parents=True)).path == "/x/y/z"
            assert (await zk.get("/x/y/z")).data == b"deep"
            assert sorted(await zk.children("/")) == ["a", "c", "e", "q-0000000002", "q-0000000003", "x"]
            assert await zk.ephemerals() == ["/e", "/q-0000000003"] and await zk.ephemerals("/q") == ["/q-0000000003"]
            assert await zk.count_descendants() == 9 and await zk.count_descendants("/x") == 2
            with pytest.raises(zabpy.UnimplementedError):
                await zk.create("/t", ttl_ms=1000)  # switched off, as it comes
            assert (await zk.get("/a")).data == b"1"

    on_both(story)


def test_errors_say_what_they_are_about(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            await zk.create("/a")
            await zk.create("/a/b", ephemeral=True)
            for call, kind, operation, path in [
                (zk.create("/a"), zabpy.NodeExistsError, "create", "/a"),
                (zk.create("/no/b"), zabpy.NoNodeError, "create", "/no/b"),
                (zk.create("/a/b/c"), zabpy.NoChildrenForEphemeralsError, "create", "/a/b/c"),
                (zk.create("/i", acl=[]), zabpy.InvalidAclError, "create", "/i"),
                (zk.delete("/a"), zabpy.NotEmptyError, "delete", "/a"),
                (zk.set("/a", b"", 7), zabpy.BadVersionError, "set", "/a"),
                (zk.get("/no"), zabpy.NoNodeError, "get", "/no"),
                (zk.get_acl("/no"), zabpy.NoNodeError, "get_acl", "/no"),
                (zk.set_acl("/a", zabpy.OPEN_ACL, 7), zabpy.BadVersionError, "set_acl", "/a"),
                (zk.children("/no"), zabpy.NoNodeError, "children", "/no"),
                (zk.count_descendants("/no"), zabpy.NoNodeError, "count_descendants", "/no"),
            ]:
                with pytest.raises(kind) as error:
                    await call
                found = error.value
                assert (found.operation, found.path, found.attempt) == (operation, path, 1)
                assert found.session_id == zk.session.id and found.server == zk.server and found.zxid > 0
                assert path in str(found) and operation in str(found)

    on_both(story)


@pytest.mark.parametrize("path", ["a", "", "/a/", "/a//b", "/a/../b", "/a/./b", "/a\0b", "/\U0001f600", "/\ud800"])
def test_what_is_no_path_is_refused_before_it_is_sent(path: str, on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            for call in (zk.create, zk.get, zk.exists, zk.children, zk.delete, zk.delete_tree, zk.ensure, zk.get_acl):
                with pytest.raises(zabpy.BadArgumentsError) as error:
                    await call(path)
                assert error.value.path == path and error.value.operation
            with pytest.raises(zabpy.BadArgumentsError):
                zk.transaction().delete(path)
            with pytest.raises(zabpy.BadArgumentsError):
                await zk.get_many(["/", path])

    on_both(story)


def test_what_is_no_data_or_kind_is_refused_before_it_is_sent(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            with pytest.raises(zabpy.BadArgumentsError, match="bytes, not str"):
                await zk.create("/a", "text")  # type: ignore[arg-type]
            with pytest.raises(zabpy.BadArgumentsError, match="bytes, not int"):
                await zk.set("/", 5)  # type: ignore[arg-type]
            with pytest.raises(zabpy.BadArgumentsError, match="text, not 5"):
                await zk.get(5)  # type: ignore[arg-type]
            for kind in ({"container": True, "ephemeral": True}, {"ttl_ms": 5, "ephemeral": True}, {"ttl_ms": 0}):
                with pytest.raises(zabpy.BadArgumentsError):
                    await zk.create("/a", **kind)
            assert await zk.exists("/a") is None

    on_both(story)


def test_a_request_too_large_is_not_sent_and_says_what_it_was(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            await zk.create("/a")
            with pytest.raises(zabpy.RequestTooLargeError) as error:
                await zk.set("/a", b"x" * 1_048_575)
            found = error.value
            assert (found.operation, found.path, found.limit) == ("set", "/a", 1_048_575) and found.size > found.limit
            with pytest.raises(zabpy.RequestTooLargeError) as error:
                async with zk.transaction() as t:
                    t.set("/a", b"x" * 600_000).set("/a", b"y" * 600_001)
            assert error.value.operation == "transaction"
            assert "transaction of 2 operations" in error.value.__notes__[0] and "set /a" in error.value.__notes__[0]
            full = f"/{hosts.partition('/')[2]}/a"
            largest = 1_048_575 - 8 - 4 - len(full) - 4 - 4
            assert (await zk.set("/a", b"x" * largest)).data_length == largest
            with pytest.raises(zabpy.RequestTooLargeError):
                await zk.set("/a", b"x" * (largest + 1))
        async with zabpy.connect(hosts, frame_bytes_max=1000) as zk:
            with pytest.raises(zabpy.RequestTooLargeError, match="1000"):
                await zk.create("/b", b"x" * 1000)
            assert await zk.exists("/b") is None

    on_both(story)


def test_who_may_do_what(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            await zk.create("/a")
            assert (await zk.get_acl("/a"))[0] == zabpy.OPEN_ACL
            stat = await zk.set_acl("/a", zabpy.READ_ACL, 0)
            assert stat.aversion == 1 and (await zk.get_acl("/a")) == (zabpy.READ_ACL, stat)
            with pytest.raises(zabpy.NoAuthError) as error:
                await zk.set("/a", b"")
            assert error.value.path == "/a"
            with pytest.raises(zabpy.NoAuthError):
                await zk.create("/a/b", parents=True)
            assert ("ip", "127.0.0.1") in await zk.whoami() and all(type(i) is Identity for i in await zk.whoami())

    on_both(story)


def test_ensuring_makes_what_is_missing_the_chroot_too(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts + "/not/there") as zk:
            with pytest.raises(zabpy.NoNodeError):
                await zk.create("/a")
            await zk.ensure("/x/y")
            await zk.ensure("/x/y")
            assert await zk.children("/") == ["x"] and await zk.children("/x") == ["y"]
        async with zabpy.connect(hosts + "/nor/this") as zk:
            assert (await zk.create("/a", parents=True)).path == "/a"

    on_both(story)


def test_many_are_read_at_one_moment(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            for number in range(5):
                await zk.create(f"/n{number}", b"%d" % number)
            await zk.create("/n1/below")
            found = await zk.get_many(["/n3", "/none", "/n1"])
            assert found == [await zk.get("/n3"), None, await zk.get("/n1")]
            assert await zk.children_many(["/n1", "/none", "/n2"]) == [["below"], None, []]
            assert await zk.get_many([]) == [] and await zk.get_many(["/none"]) == [None]
            await zk.set_acl("/n2", [Acl(ALL, "digest", "somebody:else")])
            with pytest.raises(zabpy.NoAuthError) as error:
                await zk.get_many(["/n1", "/n2"])
            assert error.value.path == "/n2"

    on_both(story)


def test_many_paths_go_in_several_requests(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts, frame_bytes_max=300) as zk:
            paths = [f"/{'n' * 20}{number}" for number in range(20)]
            for path in paths:
                await zk.create(path, path.encode())
            found = await zk.get_many(paths)
            assert [znode.data for znode in found if znode] == [path.encode() for path in paths]

    on_both(story)


def test_many_acls_are_read_in_one_go(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            paths = [f"/n{number}" for number in range(1_200)]  # more than go at once
            async with zk.transaction() as t:
                for path in paths[:-1]:
                    t.create(path)
            found = await zk.get_acl_many(paths)
            assert found[7] == await zk.get_acl("/n7")
            assert found[-1] is None and None not in found[:-1]
            assert await zk.get_acl_many([]) == []
            # A connection that breaks meanwhile: they are reads, and are asked again.
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(reconnect, zk)
                assert await zk.get_acl_many(paths) == found
            await zk.set_acl("/n2", [Acl(READ, "digest", "somebody:else")])
            with pytest.raises(zabpy.NoAuthError) as error:
                await zk.get_acl_many(["/n1", "/n2"])
            assert (error.value.path, error.value.operation) == ("/n2", "get_acl_many")
            with anyio.move_on_after(0.001):
                await zk.get_acl_many(paths * 5)
            assert await zk.get_acl("/n7") == found[7]

    on_both(story)


def test_a_transaction_is_done_as_a_whole(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            await zk.create("/a", b"1")
            async with zk.transaction() as t:
                t.check("/a", 0).set("/a", b"2", 0).create("/a/q-", b"3", sequence=True, ephemeral=True)
                t.create("/c", container=True)
                t.delete("/c")
                t.create("/d")
                assert len(t) == 6 and await zk.exists("/d") is None
            _, stat, made, container, gone, _ = t.results
            assert t.results[0] is None and gone is None and (await zk.get("/a")).data == b"2"
            assert isinstance(stat, zabpy.Stat) and stat.version == 1
            assert (made, container) == ("/a/q-0000000000", "/c")
            assert (await zk.get("/a/q-0000000000")).data == b"3"
            assert await zk.transaction().commit() == []

    on_both(story)


def test_a_transaction_that_fails_says_where_and_nothing_of_it_is_done(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            await zk.create("/a", b"1")
            with pytest.raises(zabpy.TransactionFailedError) as error:
                async with zk.transaction() as t:
                    t.create("/b")
                    t.set("/a", b"2", 5)
                    t.delete("/a")
            found = error.value
            assert (found.index, found.operation, found.path) == (1, "set", "/a")
            assert isinstance(found.error, zabpy.BadVersionError) and found.session_id == zk.session.id
            assert await zk.exists("/b") is None and (await zk.get("/a")).data == b"1" and t.results == []
            with pytest.raises(ValueError, match="mine"):
                async with zk.transaction() as t:
                    t.create("/b")
                    raise ValueError("mine")
            assert await zk.exists("/b") is None
            t = zk.transaction().create("/b")
            await t.commit()
            with pytest.raises(RuntimeError):
                await t.commit()
            with pytest.raises(RuntimeError):
                t.delete("/b")

    on_both(story)


def test_a_tree_is_deleted_whatever_others_do_meanwhile(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk, zabpy.connect(hosts) as other:
            assert await zk.delete_tree("/no") == 0
            for path in ("/t/a/1", "/t/a/2", "/t/b/1", "/t/c", "/tt"):
                await zk.create(path, parents=True)
            assert await zk.delete_tree("/t") == 7
            assert await zk.children("/") == ["tt"]

            async def disturb() -> None:
                for number in range(100):
                    try:
                        await other.create(f"/t/{number % 7}/{number}", parents=True)
                        await other.delete_tree(f"/t/{(number + 3) % 7}")
                    except zabpy.NoNodeError:
                        pass

            await zk.ensure("/t")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(disturb)
                for _ in range(20):
                    await zk.delete_tree("/t")
            await zk.delete_tree("/t")
            assert await zk.children("/") == ["tt"]
            for path in ("/", "/zookeeper" if "/" not in hosts else "/"):
                with pytest.raises(zabpy.BadArgumentsError):
                    await zk.delete_tree(path)

    on_both(story)


def test_the_system_stays(on_both: OnBoth, one_server: str) -> None:
    async def story() -> None:
        async with zabpy.connect(one_server) as zk:
            for path in ("/", "/zookeeper", "/zookeeper/config", "/zookeeper/quota"):
                with pytest.raises(zabpy.BadArgumentsError):
                    await zk.delete_tree(path)

    on_both(story)


def test_what_stops_the_deletion_of_a_tree_comes_out_as_it_is(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            for number in range(30):
                await zk.create(f"/t/{number}/x", parents=True)
            await zk.set_acl("/t/7", zabpy.READ_ACL)
            with pytest.raises(zabpy.NoAuthError) as error:
                await zk.delete_tree("/t")
            assert error.value.path == "/t/7/x"

    on_both(story)


def test_a_raw_request_tells_null_data_from_none(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            await zk.create("/null", None)
            await zk.create("/empty", b"")
            assert (await zk.get("/null")).data == b"" == (await zk.get("/empty")).data
            full = f"/{hosts.partition('/')[2]}"
            found = await zk.request(Op.GET_DATA, records.GetDataRequest(f"{full}/null", False))
            assert found.data is None and found.stat == await zk.exists("/null")
            assert (await zk.request(Op.GET_DATA, records.GetDataRequest(f"{full}/empty", False))).data == b""
            assert (await zk.request(Op.DELETE, records.DeleteRequest(f"{full}/null", -1))) is None
            assert await zk.exists("/null") is None
            with pytest.raises(zabpy.NoNodeError):
                await zk.request(Op.DELETE, records.DeleteRequest(f"{full}/null", -1))
            for opcode, record in [(4, records.DeleteRequest("/", 0)), (999, None), (Op.DELETE_CONTAINER, None)]:
                with pytest.raises(zabpy.BadArgumentsError):
                    await zk.request(opcode, record)

    on_both(story)


def test_the_configuration_of_a_standalone_server_names_nobody(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            config = await zk.get_config()
            assert config.data == b"" and config.members.servers == ()
            with pytest.raises((zabpy.NoAuthError, zabpy.UnimplementedError, zabpy.ReconfigDisabledError)):
                await zk.reconfig(joining="server.9=127.0.0.1:1:2;3")

    on_both(story)
