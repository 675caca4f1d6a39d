"""One replica in a test's hands: the test plays the disk, the links and the clock."""

from random import Random
from typing import TypeVar

from zabpy.model import Entry, Tip, Zxid, entry_after, make_zxid
from zabpy.zab import (
    Durable,
    Effect,
    Ensemble,
    EpochSaved,
    Input,
    Linked,
    Phase,
    Received,
    Recovered,
    Replica,
    Role,
    Send,
    Tick,
    Timing,
    Unlinked,
)
from zabpy.zab.messages import Ack, AckEpoch, Diff, FollowerInfo, LeaderInfo, Message, NewLeader, Notification, Propose

E = TypeVar("E")


def entries_after(tip: Tip, *places: tuple[int, int]) -> tuple[Entry, ...]:
    entries: list[Entry] = []
    chain = tip.chain
    for epoch, counter in places:
        entries.append(entry_after(chain, make_zxid(epoch, counter), b"x"))
        chain = entries[-1].chain
    return tuple(entries)


class Lone:
    """Replica 1, or ``me``, of an ensemble whose other servers the test plays. ``seen`` collects all effects."""

    def __init__(
        self, recovered: Recovered | None = None, voters: int = 3, observers: tuple[int, ...] = (), me: int = 1
    ) -> None:
        ensemble = Ensemble.of(frozenset(range(1, voters + 1)), frozenset(observers))
        self.now_ms = 0
        self.links: dict[int, int] = {}
        self.replica = Replica(me, ensemble, Timing(), recovered or Recovered(), Random(1))
        self.seen: list[Effect] = []
        self.new: list[Effect] = []
        self._take(self.replica.start(0))

    def _take(self, effects: list[Effect]) -> list[Effect]:
        self.seen += effects
        self.new = effects
        return effects

    def step(self, given: Input, later_ms: int = 1) -> list[Effect]:
        self.now_ms += later_ms
        return self._take(self.replica.step(given, self.now_ms))

    def link(self, *peers: int) -> None:
        for peer in peers:
            self.links[peer] = self.links.get(peer, 0) + 100
            self.step(Linked(peer, self.links[peer]))

    def unlink(self, peer: int) -> list[Effect]:
        return self.step(Unlinked(peer, self.links[peer]))

    def hear(self, peer: int, message: Message) -> list[Effect]:
        return self.step(Received(peer, self.links[peer], message))

    def wait(self, ms: int) -> list[Effect]:
        """Let time pass, with ticks when they are wanted."""
        until, effects = self.now_ms + ms, list[Effect]()
        while self.replica.wake_at_ms <= until:
            effects += self.step(Tick(), max(0, self.replica.wake_at_ms - self.now_ms))
        self.now_ms = until
        return effects

    def does(self, role: Role) -> bool:
        return self.replica.role is role

    def all_of(self, kind: type[E]) -> list[E]:
        return [effect for effect in self.seen if isinstance(effect, kind)]

    def sent(self, peer: int, kind: type[E]) -> list[E]:
        return [e.message for e in self.all_of(Send) if e.peer == peer and isinstance(e.message, kind)]

    # Shortcuts through the phases -------------------------------------------------------------------------------------

    def elect(self, leader: int) -> None:
        """Servers 2 and 3 come into reach and vote for ``leader`` with the end of our own log."""
        replica = self.replica
        self.link(2, 3)
        last = replica.history.durable
        if leader != 1:
            last = Zxid(last + 1)
        for peer in (2, 3):
            self.hear(peer, Notification(Role.LOOKING, replica.round, leader, last, 0))
        assert replica.role is (Role.LEADING if leader == 1 else Role.FOLLOWING)

    def establish(self, epoch: int = 1, followers: tuple[int, ...] = (2,)) -> None:
        """Lead, with these followers, up to our epoch-start record on our disk."""
        self.elect(1)
        for peer in followers:
            self.hear(peer, FollowerInfo(epoch - 1))
        self.step(EpochSaved(epoch))
        for peer in followers:
            self.hear(peer, AckEpoch(epoch, True, self.replica.history.ends()))
        self.step(Durable(make_zxid(epoch, 0)))

    def activate(self, epoch: int = 1, followers: tuple[int, ...] = (2,)) -> None:
        self.establish(epoch, followers)
        for peer in followers:
            self.hear(peer, Ack(make_zxid(epoch, 0)))
        assert self.replica.may_submit

    def follow(self, epoch: int = 1) -> Tip:
        """Follow server 2 up to the history's end on our disk; the tip there."""
        self.elect(2)
        self.hear(2, LeaderInfo(epoch))
        self.step(EpochSaved(epoch))
        last = self.replica.history.last
        self.hear(2, Diff(last.zxid))
        (record,) = entries_after(last, (epoch, 0))
        self.hear(2, Propose((record,)))
        self.hear(2, NewLeader(epoch))
        self.step(Durable(record.zxid))
        assert self.replica.state.phase is Phase.SYNCHRONIZATION  # type: ignore[union-attr]
        return Tip(record.zxid, record.chain)
