"""Looks for a server with a quorum while the client is served by one without: ``connect(..., read_only=True)``.

The servers are asked, not tried: a connection with our session would take it from where it is. When one says that it
serves writes, the client goes there, with its session if that is one which the ensemble knows.
"""

import logging
from collections.abc import AsyncIterator
from random import Random

import anyio

from .connection import EXPECTED, Connection
from .dialling import Dial
from .hosts import Host, Hosts
from .states import State

log = logging.getLogger("zabpy.client")

#: How long one server is waited for; how long from one round to the next, at first and at most.
ASK_MS_MAX, PAUSE_MS, PAUSE_MS_MAX = 2_000, 500, 10_000
ANSWER_BYTES_MAX = 8_192


async def keep_seeking(
    states: AsyncIterator[State], hosts: Hosts, connection: Connection, dial: Dial, rng: Random
) -> None:
    """Whenever the client is served by a server without a quorum. Ends with the states."""
    async for state in states:
        if state is State.READ_ONLY:
            await seek(hosts, connection, dial, rng)


async def seek(hosts: Hosts, connection: Connection, dial: Dial, rng: Random) -> None:
    """Until it has found one and the client is on its way, or the client has left this server for another reason."""
    pause_ms = PAUSE_MS
    while connection.is_read_only:
        await anyio.sleep(pause_ms * (0.5 + rng.random()) / 1000)
        for host in hosts.others(connection.host):
            if await serves_writes(host, dial) and connection.is_read_only:
                hosts.prefer(host)
                connection.leave(f"{host} serves writes")
                return
        pause_ms = min(pause_ms * 2, PAUSE_MS_MAX)


async def serves_writes(host: Host, dial: Dial) -> bool:
    """By ``isro``, which servers answer that may be read-only, else by ``srvr``, which nearly all do."""
    answer = await _ask(host, dial, b"isro")
    if answer in (b"rw", b"ro", b"null"):
        return answer == b"rw"
    modes = (b"Mode: leader", b"Mode: follower", b"Mode: observer", b"Mode: standalone")
    answer = await _ask(host, dial, b"srvr")
    return any(mode in answer for mode in modes)


async def _ask(host: Host, dial: Dial, word: bytes) -> bytes:
    """What a server answers to a four-letter word; b"" where it does not."""
    answer = b""
    with anyio.move_on_after(ASK_MS_MAX / 1000):
        try:
            async with await dial(host.name, host.port) as stream:
                await stream.send(word)
                while len(answer) < ANSWER_BYTES_MAX:
                    answer += await stream.receive(ANSWER_BYTES_MAX)
        except EXPECTED:
            pass  # it has said all, or it is not there
        except Exception as error:  # of a resolver, or a user's own dial: it was a question, and no more
            log.debug("asking %s failed: %r", host, error)
    return answer.strip()
