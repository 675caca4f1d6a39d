"""Elections by the clock: how long votes wait, are repeated, and are given up; times are `Timing`'s defaults."""

from zabpy.model import make_zxid
from zabpy.zab import Role, Timing
from zabpy.zab.discovery import FAILED_LEADS_MAX
from zabpy.zab.messages import FollowerInfo, Notification

from .lone import Lone

TIMING = Timing()


def vote(lone: Lone, leader: int, *, counter: int = 0, round_: int | None = None) -> Notification:
    zxid = make_zxid(1, counter) if counter else lone.replica.history.durable
    return Notification(Role.LOOKING, lone.replica.round if round_ is None else round_, leader, zxid, zxid >> 32)


def test_a_vote_is_repeated_while_nothing_is_decided_and_then_a_new_round_begins() -> None:
    lone = Lone()
    lone.link(2, 3)
    said, began = len(lone.sent(2, Notification)), lone.replica.round
    lone.wait(TIMING.repeat_ms - 10)
    assert len(lone.sent(2, Notification)) == said
    for _ in range(3):
        lone.wait(TIMING.repeat_ms)
        said += 1
        assert len(lone.sent(2, Notification)) == said
    assert lone.replica.round == began
    lone.wait(TIMING.round_ms * 2)
    assert lone.replica.round in (began + 1, began + 2)
    assert lone.sent(3, Notification)[-1].round == lone.replica.round
    assert lone.does(Role.LOOKING)


def test_a_quorum_that_agrees_waits_for_who_may_know_better_and_longer_for_who_has_not_agreed() -> None:
    agreed = Lone(voters=5)
    agreed.link(2, 3)
    for peer in (2, 3):
        agreed.hear(peer, vote(agreed, 1))
    agreed.wait(TIMING.finalize_ms - 1)
    assert agreed.does(Role.LOOKING)
    agreed.wait(1)
    assert agreed.does(Role.LEADING)

    split = Lone(voters=5)
    split.link(2, 3, 4)
    for peer in (2, 3):
        split.hear(peer, vote(split, 1))
    split.wait(TIMING.finalize_disagreed_ms - 1)
    assert split.does(Role.LOOKING)
    split.wait(1)
    assert split.does(Role.LEADING)

    at_once = Lone()
    at_once.link(2, 3)
    at_once.hear(2, vote(at_once, 1))
    assert at_once.does(Role.LOOKING)
    at_once.hear(3, vote(at_once, 1))  # nobody is left to be waited for
    assert at_once.does(Role.LEADING)


def test_a_better_vote_in_the_last_moment_takes_the_place_of_the_agreed_one() -> None:
    lone = Lone(voters=5)
    lone.link(2, 3, 4)
    for peer in (2, 3):
        lone.hear(peer, vote(lone, 1))
    lone.wait(TIMING.finalize_disagreed_ms - 1)
    lone.hear(4, vote(lone, 4, counter=1))
    lone.wait(TIMING.finalize_disagreed_ms)
    assert lone.does(Role.LOOKING)
    assert lone.sent(2, Notification)[-1].leader == 4


def test_who_goes_out_of_reach_does_not_count_and_cannot_be_voted_for() -> None:
    lone = Lone(voters=5)
    lone.link(2, 3, 4, 5)
    for peer in (2, 3):
        lone.hear(peer, vote(lone, 1))
    lone.unlink(2)
    lone.wait(TIMING.finalize_disagreed_ms)
    assert lone.does(Role.LOOKING)  # with 3 alone it is no quorum
    lone.hear(4, vote(lone, 1))
    lone.wait(TIMING.finalize_disagreed_ms)
    assert lone.does(Role.LEADING)

    other = Lone(voters=5)
    other.link(2, 3, 4)
    began = other.replica.round
    other.hear(4, vote(other, 4, counter=1))
    assert other.sent(2, Notification)[-1].leader == 4
    other.unlink(4)
    assert other.replica.round == began + 1  # what others said of 4 is not to be counted with what comes now
    assert other.sent(2, Notification)[-1].leader == 1

    alone = Lone()
    alone.link(2)
    assert alone.sent(2, Notification)[-1].leader == 1
    began = alone.replica.round
    alone.unlink(2)
    assert alone.replica.round == began + 1  # it cannot reach a quorum and votes for nobody
    alone.link(3)
    assert alone.sent(3, Notification)[-1].leader == 1
    alone.unlink(3)
    alone.link(2, 3)
    began = alone.replica.round
    alone.unlink(3)
    assert alone.replica.round == began  # 2 is enough: the vote stands


def test_whom_nobody_follows_makes_way_for_another_for_a_while() -> None:
    """Trap D10: it may be heard and not be reached, and would be elected for ever."""
    lone = Lone()
    lone.link(2, 3)
    for lead in range(FAILED_LEADS_MAX):
        assert lone.sent(2, Notification)[-1].leader == 1
        for peer in (2, 3):
            lone.hear(peer, vote(lone, 1))
        assert lone.does(Role.LEADING), lead
        lone.wait(TIMING.discovery_ms - 1)
        assert lone.does(Role.LEADING)
        lone.wait(1)
        assert lone.does(Role.LOOKING)
    assert lone.sent(2, Notification)[-1].leader == 0
    lone.hear(2, vote(lone, 2))
    assert lone.sent(3, Notification)[-1].leader == 2  # a worse one, though as good as none
    lone.unlink(2)
    lone.link(2)
    lone.wait(TIMING.round_ms + TIMING.repeat_ms)
    assert lone.sent(2, Notification)[-1].leader == 1  # it stands again


def test_a_lead_that_came_about_is_no_failed_one() -> None:
    lone = Lone()
    lone.elect(1)
    lone.wait(TIMING.discovery_ms)
    assert lone.does(Role.LOOKING)
    for peer in (2, 3):
        lone.unlink(peer)
    lone.activate()
    for peer in (2, 3):
        lone.unlink(peer)
    assert lone.does(Role.LOOKING)
    lone.elect(1)
    lone.wait(TIMING.discovery_ms)
    assert lone.sent(2, Notification)[-1].leader == 1  # the first one that failed since


def test_a_follower_that_came_sooner_than_our_election_is_taken_on_then() -> None:
    lone = Lone()
    lone.link(2, 3)
    lone.hear(2, FollowerInfo(3))
    for peer in (2, 3):
        lone.hear(peer, vote(lone, 1))
    assert lone.does(Role.LEADING)
    assert lone.replica.wake_at_ms <= lone.now_ms + TIMING.discovery_ms
    assert lone.replica.epoch == 4
