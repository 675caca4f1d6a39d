"""Known ways to get a server or a client wrong above ZAB, each as a switch for tests: the check of the whole checks.

As in traps.py a trap is a context manager that replaces one function by one that makes the mistake. ``script`` is what
brings it out, ``caught_by`` are the invariants that may name it. Production code knows nothing of it. Never use one
outside tests.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from zabpy.client import client as client_module
from zabpy.client.core import Core
from zabpy.client.operations import Operations
from zabpy.model import CloseSessionTxn, Request
from zabpy.pipeline import Preparer
from zabpy.server import clients as clients_module, main as main_module
from zabpy.server.clients import Clients
from zabpy.server.driver import Driver
from zabpy.server.phases import OPEN
from zabpy.storage import Store
from zabpy.tree import CHILDREN_CHANGED
from zabpy.wire import Op

from .instead import instead
from .run import Line
from .whole import WholeSettings
from .whole_machine import MachineClock

#: Small, and quick to run: a mistake is to show in a second.
SETTINGS = WholeSettings(seed=1, clients=2, client_gap_ms=25, tick_ms=100, script_ms=3_000, snapshot_entries=40)
BREAKS: tuple[Line, ...] = tuple(
    (100 + 60 * n, "break-at", f"server{1 + n % 3}", f"client{1 + n // 3 % 2}", 5 + 13 * n) for n in range(45)
)


@dataclass(frozen=True)
class WholeTrap:
    """``mistake`` in a sentence."""

    mistake: str
    set: Callable[[], AbstractContextManager[None]]
    caught_by: frozenset[str]
    settings: WholeSettings
    script: tuple[Line, ...]


WHOLE_TRAPS: dict[str, WholeTrap] = {}


def _trap(
    name: str, *caught_by: str, script: tuple[Line, ...] = (), settings: WholeSettings = SETTINGS
) -> Callable[[Callable[[], Iterator[None]]], None]:
    def register(make: Callable[[], Iterator[None]]) -> None:
        assert make.__doc__ and name not in WHOLE_TRAPS
        WHOLE_TRAPS[name] = WholeTrap(make.__doc__, contextmanager(make), frozenset(caught_by), settings, script)

    return register


# The server ----------------------------------------------------------------------------------------------------------


@_trap("reply-before-quorum", "I11", "I19")
def _reply_before_quorum() -> Iterator[None]:
    """A leader answers its own clients' writes when they are proposed."""
    right = Driver._submit

    def submit(self: Driver, payloads: list[bytes], size: int) -> None:
        right(self, payloads, size)
        clients: Any = self.clients
        for zxid, txn in list(self._proposed.items()):
            connection = clients.waiting.get(txn.request_id)
            if connection is not None and connection.phase == OPEN:
                del clients.waiting[txn.request_id]
                connection.answered(txn.request_id)
                answer = connection.row.answer_first(txn.request_id, zxid, 0, b"")
                if answer is not None:
                    connection.put(answer)

    with instead(Driver, "_submit", submit):
        yield


@_trap(
    "ack-before-fsync",
    "I7", "I26", "CORE",
    script=tuple((200 + 250 * n, "power-cut", 1 + n % 3, 1 + n % 3, 60) for n in range(10)),
)  # fmt: skip
def _ack_before_fsync() -> Iterator[None]:
    """What was written counts as durable before it is synced."""
    with instead(Store, "append_and_sync", lambda self, entries: self.append(entries)):
        yield


@_trap("expiry-by-wall-clock", "I22", script=tuple((200 + n, "jump-clock", 1 + n % 3, 60_000) for n in range(3)))
def _expiry_by_wall_clock() -> Iterator[None]:
    """A leader counts the silence of sessions by the clock on the wall (F1 of the traps)."""
    right = Driver.keep_up

    def keep_up(self: Driver) -> None:
        clock = self._clock
        assert isinstance(clock, MachineClock)
        upkeep = self._upkeep
        if upkeep is None:
            return
        due, jumped_ms = upkeep.due, clock.wall_jump_ms
        with _instead_of(upkeep, "due", lambda now_ms, wall_ms: due(now_ms + jumped_ms, wall_ms)):
            right(self)

    with instead(Driver, "keep_up", keep_up):
        yield


