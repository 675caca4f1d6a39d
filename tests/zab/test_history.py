"""What a server's log is, and what another needs to become a copy of it."""

from random import Random

import pytest

from zabpy.model import NO_TIP, NO_ZXID, Entry, Tip, Zxid, entry_after, epoch_of, make_zxid
from zabpy.zab.history import (
    RECENT_ENTRIES,
    History,
    Need,
    OtherHistoryError,
    OutOfOrderError,
    Recovered,
)


def log(*places: tuple[int, int], before: Tip = NO_TIP, word: bytes = b"x") -> list[Entry]:
    """Entries at (epoch, counter), chained."""
    entries: list[Entry] = []
    chain = before.chain
    for epoch, counter in places:
        entries.append(entry_after(chain, make_zxid(epoch, counter), word))
        chain = entries[-1].chain
    return entries


def test_entries_must_follow_one_another() -> None:
    history = History(Recovered())
    history.append(log((1, 0), (1, 1), (3, 0)))
    for wrong in [(3, 0), (3, 2), (2, 0), (4, 1)]:
        with pytest.raises(OutOfOrderError):
            history.append(log(wrong, before=history.last))
    assert history.last.zxid == make_zxid(3, 0)
    history.append(log((3, 1), (7, 0), before=history.last))
    assert history.ends() == (make_zxid(1, 1), make_zxid(3, 1), make_zxid(7, 0))


def test_an_entry_that_stands_on_other_records_is_noticed_at_the_right_zxid() -> None:
    history = History(Recovered(entries=log((1, 0), (1, 1))))
    foreign = log((1, 0), (1, 1), (1, 2), word=b"y")
    with pytest.raises(OtherHistoryError):
        history.append(foreign[2:])
    assert history.last.zxid == make_zxid(1, 1)


def test_only_what_is_durable_is_delivered_each_entry_once_in_order() -> None:
    history = History(Recovered())
    entries = log((1, 0), (1, 1), (1, 2))
    history.append(entries)
    assert history.take(make_zxid(1, 2)) == ()
    history.durable = make_zxid(1, 1)
    assert history.take(make_zxid(1, 2)) == tuple(entries[:2])
    assert history.take(make_zxid(1, 2)) == ()
    history.durable = make_zxid(1, 2)
    assert history.take(make_zxid(1, 2)) == (entries[2],)


def test_recovered_entries_are_durable_and_not_delivered() -> None:
    entries = log((1, 0), (1, 1))
    history = History(Recovered(entries=entries))
    assert history.durable == make_zxid(1, 1) and history.delivered == NO_ZXID
    assert history.take(make_zxid(1, 1)) == tuple(entries)


def test_memory_is_bounded_and_keeps_recent_entries() -> None:
    history = History(Recovered())
    history.append(log((1, 0)))
    for start in range(1, 5 * RECENT_ENTRIES, 100):
        history.append(log(*((1, start + i) for i in range(100)), before=history.last))
        history.durable = history.last.zxid
        history.take(history.durable)
    assert history.last.zxid - history.memory_from <= 2 * RECENT_ENTRIES + 100
    assert len(history.entries_after(Zxid(history.last.zxid - RECENT_ENTRIES))) == RECENT_ENTRIES
    tip = history.tip_at(Zxid(history.last.zxid - 1))
    assert tip is not None
    assert entry_after(tip.chain, history.last.zxid, b"x").chain == history.last.chain


def test_truncation_goes_back_to_the_state_before() -> None:
    history = History(Recovered(entries=log((1, 0), (1, 1), (2, 0), (2, 1))))
    before = History(Recovered(entries=log((1, 0), (1, 1))))
    history.truncate(make_zxid(1, 1))
    assert (history.last, history.durable, history.ends()) == (before.last, before.durable, before.ends())


def test_what_was_delivered_is_never_cut() -> None:
    history = History(Recovered(entries=log((1, 0), (1, 1))))
    history.take(make_zxid(1, 1))
    with pytest.raises(AssertionError, match="final"):
        history.truncate(make_zxid(1, 0))


class World:
    """Logs as ZAB can leave them: each epoch has one leader, whose log the followers copy up to some point."""

    def __init__(self, rng: Random, servers: int, epochs: int) -> None:
        self.logs: list[list[Zxid]] = [[] for _ in range(servers)]
        for epoch in range(1, epochs + 1):
            leader = rng.choice(self.logs)
            leader.append(make_zxid(epoch, 0))
            leader += [make_zxid(epoch, c) for c in range(1, rng.randrange(1, 6))]
            for server in range(servers):
                if self.logs[server] is not leader and rng.random() < 0.4:
                    whole = [z for z in leader if epoch_of(z) < epoch]
                    self.logs[server] = whole + [z for z in leader if epoch_of(z) == epoch][: rng.randrange(1, 6)]


def test_the_last_common_record_is_found_for_all_logs_that_zab_can_leave() -> None:
    compared = dict.fromkeys(Need, 0)
    for seed in range(400):
        rng = Random(seed)
        for mine in (world := World(rng, 4, 8)).logs:
            cut = rng.choice([NO_ZXID, *mine])
            start = mine.index(cut) + 1 if cut else 0
            tip = Tip(cut, 77) if cut else NO_TIP
            places = ((epoch_of(z), z & 0xFFFFFFFF) for z in mine[start:])
            history = History(Recovered(snapshot=tip, log_base=tip.zxid, entries=log(*places, before=tip)))
            for theirs in world.logs:
                ends = tuple(max(z for z in theirs if epoch_of(z) == e) for e in sorted({epoch_of(z) for z in theirs}))
                need, common = history.need_of(ends)
                truth = max(set(mine) & set(theirs), default=NO_ZXID)
                compared[need] += 1
                if need is Need.IMAGE:
                    assert common == cut != NO_ZXID
                    assert truth <= cut  # never a whole image for what our log could mend
                else:
                    assert common == truth
                    assert (need is Need.DIFF) == (not theirs or theirs[-1] == truth)
    assert min(compared.values()) > 500  # all three were really met
