"""LocalSessions: the sessions that only this server knows. No transaction opens or ends them, no other server has them.

Ids. A session opened by a transaction has bit 55 clear (`pipeline.prepare`), a local one has it set; then come the
number of this start of the process, which storage never gives twice, and a counter. So an id of one kind is never one
of the other, nor was it given by another server or before a restart. But storage counts from 1 again when its directory
was emptied, and a session of before that, global since, may live on elsewhere: its id is passed over.
"""

from collections.abc import Callable

from .expiry import Expiry
from .table import Session, SessionTable

LOCAL_BIT = 1 << 55
_START_MASK = 0x7FFFFF
_COUNTER_MAX = 0xFFFF_FFFE  # one less than there is room for: all ones would be the id -1 of one start of one server


class LocalSessions:
    """Open local sessions, and when each that stays silent is over.

    Times are milliseconds of any one clock that never goes back. Deadlines are rounded as those of global sessions.

    Args:
        origin: this server's id, 1 to 255.
        start_number: storage's number of this start of the process; its low 23 bits count.
        random_bytes: for passwords, of 16 bytes.
    """

    def __init__(self, origin: int, start_number: int, tick_ms: int, random_bytes: Callable[[int], bytes]) -> None:
        assert 1 <= origin <= 255
        self._base = origin << 56 | LOCAL_BIT | (start_number & _START_MASK) << 32
        self._counter = 0
        self._random_bytes = random_bytes
        self._sessions: dict[int, Session] = {}
        self._expiry = Expiry(tick_ms)
        #: Those that are to become global, by a transaction that is on its way. Nothing expires them here.
        self._upgrading: set[int] = set()

    def __len__(self) -> int:
        return len(self._sessions)

    def __contains__(self, id: int) -> bool:
        return id in self._sessions

    def get(self, id: int) -> Session | None:
        return self._sessions.get(id)

    @property
    def exhausted(self) -> bool:
        """This start of the server has given all its ids, four thousand million: none is given twice."""
        return self._counter >= _COUNTER_MAX

    def open(
        self, timeout_ms: int, now_ms: int, taken: SessionTable | frozenset[int] = frozenset()
    ) -> tuple[int, bytes]:
        """A new session: its id and password. Not once we are `exhausted`. ``taken``: the global sessions."""
        assert not self.exhausted
        self._counter += 1
        while (id := signed(self._base | self._counter)) in taken:
            self._counter += 1
        password = self._random_bytes(16)
        self._sessions[id] = Session(timeout_ms, password)
        self._expiry.touch(id, timeout_ms, now_ms)
        return id, password

    def heard(self, id: int, now_ms: int, timeout_ms: int | None = None) -> None:
        """Its client was heard from. ``timeout_ms``: it came back, and this was agreed on anew."""
        session = self._sessions.get(id)
        if session is None:
            return
        if timeout_ms is not None:
            self._sessions[id] = session = session._replace(timeout_ms=timeout_ms)
        if id not in self._upgrading:
            self._expiry.touch(id, session.timeout_ms, now_ms)

    def close(self, id: int) -> None:
        """It is over here: closed, or global from now on. Harmless if it is not here."""
        self._sessions.pop(id, None)
        self._upgrading.discard(id)
        self._expiry.remove(id)

    def upgrade(self, id: int) -> None:
        """A transaction that makes it global was asked for."""
        assert id in self._sessions and id not in self._upgrading, id
        self._upgrading.add(id)
        self._expiry.remove(id)

    def is_upgrading(self, id: int) -> bool:
        return id in self._upgrading

    def forget_upgrades(self) -> None:
        """Nobody here knows what became of the transactions that were on their way. If they came to be, the sessions
        are in the state that all servers have; here they are over."""
        for id in list(self._upgrading):
            self.close(id)

    def clear(self) -> None:
        for id in list(self._sessions):
            self.close(id)

    def refresh(self, now_ms: int) -> None:
        """All have their whole timeout again: for a while their clients could not come."""
        for id in self._sessions:
            self.heard(id, now_ms)

    def expired(self, now_ms: int) -> list[int]:
        """End those that were silent too long, and tell which."""
        ids = self._expiry.expired(now_ms)
        for id in ids:
            self.close(id)
        return ids

    def deadlines(self) -> list[tuple[int, list[int]]]:
        """When those that stay silent are over, earliest first, and which; new lists."""
        return self._expiry.buckets()

    def next_ms(self, now_ms: int) -> int | None:
        """How long from now until `expired` has something to tell; None if there are no sessions."""
        return self._expiry.next_ms(now_ms)


def is_local_id(id: int) -> bool:
    """Whether a session of this id began as a local one, of whatever server."""
    return bool(id & LOCAL_BIT)


def origin_of_session(id: int) -> int:
    """The server that gave this id."""
    return id >> 56 & 0xFF


def signed(number: int) -> int:
    """The same 64 bits as the signed number that jute writes."""
    return number - (1 << 64) if number >> 63 else number
