"""What is asked of servers: one request, and what became of it."""

from collections.abc import Callable
from typing import Any

from zabpy.model import ZabpyError
from zabpy.wire import Reader

from .session import Session
from .watches import Watch


class Call:
    """One request and, later, its outcome: ``reply`` or ``error``, once ``done``.

    Args:
        read: makes the reply of what follows the header; None if nothing is wanted of it.
        session: the only one it may be sent in.
        again: it is harmless to send it again when the connection broke before the answer.
        of_link: it means something on this connection only, and nobody minds if it is not answered.
        attempt: the how manieth time the operation is tried.
    """

    __slots__ = (
        "opcode", "body", "read", "operation", "path", "session", "watch", "again", "of_link", "attempt",
        "xid", "since_ms", "sent", "done", "reply", "error", "zxid", "server", "wake",
    )  # fmt: skip

    def __init__(
        self,
        opcode: int,
        body: bytes,
        read: Callable[[Reader], Any] | None,
        operation: str,
        path: str | None,
        *,
        session: Session | None = None,
        watch: Watch | None = None,
        again: bool = False,
        of_link: bool = False,
        attempt: int = 1,
    ) -> None:
        self.opcode, self.body, self.read = opcode, body, read
        self.operation, self.path = operation, path
        self.session, self.watch = session, watch
        self.again, self.of_link, self.attempt = again, of_link, attempt
        self.xid = 0
        self.since_ms: int | None = None  # when it began to wait for a connection
        self.sent = self.done = False
        self.reply: Any = None
        self.error: ZabpyError | None = None
        self.zxid = 0
        self.server = ""
        self.wake: Callable[[], None] | None = None


class Credential:
    """An identity that a connection is given: what `add_auth` sends. ``call``: who waits for the answer."""

    __slots__ = ("scheme", "secret", "call", "sent_times")

    def __init__(self, scheme: str, secret: bytes, call: Call | None) -> None:
        self.scheme, self.secret, self.call = scheme, secret, call
        self.sent_times = 0
