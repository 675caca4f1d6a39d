"""The network of a simulation: links between pairs of servers, each an ordered stream in both directions.

What it keeps, because TCP does: within a direction nothing is reordered, repeated or lost short of the link's end, and
after a side has been told of the end nothing more comes in under that link's id, unless a new link replaced the old one
before the end of the old one was noticed (then the old one may still speak, under its old id, until it is).
What it does not keep: any order between links or directions, any bound on delay, and any agreement of the two sides on
when a link began and ended.

Times are whole microseconds of true time. A cut is silent: what is sent into it waits, and flows again when it heals,
unless a side has given the link up before (nothing heard for ``keepalive_ms``).
"""

from collections import deque
from typing import TYPE_CHECKING, Any

from zabpy.zab.inputs import Linked, Received, Unlinked
from zabpy.zab.messages import Message, Notification

if TYPE_CHECKING:
    from .process import Process
    from .simulation import Simulation

_NEVER = -1


class Mark:
    """Something in a direction that is not a message."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


OPEN, CLOSE = Mark("OPEN"), Mark("CLOSE")


class Path:
    """From one server to another, whatever link uses it."""

    __slots__ = ("clogged_until", "cuts", "direction", "pace", "paced_until", "receiver", "sender")

    def __init__(self, sender: int, receiver: int) -> None:
        self.sender, self.receiver = sender, receiver
        self.cuts = 0  # how many faults hold it shut
        self.clogged_until = 0
        self.pace = self.paced_until = 0  # until then, at most one group in so many microseconds
        self.direction: Direction | None = None


class Direction:
    """One of the two streams of a link."""

    __slots__ = (
        "arrival",
        "at",
        "closed",
        "held_until",
        "link_id",
        "opened",
        "other",
        "owed",
        "path",
        "queue",
        "receiver",
        "sender",
    )

    def __init__(self, path: Path, sender: "Process", receiver: "Process", link_id: int) -> None:
        self.path, self.sender, self.receiver = path, sender, receiver
        self.link_id = link_id  # what the receiver calls the link
        self.queue: deque[tuple[int, list[Any]]] = deque()  # what arrives together, with the time
        self.at = _NEVER  # when the last group was sent
        self.arrival = 0  # when the last group arrives
        self.held_until = 0
        self.owed = 0  # groups that have arrived but for the cut
        self.opened = False  # the receiver has been told that the link stands
        self.closed = False  # the receiver has been told that it does not, or its process is gone
        self.other: Direction = self


class Network:
    def __init__(self, sim: "Simulation") -> None:
        self._sim = sim
        self._random = sim.random_for("network")
        settings = sim.settings
        self._latency, self._jitter = settings.latency_us, settings.jitter_us
        self._spike_permille, self._spike = settings.spike_permille, settings.spike_us
        self._keepalive = settings.keepalive_ms * 1000
        self._redial = settings.redial_ms * 1000
        self._transfer = settings.transfer_ms * 1000
        self._replace_permille = settings.replace_permille
        servers = settings.servers
        self.paths = {(a, b): Path(a, b) for a in servers for b in servers if a != b}
        self._dialling: set[tuple[int, int]] = set()  # looked up only, never walked
        self._votes = sim.random_for("votes")
        #: By server: until when the votes it says are lost, repeated, or overtaken.
        self.votes_lost_until: dict[int, int] = {}

    # What processes do ------------------------------------------------------------------------------------------------

    def send(self, sender: "Process", peer: int, message: Message, pace: int = 0) -> None:
        """Put it at the end of the link, or drop it when there is none. ``pace``: at least this long after the last."""
        direction = sender.outgoing.get(peer)
        if direction is None:
            return
        now = self._sim.now
        if type(message) is Notification and self.votes_lost_until.get(sender.sid, 0) > now:
            self._say_badly(direction, message)
            return
        if direction.at == now and not pace and direction.queue:
            direction.queue[-1][1].append(message)
            return
        self._put(direction, [message], now, pace)

    def _say_badly(self, direction: Direction, vote: Notification) -> None:
        """As datagrams do: it is lost, comes twice, or comes late, behind what is said after it."""
        draw, now = self._votes.random(), self._sim.now
        if draw < 0.3:
            self._sim.count("F18 vote lost")
        elif draw < 0.6:
            self._sim.count("F18 vote said twice")
            self._put(direction, [vote], now)
            self._put(direction, [vote], now)
        elif draw < 0.9:
            self._sim.count("F18 vote overtaken")
            self._sim.at(now + int(self._votes.random() * 100_000), self._say_late, (direction, vote))
        else:
            self._put(direction, [vote], now)

    def _say_late(self, what: "tuple[Direction, Notification]") -> None:
        direction, vote = what
        if not direction.closed and direction.sender.outgoing.get(direction.receiver.sid) is direction:
            self._put(direction, [vote], self._sim.now)

    def _put(self, direction: Direction, group: list[Any], now: int, pace: int = 0) -> None:
        draw = self._random.random
        delay = self._latency + int(self._jitter * draw() ** 3)
        if draw() * 1000 < self._spike_permille:
            delay += int(self._spike * draw())
        path = direction.path
        if path.paced_until > now:
            pace += path.pace
        arrival = max(now + delay, direction.arrival + 1 + pace, path.clogged_until)
        direction.at, direction.arrival = now, arrival
        direction.queue.append((arrival, group))
        self._sim.at(arrival, self._arrived, direction)

    def hang_up(self, process: "Process", peer: int) -> None:
        """The process ends its link with the peer; it is told so itself, a little later."""
        out = process.outgoing.pop(peer, None)
        if out is None:
            return
        self._cut_short(out, self._sim.now + int(self._random.random() * 3000))
        self._put(out, [CLOSE], self._sim.now)
        self._sim.at(self._sim.now + int(self._random.random() ** 3 * 5000), self._told, out.other)

    def ended(self, process: "Process", *, silently: bool) -> None:
        """The process is gone. A killed one's kernel says so to its peers, a machine without power says nothing."""
        sim = self._sim
        for peer in sorted(process.incoming):
            direction = process.incoming.pop(peer)
            direction.closed = True
            out = direction.other
            process.outgoing.pop(peer, None)
            self._cut_short(out, sim.now + int(self._random.random() * 2 * self._latency))
            if silently:
                sim.at(sim.now + self._keepalive, self._unheard, out)
            else:
                self._put(out, [CLOSE], sim.now)
            self.dial_later(process.sid, peer)

    def frozen(self, process: "Process") -> None:
        """The process hears and says nothing for a while."""
        for peer in sorted(process.incoming):
            self._sim.at(self._sim.now + self._keepalive, self._unheard_if_frozen, process.incoming[peer].other)

    # What happens to paths --------------------------------------------------------------------------------------------

    def cut(self, sender: int, receiver: int) -> None:
        path = self.paths[sender, receiver]
        path.cuts += 1
        if path.cuts == 1 and path.direction is not None:
            self._sim.at(self._sim.now + self._keepalive, self._unheard_if_cut, path.direction)

    def heal(self, sender: int, receiver: int) -> None:
        path = self.paths[sender, receiver]
        if path.cuts:
            path.cuts -= 1
            if not path.cuts:
                self._flow(path)

    def heal_all(self, servers: set[int]) -> None:
        """No cuts and no clogs any more between these, and nobody reads slowly."""
        self.votes_lost_until.clear()
        for (sender, receiver), path in self.paths.items():
            if sender in servers and receiver in servers:
                path.cuts = 0
                path.clogged_until = path.paced_until = 0
                self._hurry(path)
                self._flow(path)
                self.dial_later(sender, receiver)

    def clog(self, sender: int, receiver: int, until: int) -> None:
        path = self.paths[sender, receiver]
        path.clogged_until = max(path.clogged_until, until)
        if path.direction is not None and until - self._sim.now > self._keepalive:
            self._sim.at(self._sim.now + self._keepalive, self._unheard_if_clogged, path.direction)

    def slow_down(self, receiver: int, pace: int, until: int) -> None:
        """This server reads from its links so slowly that what is for it piles up."""
        for path in self.paths.values():
            if path.receiver == receiver:
                path.pace, path.paced_until = pace, until

    def reset(self, one: int, other: int) -> None:
        """The link breaks: what is in flight is lost, and each side learns of it in its own time."""
        for path in (self.paths[one, other], self.paths[other, one]):
            direction = path.direction
            if direction is not None and not direction.closed:
                direction.queue.clear()
                direction.owed = 0
                if not direction.opened:
                    direction.closed = True
                out = direction.receiver.outgoing
                if out.get(direction.sender.sid) is direction.other:
                    del out[direction.sender.sid]
                delay = int(self._random.random() ** 2 * 20_000)
                self._sim.at(self._sim.now + delay, self._told, direction)

    def half_reset(self, one: int, other: int, ms: int) -> bool:
        """What one side says is held up, then that side sees the link break; what it had said, and the end, come to
        the other much later: after a new link stands, perhaps."""
        come = self.paths[other, one].direction
        if come is None or come.closed or not come.opened:
            return False
        come.other.held_until = self._sim.now + ms * 1000
        self._sim.at(self._sim.now + ms * 400, self._told, come)
        return True

    def start(self) -> None:
        """Dial everybody who is not linked."""
        for one, other in self.paths:
            self.dial_later(one, other)

    # What follows from it ---------------------------------------------------------------------------------------------

    def _flow(self, path: Path) -> None:
        direction = path.direction
        if direction is None:
            return
        owed, direction.owed = direction.owed, 0
        at = self._sim.now
        for _ in range(owed):
            at += 1 + int(self._random.random() * 200)
            self._sim.at(at, self._arrived, direction)

    def _hurry(self, path: Path) -> None:
        """What piled up before a slow reader, or in a clog, is due now: its times were given when it was sent, and can
        lie longer ahead than any heal waits (seed 1171 of three servers: 60 s). The events of these times find less."""
        direction, usual = path.direction, self._latency + self._jitter + self._spike + self._transfer
        if direction is not None and direction.arrival > self._sim.now + usual:
            direction.owed = len(direction.queue)
            direction.arrival = self._sim.now

    def _arrived(self, direction: Direction) -> None:
        if direction.closed or not direction.queue:
            return
        receiver = direction.receiver
        if direction.path.cuts:
            direction.owed += 1
            return
        if direction.held_until > self._sim.now:
            self._sim.at(direction.held_until, self._arrived, direction)
            return
        if receiver.paused:
            receiver.inbox.append((self._arrived, direction))
            return
        _, group = direction.queue.popleft()
        sim, sender, link_id = self._sim, direction.sender.sid, direction.link_id
        stale = direction.opened and receiver.incoming.get(sender) is not direction
        for message in group:
            if message is CLOSE:
                self._told(direction)
            elif message is OPEN:
                self._opened(direction)
            else:
                sim.step(receiver, Received(sender, link_id, message), stale)
            if _closed(direction):
                return

    def _opened(self, direction: Direction) -> None:
        """The receiver learns that a link stands. It may not have noticed the end of the former one yet."""
        receiver, peer = direction.receiver, direction.sender.sid
        former = receiver.incoming.get(peer)
        if former is not None and not former.closed:
            receiver.outgoing.pop(peer, None)
            if self._random.random() * 1000 < self._replace_permille:
                self._sim.count("replaced links")
                self._sim.at(self._sim.now + int(self._random.random() * 400_000), self._told, former)
            else:
                self._told(former)
        if not receiver.alive:  # being told of the end can end it
            return
        direction.opened = True
        receiver.incoming[peer] = direction
        receiver.outgoing[peer] = direction.other
        self._sim.step(receiver, Linked(peer, direction.link_id))

    def _told(self, direction: Direction) -> None:
        """The receiver of this direction learns that the link is gone."""
        receiver, peer = direction.receiver, direction.sender.sid
        if direction.closed:
            return
        if receiver.paused:
            receiver.inbox.append((self._told, direction))
            return
        direction.closed = True
        direction.queue.clear()
        out = direction.other
        if receiver.incoming.get(peer) is direction:
            del receiver.incoming[peer]
        if receiver.outgoing.get(peer) is out:
            del receiver.outgoing[peer]
        if not out.closed and not any(CLOSE in group for _, group in out.queue):
            self._put(out, [CLOSE], self._sim.now)
        self.dial_later(receiver.sid, peer)
        if direction.opened:
            self._sim.step(receiver, Unlinked(peer, direction.link_id))

    def _unheard(self, direction: Direction) -> None:
        """The receiver's keepalive has run out."""
        if not direction.closed:
            self._sim.count("keepalives run out")
            self._told(direction)

    def _unheard_if_cut(self, direction: Direction) -> None:
        if direction.path.cuts or not direction.sender.alive:
            self._unheard(direction)

    def _unheard_if_clogged(self, direction: Direction) -> None:
        if direction.path.clogged_until > self._sim.now:
            self._unheard(direction)

    def _unheard_if_frozen(self, direction: Direction) -> None:
        if direction.sender.paused or not direction.sender.alive:
            self._unheard(direction)

    def _cut_short(self, direction: Direction, until: int) -> None:
        """What would arrive after ``until`` had not left the sender yet."""
        queue = direction.queue
        while queue and queue[-1][0] > until + self._latency and queue[-1][1] != [OPEN]:
            queue.pop()
        direction.at = _NEVER
        direction.arrival = queue[-1][0] if queue else self._sim.now

    # New links --------------------------------------------------------------------------------------------------------

    def dial_later(self, one: int, other: int) -> None:
        pair = (min(one, other), max(one, other))
        if pair not in self._dialling:
            self._dialling.add(pair)
            delay = int(self._redial * (0.1 + self._random.random()))
            self._sim.at(self._sim.now + delay, self._dial, pair)

    def _dial(self, pair: tuple[int, int]) -> None:
        self._dialling.discard(pair)
        sim, (low, high) = self._sim, pair
        there, back = self.paths[low, high], self.paths[high, low]
        one, other = sim.processes.get(low), sim.processes.get(high)
        if there.cuts or back.cuts or one is None or other is None or one.paused or other.paused:
            self.dial_later(low, high)
            return
        if high not in one.replica.ensemble.servers or low not in other.replica.ensemble.servers:
            sim.count("servers not let in")
            self.dial_later(low, high)
            return
        standing = sum(
            direction is not None and not direction.closed and direction.receiver.alive
            for direction in (there.direction, back.direction)
        )
        if standing == 2:
            return
        if standing == 1 and self._random.random() < 0.5:
            self.dial_later(low, high)  # the one that has noticed is not the one that dials
            return
        if self._random.random() < 0.5:
            one, other, there, back = other, one, back, there
        # `one` is told at once, `other` by what opens the direction towards it.
        out = Direction(there, one, other, other.next_link())
        come = Direction(back, other, one, one.next_link())
        out.other, come.other = come, out
        there.direction, back.direction = out, come
        self._opened(come)
        if one.alive:
            out.queue.appendleft((sim.now, [OPEN]))
            sim.at(max(sim.now + self._latency, there.clogged_until), self._arrived, out)
            out.arrival = max(out.arrival, sim.now + self._latency)
            sim.at(sim.now + self._keepalive, self._unheard_if_unopened, come)

    def _unheard_if_unopened(self, direction: Direction) -> None:
        if not direction.other.opened:
            self._unheard(direction)


def _closed(direction: Direction) -> bool:
    """Asked again after a step, which may have closed it."""
    return direction.closed
