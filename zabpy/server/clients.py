"""The client port: handshakes, requests in, replies and events out.

Here is what concerns all connections: who may come, what they wait for, whom a transaction is told. What one client
says and is told is `connection.py`.

Order on a connection: for each transaction `Clients.applied` puts the events on all connections first, then the reply
of the write, then the replies of the reads behind it; only then is the next one applied. So a client never sees a
change before the event of a watch it held on it, nor its own later write in an earlier read.
"""

from collections import Counter
from collections.abc import Callable
from random import random

import trio

from zabpy.model import CloseSessionTxn, CreateSessionTxn, Identity, Txn, Zxid, zxid_text
from zabpy.pipeline import (
    ConnectionRules,
    ConnectionThrottle,
    LargeRequests,
    RequestIds,
    State,
    Throttle,
    event_frames,
    outcome_body,
)
from zabpy.sessions import LocalSessions
from zabpy.tree import Outcome, Watches
from zabpy.zab import Role

from .access import Access
from .clock import Clock
from .config import Config
from .connection import NOT_MEASURED, Connection
from .counts import Counts
from .driver import Driver
from .handshake import resume
from .local_sessions import Local
from .log import Log, remote_text
from .phases import CONNECTING, OPEN, TOLD
from .read_only import ReadOnlyMode
from .transport import Channel

#: Where the type of an event stands in its frame: the lowest byte of the int behind length word, xid, zxid and err.
_EVENT_TYPE = 23
#: Answers handed to the kernel in one turn, about. A hundred clients may ask for a megabyte each in the same turn, and
#: others, and the disk, must not wait until all of that is copied.
FLUSH_BYTES_MAX = 4 << 20
#: Watches of connections that are gone, removed at once.
WATCHES_AT_ONCE = 2_000


