"""The rules of ZAB one at a time, said of one replica whose disk, links and clock the test plays."""

import pytest

from zabpy.model import EPOCH_MAX, NO_TIP, NO_ZXID, Tip, make_zxid
from zabpy.zab import (
    Append,
    Deliver,
    Durable,
    EpochSaved,
    Hangup,
    HistoryPartedError,
    Install,
    Installed,
    KeepImage,
    Note,
    Phase,
    ReadAsked,
    ReadConfirmed,
    Received,
    Recovered,
    Role,
    RoleChanged,
    SaveEpoch,
    Send,
    SendTail,
    SnapshotSaved,
    Submitted,
    Timing,
    Truncate,
)
from zabpy.zab.history import RECENT_ENTRIES
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
from zabpy.zab.synchronization import in_messages

from .lone import Lone, entries_after


def recovered(*places: tuple[int, int]) -> Recovered:
    return Recovered(accepted_epoch=places[-1][0], entries=entries_after(NO_TIP, *places))


# Election


def test_a_lone_voter_elects_itself_and_serves_at_once() -> None:
    lone = Lone(voters=1)
    lone.step(EpochSaved(1))
    lone.step(Durable(make_zxid(1, 0)))
    assert lone.replica.may_submit
    assert lone.now_ms == 2


def test_the_more_recent_log_wins_then_the_greater_id() -> None:
    lone = Lone(recovered((1, 0), (1, 5 - 4)))
    lone.link(2, 3)
    lone.hear(3, Notification(Role.LOOKING, 1, 3, make_zxid(1, 0), 1))
    assert lone.sent(3, Notification)[-1].leader == 1
    lone.hear(2, Notification(Role.LOOKING, 1, 2, make_zxid(1, 1), 1))
    assert lone.sent(3, Notification)[-1].leader == 2


def test_nobody_stands_without_a_quorum_in_reach() -> None:
    lone = Lone(voters=5)
    lone.link(2)
    assert lone.sent(2, Notification)[-1].leader == 0
    lone.link(3)
    assert lone.sent(2, Notification)[-1].leader == 1


def test_nobody_votes_for_a_candidate_out_of_reach() -> None:
    lone = Lone(voters=3)
    lone.link(2)
    lone.hear(2, Notification(Role.LOOKING, 1, 3, make_zxid(9, 9), 9))
    assert lone.sent(2, Notification)[-1].leader == 1


def test_a_joiner_follows_whom_a_quorum_follows_and_who_says_so_itself() -> None:
    lone = Lone()
    lone.link(2, 3)
    lone.hear(2, Notification(Role.FOLLOWING, 7, 3, make_zxid(4, 1), 5))
    assert lone.does(Role.LOOKING)  # server 3 may be dead
    lone.hear(3, Notification(Role.LEADING, 8, 3, make_zxid(4, 2), 5))
    assert lone.does(Role.FOLLOWING) and lone.replica.leader == 3


def test_a_dead_leader_is_not_followed_on_the_word_of_those_who_remember_it() -> None:
    lone = Lone(voters=5)
    lone.link(2, 3, 4)
    for peer in (2, 3, 4):
        lone.hear(peer, Notification(Role.FOLLOWING, 7, 5, make_zxid(4, 1), 5))
    assert lone.does(Role.LOOKING)


def test_who_is_not_looking_answers_with_what_it_does() -> None:
    lone = Lone()
    lone.activate()
    lone.hear(3, Notification(Role.LOOKING, 1, 3, NO_ZXID, 0))
    assert lone.sent(3, Notification)[-1] == Notification(Role.LEADING, lone.replica.round, 1, NO_ZXID, 1)


def test_a_looking_observer_is_answered_and_does_not_answer() -> None:
    voter, observer = Lone(observers=(9,)), Lone(me=9, observers=(9,))
    voter.link(9)
    observer.link(1)
    observer.wait(20_000)  # alone its rounds run ahead
    assert observer.replica.round > voter.replica.round
    (answer,) = voter.hear(9, observer.sent(1, Notification)[-1])
    assert isinstance(answer, Send) and isinstance(answer.message, Notification)
    assert observer.hear(1, answer.message) == []  # else they would go on for ever


# Discovery


def test_the_leader_promises_the_epoch_to_itself_before_it_tells_it() -> None:
    lone = Lone()
    lone.elect(1)
    assert lone.hear(2, FollowerInfo(6)) == [SaveEpoch(7)]
    assert lone.sent(2, LeaderInfo) == []
    assert Send(2, LeaderInfo(7)) in lone.step(EpochSaved(7))


