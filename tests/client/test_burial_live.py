"""A session that was lost here and lives at the server is ended there: on real connections, under both backends."""

from collections.abc import Callable

import anyio

import zabpy

from .conftest import Story


def test_a_lost_session_is_ended_at_the_server_of_the_next_connection(
    on_both: Callable[[Story], None], hosts: str
) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk, zabpy.connect(hosts, session_timeout_ms=40_000) as other:
            old = zk.session
            await zk.create("/its", ephemeral=True)
            old.deadline_ms = 0
            zk._connection.poke()
            await zk.wait_lost(old)
            await zk.wait_connected()
            assert zk.session is not old
            with anyio.fail_after(5):  # its time would be up later
                stat, fired = await other.exists_watched("/its")
                with fired:
                    if stat is not None:
                        await fired.wait()
            await zk.create("/its", ephemeral=True)

    on_both(story)