@_trap("watch-after-data", "I23")
def _watch_after_data() -> Iterator[None]:
    """Events leave at the end of the turn, behind the replies that show what they tell of."""
    tell, flush = Clients._tell, Clients.flush
    late: dict[int, list[tuple[int, bytes]]] = {}

    def keep(self: Clients, frames: list[tuple[int, bytes]]) -> None:
        late.setdefault(id(self), []).extend(frames)

    def flush_late(self: Clients) -> None:
        flush(self)
        frames = [frame for frame in late.pop(id(self), ()) if frame[0] in self.connections]
        if frames:
            tell(self, frames)
            flush(self)

    with instead(Clients, "_tell", keep), instead(Clients, "flush", flush_late):
        yield


@_trap("watch-lost", "I23")
def _watch_lost() -> Iterator[None]:
    """Of a transaction with many events those about children are forgotten."""
    right = vars(clients_module)["event_frames"]

    def event_frames(watches: Any, zxid: Any, events: Any, identities_of: Any) -> Any:
        events = tuple(events)
        if len(events) > 2:
            events = tuple(event for event in events if event.type != CHILDREN_CHANGED)
        return right(watches, zxid, events, identities_of)

    with instead(clients_module, "event_frames", event_frames):
        yield


@_trap("ephemerals-stay", "I22", "CORE", script=((300, "leave", 1), (400, "leave", 2)))
def _ephemerals_stay() -> Iterator[None]:
    """A session ends without its ephemeral znodes."""
    right = Preparer._close_session

    def close(self: Preparer, request: Request, zxid: Any) -> tuple[int, CloseSessionTxn]:
        session_id, body = right(self, request, zxid)
        return session_id, CloseSessionTxn(body.ephemerals[1:])

    with instead(Preparer, "_close_session", close):
        yield


@_trap(
    "snapshot-forgets-a-session",
    "I17",
    "CORE",
    "I20",
    "I22",
    script=tuple((400 + 300 * n, "kill", n, 50) for n in (1, 2, 3)),
)
def _snapshot_forgets_a_session() -> Iterator[None]:
    """A state that is read from a snapshot lacks the session that was opened last."""
    right = vars(main_module)["load_state"]

    def load_state(*given: Any, **more: Any) -> Any:
        state = right(*given, **more)
        for session_id in state.sessions.ids()[-1:]:
            state.sessions.close(session_id)
        return state

    with instead(main_module, "load_state", load_state):
        yield


# The client ----------------------------------------------------------------------------------------------------------


@_trap("client-sends-again", "I19", script=BREAKS)
def _client_sends_again() -> Iterator[None]:
    """A client sends a write again when its answer is lost."""
    more = client_module.READS | {Op.CREATE, Op.CREATE2, Op.SET_DATA, Op.DELETE}
    with instead(client_module, "READS", more):
        yield


@_trap("client-looks-once", "I19", script=BREAKS)
def _client_looks_once() -> Iterator[None]:
    """A client whose exactly-once write was not answered looks for its mark without a fence, and on any server."""

    async def settle(self: Any, slot: Any, mark: Any, operation: Any, path: Any, lost: Any) -> None:
        slot.session, slot.known = self.core.session, False
        return None

    with instead(Operations.__mro__[1], "_settle", settle):
        yield


@_trap(
    "client-lease-too-long",
    "I22",
    script=((100, "isolate-client", 1, 1, 2800), (300, "isolate-client", 2, 3, 2800)),
)  # fmt: skip
def _client_lease_too_long() -> Iterator[None]:
    """A client counts its session's time from an answer, whatever was asked and when, and adds some."""

    def counts(self: Core, sent_ms: int) -> None:
        if self.session is not None:
            self.session.deadline_ms = self.now_ms() + self.session.timeout_ms * 3 // 2

    with instead(Core, "_counts", counts):
        yield


@contextmanager
def _instead_of(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Of one object."""
    setattr(owner, name, value)
    try:
        yield
    finally:
        delattr(owner, name)