def test_a_follower_promises_on_disk_before_it_answers() -> None:
    lone = Lone()
    lone.elect(2)
    assert lone.hear(2, LeaderInfo(3)) == [SaveEpoch(3)]
    lone.step(EpochSaved(3))
    assert lone.sent(2, AckEpoch) == [AckEpoch(3, True, ())]


def test_an_epoch_that_was_promised_before_is_not_promised_twice() -> None:
    lone = Lone(Recovered(accepted_epoch=3))
    lone.elect(2)
    lone.hear(2, LeaderInfo(3))
    assert lone.sent(2, AckEpoch) == [AckEpoch(3, False, ())]


def test_an_epoch_below_the_promised_one_is_refused() -> None:
    lone = Lone(Recovered(accepted_epoch=3))
    lone.elect(2)
    lone.hear(2, LeaderInfo(2))
    assert lone.does(Role.LOOKING) and lone.sent(2, AckEpoch) == []


def test_a_leader_steps_back_for_a_more_recent_follower() -> None:
    lone = Lone(recovered((1, 0), (1, 1)))
    lone.elect(1)
    lone.hear(2, FollowerInfo(1))
    lone.step(EpochSaved(2))
    lone.hear(2, AckEpoch(2, True, (make_zxid(1, 2),)))
    assert lone.does(Role.LOOKING)


def test_a_promise_that_does_not_count_does_not_establish() -> None:
    lone = Lone()
    lone.elect(1)
    lone.hear(2, FollowerInfo(0))
    lone.step(EpochSaved(1))
    lone.hear(2, AckEpoch(1, False, ()))
    assert lone.all_of(Append) == []


def test_a_voter_that_lost_its_disk_does_not_help_to_elect_among_servers_with_data() -> None:
    lone = Lone(recovered((1, 0), (1, 1)))
    lone.elect(1)
    lone.hear(2, FollowerInfo(0))
    lone.step(EpochSaved(2))
    lone.hear(2, AckEpoch(2, True, ()))
    assert lone.all_of(Append) == []  # server 3 may hold what 2 lost and 1 lacks
    assert "promise_of_an_empty_log_not_counted" in [note.event for note in lone.all_of(Note)]
    lone.hear(3, FollowerInfo(1))
    lone.hear(3, AckEpoch(2, True, (make_zxid(1, 0),)))
    assert len(lone.all_of(Append)) == 1


def test_before_a_first_transaction_a_voter_with_an_empty_log_counts() -> None:
    lone = Lone(recovered((1, 0)))  # we wrote the epoch's start and died before anybody else did
    lone.elect(1)
    lone.hear(2, FollowerInfo(1))
    lone.step(EpochSaved(2))
    lone.hear(2, AckEpoch(2, True, ()))
    assert len(lone.all_of(Append)) == 1


def test_observers_do_not_count_and_do_not_raise_the_epoch() -> None:
    lone = Lone(observers=(9,))
    lone.elect(1)
    lone.link(9)
    lone.hear(9, FollowerInfo(50))
    assert lone.all_of(SaveEpoch) == []
    assert lone.hear(2, FollowerInfo(0)) == [SaveEpoch(1)]


def test_a_voter_that_promised_a_later_epoch_gets_a_new_one() -> None:
    lone = Lone()
    lone.activate()
    lone.hear(3, FollowerInfo(8))
    assert lone.does(Role.LOOKING)
    for peer in (2, 3):
        lone.links[peer] += 1
    lone.elect(1)
    assert lone.hear(2, FollowerInfo(1))[-1] == SaveEpoch(9)


# Synchronisation


def test_history_goes_out_only_when_the_epochs_start_is_on_the_leaders_disk() -> None:
    lone = Lone()
    lone.elect(1)
    lone.hear(2, FollowerInfo(0))
    lone.step(EpochSaved(1))
    lone.hear(2, AckEpoch(1, True, ()))
    assert lone.sent(2, Diff) == []
    lone.step(Durable(make_zxid(1, 0)))
    assert [type(m) for m in lone.sent(2, object)][-3:] == [Diff, Propose, NewLeader]


