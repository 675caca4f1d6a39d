"""A client that comes back to another server puts its watches back there, and misses no event."""

from trio.testing import MockClock

from tests.server.raw_client import RawClient
from tests.server.servers import client_of, ensemble
from zabpy.model import OPEN_ACL
from zabpy.wire import Op, records as r

CREATED, DELETED, CHANGED, CHILDREN = 1, 2, 3, 4


async def test_events_survive_a_move_to_another_server(autojump_clock: MockClock) -> None:
    """What has changed since the zxid the client saw last is told at once, in the order of the lists; what has not is
    watched from now on, and told when it changes."""
    async with ensemble(servers=3) as servers:
        writer = await client_of(servers, 2)
        for path in ("/changed", "/same", "/gone", "/parent", "/quiet", "/emptied", "/emptied/child"):
            assert (await writer.create(path)).err == 0
        client = await client_of(servers, 1)
        await client.sync()
        for path in ("/changed", "/same", "/gone"):
            assert (await client.get(path, watch=True))[0] == 0
        seen, session_id, password = client.zxid, client.session_id, client.password
        await client.close()

        await writer.set("/changed", b"new")
        await writer.ask(Op.DELETE, r.DeleteRequest("/gone", -1))
        await writer.create("/made")
        await writer.create("/parent/child")
        await writer.ask(Op.DELETE, r.DeleteRequest("/emptied/child", -1))
        await writer.ask(Op.SET_ACL, r.SetACLRequest("/quiet", OPEN_ACL, -1))  # no event is ever told of that

        again = RawClient(await servers.connect(3))
        assert await again.handshake(session_id=session_id, password=password, zxid=seen)
        await again.sync()
        asked = r.SetWatches2(
            seen,
            ("/changed", "/same", "/gone"),
            ("/made", "/not made"),
            ("/parent", "/quiet", "/emptied", "/gone"),
            ("/stays",),
            ("/parent",),
        )
        told = await again.ask(Op.SET_WATCHES2, asked)
        assert (told.err, told.body) == (0, b"")
        assert again.events == [
            (-1, CHANGED, "/changed"),
            (-1, DELETED, "/gone"),
            (-1, CREATED, "/made"),
            (-1, CHILDREN, "/parent"),
            (-1, CHILDREN, "/emptied"),
            (-1, DELETED, "/gone"),
        ]
        again.events.clear()

        replies = [
            await writer.set("/same", b"later"),
            await writer.create("/not made"),
            await writer.create("/quiet/child"),
            await writer.create("/stays"),
            await writer.set("/parent/child", b""),
            await writer.set("/changed", b"nobody has asked again"),
        ]
        await again.sync()
        zxids = [reply.zxid for reply in replies]
        assert again.events == [
            (zxids[0], CHANGED, "/same"),
            (zxids[1], CREATED, "/not made"),
            (zxids[2], CHILDREN, "/quiet"),
            (zxids[3], CREATED, "/stays"),
            (zxids[4], CHANGED, "/parent/child"),
        ]


async def test_a_change_that_the_client_has_seen_is_not_told_again(autojump_clock: MockClock) -> None:
    """The zxid of the last change is compared, and the same one is not later."""
    async with ensemble(servers=3) as servers:
        client = await client_of(servers, 1)
        assert (await client.create("/a")).err == 0
        made = await client.set("/a", b"mine")
        again = RawClient(await servers.connect(2))
        assert await again.handshake(session_id=client.session_id, password=client.password, zxid=0)
        await again.sync()
        for seen, events in ((made.zxid, []), (made.zxid - 1, [(-1, CHANGED, "/a")])):
            again.events.clear()
            assert (await again.ask(Op.SET_WATCHES, r.SetWatches(seen, ("/a",), (), ()))).err == 0
            assert again.events == events
