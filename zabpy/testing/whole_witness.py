"""The witness of a whole simulation: what was committed, and what any client may have been told of it.

`Witness` keeps every znode as it was after each zxid, from the committed order alone. `Tap` sits on one connection of a
client, reads the bytes both ways by itself, and holds every answer against that: a reply's zxid says what it claims to
have seen, so each is checked for itself, in no more time than it takes to look it up.

I19 an answered write is committed, with the effect told; I20 answers in the order of requests, zxids that never go
back in a session, requests committed in their order; I21 what was answered to anybody before a request was sent is
before it; I22 the ends of sessions; I23 watches.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from zabpy.model import (
    CloseSessionTxn,
    CreateSessionTxn,
    CreateTxn,
    DeleteTxn,
    Entry,
    ErrorTxn,
    FailedMultiTxn,
    MultiTxn,
    SessionExpiredError,
    SessionMovedError,
    SetDataTxn,
    Txn,
    Zxid,
    counter_of,
    parent_of,
    zxid_text,
)
from zabpy.pipeline import State, apply_entry, outcome_body
from zabpy.tree import CHILDREN_CHANGED, DELETED, Event, Tree
from zabpy.tree.digest import digest_of
from zabpy.tree.rows import row_of
from zabpy.wire import OPS, FrameBuffer, JuteError, Op, Reader, decode_txn, packed, records as r

from .checkers import Checker
from .facts import ViolationError

if TYPE_CHECKING:
    from .process import Process

_TURNED_AWAY = (SessionMovedError.code, SessionExpiredError.code)
#: No data, but the znode is there.
NO_NODE = -101
REPLY_BYTES_MAX = 64 << 20
_MASK = 0xFFFFFFFFFFFFFFFF
_DATA, _CHILD, _EXIST = "data", "child", "exist"
#: Reads that are held against the znode as it was.
_READS = frozenset({Op.GET_DATA, Op.EXISTS, Op.GET_CHILDREN, Op.GET_CHILDREN2})
#: What takes a place in the order.
_WRITES = frozenset(
    {Op.CREATE, Op.CREATE2, Op.CREATE_CONTAINER, Op.CREATE_TTL, Op.DELETE, Op.SET_DATA, Op.SET_ACL, Op.MULTI,
     Op.RECONFIG}
)  # fmt: skip


class Seen(NamedTuple):
    """A znode after some zxid; ``stat`` as it goes to clients."""

    zxid: Zxid
    data: bytes | None
    stat: bytes
    children: frozenset[str]


class Chosen(NamedTuple):
    """One transaction of the committed order, and what whoever asked for it is to be told."""

    txn: Txn
    answer: Callable[[int], tuple[int, bytes]]


class Witness:
    """``fail`` is told of what does not hold."""

    def __init__(self, *, standalone: bool, config: bytes, session_believes: Callable[[int], str]) -> None:
        """``session_believes``: why the client that has this session still believes in it; "" if it does not."""
        self.state = State(Tree(standalone=standalone, config=config))
        self._session_believes = session_believes
        self.chosen: dict[Zxid, Chosen] = {}
        self.end = Zxid(0)
        #: Of the state after each zxid: see `State.digest`, computed here a row at a time.
        self.digests: dict[Zxid, tuple[int, int, int]] = {Zxid(0): self.state.digest()}
        self._tree_digest = self.state.tree.digest()
        #: The greatest zxid of a write that anybody was told of.
        self.acked = Zxid(0)
        #: Sessions that their clients have asked to end.
        self.ending: set[int] = set()
        #: How often each payload that clients wrote was committed.
        self.payloads: dict[bytes, list[Zxid]] = {}
        self._nodes: dict[str, list[Seen | tuple[Zxid]]] = {}
        self._changes: dict[tuple[str, str], list[Zxid]] = {}
        self._last_xids: dict[int, int] = {}
        self._closed: set[int] = set()
        self._rows = {str(row[0]): digest_of([row]) for row in self.state.tree.freeze().rows(1_000)}
        for path in self.state.tree.nodes:
            self._keep(path, Zxid(0))

    # The committed order ----------------------------------------------------------------------------------------------

    def chose(self, entry: Entry) -> None:
        zxid, state = entry.zxid, self.state
        self.end = zxid
        if not counter_of(zxid):
            apply_entry(state, zxid, None)
        else:
            txn = decode_txn(entry.payload)
            self._judge(zxid, txn)
            outcome = apply_entry(state, zxid, txn)
            replies = {op: outcome_body(op, txn.body, outcome) for op in _ops_of(txn)}
            self.chosen[zxid] = Chosen(txn, replies.__getitem__)
            self._note(zxid, txn, outcome.events)
        self.digests[zxid] = zxid, self._tree_digest, state.sessions.digest()

    def _judge(self, zxid: Zxid, txn: Txn) -> None:
        body, session_id, state = txn.body, txn.session_id, self.state
        name = f"{zxid_text(zxid)} {type(body).__name__} of session {session_id:#x}"
        if isinstance(body, CreateSessionTxn):
            if session_id in self._closed or session_id in state.sessions:
                raise ViolationError("I22", "Sessions", f"{name}: that id was given before")
        elif isinstance(body, CloseSessionTxn):
            self._closed.add(session_id)
            own = set(state.tree.ephemerals.of(session_id))
            if set(body.ephemerals) != own:
                text = f"{name} deletes {sorted(body.ephemerals)}, not {sorted(own)}"
                raise ViolationError("I22", "Ephemerals", text)
            if session_id not in self.ending and (why := self._session_believes(session_id)):
                raise ViolationError("I22", "SessionLease", f"{name}, though {why}")
        elif not isinstance(body, ErrorTxn | FailedMultiTxn):
            if session_id and session_id not in state.sessions:
                raise ViolationError("I22", "Sessions", f"{name}: there is no such session")
            for part in body.bodies if isinstance(body, MultiTxn) else (body,):
                if isinstance(part, CreateTxn) and part.owner and part.owner != session_id:
                    raise ViolationError("I22", "Ephemerals", f"{name} creates {part.path} for another session")
        # What was asked where the session is no more, or when it is over, may come as late as it likes: it is refused.
        is_turned_away = isinstance(body, ErrorTxn) and body.code in _TURNED_AWAY
        if txn.xid > 0 and not is_turned_away and not isinstance(body, CloseSessionTxn | CreateSessionTxn):
            last = self._last_xids.get(session_id, 0)
            if txn.xid <= last:
                raise ViolationError("I20", "SessionOrder", f"{name}: its request {txn.xid} is behind request {last}")
            self._last_xids[session_id] = txn.xid

    def _note(self, zxid: Zxid, txn: Txn, events: Sequence[Event]) -> None:
        touched: dict[str, None] = {}
        bodies = txn.body.bodies if isinstance(txn.body, MultiTxn) else (txn.body,)
        for part in bodies:
            if isinstance(part, CreateTxn | SetDataTxn) and part.data:
                self.payloads.setdefault(part.data, []).append(zxid)
            if isinstance(part, CreateTxn | DeleteTxn):
                touched[parent_of(part.path)] = None
            if isinstance(part, CloseSessionTxn):
                touched |= {parent_of(path): None for path in part.ephemerals}
            path = getattr(part, "path", "")
            if path:
                touched[path] = None
        for event in events:
            touched[event.path] = None
            if event.type != CHILDREN_CHANGED:
                self._change(_DATA, event.path, zxid)
            if event.type in (CHILDREN_CHANGED, DELETED):
                self._change(_CHILD, event.path, zxid)
        for path in touched:
            self._keep(path, zxid)

    def _change(self, kind: str, path: str, zxid: Zxid) -> None:
        changes = self._changes.setdefault((kind, path), [])
        if not changes or changes[-1] != zxid:
            changes.append(zxid)

    def _keep(self, path: str, zxid: Zxid) -> None:
        znode = self.state.tree.nodes.get(path)
        row = 0 if znode is None or zxid == 0 else digest_of([row_of(path, znode)])
        if zxid:
            self._tree_digest = self._tree_digest + row - self._rows.pop(path, 0) & _MASK
            if row:
                self._rows[path] = row
        seen: Seen | tuple[Zxid] = (zxid,)
        if znode is not None:
            seen = Seen(zxid, znode.data, znode.packed_stat(), frozenset(znode.children or ()))
        self._nodes.setdefault(path, []).append(seen)

    # What was so ------------------------------------------------------------------------------------------------------

    def at(self, path: str, zxid: Zxid) -> Seen | None:
        """The znode after this zxid."""
        history = self._nodes.get(path, ())
        at = bisect_right(history, zxid, key=lambda seen: seen[0])
        seen = history[at - 1] if at else None
        return seen if isinstance(seen, Seen) else None

    def first_change(self, kind: str, path: str, after: Zxid) -> Zxid | None:
        """The first that a watch of this kind, set after that zxid, is to tell of."""
        changes = self._changes.get((_DATA if kind == _EXIST else kind, path), ())
        at = bisect_right(changes, after)
        return changes[at] if at < len(changes) else None


def _ops_of(txn: Txn) -> Sequence[int]:
    """By which requests it can have been asked for, as far as answers differ."""
    return (Op.CREATE, Op.CREATE2) if isinstance(txn.body, CreateTxn) else (0,)


class Committed(Checker):
    """Tells the witness of what becomes chosen."""

    id = "I19"

    def choosing(self, process: "Process", entry: Entry) -> None:
        self.sim.witness.chose(entry)  # type: ignore[attr-defined]  # of a whole simulation


class SessionView:
    """What one session was told, over all its connections."""

    def __init__(self) -> None:
        self.last_zxid = Zxid(0)


class Asked(NamedTuple):
    xid: int
    op: int
    body: bytes
    floor: Zxid


class Tap:
    """One connection of a client, as its bytes tell it. ``sent`` and ``received`` raise `ViolationError`."""

    def __init__(
        self,
        witness: Witness,
        sessions: dict[int, SessionView],
        *,
        name: str,
        acked: Callable[[], None],
    ) -> None:
        """``acked`` is called for each write that is answered without an error."""
        self._witness, self._sessions, self.name, self._acked = witness, sessions, name, acked
        self._out, self._in = FrameBuffer(REPLY_BYTES_MAX), FrameBuffer(REPLY_BYTES_MAX)
        self._greeted = self._answered = False
        self.session_id = 0
        self._view = SessionView()
        self._asked: deque[Asked] = deque()
        #: Kind and path of the watches that stand, with the zxid from which they do.
        self._armed: dict[tuple[str, str], Zxid] = {}
        #: Of these an event may come or not: their removal is on its way, or they stay however often they fire.
        self._indifferent: set[str] = set()

    def sent(self, data: bytes) -> None:
        self._out.feed(data)
        for frame in self._out.frames():
            if not self._greeted:
                self._greeted = True
                continue
            xid, op = int.from_bytes(frame[:4], "big", signed=True), int.from_bytes(frame[4:8], "big", signed=True)
            if op == Op.CLOSE_SESSION:
                self._witness.ending.add(self.session_id)
            if xid < 0:
                continue  # pings and logins, answered out of turn
            self._asked.append(Asked(xid, op, frame[8:], self._witness.acked))
            if op == Op.REMOVE_WATCHES:
                self._indifferent.add(r.RemoveWatchesRequest.read(Reader(frame[8:])).path or "")
            elif op == Op.ADD_WATCH:
                self._indifferent.add(r.AddWatchRequest.read(Reader(frame[8:])).path)
            elif op in (Op.SET_WATCHES, Op.SET_WATCHES2):
                self._renew(op, frame[8:])

    def received(self, data: bytes) -> None:
        self._in.feed(data)
        for frame in self._in.frames():
            if not self._answered:
                self._answered = True
                self.session_id = r.ConnectResponse.read(Reader(frame)).session_id
                if self.session_id:
                    self._view = self._sessions.setdefault(self.session_id, SessionView())
                continue
            reader = Reader(frame)
            header = r.ReplyHeader.read(reader)
            if header.zxid > self._witness.end:
                raise self._fail("I11", "Uncommitted", f"was told of {zxid_text(Zxid(header.zxid))}, not committed yet")
            if header.xid == -1:
                self._event(Zxid(header.zxid), r.WatcherEvent.read(reader))
            elif header.xid >= 0:
                self._reply(header.xid, Zxid(header.zxid), header.err, frame[16:])

    def _fail(self, id: str, name: str, text: str) -> ViolationError:
        return ViolationError(id, name, f"{self.name}, session {self.session_id:#x}, {text}")

    # Replies ----------------------------------------------------------------------------------------------------------

    def _reply(self, xid: int, zxid: Zxid, err: int, body: bytes) -> None:
        if not self._asked or self._asked[0].xid != xid:
            raise self._fail("I20", "ReplyOrder", f"was answered request {xid} where {list(self._asked)[:1]} is due")
        asked = self._asked.popleft()
        if zxid < 0:
            return
        view, what = self._view, f"{_name(asked.op)} {xid} at {zxid_text(zxid)}"
        if zxid < view.last_zxid:
            raise self._fail("I20", "MonotonicZxids", f"{what}, after {zxid_text(view.last_zxid)}")
        view.last_zxid = zxid
        self._check_watches(zxid, what)
        if asked.op in _WRITES:
            self._check_write(asked, zxid, err, body, what)
        elif asked.op == Op.SYNC and err == 0 and zxid < asked.floor:
            raise self._fail("I21", "SyncedReads", f"{what}: {zxid_text(asked.floor)} was acked before it was sent")
        elif asked.op in _READS:
            self._check_read(asked, zxid, err, body, what)

    def _check_write(self, asked: Asked, zxid: Zxid, err: int, body: bytes, what: str) -> None:
        chosen = self._witness.chosen.get(zxid)
        if chosen is None or (chosen.txn.session_id, chosen.txn.xid) != (self.session_id, asked.xid):
            raise self._fail("I19", "AckedWrites", f"{what} was answered; committed is {chosen and chosen.txn}")
        if zxid <= asked.floor:
            raise self._fail("I21", "RealTime", f"{what}: {zxid_text(asked.floor)} was acked before it was sent")
        op = asked.op if asked.op in (Op.CREATE, Op.CREATE2) and isinstance(chosen.txn.body, CreateTxn) else 0
        if isinstance(chosen.txn.body, CreateTxn) and not op:
            op = Op.CREATE2
        wanted = chosen.answer(op)
        if asked.op != Op.RECONFIG and (err, body) != wanted:
            raise self._fail("I19", "AckedWrites", f"{what} was answered {err} {body!r}, not {wanted}")
        if not err:
            self._witness.acked = max(self._witness.acked, zxid)
            self._acked()

    def _check_read(self, asked: Asked, zxid: Zxid, err: int, body: bytes, what: str) -> None:
        try:
            path, watched = r.GetDataRequest.read(Reader(asked.body))  # all four begin like this
        except JuteError:
            return
        assert path is not None
        seen = self._witness.at(path, zxid)
        if (err == NO_NODE) != (seen is None):
            raise self._fail("I20", "Reads", f"{what} of {path} was answered {err}; there was {seen}")
        if seen is not None and not err:
            if asked.op == Op.GET_DATA:
                right = body == packed(r.GetDataResponse(seen.data, r.read_stat(Reader(seen.stat))))
            elif asked.op == Op.EXISTS:
                right = body == seen.stat
            else:
                names = r.GetChildrenResponse.read(Reader(body)).children
                right = frozenset(names) == seen.children and len(names) == len(seen.children)
                if asked.op == Op.GET_CHILDREN2:
                    right = right and body.endswith(seen.stat)
            if not right:
                raise self._fail("I20", "Reads", f"{what} of {path} was answered {body!r}; there was {seen}")
        if watched:
            if asked.op in (Op.GET_CHILDREN, Op.GET_CHILDREN2):
                if not err:
                    self._armed.setdefault((_CHILD, path), zxid)
            elif not err or (asked.op == Op.EXISTS and err == NO_NODE):
                self._armed.setdefault((_DATA, path), zxid)

    # Watches ----------------------------------------------------------------------------------------------------------

    def _renew(self, op: int, body: bytes) -> None:
        """What stood on the connection before. It stands again from the request on."""
        asked = (r.SetWatches if op == Op.SET_WATCHES else r.SetWatches2).read(Reader(body))
        since = Zxid(asked.relative_zxid)
        for kind, paths in (
            (_DATA, asked.data_watches),
            (_EXIST, asked.exist_watches),
            (_CHILD, asked.child_watches),
        ):
            for path in paths or ():
                self._armed[kind, path or ""] = since
        if isinstance(asked, r.SetWatches2):
            self._indifferent |= {path or "" for path in asked.persistent_watches or ()}

    def _check_watches(self, zxid: Zxid, what: str) -> None:
        """All that a reply may show has been told to those who wait for it."""
        if any(each.op in (Op.SET_WATCHES, Op.SET_WATCHES2) for each in self._asked):
            return
        for (kind, path), since in self._armed.items():
            if path in self._indifferent:
                continue
            if kind == _EXIST:
                # What came and went while there was no connection goes unnoticed.
                if self._witness.at(path, zxid) is None:
                    continue
                change: Zxid | None = self._witness.first_change(kind, path, since)
            else:
                change = self._witness.first_change(kind, path, since)
            if change is not None and change <= zxid:
                raise self._fail(
                    "I23",
                    "Watches",
                    f"{what} came before the event of {zxid_text(change)} at {path}, watched since {zxid_text(since)}",
                )

    def _event(self, zxid: Zxid, event: r.WatcherEvent) -> None:
        kinds = [_CHILD] if event.type == CHILDREN_CHANGED else [_DATA, _EXIST]
        if event.type == DELETED:
            kinds.append(_CHILD)
        armed = [(kind, self._armed.pop((kind, event.path))) for kind in kinds if (kind, event.path) in self._armed]
        if event.path in self._indifferent:
            return
        if not armed:
            raise self._fail("I23", "Watches", f"was told of {event}, which it does not wait for")
        for kind, since in armed:
            change = self._witness.first_change(kind, event.path, since)
            if zxid > 0 and kind != _EXIST and change != zxid:
                first = "none" if change is None else zxid_text(change)
                told = f"was told of {event} at {zxid_text(zxid)}"
                raise self._fail("I23", "Watches", f"{told}; since {zxid_text(since)} the first is {first}")


def _name(op: int) -> str:
    return OPS[op].name if op in OPS else str(op)
