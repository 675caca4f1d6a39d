"""Read-only mode: a server that finds no leader serves reads to clients that said they are content with that.

What is read is what was delivered here: final, and perhaps old. Of the end of our log nobody knows without a leader
whether it came to be; so a server that was started alone shows its newest snapshot and no more. New sessions are local
ones, whatever ``localSessionsEnabled`` says, for without a quorum there are no others. A client that comes with a
global session keeps it: its password is checked here, it is served under it, and when there is a leader again all
connections end, the client comes back, and the new leader, which gives all sessions their whole timeout, finds it
alive.

Rules: ZooKeeper's. That ZooKeeper demands ``localSessionsEnabled``, and closes on global sessions, are its
limits, not ours.
"""

from typing import TYPE_CHECKING, Final

from zabpy.model import NotReadOnlyError
from zabpy.pipeline import ROUTES, Route, reply_frame
from zabpy.sessions import is_local_id
from zabpy.wire import Op

from .local_sessions import close_local

if TYPE_CHECKING:
    from .clients import Clients
    from .connection import Connection

#: How long a server looks for a leader at least before it serves without one.
GRACE_MS_MIN: Final = 2_000

#: What needs a leader; with two that come to nothing anyway, since ZooKeeper answers those so too.
REFUSED: Final = frozenset(int(op) for op, route in ROUTES.items() if route in (Route.WRITE, Route.SYNC)) | {
    int(Op.CHECK),
    int(Op.DELETE_CONTAINER),
}


class ReadOnlyMode:
    """Whether we are in it, and when we shall be."""

    def __init__(self, *, enabled: bool, tick_ms: int) -> None:
        self._enabled, self._grace_ms = enabled, max(GRACE_MS_MIN, tick_ms)
        self._due_ms: int | None = None
        self.on = False

    def role_changed(self, *, looking: bool, now_ms: int) -> None:
        """Any change of roles ends it."""
        self.on = False
        self._due_ms = now_ms + self._grace_ms if looking and self._enabled else None

    def wait_ms(self, now_ms: int) -> int | None:
        """How long until it is due; None: it is already, or not before the next change of roles."""
        return None if self._due_ms is None or self._due_ms <= now_ms else self._due_ms - now_ms

    def begin_if_due(self, now_ms: int) -> bool:
        if self._due_ms is None or now_ms < self._due_ms:
            return False
        self._due_ms = None
        self.on = True
        return True


def resume_read_only(connection: "Connection", clients: "Clients") -> None:
    """A client came with a session.

    One that is not known here may have been opened since we lost the others: the client is told nothing, and looks for
    a server that knows more. A local one of another server, or of before our start, cannot be resumed anywhere but
    there: the client is told so, or it could never begin anew. (Had that one been made global behind our back, its
    client would take it for lost while its ephemerals live on to the end of its timeout; never the other way round.)
    """
    session_id = connection.session_id
    session = clients.local.sessions.get(session_id) or clients.state.sessions.get(session_id)
    if session is None and not is_local_id(session_id):
        connection.drop("session unknown here, and there is nobody to ask")
    elif session is None or session.password != connection.password:
        connection.refuse_session()
    else:
        connection.take_over(session.password)


def take_read_only(connection: "Connection", clients: "Clients", xid: int, op: int, record: bytes) -> bytes | None:
    """The reply to what cannot be done without a leader; None: it can."""
    if op == Op.CLOSE_SESSION and connection.session_id in clients.local.sessions:
        close_local(connection, clients, xid)
        return b""
    if op in REFUSED or op == Op.CLOSE_SESSION:
        return reply_frame(xid, clients.state.last_applied, NotReadOnlyError.code)
    return None
