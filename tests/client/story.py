"""A `Core` with no I/O, a clock that is set by hand, and the bytes of a server that does as a test says."""

import struct
from typing import Any

from zabpy.client.call import Call
from zabpy.client.core import Core, Link
from zabpy.client.session import Session
from zabpy.client.states import State
from zabpy.wire import FrameBuffer, Op, Reader, frame, packed, records as r

TIMEOUT_MS = 9_000
REQUEST_TIMEOUT_MS = 20_000


class Story:
    def __init__(self, **settings: Any) -> None:
        self.now_ms = 1_000
        self.states: list[State] = []
        self.core = Core(
            **{
                "session_timeout_ms": TIMEOUT_MS,
                "unsent_timeout_ms": REQUEST_TIMEOUT_MS,
                "read_only": False,
                "now_ms": lambda: self.now_ms,
                "on_state": self.states.append,
                "tried": lambda: (("s1:2181", "it was tired"),),
                **settings,
            }
        )
        self.greeting: r.ConnectRequest | None = None
        self._sent = FrameBuffer(1 << 26)

    def is_up(self) -> bool:
        return self.core.link is Link.UP

    def is_down(self) -> bool:
        return self.core.link is Link.DOWN

    # What the driver does

    def dial(self, server: str = "s1:2181") -> r.ConnectRequest:
        """A connection is there; what it is greeted with."""
        self.core.open_link(server, self.now_ms)
        (greeting,) = self.payloads()
        self.greeting = r.ConnectRequest.read(Reader(greeting))
        return self.greeting

    def up(self, server: str = "s1:2181", *, id: int = 7, timeout_ms: int = TIMEOUT_MS) -> Session:
        """A connection, with a session."""
        self.dial(server)
        self.say(packed(r.ConnectResponse(0, timeout_ms, id, b"p" * 16, False)))
        if self.core.link is Link.LOGIN:
            for _ in self.sent():
                self.answer(-4)
        assert self.core.link is Link.UP, self.core.link_broken
        assert self.core.session is not None
        return self.core.session

    def wait(self, ms: int) -> None:
        """Time goes by, and the driver ticks whenever the core wants it to."""
        until_ms = self.now_ms + ms
        while (due_ms := self.core.wake_at_ms) is not None and due_ms <= until_ms:
            self.now_ms = max(due_ms, self.now_ms + 1)
            self.tick()
        self.now_ms = until_ms
        self.tick()

    def tick(self) -> None:
        self.core.tick(self.now_ms)
        if self.core.link_broken and self.core.link is not Link.DOWN:
            self.core.close_link("", self.now_ms)

    def lose_link(self, why: str = "a cable") -> None:
        self.core.close_link(why, self.now_ms)

    def payloads(self) -> list[bytes]:
        """What the driver sends now."""
        self._sent.feed(self.core.take(self.now_ms))
        return self._sent.frames()

    def sent(self) -> list[tuple[int, int]]:
        """Xids and opcodes of the requests that the driver sends now."""
        return [struct.unpack_from(">ii", payload) for payload in self.payloads()]

    # What the server does

    def say(self, *payloads: bytes) -> None:
        self.core.receive(b"".join(map(frame, payloads)), self.now_ms)

    def answer(self, xid: int, *, zxid: int = 0, err: int = 0, body: bytes = b"") -> None:
        self.say(struct.pack(">iqi", xid, zxid, err) + body)

    # What tasks do

    def ask(self, opcode: int = Op.SET_DATA, body: bytes = b"", **more: Any) -> Call:
        call = Call(opcode, body, None, "set", "/a", **more)
        self.core.submit(call)
        return call
