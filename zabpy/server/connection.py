"""Connection: one client, from its first byte to its last. What it says first is `handshake.py`.

One plain loop answers all the requests that one ``recv`` brought (`Connection._serve`); replies gather here and leave
with one send at the end of the turn. Reads are answered where they stand while nothing of the connection is
outstanding, and otherwise wait in its `Row` behind the writes in front of them.
"""

import struct
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from zabpy.model import LOCAL_SESSION, OPEN_ACL, Identity, Request
from zabpy.pipeline import (
    ROUTES,
    Route,
    Row,
    Sliced,
    connect_response,
    get_data,
    read_now,
    refusal_frame,
    session_gone,
)
from zabpy.wire import JuteError, Op, Reader, packed, records

from .handshake import greet
from .local_sessions import take_local
from .log import hex_text, remote_text
from .phases import CONNECTING, NEW, OPEN, OVER
from .read_only import take_read_only
from .transport import Channel

if TYPE_CHECKING:
    from .clients import Clients
    from .sasl import Exchange

#: Bytes waiting for one client before no more of its requests are read.
SEND_PAUSE_BYTES: Final = 1 << 20

#: Of a frame that has not come whole this much costs nothing: it is what every connection may hold. What is beyond
#: counts for all connections together.
PART_FREE_BYTES: Final = 16 * 1024

#: The key of the limit on what a client sends at once, for messages.
FRAME_KEY: Final = "jute.maxbuffer"

#: What one connection asks for may take this long before others have their turn. Looked at behind what takes longest.
TURN_MS_MAX: Final = 5

#: Reads of one connection that may wait behind its writes. Their replies are made all at once when they may go, so
#: this times the largest znode is what one client can make us hold; beyond `connection_send_bytes_max` it is dropped.
READS_WAITING_MAX: Final = 256

#: What stands for an operation before the first one, and for a smallest latency before the first.
NO_OP: Final = -(1 << 31)
NOT_MEASURED: Final = 1 << 62

_HEAD = struct.Struct(">iii").unpack_from  # length word, xid, opcode
_HEAD_AND_SIZE = struct.Struct(">iiii").unpack_from  # and the length of the path, where there is one
_REPLY = struct.Struct(">iiqi").pack
_LENGTH = struct.Struct(">i")
_GET_DATA, _PING, _SASL = int(Op.GET_DATA), int(Op.PING), int(Op.SASL)
_WITHOUT_PATH = frozenset((Op.MULTI_READ, Op.SET_WATCHES, Op.SET_WATCHES2))
_LOGINS = frozenset((int(Op.AUTH), int(Op.SASL)))
_WRITE, _CLOSE, _SYNC, _AUTH, _UNKNOWN = Route.WRITE, Route.CLOSE, Route.SYNC, Route.AUTH, Route.UNKNOWN
#: Half the cost of calling a NamedTuple by name.
_new: Callable[..., Any] = tuple.__new__
#: What a connection of a local session or in read-only mode does with a request before all else: xid, opcode and record
#: → the reply; empty if it comes later; None if the request is like any other.
_Special = Callable[["Connection", "Clients", int, int, bytes], bytes | None]


