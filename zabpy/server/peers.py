"""Links with the other servers: one connection a pair, kept up as long as both live.

Of two voters the one with the larger id dials; an observer dials the voters. Who dials says `Hello` first and gets one
back if it is let in; where the ensemble has a secret, both prove in between that they know it (`greeting.py`). After
that a link is a FIFO of messages: what is queued in one turn leaves with one send, and what must be read from disk
first (a tail of the log, a snapshot) is a job in the same queue, so that nothing sent later overtakes it.
"""

from collections import Counter, deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol, TypeVar

import trio

from zabpy.model import Entry, Tip, ZabpyError, Zxid
from zabpy.wire import (
    PEER_FRAME_BYTES_MAX,
    PEER_VERSION,
    FrameBuffer,
    FrameError,
    Hello,
    PeerDecodeError,
    decode,
    encode,
    frame,
)
from zabpy.zab import Input, Linked, LinkId, PeerId, Quorums, Received, Unlinked
from zabpy.zab.messages import CARRIED, ImageChunk, Message, Propose

from .clock import Clock
from .greeting import Greeting, PeerLinkError
from .log import Log
from .peer_secrets import Secrets
from .tls import TLS_BEGINNINGS, TLS_FAILED
from .transport import Channel, Network

#: While a job reads from disk, this much at most waits in its channel.
JOB_BACKLOG_BYTES_MAX = 2 * 1024 * 1024
#: Bytes of entries or of a snapshot that one frame of a job carries.
SLICE_BYTES_MAX = 512 * 1024
#: Dialling again after a failure: at first, and at most. Short, because a failover waits for it.
BACKOFF_MIN_MS, BACKOFF_MAX_MS = 20, 1_000
#: From connecting until both have said Hello; less where dialling may take less (cnxTimeout).
HELLO_TIMEOUT_MS = 3_000
#: A server that is not let in is told of in the log this often, however often it tries.
REFUSED_AGAIN_MS = 60_000
#: Until its greeting is over nobody is trusted with more: so many bytes of each frame, and so many connections.
HELLO_BYTES_MAX = 4 * 1024
UNNAMED_MAX = 64
#: Of what a stranger sends, so much goes into the log.
ENSEMBLE_CHARS_SHOWN = 200

_KEEPALIVE = b"\x00\x00\x00\x00"


T = TypeVar("T")


class Aside(Protocol):
    """Does a blocking call where it does not keep the event loop."""

    async def __call__(self, call: Callable[[], T], /) -> T: ...


EntriesReader = Callable[[Zxid, Zxid, int], list[Entry]]


class ImageSource(Protocol):
    """A snapshot open for reading."""

    def read(self, size: int, /) -> bytes: ...

    def close(self) -> None: ...


class Secured(Protocol):
    """TLS between servers."""

    def accepted(self, channel: Channel, /) -> Channel: ...

    def dialled(self, channel: Channel, host: str, /) -> Channel:
        """The other side must show a certificate for ``host``."""

    def objection(self, channel: Channel, host: str, /) -> str | None:
        """Why whoever dialled cannot be the server at ``host``; None when it may be."""


