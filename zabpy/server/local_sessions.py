"""Sessions that only this server knows: what their connections do otherwise than those of global ones.

They are opened and closed here, without a transaction. What they write is put in order as `LOCAL_SESSION`'s. An
ephemeral needs a session that outlives this server: in front of the first one the session is made global, under the id
it has; from then on its requests carry that id, and it is the leader's to end. Links are in order, so the leader opens
it before it sees the create. Rules: ZooKeeper's.
"""

from typing import TYPE_CHECKING

from zabpy.model import CreateSessionTxn, Request
from zabpy.pipeline import ROUTES, Route, makes_ephemeral
from zabpy.sessions import LocalSessions
from zabpy.wire import Op, packed, records

if TYPE_CHECKING:
    from .clients import Clients
    from .connection import Connection

_WRITE, _CLOSE = Route.WRITE, Route.CLOSE


def open_local(connection: "Connection", clients: "Clients") -> None:
    """A client wants a new session, and gets one of ours."""
    taken = clients.state.sessions
    session_id, password = clients.local.sessions.open(connection.timeout_ms, clients.clock.now_ms(), taken)
    connection.last_op, connection.last_xid = 0, 0
    connection.connected(session_id, password)


def take_local(connection: "Connection", clients: "Clients", xid: int, op: int, record: bytes) -> bytes | None:
    """A request in a local session that may need more than others: its reply; empty when that comes in its turn; None:
    it is like any other."""
    route = ROUTES.get(op)
    if route is _CLOSE:
        close_local(connection, clients, xid)
        return b""
    if route is _WRITE and clients.config.local_sessions_upgrading and makes_ephemeral(op, record):
        return None if clients.local.upgrade(connection) else b""
    return None


def close_local(connection: "Connection", clients: "Clients", xid: int) -> None:
    """closeSession of a local session: over at once; the reply comes behind those of what was asked before."""
    clients.local.sessions.close(connection.session_id)
    connection.ending = True
    request_id = clients.ids.next()
    connection.row.push_write(request_id, xid, Op.CLOSE_SESSION)
    connection.row.complete(request_id, 0)
    clients.ready[connection] = None


class Local:
    """The local sessions of this server, and those of them that are on their way to become global."""

    def __init__(self, clients: "Clients", sessions: LocalSessions, *, wanted: bool) -> None:
        """``wanted``: new sessions are local; else only those that begin in read-only mode are."""
        self._clients, self.sessions, self._wanted = clients, sessions, wanted
        #: Session id by the id of the request that is to make it global.
        self.upgrades: dict[int, int] = {}

    @property
    def deadlines(self) -> list[tuple[int, list[int]]] | None:
        """When silent ones are over, in ms of the clock, and which; None where new sessions are global."""
        return self.sessions.deadlines() if self._wanted else None

    @property
    def opens(self) -> bool:
        """Whether a new session is local."""
        return (self._wanted or self._clients.read_only.on) and not self.sessions.exhausted

    def upgrade(self, connection: "Connection") -> bool:
        """Ask for the session to be made global; what the connection asks from now on it asks as that. False: the
        connection is closed instead."""
        clients, session_id = self._clients, connection.session_id
        session = self.sessions.get(session_id)
        assert session is not None
        if session_id in clients.state.sessions:
            # Somebody else's, from before our disk was emptied, which we did not know of without a quorum. What is
            # asked behind this must not be asked in that one's name.
            self.sessions.close(session_id)
            connection.drop("its id is that of a global session")
            return False
        self.sessions.upgrade(session_id)
        request_id = clients.ids.next()
        self.upgrades[request_id] = session_id
        record = packed(records.UpgradeSessionRequest(session.timeout_ms, session.password))
        clients.driver.submit(Request(request_id, session_id, 0, int(Op.CREATE_SESSION), record, ()))
        connection.be_global()
        return True

    def upgraded(self, request_id: int, body: object) -> None:
        """What has become of an `upgrade`: it is global now, or it is over."""
        session_id = self.upgrades.pop(request_id)
        self.sessions.close(session_id)
        connection = self._clients.sessions.get(session_id)
        if not isinstance(body, CreateSessionTxn) and connection is not None:
            connection.drop("the session could not be made global")

    def look_after(self, now_ms: int) -> None:
        """End those that were silent too long."""
        for session_id in self.sessions.expired(now_ms):
            connection = self._clients.sessions.get(session_id)
            if connection is not None:
                connection.drop("local session expired")

    def serving_changed(self, serving: bool, now_ms: int) -> None:
        """All clients were cut off. Upgrades that were on their way are undecided: what the state says counts."""
        self.upgrades.clear()
        self.sessions.forget_upgrades()
        if serving and not self._wanted:
            self.sessions.clear()  # opened in read-only mode, because nothing else could be
        self.sessions.refresh(now_ms)