class Connection:
    """One client. Also the handler of its channel."""

    __slots__ = (
        "_asks_as", "_clients", "_dirty", "_finishing", "_missing", "_out", "_part", "_rest", "_sliced",
        "_put_off", "_special", "admitted", "began_wall_ms", "channel", "ending", "heard_ms", "id", "identities",
        "last_op", "last_xid", "last_zxid", "latency_last_ms", "out_bytes",
        "latency_max_ms", "latency_min_ms", "latency_total_ms", "password", "phase", "read_only", "received_frames",
        "reported_ms", "row", "sasl", "sasl_refused", "sent_frames", "session_id", "syncing", "timeout_ms", "unasked",
        "waited", "waits_for",
    )  # fmt: skip

    def __init__(self, clients: "Clients", id: int, channel: Channel) -> None:
        self._clients, self.id, self.channel = clients, id, channel
        self.phase = NEW
        self.session_id = 0
        #: The session its requests are asked in, as others know it, and what looks at them first; see `connected`.
        self._asks_as = 0
        self._special: _Special | None = None
        self.timeout_ms = 0
        self.password = b""
        self.read_only: bool | None = None
        self.identities: tuple[Identity, ...] = ()
        #: May ask more than to be let in. Kept by `become`.
        self.admitted = True
        self.become(clients.access.first_identities(channel))
        #: Its login by SASL, from the first token on; whether it was told that there is none to be had.
        self.sasl: Exchange | None = None
        self.sasl_refused = False
        self.row = Row()
        #: A sync is on its way, and nothing behind it is looked at: a later write could be applied before the sync is
        #: answered, and a read between the two would then see it.
        self.syncing = False
        #: The connection ends behind what is in the row: what comes after is not looked at.
        self.ending = False
        #: What is on its way, by its id: the opcode, or a sync's reply, and when it came, in ms.
        self.waits_for: dict[int, tuple[int | bytes, int]] = {}
        self.heard_ms = self.reported_ms = clients.clock.now_ms()
        self.began_wall_ms = clients.clock.wall_ms()
        self.reset_counts()
        self._rest = b""
        #: What has come of a frame that is not whole yet, and how many bytes of it are missing; 0 while there is none.
        self._part = bytearray()
        self._missing = 0
        self._out: list[bytes | Sliced] = []
        #: Those in `_out` that are not sent yet, in order. What stands behind one waits until it is made.
        self._sliced: deque[Sliced] = deque()
        self._finishing = False
        #: What it asks takes long: others come first, then `work` goes on.
        self._put_off = False
        #: Of what is in `_out`.
        self.out_bytes = 0
        self._dirty = False

    def reset_counts(self) -> None:
        """For the status; the numbers are those of a connection on which nothing has happened."""
        self.received_frames = self.sent_frames = 0
        #: Of what was sent, that which answers nothing; of what was answered, that which waited for the order. All
        #: other answers were given on the spot, within 0 ms: counting these costs nothing where it would be felt.
        self.unasked = self.waited = 0
        self.latency_last_ms = self.latency_max_ms = self.latency_total_ms = 0
        self.latency_min_ms = NOT_MEASURED
        self.last_op, self.last_xid, self.last_zxid = NO_OP, -1, -1

    # As the channel's handler -----------------------------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        clients = self._clients
        self.heard_ms = clients.turn_ms = clients.clock.now_ms()
        clients.bytes_received += len(data)
        if self._missing:
            # Gathered until all is there: a frame costs its length once, in however small pieces it comes.
            self._part += data
            self._missing -= len(data)
            if self._missing > 0:
                if len(self._part) > PART_FREE_BYTES:
                    clients.part_grew(self, len(self._part))
                return
            data = bytes(self._part)
            if len(data) > PART_FREE_BYTES:
                clients.part_ended(self)
            self._part.clear()
            self._missing = 0
        elif self._rest:
            data = self._rest + data
        if self.phase == OPEN:
            self._serve(data)
        elif self.phase == NEW:
            self._rest = greet(self, clients, data)
        elif self.phase == CONNECTING:
            self._rest = data

    def keep(self, data: bytes, length: int) -> None:
        """The beginning of something that is so long: it comes again when all is there."""
        self._part += data
        self._missing = length - len(data)

    def drained(self) -> None:
        """Only a long answer to a word waits for this: `Clients.flush` follows, and reads on where there is room."""
        if self._clients.rooms:
            self._clients.room(self)

    def closed(self, why: str) -> None:
        if self.phase != OVER:
            self._clients.counts.connections_dropped.value += 1
            self.phase = OVER
            self._clients.forget(self)

    def drop(self, why: str, **facts: object) -> None:
        """Close now. What was to be told is lost, as with any cut connection."""
        if self.phase != OVER:
            if self.phase != NEW:
                self._clients.log(
                    "client_closed",
                    remote=remote_text(self.channel),
                    session=hex_text(self.session_id),
                    why=why,
                    **facts,
                )
            self.phase = OVER
            self._clients.forget(self)
            self.channel.close()

    def finish(self) -> None:
        """Send what there is, then close."""
        if self.phase != OVER:
            self.flush()
        if self._sliced:
            self._finishing = self.ending = True  # behind what is still being made
        elif self.phase != OVER:  # the flush may have found that too much waits, and dropped us
            self.phase = OVER
            self._clients.forget(self)
            self.channel.finish()

    def become(self, identities: tuple[Identity, ...]) -> None:
        """Requests that are read from now on have these identities."""
        self.identities = identities
        self.admitted = self._clients.access.admits(identities)

    # The session ------------------------------------------------------------------------------------------------------

    def take_over(self, password: bytes) -> None:
        """The session the client came with is known to live, without asking the leader."""
        self._clients.local.sessions.heard(self.session_id, self.heard_ms, self.timeout_ms)
        self._clients.count_resumed(self)
        self.connected(self.session_id, password)

    def connected(self, session_id: int, password: bytes) -> None:
        """The session is made, or lives: answer, and go on with what the client has sent behind the handshake."""
        clients = self._clients
        if self.phase == OVER:
            return
        self.session_id, self.password, self.phase = session_id, password, OPEN
        local = clients.local.sessions
        if clients.read_only.on:
            assert self.read_only and not clients.serving  # nobody reads what may be old without having agreed to it
            self._special = take_read_only
        else:
            assert clients.serving
            if session_id in local and not local.is_upgrading(session_id):
                self._asks_as, self._special = LOCAL_SESSION, take_local
            else:
                self.be_global()
        self.sent_frames += 1
        clients.sent += 1
        other = clients.sessions.get(session_id)
        if other is not None:
            other.drop("session resumed on another connection")
        clients.sessions[session_id] = self
        self.heard_ms = clients.clock.now_ms()
        self.put(connect_response(self.timeout_ms, session_id, password, self.read_only))
        clients.held[self] = None  # the end of the turn reads on

    def be_global(self) -> None:
        """What is asked from now on is asked in the session that all servers know, or will when they see it."""
        self._asks_as, self._special = self.session_id, None

    def refuse_session(self) -> None:
        """Unknown, expired, closing or not this client's: all look the same to it."""
        self.session_id = 0
        self.put(session_gone(self.read_only))
        self.finish()

    # Requests ---------------------------------------------------------------------------------------------------------

    def _serve(self, data: bytes) -> None:
        """Answer, or put in order, all whole requests in ``data``. The loop of the whole server: nothing in it for
        getData that need not be."""
        clients = self._clients
        state = clients.driver.state
        nodes, zxid = state.tree.nodes, state.last_applied
        limit = clients.config.frame_bytes_max
        append = self._out.append
        waiting = self.row.waiting
        quick = self.admitted and not waiting
        room = SEND_PAUSE_BYTES - self.out_bytes - self.channel.backlog
        full = room
        at, end, count = 0, len(data), 0
        op = xid = missing = length = stop = 0
        ends_ms = clients.turn_ms + TURN_MS_MAX
        while room > 0:
            left = end - at
            if left >= 16:
                length, xid, op, size = _HEAD_AND_SIZE(data, at)
            elif left >= 12:
                length, xid, op = _HEAD(data, at)
                size = -2
            elif left >= 4:
                (length,) = _LENGTH.unpack_from(data, at)
                if not 8 <= length <= limit:
                    self._end_of_output(full - room, count, quick)
                    self.drop_garbage(f"a frame of {length} bytes", limit=limit, key=FRAME_KEY)
                    return
                missing = 4 + length - left
                break
            else:
                missing = 4 - left
                break
            stop = at + 4 + length
            if stop > end or not 8 <= length <= limit:
                if not 8 <= length <= limit:
                    self._end_of_output(full - room, count, quick)
                    self.drop_garbage(f"a frame of {length} bytes", limit=limit, key=FRAME_KEY)
                    return
                op, xid = self.last_op, self.last_xid  # what has not come whole is not the last operation
                missing = stop - end
                break
            count += 1
            if op == _GET_DATA and quick and size == length - 13:
                znode = nodes.get(data[at + 16 : stop - 1].decode("utf-8", "replace"))
                if znode is not None and znode.acl is OPEN_ACL and not data[stop - 1]:
                    body = znode.reply
                    if body is not None:
                        size = 16 + len(body)
                        append(_REPLY(size, xid, zxid, 0))
                        append(body)
                        room -= size
                        at = stop
                        continue
                frame = get_data(state, clients.watches, self.id, data[at + 4 : stop], self.identities)
                append(frame)
                room -= len(frame)
                if znode is not None and znode.acl is not OPEN_ACL and clients.clock.now_ms() > ends_ms:
                    self._put_off = True
                    at = stop
                    break
            elif op == _PING and quick:
                append(_REPLY(16, -2, zxid, 0))
                room -= 20
            else:
                room -= self._take(xid, op, data[at + 12 : stop])
                self.last_op = op
                if xid >= 0:
                    self.last_xid = xid
                if self.phase != OPEN:
                    return
                quick = self.admitted and not waiting
                if quick and clients.clock.now_ms() > ends_ms:
                    self._put_off = True
                if (
                    self.syncing
                    or self.ending
                    or self._sliced
                    or self._put_off
                    or (waiting and self._reads_waiting >= READS_WAITING_MAX)
                ):
                    at = stop
                    break
            at = stop
        if quick and at:
            self.last_op, self.last_zxid = op, zxid
            if xid >= 0:
                self.last_xid = xid
        self._end_of_output(full - room, count, quick)
        if self._put_off:
            clients.has_slices(self)
        if room <= 0 or self._sliced or self._put_off or (not quick and not self._may_go_on()):
            self._rest = data[at:]
            if room <= 0 and op == _GET_DATA and full - room > limit:
                self._data_sent(data[stop - length + 8 : stop])
            self._hold()
        elif missing > 0:
            self._part += data[at:]
            self._missing = missing
            if len(self._part) > PART_FREE_BYTES:  # even if nothing ever follows
                clients.part_grew(self, len(self._part))

    @property
    def replies(self) -> int:
        """How many requests were answered, the handshake of a new session among them."""
        return self.sent_frames - self.unasked

    @property
    def _reads_waiting(self) -> int:
        """Of what waits in the row, that which is not a write on its way."""
        return len(self.row) - len(self.waits_for)

    def _may_go_on(self) -> bool:
        """Whether more of this client's requests may be looked at."""
        return (
            not (self.syncing or self.ending or self._sliced or self._put_off)
            and self._reads_waiting < READS_WAITING_MAX
            and self._clients.throttle.may_read(len(self.row))
        )

    def _end_of_output(self, size: int, count: int, quick: bool) -> None:
        """After `_serve` has put ``size`` bytes of output there by itself, for ``count`` requests. ``quick``: nothing
        is in the row.

        What is in the row came behind all that was answered on the spot, each of those within 0 ms.
        """
        clients = self._clients
        self.received_frames += count
        clients.received += count
        answered = count if quick else count - len(self.row)
        if answered > 0:
            self.sent_frames += answered
            self.latency_last_ms = 0
            clients.sent += answered
        if self._out:
            self.out_bytes += size
            if not self._dirty:
                self._dirty = True
                clients.dirty.append(self)

    def _take(self, xid: int, op: int, record: bytes) -> int:
        """One request that is not of the most frequent kind. How many bytes of output it made at once."""
        clients, row = self._clients, self.row
        if not self.admitted and op not in _LOGINS:
            return self._in_turn(*clients.access.refuse(self, xid))
        if self._special is not None:
            frame = self._special(self, clients, xid, op, record)
            if frame is not None:
                return self._in_turn(frame, False) if frame else 0
        route = ROUTES.get(op, _UNKNOWN)
        if route is _WRITE or route is _CLOSE:
            self.ending = route is _CLOSE
            request_id = clients.ids.next()
            if len(record) + 8 > clients.large.bytes_min and not clients.large.began(request_id, len(record) + 8):
                clients.counts.large_rejected.value += 1
                self.drop("too much in large requests", bytes=len(record) + 8, key="largeRequestMaxBytes")
                return 0
            row.push_write(request_id, xid, op)
            self.waits_for[request_id] = op, self.heard_ms
            clients.waiting[request_id] = self
            clients.throttle.outstanding += 1
            clients.driver.submit(_new(Request, (request_id, self._asks_as, xid, op, record, self.identities)))
            return 0
        if route is _SYNC:
            return self._sync(xid, record)
        if route is _AUTH:
            return self._in_turn(*clients.access.auth(self, xid, record))
        if op == _SASL:
            return self._in_turn(*clients.access.sasl(self, xid, record))
        if route is _UNKNOWN:
            return self._in_turn(refusal_frame(xid), True)
        if row.waiting:
            row.push_read(xid, op, record, self.identities)
            return 0
        reply = self._answer(xid, op, record, self.identities)
        self._out.append(reply)
        return len(reply)

    def _answer(self, xid: int, op: int, record: bytes, identities: tuple[Identity, ...]) -> bytes | Sliced:
        clients = self._clients
        answer = read_now(clients.driver.state, clients.watches, self.id, xid, op, record, identities, self.session_id)
        if type(answer) is Sliced:
            answer.made = lambda size: self._reply_made(op, record, size)
            self._sliced.append(answer)
            clients.has_slices(self)
        elif len(answer) > clients.config.frame_bytes_max:
            self._reply_made(op, record, len(answer) - 4)
        return answer

    def _data_sent(self, record: bytes) -> None:
        """The last of what `_serve` has just answered, and it answered much."""
        (length,) = _LENGTH.unpack_from(record)
        znode = self._clients.state.tree.nodes.get(record[4 : 4 + length].decode("utf-8", "replace"))
        if znode is not None and znode.reply is not None:
            self._reply_made(_GET_DATA, record, 16 + len(znode.reply))

    def _reply_made(self, op: int, record: bytes, size: int) -> None:
        """Its size is known now. Sent all the same, as ZooKeeper does: the limit is each client's own."""
        limit = self._clients.config.frame_bytes_max
        if size > limit:
            self._clients.large_replies += 1
            (length,) = _LENGTH.unpack_from(record) if len(record) >= 4 and op not in _WITHOUT_PATH else (0,)
            self._clients.log(
                "large_reply",
                remote=remote_text(self.channel),
                session=hex_text(self.session_id),
                op=Op(op).name,
                path=record[4 : 4 + max(0, min(length, 200))].decode("utf-8", "replace"),
                bytes=size,
                limit=limit,
                key=FRAME_KEY,
                why="clients with this limit close the connection",
            )

    def _sync(self, xid: int, record: bytes) -> int:
        try:
            body = packed(records.SyncResponse(records.SyncRequest.read(Reader(record)).path))
        except JuteError:
            self.row.push_read(xid, Op.SYNC, record, self.identities)  # which tells of the error, in its turn
            self._clients.ready[self] = None
            return 0
        clients = self._clients
        request_id = clients.ids.next()
        self.row.push_write(request_id, xid, Op.SYNC)
        self.syncing = True
        self.wait_for(request_id, body)
        clients.driver.submit(Request(request_id, self._asks_as, xid, int(Op.SYNC), b"", ()))
        return 0

    def _in_turn(self, frame: bytes, over: bool) -> int:
        """An answer that is there already: behind what is in the row. ``over``: the connection ends behind it."""
        if over or self.row.waiting:
            self.ending = self.ending or over
            self.row.push_frame(frame, over)
            self._clients.ready[self] = None
            return 0
        self._out.append(frame)
        return len(frame)

    def wait_for(self, request_id: int, what: int | bytes) -> None:
        self.waits_for[request_id] = what, self.heard_ms
        self._clients.waiting[request_id] = self
        self._clients.throttle.began()

    def answered(self, request_id: int) -> int | bytes:
        """What was kept for this request, which has its outcome now."""
        clients = self._clients
        what, came_ms = self.waits_for.pop(request_id)
        clients.throttle.outstanding -= 1
        if clients.large.bytes:
            clients.large.ended(request_id)
        self.latency_last_ms = took_ms = clients.turn_ms - came_ms
        self.waited += 1
        clients.waited += 1
        self.latency_total_ms += took_ms
        clients.latency_total_ms += took_ms
        if took_ms < self.latency_min_ms:
            self.latency_min_ms = took_ms
        if took_ms < clients.latency_min_ms:
            clients.latency_min_ms = took_ms
        if took_ms > self.latency_max_ms:
            self.latency_max_ms = took_ms
        if took_ms > clients.latency_max_ms:
            clients.latency_max_ms = took_ms
        return what

    # Output -----------------------------------------------------------------------------------------------------------

    def put(self, frame: bytes) -> None:
        """Behind all that was put before; leaves with the next flush."""
        self._out.append(frame)
        self.out_bytes += len(frame)
        if not self._dirty:
            self._dirty = True
            self._clients.dirty.append(self)

    def go_on(self) -> None:
        """Something at the head of the row may be answered now."""
        limit = self._clients.config.connection_send_bytes_max
        frames = self.row.drain(self._clients.driver.state.last_applied, self._answer, limit or 1 << 62)
        for frame in frames:
            self.out_bytes += len(frame)  # about, of one that is still to be made
        if limit and self.out_bytes > limit:
            self.drop("asks for more than it can be sent", bytes=self.out_bytes, limit=limit)
            return
        self._out += frames
        self.sent_frames += len(frames)
        self._clients.sent += len(frames)
        self.last_zxid = self._clients.driver.state.last_applied
        if self.row.over:
            self.finish()
        elif frames and not self._dirty:
            self._dirty = True
            self._clients.dirty.append(self)

    def flush(self) -> None:
        self._dirty = False
        out = self._out
        if not out or self.phase == OVER:
            return
        if self._sliced:
            self._flush_made()
        else:
            data = b"".join(out)  # type: ignore[arg-type]  # nothing is sliced
            out.clear()
            self.out_bytes = 0
            if self.phase == OPEN:
                clients = self._clients
                clients.bytes_sent += len(data)
                clients.sent_last = data
            self.channel.send(data)
        backlog = self.channel.backlog
        if not backlog or self.phase == OVER:
            return
        self._clients.backlog_grew(self)
        limit = self._clients.config.connection_send_bytes_max
        if limit and backlog > limit:
            self.drop("reads too slowly", backlog_bytes=backlog, limit=limit)

    def _flush_made(self) -> None:
        """Send what stands before the first answer that is still being made."""
        clients, out, sliced, send = self._clients, self._out, self._sliced, self.channel.send
        while sliced:
            first = sliced[0]
            at = out.index(first)
            if at:
                data = b"".join(out[:at])  # type: ignore[arg-type]
                self.out_bytes -= len(data)
                clients.bytes_sent += len(data)
                send(data)
                del out[:at]
            if not first.done:
                return
            self.out_bytes -= len(first)
            clients.bytes_sent += first.size
            clients.count_size(first.size - 4)
            for piece in first.pieces:
                send(piece)
            del out[0]
            sliced.popleft()
        if out:
            data = b"".join(out)  # type: ignore[arg-type]
            clients.bytes_sent += len(data)
            send(data)
            out.clear()
        self.out_bytes = 0
        if self._finishing:
            self.finish()

    def work(self) -> bool:
        """Make the next slice of an answer, or let what was put off go on; whether there is more to do."""
        if self._put_off:
            self._put_off = False  # the end of this turn reads on
            return bool(self._sliced)
        for sliced in self._sliced:
            if not sliced.done:
                if sliced.work():
                    sliced.made(sliced.size - 4)
                    if not self._dirty:
                        self._dirty = True
                        self._clients.dirty.append(self)
                limit = self._clients.config.connection_send_bytes_max
                if limit and max(sliced.size, len(sliced)) > limit:
                    self.drop("asks for more than it can be sent", bytes=max(sliced.size, len(sliced)), limit=limit)
                    return False
                return True
        return False

    def _hold(self) -> None:
        """Read no more for now."""
        self.channel.pause()
        self._clients.held[self] = None

    def read_on(self) -> None:
        """If nothing stands against it any more, go on with what has come already, and with reading."""
        clients = self._clients
        if self.out_bytes + self.channel.backlog >= SEND_PAUSE_BYTES or not self._may_go_on():
            return
        del clients.held[self]
        if self._rest:
            rest, self._rest = self._rest, b""
            self._serve(rest)
        if self.phase == OPEN and self not in clients.held:
            self.channel.resume()

    def drop_garbage(self, what: str, **facts: object) -> None:
        """The other side does not speak the protocol."""
        self._clients.log(
            "client_garbage", remote=remote_text(self.channel), session=hex_text(self.session_id), sent=what, **facts
        )
        if self.phase != OVER:
            self.phase = OVER
            self._clients.forget(self)
            self.channel.close()
