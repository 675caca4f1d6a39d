"""Whatever a peer says, in whatever state, is either taken or ends its link: it never breaks a rule of our own.

A replica works with real partners, but messages are changed at random before it hears them: a field off by a little, an
old message again, one of another phase. An `AssertionError` would mean that a peer's fault became
ours; `HistoryPartedError` is the one declared way for a peer's word to stop us.
"""

from dataclasses import fields, replace
from random import Random
from typing import Any

import pytest

from zabpy.model import NO_TIP, Tip, Zxid, make_zxid
from zabpy.zab import (
    Append,
    Durable,
    Effect,
    Ensemble,
    EpochSaved,
    Hangup,
    HistoryPartedError,
    Input,
    Install,
    Installed,
    Linked,
    Received,
    Recovered,
    Replica,
    Role,
    SaveEpoch,
    Send,
    Submitted,
    Tick,
    Timing,
    Unlinked,
)
from zabpy.zab.messages import (
    Ack,
    AckEpoch,
    Commit,
    Diff,
    FollowerInfo,
    Image,
    ImageChunk,
    LeaderInfo,
    Message,
    NewLeader,
    Notification,
    Ping,
    Pong,
    Propose,
    Trunc,
)

from .lone import entries_after

SAMPLES: list[Message] = [
    Notification(Role.LOOKING, 1, 2, make_zxid(1, 1), 1),
    Notification(Role.LEADING, 1, 2, make_zxid(1, 1), 2),
    Notification(Role.FOLLOWING, 1, 3, make_zxid(1, 1), 2),
    FollowerInfo(1),
    LeaderInfo(2),
    AckEpoch(2, True, (make_zxid(1, 1),)),
    AckEpoch(2, True, ()),
    Diff(make_zxid(1, 0)),
    Trunc(make_zxid(1, 0)),
    Image(Tip(make_zxid(1, 4), 5)),
    ImageChunk(b"image", True),
    ImageChunk(b"image", False),
    NewLeader(2),
    Propose(entries_after(NO_TIP, (1, 0), (2, 0))),
    Ack(make_zxid(2, 0)),
    Commit(make_zxid(2, 0)),
    Ping(1, 2),
    Pong(1, 2, make_zxid(2, 0)),
]


class Mob:
    """Three replicas; what goes to replica 1 is sometimes changed on the way. Disks finish at once, links return."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        entries = entries_after(NO_TIP, (1, 0), (1, 1), (1, 2))
        ensemble = Ensemble.of(frozenset({1, 2, 3}), frozenset({4}))
        most_recent = 1 + seed % 3  # and so the first leader; 1, whom the noise is for, every third time
        starts = {i: Recovered(1, entries=entries if i == most_recent else entries[:2]) for i in (1, 2, 3, 4)}
        self.replicas = {i: Replica(i, ensemble, Timing(), starts[i], Random(i)) for i in (1, 2, 3, 4)}
        self.now_ms, self.link = 0, 0
        self.links: dict[frozenset[int], int] = {}
        self.waiting: list[tuple[int, Input]] = []
        self.heard: list[Message] = list(SAMPLES)
        self.changed = self.hangups = self.led = 0
        for me, replica in self.replicas.items():
            self.carry_out(me, replica.start(0))
        for a, b in [(1, 2), (1, 3), (2, 3), (1, 4), (2, 4), (3, 4)]:
            self.connect(a, b)

    def connect(self, a: int, b: int) -> None:
        self.link += 1
        self.links[frozenset((a, b))] = self.link
        self.waiting += [(a, Linked(b, self.link)), (b, Linked(a, self.link))]

    def carry_out(self, me: int, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(peer, message):
                    if link := self.links.get(frozenset((me, peer))):
                        self.waiting.append((peer, Received(me, link, message)))
                case Hangup(peer, _):
                    self.hangups += me == 1
                    link = self.links.pop(frozenset((me, peer)))
                    self.waiting += [(me, Unlinked(peer, link)), (peer, Unlinked(me, link))]
                    self.connect(me, peer)
                case Append(entries):
                    self.waiting.append((me, Durable(entries[-1].zxid)))
                case SaveEpoch(epoch):
                    self.waiting.append((me, EpochSaved(epoch)))
                case Install(tip):
                    self.waiting.append((me, Installed(tip)))

    def run(self, steps: int) -> None:
        for _ in range(steps):
            if not self.waiting:
                self.now_ms = min(r.wake_at_ms for r in self.replicas.values())
                self.waiting = [(i, Tick()) for i, r in self.replicas.items() if r.wake_at_ms <= self.now_ms]
            me, given = self.waiting.pop(0)
            if me == 1 and isinstance(given, Received):
                if self.rng.random() < 0.05:
                    given = replace(given, message=self.twisted(given.message))
                    self.changed += 1
                self.heard.append(given.message)
            self.carry_out(me, self.replicas[me].step(given, self.now_ms))
            for i, replica in self.replicas.items():
                if replica.may_submit and self.rng.random() < 0.2:
                    self.led += i == 1
                    self.carry_out(i, replica.step(Submitted((b"w",)), self.now_ms))

    def twisted(self, message: Message) -> Message:
        if self.rng.random() < 0.4:
            return self.rng.choice(self.heard)
        changes: dict[str, Any] = {}
        for field in fields(message):
            value = getattr(message, field.name)
            if isinstance(value, bool):
                value = not value
            elif isinstance(value, int):
                value = max(0, value + self.rng.choice([-(1 << 32), -1, 1, 2, 1 << 32, 1 << 62]))
            elif isinstance(value, Tip):
                value = Tip(Zxid(value.zxid + self.rng.choice([-1, 1])), value.chain)
            elif isinstance(value, tuple):
                value = value[self.rng.randrange(2) :] * self.rng.randrange(3)
            if self.rng.random() < 0.6:
                changes[field.name] = value
        return replace(message, **changes)


@pytest.mark.parametrize("block", range(4))
def test_no_word_of_a_peer_breaks_a_rule_of_ours(block: int) -> None:
    changed = hangups = parted = led = 0
    for seed in range(block * 60, block * 60 + 60):
        mob = Mob(seed)
        try:
            mob.run(1500)
        except HistoryPartedError:
            parted += 1
        changed, hangups, led = changed + mob.changed, hangups + mob.hangups, led + mob.led
    assert changed > 300 and hangups > 100 and led > 100  # it was hostile, it was noticed, and work was done
    assert parted < 20