class Peers:
    """All links of this server."""

    def __init__(
        self,
        me: PeerId,
        addresses: dict[PeerId, tuple[str, int]],
        *,
        quorums: Quorums,
        tick_ms: int,
        dial_timeout_ms: int,
        send_bytes_max: int,
        network: Network,
        clock: Clock,
        log: Log,
        feed: Callable[[Input], None],
        carried: Callable[[PeerId, Message], None],
        settle: Callable[[], None],
    ) -> None:
        """``carried`` takes the messages that are not the replica's. ``addresses`` names every server that may link,
        also us; observers come and go in it, see `allow`. A peer for which more than ``send_bytes_max`` wait is better
        off with a new link and a new synchronisation."""
        self.me, self.addresses, self.voters = me, addresses, quorums.voters
        self.ensemble = ensemble_text(quorums)
        self._shut_out = False
        self._refused_ms: dict[PeerId, int] = {}
        self.network, self.clock, self.log = network, clock, log
        self.feed, self.carried, self.settle = feed, carried, settle
        self.dial_timeout_ms, self.send_bytes_max = dial_timeout_ms, send_bytes_max
        self.silence_ms_max = max(2 * tick_ms, 1_000)
        self.keepalive_ms = max(tick_ms // 2, 50)
        self.links: dict[PeerId, Link] = {}
        self.dirty: dict[Link, None] = {}  # in the order of their first message, so that a run can be repeated
        self._unnamed: dict[Link, None] = {}
        self._last_link: LinkId = 0
        self._last_message: Message | None = None
        self._last_frame = b""
        self._lost: dict[PeerId, trio.Event] = {}
        self._nursery: trio.Nursery | None = None
        # Where to read what must come from disk; set before `run`. The log belongs to the disk's worker and is read in
        # turn there; an open snapshot may be read anywhere.
        self.in_turn: Aside = _at_once
        self.aside: Aside = _at_once
        self.read_entries: EntriesReader = _no_entries
        self.open_image: Callable[[Tip], ImageSource] = _no_image
        self.tls: Secured | None = None
        # How servers prove who they are, besides TLS: the secrets of now, None without; where nonces come from; and
        # whether who proves nothing is let in all the same.
        self.secrets: Callable[[], Secrets | None] = lambda: None
        self.random_bytes: Callable[[int], bytes] = _no_nonce
        self.unproven = False

    # What the driver asks ---------------------------------------------------------------------------------------------

    def send(self, peer: PeerId, message: Message) -> None:
        """Queue a message; it leaves with the next `flush`. Encoded once, however many peers get this same object."""
        link = self.links.get(peer)
        if link is None:
            return
        if message is not self._last_message:
            self._last_frame = frame(encode(message))
            self._last_message = message
        link.put(self._last_frame)

    def send_tail(self, peer: PeerId, after: Zxid, upto: Zxid) -> None:
        link = self.links.get(peer)
        if link is not None:
            link.put_job(lambda: self._send_tail(link, after, upto))

    def send_image(self, peer: PeerId, tip: Tip) -> None:
        link = self.links.get(peer)
        if link is not None:
            link.put_job(lambda: self._send_image(link, tip))

    def hangup(self, peer: PeerId, why: str) -> None:
        """End the link. One that has just lost its place here gets all that was said to it before: it says so."""
        link = self.links.get(peer)
        if link is not None:
            link.end(why, finish=peer not in self.addresses)

    def flush(self) -> None:
        """One send for each link that something was queued on."""
        while self.dirty:
            dirty, self.dirty = self.dirty, {}
            for link in dirty:
                link.flush()

    # The tasks --------------------------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Dial whom we are to dial, look after the links; until cancelled."""
        async with trio.open_nursery() as self._nursery:
            for peer in self.addresses:
                if self._we_dial(peer):
                    self._nursery.start_soon(self._keep, peer)
            task_status.started()
            while True:
                await trio.sleep(self.keepalive_ms / 2000)
                self._look_after()
                self.settle()

    def _we_dial(self, peer: PeerId) -> bool:
        """Observers dial all voters and nobody dials them: so what is dialled stays the same when observers change."""
        if peer == self.me or peer not in self.voters:
            return False
        return self.me > peer or self.me not in self.voters

    def allow(self, addresses: dict[PeerId, tuple[str, int]]) -> None:
        """From now on these servers may link, all voters among them. For others that are linked, call `hangup`."""
        assert addresses.keys() >= self.voters
        self.addresses = {**addresses, self.me: addresses.get(self.me, self.addresses[self.me])}

    async def _keep(self, peer: PeerId) -> None:
        """Dial ``peer``, wait until the link is gone, dial again."""
        host, port = self.addresses[peer]
        backoff_ms = BACKOFF_MIN_MS
        while True:
            lost = self._lost[peer] = trio.Event()
            channel: Channel | None = None
            with trio.move_on_after(self.dial_timeout_ms / 1000):
                try:
                    channel = await self.network.dial(host, port)
                except OSError:
                    pass
            if channel is not None:
                if self.tls is not None:
                    channel = self.tls.dialled(channel, host)
                link = Link(self, channel, expected=peer)
                self._unnamed[link] = None
                link.begin()
                await lost.wait()
                if link.number:  # it stood: begin anew, and quickly
                    backoff_ms = BACKOFF_MIN_MS
                elif self.me not in self.voters and backoff_ms == BACKOFF_MAX_MS and not self._shut_out:
                    self._shut_out = True
                    self.log(
                        "shut_out",
                        peer=peer,
                        why="nobody lets us in: no reconfig has named us an observer, or one has removed us",
                    )
            await trio.sleep(backoff_ms / 1000)
            backoff_ms = min(2 * backoff_ms, BACKOFF_MAX_MS)

    def accept(self, channel: Channel) -> None:
        """A connection came in on the peer port."""
        if len(self._unnamed) >= UNNAMED_MAX and not self._make_room():
            channel.close()
            return
        if self.tls is not None:
            channel = self.tls.accepted(channel)
        link = Link(self, channel, expected=None)
        self._unnamed[link] = None
        link.begin()

    def _make_room(self) -> bool:
        """For one more: by the oldest of the address that has most of those who are not known yet. One stranger must
        not keep the peers out, not even those at its own address: a greeting takes a few ms, so to end each peer's
        before it is over takes thousands of connections a second. False: those we dial are all there are."""
        strangers = [link for link in self._unnamed if link.expected is None]
        if not strangers:
            return False
        counts = Counter(link.channel.remote[0] for link in strangers)
        most, _ = counts.most_common(1)[0]
        next(link for link in strangers if link.channel.remote[0] == most).end(_CLOSED_QUIETLY)
        return True

    def _look_after(self) -> None:
        now_ms = self.clock.now_ms()
        for link in list(self._unnamed):
            if now_ms - link.began_ms > min(HELLO_TIMEOUT_MS, self.dial_timeout_ms):
                link.end(link.closed_why or "no Hello in time")
        for link in list(self.links.values()):
            if now_ms - link.heard_ms > self.silence_ms_max:
                link.end(f"silent for {now_ms - link.heard_ms} ms")
            elif now_ms - link.said_ms >= self.keepalive_ms:
                link.put(_KEEPALIVE)

    # What the links tell ----------------------------------------------------------------------------------------------

    def check(self, link: "Link", hello: Hello) -> None:
        """Whether whoever says this may link with us, if it is who it says. Raises PeerLinkError."""
        if self.tls is not None and link.expected is None and hello.sid in self.addresses:
            objection = self.tls.objection(link.channel, self.addresses[hello.sid][0])
            if objection is not None:
                raise PeerLinkError(f"says it is server {hello.sid}, but {objection}")
        if hello.version != PEER_VERSION:
            raise PeerLinkError(f"speaks version {hello.version} of the peer protocol, expected {PEER_VERSION}")
        if hello.sid == self.me:
            raise PeerLinkError(f"says it is server {hello.sid}, which is none of our peers")
        if hello.sid not in self.addresses:
            # It may be one that shall join, and will try on until it has: one line a minute is enough.
            now_ms = self.clock.now_ms()
            said_ms = self._refused_ms.get(hello.sid)
            if said_ms is None or now_ms - said_ms >= REFUSED_AGAIN_MS:
                self._refused_ms[hello.sid] = now_ms
                raise PeerLinkError(f"says it is server {hello.sid}, which is neither a voter nor a known observer")
            raise PeerLinkError(_CLOSED_QUIETLY)
        if link.expected not in (None, hello.sid):
            raise PeerLinkError(f"says it is server {hello.sid}, expected {link.expected}")
        if hello.ensemble != self.ensemble:
            raise PeerLinkError(
                f"server {hello.sid} has other voters, or weighs them otherwise, in its list than {self.ensemble}:"
                f" {hello.ensemble[:ENSEMBLE_CHARS_SHOWN]}"
            )

    def named(self, link: "Link", hello: Hello, *, proven: bool) -> None:
        """The other end has said who it is, and has proved it if that was asked for."""
        self._unnamed.pop(link, None)
        self._shut_out = False
        former = self.links.get(hello.sid)
        if former is not None:
            former.end("replaced by a newer connection")
        self._last_link += 1
        link.peer, link.number = hello.sid, self._last_link
        self.links[hello.sid] = link
        how = " and ".join(("TLS",) * (self.tls is not None) + ("a secret",) * proven) or "nothing"
        self.log("linked", peer=hello.sid, link=link.number, dialled=link.expected is not None, proven_by=how)
        self.feed(Linked(hello.sid, link.number))

    def gone(self, link: "Link", why: str) -> None:
        """The link has ended, by us or by the other end. Told once."""
        self._unnamed.pop(link, None)
        self.dirty.pop(link, None)
        if link.number and self.links.get(link.peer) is link:
            del self.links[link.peer]
        if link.number:
            self.log("unlinked", peer=link.peer, link=link.number, why=why)
            self.feed(Unlinked(link.peer, link.number))
        elif why != _CLOSED_QUIETLY:
            self.log("link_refused", remote=f"{link.channel.remote[0]}:{link.channel.remote[1]}", why=why)
        if link.expected is not None and link.expected in self._lost:
            self._lost[link.expected].set()

    def start_pump(self, link: "Link") -> None:
        assert self._nursery is not None
        self._nursery.start_soon(link.pump)

    # Jobs -------------------------------------------------------------------------------------------------------------

    async def _send_tail(self, link: "Link", after: Zxid, upto: Zxid) -> None:
        while after < upto and not link.ended:
            entries = await self.in_turn(partial(self.read_entries, after, upto, SLICE_BYTES_MAX))
            if not entries:
                raise PeerLinkError(f"our log cannot be read after {after:#x}")
            link.channel.send(frame(encode(Propose(tuple(entries)))))
            link.said_ms = self.clock.now_ms()
            after = entries[-1].zxid
            await link.wait_room()

    async def _send_image(self, link: "Link", tip: Tip) -> None:
        source = await self.in_turn(lambda: self.open_image(tip))
        try:
            data = await self.aside(lambda: source.read(SLICE_BYTES_MAX))
            while not link.ended:
                following = await self.aside(lambda: source.read(SLICE_BYTES_MAX)) if data else b""
                link.channel.send(frame(encode(ImageChunk(data, last=not following))))
                link.said_ms = self.clock.now_ms()
                if not following:
                    return
                data = following
                await link.wait_room()
        finally:
            source.close()


class Link:
    """One connection with one peer; without a number until the peer has said who it is."""

    def __init__(self, peers: Peers, channel: Channel, *, expected: PeerId | None) -> None:
        self._peers, self.channel, self.expected = peers, channel, expected
        self.peer: PeerId = 0
        self.number: LinkId = 0
        self.heard_ms = self.said_ms = peers.clock.now_ms()
        self.ended = False
        self.began_ms = self.heard_ms
        self._greeting = Greeting(
            peers.me,
            peers.ensemble,
            expected=expected,
            secrets=peers.secrets(),
            unproven=peers.unproven,
            nonce=peers.random_bytes,
            check=lambda hello: peers.check(self, hello),
        )
        self._begun = b""
        self._frames = FrameBuffer(PEER_FRAME_BYTES_MAX)
        self._out: deque[bytes | Callable[[], Awaitable[None]]] = deque()
        self._out_bytes = 0
        self._jobs = 0
        self._pumping = False
        self._room = trio.Event()

    def begin(self) -> None:
        self.channel.start(self)
        if self.expected is not None:
            self.channel.send(self._greeting.begin())

    @property
    def closed_why(self) -> str | None:
        """What to make of an end in the midst of the greeting; None: nothing."""
        return self._greeting.closed_why

    def put(self, data: bytes) -> None:
        if self.ended:
            return
        self._out.append(data)
        self._out_bytes += len(data)
        if self._out_bytes + self.channel.backlog > self._peers.send_bytes_max:
            self.end(f"more than {self._peers.send_bytes_max} bytes wait for the peer")
            return
        self._peers.dirty[self] = None

    def put_job(self, job: Callable[[], Awaitable[None]]) -> None:
        if not self.ended:
            self._out.append(job)
            self._jobs += 1
            self._peers.dirty[self] = None

    def flush(self) -> None:
        if self._pumping or self.ended:
            return
        if self._jobs:
            self._pumping = True
            self._peers.start_pump(self)
            return
        out = self._out
        if out:
            data = out[0] if len(out) == 1 else b"".join(out)  # type: ignore[arg-type]  # no jobs among them
            out.clear()
            self._out_bytes = 0
            self.said_ms = self._peers.clock.now_ms()
            self.channel.send(data)  # type: ignore[arg-type]

    async def pump(self) -> None:
        """While jobs are queued: send what stands before each, do it, go on; later sends wait behind."""
        try:
            while self._out and not self.ended:
                given = self._out.popleft()
                if isinstance(given, bytes):
                    self._out_bytes -= len(given)
                    self.channel.send(given)
                else:
                    self._jobs -= 1
                    await given()
        except (ZabpyError, OSError) as error:
            self.end(f"cannot send what is on our disk: {error}")
            self._peers.settle()
        finally:
            self._pumping = False

    async def wait_room(self) -> None:
        while self.channel.backlog > JOB_BACKLOG_BYTES_MAX and not self.ended:
            self._room = trio.Event()
            await self._room.wait()
        await trio.lowlevel.checkpoint()

    def end(self, why: str, *, finish: bool = False) -> None:
        """Close the connection from our side; with ``finish`` when what has been handed to it is sent."""
        if not self.ended:
            if finish:
                self.flush()
                self.channel.finish()
            else:
                self.channel.close()
            self._finish(why)

    # As the channel's handler -----------------------------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        self.heard_ms = self._peers.clock.now_ms()
        try:
            if not self.number:
                data = self._greeted(data)
            self._frames.feed(data)
            for payload in self._frames.frames():
                if self.ended:
                    return
                if payload:
                    self._take(decode(payload))
        except (FrameError, PeerDecodeError, PeerLinkError) as error:
            # What the peer said wrong, and nothing else: an error out of our own replica or state ends this server.
            self.end(str(error))

    def _greeted(self, data: bytes) -> bytes:
        """Take the greeting in, as far as it has come; what came behind it."""
        data = self._begun + data
        self._begun = b""
        while not self.number and not self.ended:
            if data.startswith(TLS_BEGINNINGS):
                raise PeerLinkError("speaks TLS, expected a Hello without it")
            end = 4 + int.from_bytes(data[:4], "big")
            if len(data) >= 4 and end > HELLO_BYTES_MAX:
                raise PeerLinkError(f"begins with a frame of {end - 4} bytes, expected a Hello")
            if len(data) < max(end, 5):
                self._begun = data
                return b""
            greeting = self._greeting
            answer = greeting.take(data[4:end])
            data = data[end:]
            if answer:
                self.channel.send(answer)
            if greeting.hello is not None:
                self._peers.named(self, greeting.hello, proven=greeting.proven)
        return data

    def _take(self, message: Message) -> None:
        if isinstance(message, CARRIED):
            self._peers.carried(self.peer, message)
        else:
            self._peers.feed(Received(self.peer, self.number, message))

    def drained(self) -> None:
        self._room.set()

    def closed(self, why: str) -> None:
        if not self.number and not why.startswith(TLS_FAILED):
            quietly = _CLOSED_UNHEARD if self.expected is not None and self._peers.tls is not None else _CLOSED_QUIETLY
            why = self.closed_why or quietly
        self._finish(why)

    def _finish(self, why: str) -> None:
        if not self.ended:
            self.ended = True
            self._out.clear()
            self._room.set()
            self._peers.gone(self, why)


#: A connection that came and went without a word (a port probe, a peer that is just ending) is no event.
_CLOSED_QUIETLY = "closed before its Hello"
#: Under TLS it is, for us who dialled: the other side first looks at our certificate.
_CLOSED_UNHEARD = "closed before its Hello: it may not let us in with this certificate; its log says why"


def _no_nonce(count: int) -> bytes:
    raise AssertionError("a secret, and no nonces")


async def _at_once(call: Callable[[], T]) -> T:
    return call()


def _no_entries(after: Zxid, upto: Zxid, bytes_max: int) -> list[Entry]:
    return []


def _no_image(tip: Tip) -> ImageSource:
    raise PeerLinkError("no snapshot can be read")


def ensemble_text(quorums: Quorums) -> str:
    """What both ends of a link must agree on: which servers vote, and what their votes weigh, for two servers that
    reckon differently may each find a quorum. Not where they are, for the same server may be reached under different
    names; and not who observes, for that changes, and nobody learns of it at the same time."""
    weights = {voter: quorums.weight(voter) for voter in sorted(quorums.voters)}
    text = ",".join(str(voter) if weight == 1 else f"{voter}*{weight}" for voter, weight in weights.items())
    groups = sorted(sorted(group) for group in quorums.groups.values())
    return text + "".join(f" ({','.join(map(str, group))})" for group in groups)