class Clients:
    """All client connections of this server, and what they wait for."""

    def __init__(
        self,
        config: Config,
        driver: Driver,
        ids: RequestIds,
        clock: Clock,
        log: Log,
        access: Access,
        *,
        negotiable: tuple[int, int],
        local_sessions: LocalSessions,
        counts: Counts | None = None,
        chance: Callable[[], float] = random,
    ) -> None:
        """``negotiable``: smallest and largest session timeout in ms; ``chance``: numbers from 0 up to 1."""
        self.counts = Counts() if counts is None else counts
        self.config, self.driver, self.clock, self.log = config, driver, clock, log
        self.ids, self.access, self.negotiable = ids, access, negotiable
        self.watches = Watches()
        self.throttle = Throttle(config.outstanding_max, config.connection_outstanding_max)
        self.large = LargeRequests(config.large_request_bytes_min, config.large_requests_bytes_max)
        rules = ConnectionRules(
            config.handshake_tokens_max,
            config.handshake_fill_ms,
            config.handshake_fill_tokens,
            config.handshake_freeze_ms,
            config.handshake_drop_increase,
            config.handshake_drop_decrease,
            config.handshake_decrease_ratio,
        )
        self._handshakes = ConnectionThrottle(rules, clock.now_ms(), chance)
        #: Connections that had not taken all they were sent when last looked at, with how much that was then.
        self._lagging: dict[Connection, int] = {}
        self._lagging_bytes = 0
        #: Connections with a large part of a frame that is not whole, oldest first, and how much that is.
        self._parts: dict[Connection, int] = {}
        self._parts_bytes = 0
        #: Connections of all clients together; whoever builds the server may know that there is room for fewer.
        self.connections_max = config.connections_max or 1 << 30
        self.connections: dict[int, Connection] = {}
        self.sessions: dict[int, Connection] = {}
        self.serving = False
        self.read_only = ReadOnlyMode(enabled=config.read_only_mode and not config.standalone, tick_ms=config.tick_ms)
        # As in ZooKeeper a standalone server has none: there is nobody that it would spare the work.
        self.local = Local(self, local_sessions, wanted=config.local_sessions and not config.standalone)
        self.accepting = True
        #: What answers a four-letter word, told it and what came behind it; set by whoever builds the server.
        self.four_letter: Callable[[Connection, str, bytes], None] = _no_words
        #: Who waits until a connection has taken what it was sent, or is over.
        self.rooms: dict[Connection, trio.Event] = {}
        self._by_address: Counter[str] = Counter()
        self._last_id = 0
        #: Requests that are on their way, by their id.
        self.waiting: dict[int, Connection] = {}
        #: Connections that have output, those whose row can go on, those that are not read from.
        self.dirty: list[Connection] = []
        #: Of those, what is for the next turn, since this one has sent enough.
        self._dirty_later: list[Connection] = []
        self.ready: dict[Connection, None] = {}
        self.held: dict[Connection, None] = {}
        #: Connections with an answer that is still being made.
        self._slicing: dict[Connection, None] = {}
        #: To be called when there is something for `work`; set by whoever builds the server.
        self.begin_work: Callable[[], None] = lambda: None
        #: Replies longer than what a client may send, after which most clients hang up.
        self.large_replies = 0
        self.began_ms = clock.now_ms()
        #: The time at which this turn began, or went on: near enough for latencies.
        self.turn_ms = self.began_ms
        self.reset_counts()

    def reset_counts(self) -> None:
        """For the status. A read is answered in the turn it came in, so its latency counts as 0 ms."""
        self.received = self.sent = self.unasked = self.waited = 0
        self.bytes_received = self.bytes_sent = self.bytes_of_events = 0
        self.latency_total_ms = self.latency_max_ms = 0
        self.latency_min_ms = NOT_MEASURED
        self.reply_bytes_last, self.reply_bytes_min, self.reply_bytes_max = -1, NOT_MEASURED, -1
        #: Of what leaves in a turn, the last that went to one client; see `flush`.
        self.sent_last = b""

    @property
    def replies(self) -> int:
        return self.sent - self.unasked

    @property
    def state(self) -> State:
        return self.driver.state

    # Connections come and go ------------------------------------------------------------------------------------------

    def accept(self, channel: Channel) -> None:
        """A connection came in. Beyond the limits it is closed without a word."""
        address = channel.remote[0]
        config = self.config
        if not self.accepting:
            channel.close()
            return
        if config.address_connections_max and self._by_address[address] >= config.address_connections_max:
            self.log(
                "client_refused",
                remote=remote_text(channel),
                why="maxClientCnxns",
                limit=config.address_connections_max,
            )
            self.counts.connections_rejected.value += 1
            channel.close()
            return
        if len(self.connections) >= self.connections_max:
            why = "maxCnxns" if self.connections_max == config.connections_max else "file descriptors"
            self.log("client_refused", remote=remote_text(channel), why=why, limit=self.connections_max)
            self.counts.connections_rejected.value += 1
            channel.close()
            return
        self._last_id += 1
        self._by_address[address] += 1
        connection = self.connections[self._last_id] = Connection(self, self._last_id, channel)
        channel.start(connection)

    def forget(self, connection: Connection) -> None:
        """The connection is over: nothing of it stays."""
        del self.connections[connection.id]
        address = connection.channel.remote[0]
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]
        if self.sessions.get(connection.session_id) is connection:
            del self.sessions[connection.session_id]
        self.held.pop(connection, None)
        self.ready.pop(connection, None)
        self.room(connection)
        self._slicing.pop(connection, None)
        self.watches.forget(connection.id)
        if self.watches.leaving:
            self.begin_work()
        self._lagging_bytes -= self._lagging.pop(connection, 0)
        self.part_ended(connection)
        for request_id in connection.waits_for:
            self.waiting.pop(request_id, None)
            self.large.ended(request_id)
        self.throttle.ended(len(connection.waits_for))
        connection.waits_for.clear()

    def admits(self, session_id: int) -> bool:
        """Whether a handshake that asks for this session, 0 for a new one, may go on."""
        config, weight = self.config, 1
        if config.handshake_weighted:
            if session_id:
                weight = config.resumed_session_tokens
            else:
                weight = config.local_session_tokens if self.local.opens else config.new_session_tokens
        return self._handshakes.admit(weight, self.clock.now_ms())

    def backlog_grew(self, connection: Connection) -> None:
        """The kernel has not taken all that this connection was sent. All backlogs together are bounded: whoever lags
        most is closed, since it is not those that read who must pay."""
        backlog = connection.channel.backlog
        self._lagging_bytes += backlog - self._lagging.get(connection, 0)
        self._lagging[connection] = backlog
        if self._lagging_bytes <= self.config.send_bytes_max:
            return
        for other in list(self._lagging):  # what they had is long sent, perhaps
            now = other.channel.backlog
            self._lagging_bytes += now - self._lagging[other]
            if now:
                self._lagging[other] = now
            else:
                del self._lagging[other]
        while self._lagging_bytes > self.config.send_bytes_max:
            worst = max(self._lagging, key=self._lagging.__getitem__)
            worst.drop(
                "all clients together read too slowly, and this one lags most",
                backlog_bytes=self._lagging[worst],
                together=self._lagging_bytes,
                limit=self.config.send_bytes_max,
                key="zabpy.sendBytesMax",
            )

    def part_grew(self, connection: Connection, size: int) -> None:
        """So much of a frame has come there, and not all. All such parts together are bounded: whoever began first is
        closed, since one that means it has sent the rest by then."""
        self._parts_bytes += size - self._parts.get(connection, 0)
        self._parts[connection] = size
        while self._parts_bytes > self.config.receive_bytes_max and len(self._parts) > 1:
            first = next(iter(self._parts))
            first.drop(
                "all clients together have sent too much of what is not whole, and this one began first",
                bytes=self._parts[first],
                together=self._parts_bytes,
                limit=self.config.receive_bytes_max,
                key="zabpy.receiveBytesMax",
            )

    def part_ended(self, connection: Connection) -> None:
        """It is whole, or will never be."""
        self._parts_bytes -= self._parts.pop(connection, 0)

    def close_all(self, why: str) -> None:
        for connection in list(self.connections.values()):
            connection.drop(why)

    def look_after(self) -> list[tuple[int, int]]:
        """To be called every half tick: ends silent connections; returns the sessions heard from since the last time,
        each with its latest moment in ms."""
        now_ms = self.clock.now_ms()
        if not self.driver.replica.disk_is_busy and self.read_only.begin_if_due(now_ms):
            self.log("read_only", zxid=zxid_text(self.state.last_applied))
            self.local.sessions.refresh(now_ms)
        local = self.local.sessions
        heard: list[tuple[int, int]] = []
        handshake_ms = self.config.handshake_timeout_ms
        for connection in list(self.connections.values()):
            silent_ms = now_ms - connection.heard_ms
            if connection.phase == OPEN:
                if silent_ms > connection.timeout_ms:
                    self.counts.connections_expired.value += 1
                    connection.drop("session timeout", timeout_ms=connection.timeout_ms)
                elif connection.heard_ms > connection.reported_ms:
                    connection.reported_ms = connection.heard_ms
                    if connection.session_id in local:
                        local.heard(connection.session_id, connection.heard_ms)
                    else:
                        heard.append((connection.session_id, connection.heard_ms))
            # Until there is a session what counts is when the connection began: bytes that drip must not keep it.
            elif (silent_ms if connection.phase == TOLD else now_ms - connection.reported_ms) > handshake_ms:
                self.counts.connections_expired.value += 1
                connection.drop("no session in time")
        if self.serving or self.read_only.on:
            self.local.look_after(now_ms)
        return heard

    def due_ms(self) -> int | None:
        """How long until `look_after` has something to do that half a tick is too long for."""
        now_ms = self.clock.now_ms()
        waits = (self.local.sessions.next_ms(now_ms), self.read_only.wait_ms(now_ms))
        return min((wait for wait in waits if wait is not None), default=None)

    # What the driver tells --------------------------------------------------------------------------------------------

    def delivering(self) -> None:
        """What is applied now had waited for a disk, or for others: latencies are measured up to here."""
        self.turn_ms = self.clock.now_ms()

    def applied(self, zxid: Zxid, txn: Txn, outcome: Outcome) -> None:
        if outcome.events and self.watches.total:
            self._tell(event_frames(self.watches, zxid, outcome.events, self._identities_of))
        session_id, _, request_id, _, body = txn
        connection = self.waiting.pop(request_id, None)
        if connection is not None:
            op = connection.answered(request_id)
            if type(body) is CreateSessionTxn:
                connection.last_op, connection.last_xid, connection.last_zxid = 0, 0, zxid
                connection.connected(session_id, body.password)
            elif connection.phase == CONNECTING:  # the session that was asked for cannot be
                connection.drop("no session could be made")
            else:
                assert isinstance(op, int)
                self.counts.update_latency.add(connection.latency_last_ms)
                err, reply = outcome_body(op, body, outcome)
                # At once, and not after all that is delivered together: a read that stands between two writes of its
                # connection must not see the later one.
                answer = connection.row.answer_first(request_id, zxid, err, reply)
                if answer is not None:
                    connection.put(answer)
                    connection.sent_frames += 1
                    self.sent += 1
                    connection.last_zxid = zxid
                elif connection.row.complete(request_id, err, reply):
                    connection.go_on()
        elif self.local.upgrades and request_id in self.local.upgrades:
            self.local.upgraded(request_id, body)
        if type(body) is CloseSessionTxn:
            other = self.sessions.get(session_id)
            if other is not None and other is not connection:
                other.drop("session closed" if connection is not None else "session expired")

    def _tell(self, frames: list[tuple[int, bytes]]) -> None:
        """Put events on their connections, one after the other as they are; and count them."""
        connections = self.connections
        before, watchers = b"", 0
        for watcher, frame in frames:
            connection = connections[watcher]
            connection.put(frame)
            connection.sent_frames += 1
            connection.unasked += 1
            if frame is not before:
                self._count_event(before, watchers)
                before, watchers = frame, 0
            watchers += 1
        self._count_event(before, watchers)
        self.sent += len(frames)
        self.unasked += len(frames)

    def _count_event(self, frame: bytes, watchers: int) -> None:
        if watchers:
            self.bytes_of_events += len(frame) * watchers
            self.counts.watches_fired[frame[_EVENT_TYPE]].add(watchers)

    def count_size(self, size: int) -> None:
        """A reply that is perhaps smaller or larger than all before."""
        self.reply_bytes_min = min(self.reply_bytes_min, size)
        self.reply_bytes_max = max(self.reply_bytes_max, size)

    def room(self, connection: Connection) -> None:
        """The connection has taken what it was sent, or is over."""
        waiting = self.rooms.pop(connection, None)
        if waiting is not None:
            waiting.set()

    def _identities_of(self, watcher: int) -> tuple[Identity, ...]:
        return self.connections[watcher].identities

    def synced(self, request_id: int) -> None:
        connection = self.waiting.pop(request_id, None)
        if connection is not None:
            self.turn_ms = self.clock.now_ms()
            path = connection.answered(request_id)
            assert isinstance(path, bytes)
            if connection.phase == CONNECTING:
                resume(connection, self, caught_up=True)
                return
            connection.syncing = False
            if connection.row.complete(request_id, 0, path):
                connection.go_on()

    def revalidated(self, request_id: int, valid: bool) -> None:
        connection = self.waiting.pop(request_id, None)
        if connection is None:
            return
        self.turn_ms = self.clock.now_ms()
        connection.answered(request_id)
        session = self.state.sessions.get(connection.session_id)
        if valid and session is not None:
            self.count_resumed(connection)
            connection.connected(connection.session_id, session.password)
        else:
            connection.refuse_session()

    def count_resumed(self, connection: Connection) -> None:
        """A client came back with its session: it is told so, and that answers no request."""
        self.counts.connections_revalidated.value += 1
        connection.unasked += 1
        self.unasked += 1

    def serving_changed(self, serving: bool) -> None:
        self.close_all("this server is not serving" if not serving else "the ensemble has changed its leader")
        leads_only = not self.config.leader_serves and not self.config.standalone and self.driver.leading
        self.serving = serving and not leads_only
        self.throttle.share(len(self.driver.replica.ensemble.voters))
        now_ms = self.clock.now_ms()
        self.read_only.role_changed(looking=self.driver.replica.role is Role.LOOKING, now_ms=now_ms)
        self.local.serving_changed(serving, now_ms)

    # What is too long for one turn ------------------------------------------------------------------------------------

    def has_slices(self, connection: Connection) -> None:
        """It has an answer that is made in slices."""
        self._slicing[connection] = None
        self.begin_work()

    @property
    def has_work(self) -> bool:
        return bool(self._slicing or self.watches.leaving or self._dirty_later)

    def work(self) -> None:
        """A slice for the connection that waits longest, and of what those leave behind that are gone; what was left to
        be sent goes with the end of this turn."""
        if self._dirty_later:
            self.dirty, self._dirty_later = self._dirty_later + self.dirty, []
        if self._slicing:
            connection = next(iter(self._slicing))
            del self._slicing[connection]
            if connection.work():
                self._slicing[connection] = None
        if self.watches.leaving:
            self.watches.clean_up(WATCHES_AT_ONCE)

    # The end of a turn ------------------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        return bool(self.ready or self.dirty)

    def flush(self) -> None:
        """Answer what can be answered now, send what there is, one send a connection; read on where there is room."""
        self.turn_ms = self.clock.now_ms()
        while self.ready:
            connection, _ = self.ready.popitem()
            connection.go_on()
        if self.dirty:
            dirty, self.dirty = self.dirty, []
            room = FLUSH_BYTES_MAX
            for at, connection in enumerate(dirty):
                if room <= 0:
                    self._dirty_later += dirty[at:]
                    self.begin_work()
                    break
                room -= connection.out_bytes
                connection.flush()
            if self.sent_last:
                # Of all that leaves in one turn only one reply is measured: that costs the same however many there are.
                size = self.reply_bytes_last = int.from_bytes(self.sent_last[:4], "big")
                self.sent_last = b""
                self.count_size(size)
        if self.held:
            for connection in list(self.held):
                connection.read_on()


def _no_words(connection: Connection, word: str, argument: bytes) -> None:
    connection.finish()
