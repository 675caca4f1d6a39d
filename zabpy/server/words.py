"""Words: answers to ZooKeeper's four-letter words on the client port.

A long answer, of all watches or all connections, is made and sent in slices: the loop goes on in between, and no more
of it is in memory than one slice and what the asker has not taken yet. It shows each thing as it is when its slice is
made, not all of one moment.
"""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import trio

from zabpy.admin import answer

from .connection import Connection
from .phases import TOLD
from .status import status_of

if TYPE_CHECKING:
    from .main import Server

#: How long one slice may keep the event loop, about, and after how many lines that is looked at; and how many bytes of
#: text it may be.
SLICE_US_MAX: Final = 2_000
SLICE_LINES: Final = 100
SLICE_BYTES: Final = 64 * 1024
#: Long answers that are under way at a time. The others wait: each costs a list of all it will tell about.
LONG_ANSWERS_MAX: Final = 4
#: How often who waits for that is told not to have been silent.
WAIT_S: Final = 1.0


class Words:
    """What answers words for one server."""

    def __init__(self, server: "Server", nursery: trio.Nursery) -> None:
        self._server, self._nursery = server, nursery
        self._long = trio.Semaphore(LONG_ANSWERS_MAX)
        #: Held for a slice, and the turn of everybody else behind it.
        self._slice = trio.Lock()

    def answer(self, connection: Connection, word: str, argument: bytes) -> None:
        """Say what the word asks for, and end the connection; whether now or in a while."""
        server = self._server
        clients = server.clients
        told = answer(word.encode(), server.config.words, lambda row: status_of(server, row), argument)
        assert told is not None  # it was taken for a word because it is one
        if told.trace_mask is not None:
            server.trace_mask = told.trace_mask
        if told.text:
            connection.put(told.text)
        if told.lines is not None:
            text, over = _slice(told.lines)
            connection.put(text)
            if not over:
                connection.flush()
                self._nursery.start_soon(self._go_on, connection, told.lines)
                return
        connection.finish()
        clients.sent += 1
        clients.unasked += 1
        if told.reset == "connections":
            for each in clients.connections.values():
                each.reset_counts()
        elif told.reset:
            clients.reset_counts()
            server.counts.reset()
            server.quota_refusals.clear()
            server.driver.reset_counts()

    async def _go_on(self, connection: Connection, lines: Iterator[str]) -> None:
        """The rest of a long answer, as fast as the asker takes it. One that takes nothing is closed like any
        connection that says nothing."""
        clients = self._server.clients
        acquired = over = False
        while not acquired:
            connection.heard_ms = clients.clock.now_ms()
            with trio.move_on_after(WAIT_S):
                await self._long.acquire()
                acquired = True
        try:
            while not over and connection.phase == TOLD:
                if connection.channel.backlog:
                    room = clients.rooms[connection] = trio.Event()
                    await room.wait()
                async with self._slice:
                    if connection.phase == TOLD:
                        text, over = _slice(lines)
                        connection.put(text)
                        connection.flush()
                        connection.heard_ms = clients.clock.now_ms()
                    await trio.lowlevel.checkpoint()
        finally:
            self._long.release()
        connection.finish()
        clients.sent += 1
        clients.unasked += 1


def _slice(lines: Iterator[str]) -> tuple[bytes, bool]:
    """The next lines, and whether they were the last ones."""
    texts: list[str] = []
    size, over = 0, True
    ends_ns = time.perf_counter_ns() + SLICE_US_MAX * 1000
    for steps, text in enumerate(lines, 1):
        if text:
            texts.append(text)
            size += len(text)
        if size > SLICE_BYTES or (steps % SLICE_LINES == 0 and time.perf_counter_ns() > ends_ns):
            over = False
            break
    return "".join(texts).encode("utf-8", "replace"), over
