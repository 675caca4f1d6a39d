"""Observers that come and go, said of one replica."""

import pytest

from zabpy.model import NO_TIP, make_zxid
from zabpy.zab import Durable, Ensemble, EnsembleChanged, Hangup, Linked, Received, Recovered, Role, Send, Submitted
from zabpy.zab.messages import (
    Ack,
    AckEpoch,
    Commit,
    Diff,
    FollowerInfo,
    LeaderInfo,
    NewLeader,
    Notification,
    Ping,
    Pong,
    Propose,
)

from .lone import Lone, entries_after

VOTERS = frozenset((1, 2, 3))


def with_observers(*observers: int) -> EnsembleChanged:
    return EnsembleChanged(Ensemble.of(VOTERS, frozenset(observers)))


def leading_an_observer() -> Lone:
    lone = Lone(observers=(4,))
    lone.activate()
    lone.link(4)
    lone.hear(4, FollowerInfo(0))
    lone.hear(4, AckEpoch(1, True, ()))
    lone.hear(4, Ack(make_zxid(1, 0)))
    assert lone.sent(4, Commit)
    return lone


def test_one_that_is_removed_is_hung_up_on_and_hears_nothing_more() -> None:
    lone = leading_an_observer()
    assert [effect for effect in lone.step(with_observers()) if isinstance(effect, Hangup)] == [
        Hangup(4, "it is no observer any more")
    ]
    before = len(lone.seen)
    lone.step(Submitted((b"x",)))
    lone.wait(5000)
    assert not [effect for effect in lone.seen[before:] if isinstance(effect, Send) and effect.peer == 4]


def test_what_it_still_says_is_dropped_and_a_new_link_is_refused() -> None:
    lone = leading_an_observer()
    lone.step(Submitted((b"x",)))
    lone.step(with_observers())
    assert lone.step(Received(4, lone.links[4], Ack(make_zxid(1, 1)))) == []
    assert lone.step(Linked(4, 999)) == [Hangup(4, "not in our ensemble")]
    assert lone.step(Received(4, 999, FollowerInfo(0))) == []


def test_one_that_is_added_is_let_in_and_its_disk_makes_no_quorum() -> None:
    lone = Lone()
    lone.activate()
    lone.step(with_observers(9))
    lone.link(9)
    lone.hear(9, FollowerInfo(0))
    lone.hear(9, AckEpoch(1, True, ()))
    lone.hear(9, Ack(make_zxid(1, 0)))
    lone.step(Submitted((b"x",)))
    assert lone.sent(9, Propose)
    lone.hear(9, Ack(make_zxid(1, 1)))
    assert lone.replica.in_step == {1, 2, 9}
    assert lone.replica.delivered == make_zxid(1, 0)  # its disk and none of a second voter: ours is not done either
    lone.unlink(2)
    assert not lone.replica.may_submit  # one voter of three, whoever watches


def test_a_looking_server_forgets_what_a_removed_one_said() -> None:
    lone = Lone(observers=(4,))
    lone.link(4)
    lone.hear(4, Notification("observing", 1, 2, make_zxid(1, 0), 1))
    lone.step(with_observers())
    assert not lone.replica.heard and not lone.replica.links


def test_the_voters_may_not_differ() -> None:
    lone = Lone()
    with pytest.raises(AssertionError):
        lone.step(EnsembleChanged(Ensemble.of(frozenset((1, 2, 3, 4)))))


def observing(log_epoch: int, accepted_epoch: int) -> Lone:
    """Observer 9 with a log of one epoch, which finds server 2 leading."""
    found = Recovered(accepted_epoch, entries=entries_after(NO_TIP, (log_epoch, 0)))
    lone = Lone(found, observers=(9,), me=9)
    lone.link(2, 3)
    lone.hear(3, Notification(Role.FOLLOWING, 7, 2, make_zxid(1, 0), 4))
    lone.hear(2, Notification(Role.LEADING, 7, 2, make_zxid(1, 0), 4))
    assert lone.sent(2, FollowerInfo) == [FollowerInfo(accepted_epoch)]
    return lone


def test_one_that_was_told_of_an_epoch_that_came_to_nothing_follows_in_an_earlier_one() -> None:
    """Nobody asks observers what they promised, so a later leader may choose a smaller number, and keep it for long."""
    lone = observing(log_epoch=1, accepted_epoch=6)
    lone.hear(2, LeaderInfo(4))
    assert lone.sent(2, AckEpoch) == [AckEpoch(4, False, (make_zxid(1, 0),))]
    lone.hear(2, Diff(make_zxid(1, 0)))
    lone.hear(2, Propose(entries_after(lone.replica.history.last, (4, 0))))
    lone.hear(2, NewLeader(4))
    lone.step(Durable(make_zxid(4, 0)))
    assert lone.sent(2, Ack) == [Ack(make_zxid(4, 0))]
    lone.hear(2, Ping(1, 4))
    assert lone.sent(2, Pong) == [Pong(1, 4, make_zxid(4, 0))]
    assert lone.replica.accepted_epoch == 6


def test_one_whose_log_is_of_a_later_epoch_does_not_follow_in_an_earlier_one() -> None:
    lone = observing(log_epoch=5, accepted_epoch=6)
    lone.hear(2, LeaderInfo(4))
    assert lone.does(Role.LOOKING)
    assert not lone.sent(2, AckEpoch)
