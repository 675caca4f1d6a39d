"""The only writer of `State`: takes in one transaction after another, each decided for good."""

from zabpy.model import CloseSessionTxn, CreateSessionTxn, Txn, Zxid, counter_of
from zabpy.tree import Outcome

from .state import State

_NOTHING = Outcome(None, (), ())


def apply_entry(state: State, zxid: Zxid, txn: Txn | None) -> Outcome:
    """Take in the entry at ``zxid``; the same on every replica. ``txn`` None: the epoch-start record, counter 0.

    The caller tells the watchers of the events (`replies.event_frames`) before anybody reads from the new state.
    """
    assert zxid > state.last_applied  # the order is delivered once, and forwards
    if txn is None:
        assert counter_of(zxid) == 0
        state.last_applied = zxid
        return _NOTHING
    session_id, _, _, time_ms, body = txn
    outcome = state.tree.apply(zxid, time_ms, body)
    if type(body) is CreateSessionTxn:
        state.sessions.open(session_id, body.timeout_ms, body.password)
    elif type(body) is CloseSessionTxn:
        state.sessions.close(session_id)
    if time_ms > state.last_time_ms:
        state.last_time_ms = time_ms
    state.last_applied = zxid
    return outcome