def test_a_follower_acks_only_what_is_on_its_disk_and_first_all_of_the_history() -> None:
    lone = Lone()
    lone.elect(2)
    lone.hear(2, LeaderInfo(2))
    lone.step(EpochSaved(2))
    lone.hear(2, Diff(NO_ZXID))
    history = entries_after(NO_TIP, (1, 0), (1, 1), (2, 0))
    assert lone.hear(2, Propose(history))[0] == Append(history)
    lone.step(Durable(make_zxid(1, 1)))
    lone.hear(2, NewLeader(2))
    assert lone.sent(2, Ack) == []
    lone.step(Durable(make_zxid(2, 0)))
    assert lone.sent(2, Ack) == [Ack(make_zxid(2, 0))]


def test_proposals_behind_the_history_are_acked_after_it() -> None:
    lone = Lone()
    tip = lone.follow()
    more = entries_after(tip, (1, 1), (1, 2))
    assert lone.hear(2, Propose(more)) == [Append(more), *lone.new[1:]]
    lone.step(Durable(make_zxid(1, 2)))
    assert lone.sent(2, Ack) == [Ack(make_zxid(1, 0)), Ack(make_zxid(1, 2))]


def test_a_tail_that_is_not_the_leaders_is_cut_when_the_next_entry_proves_the_common_one() -> None:
    lone = Lone(recovered((1, 0), (1, 1), (1, 2)))
    lone.elect(2)
    lone.hear(2, LeaderInfo(2))
    lone.step(EpochSaved(2))
    assert lone.sent(2, AckEpoch) == [AckEpoch(2, True, (make_zxid(1, 2),))]
    lone.hear(2, Trunc(make_zxid(1, 1)))
    assert lone.all_of(Truncate) == []
    lone.hear(2, Propose(entries_after(NO_TIP, (1, 0), (1, 1), (2, 0))[2:]))
    assert [type(e) for e in lone.new][:2] == [Truncate, Append]
    assert lone.replica.last_zxid == make_zxid(2, 0)


def test_a_common_record_that_differs_stops_the_server_with_its_log_untouched() -> None:
    lone = Lone(recovered((1, 0), (1, 1), (1, 2)))
    lone.elect(2)
    lone.hear(2, LeaderInfo(2))
    lone.step(EpochSaved(2))
    lone.hear(2, Trunc(make_zxid(1, 1)))
    with pytest.raises(HistoryPartedError, match=r"1\.1"):
        lone.hear(2, Propose(entries_after(Tip(make_zxid(1, 1), 12345), (2, 0))))
    assert lone.all_of(Truncate) == []


def test_a_leader_that_would_cut_what_was_delivered_stops_us() -> None:
    lone = Lone()
    lone.follow()
    lone.hear(2, Commit(make_zxid(1, 0)))
    lone.unlink(2)
    lone.elect(2)
    lone.hear(2, LeaderInfo(2))
    lone.step(EpochSaved(2))
    with pytest.raises(HistoryPartedError, match="delivered 1.0"):
        lone.hear(2, Trunc(NO_ZXID))


def test_a_snapshot_replaces_everything_and_counts_when_it_is_installed() -> None:
    lone = Lone(recovered((1, 0), (1, 1)))
    lone.elect(2)
    lone.hear(2, LeaderInfo(5))
    lone.step(EpochSaved(5))
    tip = Tip(make_zxid(4, 70), 99)
    lone.hear(2, Image(tip))
    assert KeepImage(b"ab") in lone.hear(2, ImageChunk(b"ab", False))
    assert lone.hear(2, ImageChunk(b"c", True)) == [KeepImage(b"c"), Install(tip)]
    (record,) = entries_after(tip, (5, 0))
    lone.hear(2, Propose((record,)))
    lone.hear(2, NewLeader(5))
    assert lone.sent(2, Ack) == []
    lone.step(Installed(tip))
    assert lone.sent(2, Ack) == []
    lone.step(Durable(record.zxid))
    assert lone.sent(2, Ack) == [Ack(record.zxid)]
    lone.hear(2, Commit(record.zxid))
    assert lone.all_of(Deliver) == [Deliver((record,))]


@pytest.mark.parametrize("begun", [Diff(make_zxid(1, 1)), Image(Tip(make_zxid(4, 70), 99))])
@pytest.mark.parametrize("again", [Diff(make_zxid(1, 1)), Trunc(make_zxid(1, 0)), Image(Tip(make_zxid(4, 71), 98))])
def test_a_synchronisation_begins_once(begun: Diff | Image, again: Diff | Trunc | Image) -> None:
    lone = Lone(recovered((1, 0), (1, 1)))
    lone.elect(2)
    lone.hear(2, LeaderInfo(5))
    lone.step(EpochSaved(5))
    lone.hear(2, begun)
    assert lone.does(Role.FOLLOWING)
    lone.hear(2, again)
    assert lone.does(Role.LOOKING)
    assert [e.peer for e in lone.all_of(Hangup)] == [2]


