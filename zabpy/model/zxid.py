"""Zxid: a place in the one order of all changes; epoch in the high 32 bits, counter in the low 32.

A zxid is a plain ``int`` here, not a pair of its own class: it is compared, stored and sent for every request, and an
int does all three for nothing. `NewType` keeps it apart from other numbers for the type checker.

Counter 0 of an epoch is the epoch-start record that its leader writes into the log; transactions begin at 1.
`NO_ZXID` is the place before the first record.
"""

from typing import NewType

Zxid = NewType("Zxid", int)

NO_ZXID = Zxid(0)
COUNTER_MAX = 0xFFFFFFFF
EPOCH_MAX = 0xFFFFFFFF
#: From this counter on a leader finishes what is outstanding and makes way for a new epoch (trap E8), so that nobody
#: runs into the hard end at `COUNTER_MAX`.
COUNTER_HANDOVER = 0xFFFF0000


def make_zxid(epoch: int, counter: int) -> Zxid:
    """The zxid of ``counter`` within ``epoch``; both must fit 32 bits."""
    assert 0 <= epoch <= EPOCH_MAX and 0 <= counter <= COUNTER_MAX, (epoch, counter)
    return Zxid(epoch << 32 | counter)


def epoch_of(zxid: Zxid) -> int:
    return zxid >> 32


def counter_of(zxid: Zxid) -> int:
    return zxid & COUNTER_MAX


def succeeds(after: Zxid, before: Zxid) -> bool:
    """Whether a record at ``after`` may directly follow one at ``before`` in a log.

    Either the next counter of the same epoch, or the epoch-start record (counter 0) of a later epoch. Everything else
    is a hole, a repeat or a step back.
    """
    if after == before + 1:
        return counter_of(after) != 0
    return counter_of(after) == 0 and after > before


def zxid_text(zxid: Zxid) -> str:
    """For people: ``7.42`` is the 42nd transaction of epoch 7."""
    return f"{epoch_of(zxid)}.{counter_of(zxid)}"
