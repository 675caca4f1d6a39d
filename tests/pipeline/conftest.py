"""One server and one leader in one process: requests in, frames out, with the moment of delivery in the test's hand."""

import struct
from collections.abc import Callable
from typing import NamedTuple

import pytest

from zabpy.model import OPEN_ACL, Acls, Body, Identity, Request, Txn, Zxid, make_zxid
from zabpy.pipeline import (
    EnsembleView,
    Preparer,
    RequestIds,
    Rules,
    Sliced,
    State,
    apply_entry,
    event_frames,
    get_data,
    outcome_body,
    read_now,
)
from zabpy.tree import Outcome, Watches
from zabpy.wire import Op, Record, decode_txn, encode_txn, packed, records as r

EPOCH = 7
OPEN: Acls = OPEN_ACL
ANYBODY: tuple[Identity, ...] = (Identity("ip", "10.0.0.7"),)


class Reply(NamedTuple):
    xid: int
    zxid: int
    err: int
    body: bytes


def parse(frame: bytes) -> Reply:
    (length,) = struct.unpack_from(">i", frame)
    assert length == len(frame) - 4
    xid, zxid, err = struct.unpack_from(">iqi", frame, 4)
    return Reply(xid, zxid, err, frame[20:])


def whole(frame: bytes | Sliced) -> bytes:
    """A reply with all its slices."""
    if isinstance(frame, Sliced):
        while not frame.work():
            pass
        return b"".join(frame.pieces)
    return frame


class World:
    """`propose` puts in order, `deliver` applies what was proposed; `write` does both. Every txn goes through bytes."""

    def __init__(
        self, rules: Rules | None = None, state: State | None = None, ensemble: EnsembleView | None = None
    ) -> None:
        self.state = state or State()
        self.watches = Watches()
        self.preparer = Preparer(self.state, lambda count: b"p" * count, rules=rules or Rules(), ensemble=ensemble)
        self.ids = RequestIds(1, 1)
        self.last = make_zxid(EPOCH, 0)
        apply_entry(self.state, self.last, None)
        self.now_ms = 1_700_000_000_000
        self.proposed: list[tuple[Zxid, int, bytes]] = []
        self.session = self.open()

    def proposed_session(self) -> int:
        """The session of the last transaction that was proposed."""
        return decode_txn(self.proposed[-1][2]).session_id

    def open(self, timeout_ms: int = 10_000, ids: RequestIds | None = None) -> int:
        self.propose(Op.CREATE_SESSION, r.CreateSessionRequest(timeout_ms), session=0, ids=ids)
        self.deliver()
        return self.state.sessions.ids()[-1]

    def request(
        self,
        op: int,
        record: Record | bytes,
        session: int | None = None,
        identities: tuple[Identity, ...] = ANYBODY,
        ids: RequestIds | None = None,
    ) -> Request:
        raw = record if isinstance(record, bytes) else packed(record)
        session = self.session if session is None else session
        return Request((ids or self.ids).next(), session, 1, int(op), raw, identities)

    def propose(
        self,
        op: int,
        record: Record | bytes = b"",
        session: int | None = None,
        identities: tuple[Identity, ...] = ANYBODY,
        ids: RequestIds | None = None,
    ) -> Body:
        self.last = Zxid(self.last + 1)
        txn = self.preparer.prepare(self.request(op, record, session, identities, ids), self.last, self.now_ms)
        payload = encode_txn(txn)
        assert decode_txn(payload) == txn
        self.proposed.append((self.last, int(op), payload))
        return txn.body

    def deliver(self, count: int | None = None) -> list[tuple[Txn, Outcome, tuple[int, bytes]]]:
        """Apply the first ``count`` of what was proposed: transaction, outcome, (err, body) of its reply."""
        delivered = []
        now, self.proposed = self.proposed[:count], self.proposed[len(self.proposed[:count]) :]
        for zxid, op, payload in now:
            txn = decode_txn(payload)
            outcome = apply_entry(self.state, zxid, txn)
            self.preparer.pending.forget(zxid)
            delivered.append((txn, outcome, outcome_body(op, txn.body, outcome)))
        return delivered

    def write(
        self,
        op: int,
        record: Record | bytes = b"",
        session: int | None = None,
        identities: tuple[Identity, ...] = ANYBODY,
        ids: RequestIds | None = None,
    ) -> tuple[int, bytes]:
        """(err, body) of the reply."""
        self.propose(op, record, session, identities, ids)
        return self.deliver()[-1][2]

    def create(self, path: str, data: bytes | None = b"", acl: Acls = OPEN, flags: int = 0, **more: object) -> int:
        """The error code."""
        return self.write(Op.CREATE, r.CreateRequest(path, data, acl, flags), **more)[0]  # type: ignore[arg-type]

    def read(
        self,
        op: int,
        record: Record | bytes = b"",
        watcher: int = 1,
        identities: tuple[Identity, ...] = ANYBODY,
    ) -> Reply:
        raw = record if isinstance(record, bytes) else packed(record)
        frame = whole(read_now(self.state, self.watches, watcher, 9, int(op), raw, identities, self.session))
        if op == Op.GET_DATA:
            header = struct.pack(">ii", 9, 4)
            assert get_data(self.state, self.watches, watcher, header + raw, identities) == frame
        reply = parse(frame)
        assert reply.xid == 9
        return reply

    def tell(self, zxid: Zxid, outcome: Outcome, identities: tuple[Identity, ...] = ANYBODY) -> list[tuple[int, bytes]]:
        return event_frames(self.watches, zxid, outcome.events, lambda watcher: identities)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def make_world() -> Callable[[Rules], World]:
    return World