def test_a_snapshot_that_was_saved_late_does_not_stand_in_for_a_newer_one() -> None:
    lone = Lone()
    lone.follow()
    lone.hear(2, Propose(entries_after(lone.replica.history.last, (1, 1), (1, 2))))
    lone.step(Durable(make_zxid(1, 2)))
    lone.hear(2, Commit(make_zxid(1, 2)))
    newer = Tip(make_zxid(1, 2), 7)
    lone.step(SnapshotSaved(newer, NO_ZXID))
    lone.step(SnapshotSaved(Tip(make_zxid(1, 1), 6), NO_ZXID))
    assert lone.replica.history.snapshot == newer


def test_what_is_too_old_for_memory_comes_from_disk_without_a_gap() -> None:
    lone = Lone()
    lone.activate(followers=(2,))
    for _ in range(5 * RECENT_ENTRIES // 100):
        lone.step(Submitted((b"x",) * 100))
        lone.step(Durable(lone.replica.last_zxid))
        lone.hear(2, Ack(lone.replica.last_zxid))
    last = lone.replica.last_zxid
    lone.hear(3, FollowerInfo(0))
    lone.hear(3, AckEpoch(1, True, (make_zxid(1, 7),)))
    (tail,) = lone.all_of(SendTail)
    assert (tail.peer, tail.after) == (3, make_zxid(1, 7))
    proposed = [entry.zxid for message in lone.sent(3, Propose) for entry in message.entries]
    assert proposed == list(range(tail.upto + 1, last + 1))


def test_history_is_sent_in_messages_that_fit_a_frame() -> None:
    small = entries_after(NO_TIP, (1, 0), *((1, n) for n in range(1, 1201)))
    assert [len(piece) for piece in in_messages(small)] == [500, 500, 201]
    big = tuple(entry._replace(payload=bytes(700_000)) for entry in small[:3])
    assert [len(piece) for piece in in_messages((*big, *small[3:10]))] == [1, 1, 8]
    assert list(in_messages(())) == []


# Broadcast


def test_an_entry_is_final_once_a_quorum_has_it_on_disk() -> None:
    lone = Lone()
    lone.activate(followers=(2, 3))
    (append, *sends) = lone.step(Submitted((b"a", b"b")))
    assert isinstance(append, Append) and [e.zxid for e in append.entries] == [make_zxid(1, 1), make_zxid(1, 2)]
    assert sends == [Send(2, Propose(append.entries)), Send(3, Propose(append.entries))]
    assert lone.hear(2, Ack(make_zxid(1, 1))) == []
    commit = Commit(make_zxid(1, 1))
    assert lone.step(Durable(make_zxid(1, 2))) == [Send(2, commit), Send(3, commit), Deliver(append.entries[:1])]


def test_others_disks_may_make_the_quorum_but_we_deliver_what_is_on_ours() -> None:
    lone = Lone()
    lone.activate(followers=(2, 3))
    lone.step(Submitted((b"a",)))
    lone.hear(2, Ack(make_zxid(1, 1)))
    lone.hear(3, Ack(make_zxid(1, 1)))
    assert lone.sent(2, Commit)[-1] == Commit(make_zxid(1, 1))
    assert lone.replica.delivered == make_zxid(1, 0)
    assert [type(e) for e in lone.step(Durable(make_zxid(1, 1)))] == [Deliver]


def test_records_of_an_earlier_epoch_are_never_committed_by_counting_acks() -> None:
    lone = Lone(recovered((1, 0), (1, 1)))
    lone.establish(epoch=2)
    lone.hear(2, Ack(make_zxid(1, 1)))  # breaks the protocol: it was never asked for that
    assert lone.all_of(Deliver) == [] and lone.all_of(Hangup)


@pytest.mark.parametrize(
    "message",
    [
        Ack(make_zxid(1, 9)),  # never proposed
        Ack(make_zxid(1, 1)),  # it has acked more
        Ack(make_zxid(0, 5)),
        Pong(7, 1, NO_ZXID),  # to a ping that was never sent
        Pong(1, 2, NO_ZXID),
        Pong(1, 0, NO_ZXID),
        AckEpoch(1, True, (make_zxid(1, 0),)),  # once is enough
        FollowerInfo(1),
    ],
)
def test_what_a_learner_may_not_say_ends_its_link_and_nothing_else(message: Message) -> None:
    lone = Lone()
    lone.activate(followers=(2, 3))
    lone.step(Submitted((b"a", b"b", b"c")))
    lone.hear(3, Ack(make_zxid(1, 2)))
    lone.wait(Timing().ping_ms)  # one ping is on its way
    assert not lone.all_of(Hangup)
    lone.hear(3, message)
    assert [e.peer for e in lone.all_of(Hangup)] == [3]
    assert lone.replica.may_submit  # server 2 is enough


@pytest.mark.parametrize("epoch", [-1, EPOCH_MAX])
def test_who_promised_an_epoch_that_cannot_be_or_that_none_can_follow_is_no_learner(epoch: int) -> None:
    lone = Lone()
    lone.activate()
    lone.hear(3, FollowerInfo(epoch))
    assert [e.peer for e in lone.all_of(Hangup)] == [3]
    assert not lone.sent(3, LeaderInfo)


def test_what_a_learner_may_say_twice_is_no_fault() -> None:
    lone = Lone()
    lone.activate(followers=(2, 3))
    lone.step(Submitted((b"a",)))
    lone.wait(Timing().ping_ms)
    for message in (Ack(make_zxid(1, 1)), Pong(1, 1, make_zxid(1, 1))) * 2:
        lone.hear(3, message)
    assert not lone.all_of(Hangup)


def test_a_commit_tells_a_follower_to_serve_and_covers_all_before_it() -> None:
    lone = Lone()
    tip = lone.follow()
    entries = entries_after(tip, (1, 1), (1, 2), (1, 3))
    lone.hear(2, Propose(entries))
    lone.step(Durable(make_zxid(1, 2)))
    lone.hear(2, Commit(make_zxid(1, 3)))
    delivered = [entry.zxid for deliver in lone.all_of(Deliver) for entry in deliver.entries]
    assert delivered == [make_zxid(1, 0), make_zxid(1, 1), make_zxid(1, 2)]  # the last is not on our disk
    assert lone.all_of(RoleChanged)[-1].phase is Phase.BROADCAST
    lone.step(Durable(make_zxid(1, 3)))
    assert lone.replica.delivered == make_zxid(1, 3)


@pytest.mark.parametrize(
    "message",
    [
        Commit(make_zxid(1, 4)),
        Commit(make_zxid(2, 0)),
        Commit(make_zxid(1, 1)),  # it has committed more
        Propose(()),
        NewLeader(1),
        LeaderInfo(1),
        LeaderInfo(2),
        Ping(1, 2),
        Ping(1, 0),
        Diff(make_zxid(1, 0)),
        Trunc(make_zxid(1, 0)),
        Image(Tip(make_zxid(1, 0), 1)),
        ImageChunk(b"x", True),
    ],
)
def test_what_a_leader_may_not_say_ends_the_link_and_the_following(message: Message) -> None:
    lone = Lone()
    lone.hear(2, Propose(entries_after(lone.follow(), (1, 1), (1, 2))))
    lone.hear(2, Commit(make_zxid(1, 2)))
    assert lone.does(Role.FOLLOWING)
    lone.hear(2, message)
    assert lone.does(Role.LOOKING)
    assert [e.peer for e in lone.all_of(Hangup)] == [2]


def test_a_gap_in_the_proposals_ends_the_link() -> None:
    lone = Lone()
    tip = lone.follow()
    lone.hear(2, Propose(entries_after(tip, (1, 1), (1, 2))[1:]))
    assert lone.does(Role.LOOKING)
    assert len(lone.all_of(Append)) == 1


def test_a_message_of_a_link_that_is_gone_is_not_read() -> None:
    lone = Lone()
    lone.activate(followers=(2, 3))
    lone.step(Submitted((b"a",)))
    old = lone.links[2]
    lone.link(2)
    assert lone.step(Received(2, old, Ack(make_zxid(1, 1)))) == []
    assert lone.replica.history.delivered == make_zxid(1, 0)


def test_a_leader_without_a_quorum_steps_down_at_once() -> None:
    lone = Lone()
    lone.activate(followers=(2, 3))
    lone.unlink(2)
    assert lone.replica.may_submit
    lone.unlink(3)
    assert lone.does(Role.LOOKING)


def test_a_silent_learner_is_dropped_and_a_silent_quorum_ends_the_leading() -> None:
    lone = Lone()
    lone.activate(followers=(2, 3))
    for _ in range(12):
        lone.wait(1000)
        pings = lone.sent(2, Ping)
        lone.hear(2, Pong(pings[-1].number, 1, make_zxid(1, 0)))
    assert [e.peer for e in lone.all_of(Hangup)] == [3]
    assert lone.replica.may_submit
    lone.wait(12_000)
    assert lone.does(Role.LOOKING)


def test_a_learner_whose_disk_is_dead_is_dropped_though_it_answers_pings() -> None:
    lone = Lone()
    lone.activate(followers=(2, 3))
    lone.step(Submitted((b"a",)))
    lone.step(Durable(make_zxid(1, 1)))
    lone.hear(2, Ack(make_zxid(1, 1)))
    for _ in range(12):
        lone.wait(1000)
        for peer in (2, 3):
            if peer in lone.replica.links:
                pings = lone.sent(peer, Ping)
                lone.hear(peer, Pong(pings[-1].number, 1, make_zxid(1, 0)))
    assert [e.peer for e in lone.all_of(Hangup)] == [3]


def test_a_follower_leaves_a_silent_leader() -> None:
    lone = Lone()
    lone.follow()
    lone.hear(2, Commit(make_zxid(1, 0)))
    lone.wait(9_000)
    assert lone.does(Role.FOLLOWING)
    lone.wait(2_000)
    assert lone.does(Role.LOOKING)


def test_nothing_is_said_of_our_log_while_our_disk_is_at_work() -> None:
    lone = Lone()
    lone.follow()
    lone.hear(2, Commit(make_zxid(1, 0)))
    (entry,) = entries_after(lone.replica.history.last, (1, 1))
    lone.hear(2, Propose((entry,)))
    said = len(lone.sent(3, Notification))
    lone.unlink(2)
    lone.wait(3_000)
    assert lone.does(Role.LOOKING) and len(lone.sent(3, Notification)) == said
    lone.step(Durable(entry.zxid))
    assert len(lone.sent(3, Notification)) == said + 1


def test_a_read_is_confirmed_by_an_answer_to_a_ping_that_was_sent_after_it_was_asked() -> None:
    lone = Lone()
    lone.activate(followers=(2, 3))
    lone.wait(1500)
    old = lone.sent(2, Ping)[-1].number
    lone.step(ReadAsked(77))
    new = lone.sent(2, Ping)[-1].number
    assert new > old
    assert lone.hear(2, Pong(old, 1, make_zxid(1, 0))) == []
    assert lone.hear(3, Pong(new, 1, make_zxid(1, 0))) == [ReadConfirmed(77, make_zxid(1, 0))]


def test_near_the_end_of_the_counter_the_leader_makes_way_with_all_delivered() -> None:
    lone = Lone(voters=1)
    lone.step(EpochSaved(1))
    lone.step(Durable(make_zxid(1, 0)))
    near = make_zxid(1, 0xFFFF_0000 - 1)
    lone.replica.history.last = Tip(near, 5)  # as if so much had happened
    lone.replica.history.durable = lone.replica.history.delivered = near
    lone.step(Submitted((b"last",)))
    assert not lone.replica.may_submit
    effects = lone.step(Durable(make_zxid(1, 0xFFFF_0000)))
    assert [type(e) for e in effects][:2] == [Deliver, RoleChanged]
    lone.step(EpochSaved(2))
    lone.step(Durable(make_zxid(2, 0)))
    assert lone.replica.may_submit


def test_a_prospective_leader_pings_who_holds_the_history_while_another_still_receives_it() -> None:
    lone = Lone()
    lone.establish(followers=(2,))
    timing = lone.replica.timing
    for _ in range(5):
        lone.wait(timing.init_timeout_ms // 2)
        assert lone.does(Role.LEADING)
        # It comes forward: a pong that nobody asked for says so.
        lone.hear(2, Pong(0, 1, make_zxid(0, 0)))
    assert lone.sent(2, Ping)[-1].number > 10
    # It answers pings, and does not come forward: that is no reason to wait.
    until = lone.now_ms + timing.init_timeout_ms
    while lone.now_ms < until and lone.does(Role.LEADING):
        lone.wait(timing.ping_ms)
        if lone.does(Role.LEADING):
            lone.hear(2, Pong(lone.sent(2, Ping)[-1].number, 1, make_zxid(0, 0)))
    assert lone.does(Role.LOOKING)
