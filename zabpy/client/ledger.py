"""Exactly-once writes: how a client finds out whether a write was applied whose answer it never got.

A write with ``lost_reply="once"`` goes as a multi, and behind it, in the same multi, a mark is put into a *slot*: an
ephemeral znode of the session at ``/zookeeper/zabpy-...``, whatever the chroot. Both happen or neither does. The slot
is this one write's until its outcome is known, and the mark is put there only at the version the slot has; so:

- When the answer is lost the client goes on with its session on another connection, and looks at the slot. Is the mark
  there, the write was applied; the slot's ``mzxid`` and ``mtime`` are the write's.
- If not, it may still be on its way: in the queues of the old server, of a leader that is about to lose its office, or
  in a log that another leader may yet find. So the client does not trust that it is late enough to look, nor that a
  moved session's requests are refused (they are, by ZooKeeper and by us, but there a server that reads a connection
  while another thread closes it may let one slip through). It raises the slot's version by a write of its own, a
  *fence*, which holds the old version, too: whichever of the two comes first in the order of all writes, the other
  fails. If the fence came first the write was not applied, and never will be: it may be sent again. If the fence fails
  the slot is looked at again, and there is the mark (or an earlier fence whose answer was lost).

Nothing but the order of writes is relied upon. With the session the slots go, and a write that was under way then is of
unknown outcome: `SessionLostError`. A slot is made before the first write that uses it, and not by that write: one that
somebody has deleted (`ConnectionLossError`) is not to look like one whose write was not done. Many writes at a time
have a slot each, so that one which fails (its znode exists, say) does not disturb the others; slots are used again and
again.

Who may not write below ``/zookeeper``, or has a session that only its server knows, has no slots: the write is then
sent as it is, and a lost answer is a `ConnectionLossError`.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from random import Random
from typing import NamedTuple

from zabpy.model import OPEN_ACL, BadVersionError, CodeError, NodeExistsError, NoNodeError, Stat
from zabpy.wire import Op, packed, records as r

from .asking import Asking, Waking
from .errors import ConnectionLossError, NoServerError, SessionLostError
from .session import Session

SLOT_PREFIX = "/zookeeper/zabpy-"
#: So many exactly-once writes of a client are under way at a time; more wait.
SLOTS_MAX = 128
#: How often one write is sent: if all of these connections broke, it may be the write that breaks them.
SENDINGS_MAX = 5
#: What a multi may say of a slot that is not as we thought: it was given up in an unknown state, or of another session.
OUT_OF_DATE = frozenset({NoNodeError.code, BadVersionError.code, NodeExistsError.code})

Write = tuple[int, r.Record]


class Slot:
    __slots__ = ("path", "session", "version", "known")

    def __init__(self, path: str, session: Session) -> None:
        self.path, self.session = path, session
        #: None: it is not there. Not to be counted on unless ``known``.
        self.version: int | None = None
        self.known = True


class Done(NamedTuple):
    """What became of a write: its results, one an operation, errors if it failed; None if the answer was lost.

    ``stat`` is the slot's, of the write's own ``mzxid`` and ``mtime_ms``; None if it failed.
    """

    results: tuple[r.MultiResult, ...] | None
    stat: Stat | None
    sendings: int

    def stat_of_new(self, data: bytes | None, *, ephemeral: bool) -> Stat:
        """Of a znode that this write created, as it was then."""
        assert self.stat is not None
        zxid, time_ms, owner = self.stat.mzxid, self.stat.mtime_ms, self.stat.ephemeral_owner if ephemeral else 0
        return Stat(zxid, zxid, time_ms, time_ms, 0, 0, 0, owner, len(data or b""), 0, zxid)


class Turn:
    """Somebody waits for a slot. He is woken with one that was given back, or with none and has to ask anew."""

    __slots__ = ("slot", "over", "wake")

    def __init__(self) -> None:
        self.slot: Slot | None = None
        self.over = False
        self.wake: Callable[[], None] | None = None

    def end(self, slot: Slot | None) -> None:
        self.slot, self.over = slot, True
        if self.wake is not None:
            self.wake()


class Ledger:
    """The slots of a client."""

    def __init__(self, rng: Random) -> None:
        self.name = f"{SLOT_PREFIX}{rng.getrandbits(128):032x}"
        self._rng = rng
        self._session: Session | None = None
        self._free: list[Slot] = []
        self._made = self._number = 0
        #: In the order they came. A slot wakes one of them: were all woken, many writes at once would take the square.
        self._turns: deque[Turn] = deque()
        #: Servers do not let this session have slots.
        self.refused: Session | None = None

    async def take(self, session: Session, woken: Callable[[Waking], Awaitable[None]]) -> Slot:
        while True:
            if session.lost:  # this is going to fail, and is not to cost the session there is now its slots
                return Slot(f"{self.name}-0", session)
            if session is not self._session:
                self._session, self._free, self._made = session, [], 0
                turns, self._turns = self._turns, deque()
                for turn in turns:
                    turn.end(None)
            if self._free:
                return self._free.pop()
            if self._made < SLOTS_MAX:
                self._made += 1
                self._number += 1
                return Slot(f"{self.name}-{self._number}", session)
            turn = Turn()
            self._turns.append(turn)
            try:
                await woken(turn)
            except BaseException:
                turn.over = True
                if turn.slot is not None:
                    self.give_back(turn.slot)
                raise
            if turn.slot is not None:
                if turn.slot.session is session and not session.lost:
                    return turn.slot
                self.give_back(turn.slot)

    def give_back(self, slot: Slot) -> None:
        if slot.session is not self._session:
            return
        while self._turns:
            turn = self._turns.popleft()
            if not turn.over:
                turn.end(slot)
                return
        if slot.known:
            self._free.append(slot)
        else:
            self._free.insert(0, slot)

    def mark(self) -> bytes:
        return b"write %016x" % self._rng.getrandbits(64)


class Once(Asking):
    """The writes that are done exactly once."""

    _ledger_kept: Ledger | None = None

    @property
    def _ledger(self) -> Ledger:
        if self._ledger_kept is None:
            self._ledger_kept = Ledger(self._rng)
        return self._ledger_kept

    async def _once(
        self, writes: list[Write], operation: str, path: str | None, session: Session | None
    ) -> Done | None:
        """Do these, as one, exactly once. None: it cannot be had here, and nothing was done.

        Raises:
            ConnectionLossError: so many connections broke that it was given up. It was not done, unless somebody has
                meddled with the slot or no server could be asked.
        """
        ledger = self._ledger
        if 8 + len(_multi(writes, f"{ledger.name}-{2**31}", 0, ledger.mark())) > self.frame_bytes_max:
            return None
        sendings = makings = 0
        while True:
            while (current := session or self.core.session) is None:
                # Until there is one; this waits as any operation does.
                body = packed(r.ExistsRequest("/", False))
                await self._ask(Op.EXISTS, body, r.ExistsResponse.read, operation, path, None)
            if ledger.refused is current:
                return None
            slot = await ledger.take(current, self._woken)
            try:
                if not slot.known:
                    await self._look(slot, operation, path, session)
                if slot.version is None:
                    makings += 1
                    await self._make(slot, operation, path, session, is_last=makings >= SENDINGS_MAX)
                    if slot.version is None:
                        continue
                slot.known = False
                mark = ledger.mark()
                sendings += 1
                try:
                    body = _multi(writes, slot.path, slot.version, mark)
                    read = r.MultiResponse.read
                    reply = await self._ask(Op.MULTI, body, read, operation, path, session, attempt=sendings)
                except ConnectionLossError as lost:
                    stat = await self._settle(slot, mark, operation, path, lost)
                    slot.known = True
                    if stat is not None:
                        return Done(None, stat, sendings)
                    if sendings == SENDINGS_MAX:
                        lost.add_note(f"it was sent {sendings} times, and was not done")
                        raise
                    continue
                failed = next((i for i, each in enumerate(reply.results) if err_of(each)), None)
                if failed is None:
                    stat = reply.results[-1].body.stat
                    assert isinstance(stat, Stat)
                    slot.version, slot.known = stat.version, True
                    return Done(reply.results[: len(writes)], stat, sendings)
                if failed < len(writes):
                    slot.known = True
                    return Done(reply.results[: len(writes)], None, sendings)
                if err_of(reply.results[failed]) not in OUT_OF_DATE:
                    ledger.refused = current
            finally:
                ledger.give_back(slot)

    async def _make(
        self, slot: Slot, operation: str, path: str | None, session: Session | None, *, is_last: bool
    ) -> None:
        """Have the slot be there; or not, if it was refused, which the ledger is told, or if one has to look again.

        In a transaction: a session that only its server knows would be made known to all by an ephemeral znode.
        """
        body = packed(r.MultiRequest(((Op.CREATE, r.CreateRequest(slot.path, b"", OPEN_ACL, 1)),)))
        slot.known = False
        try:
            reply = await self._ask(Op.MULTI, body, r.MultiResponse.read, operation, path, slot.session)
        except ConnectionLossError:
            if is_last:
                raise
            return
        except SessionLostError:
            if session is not None or self.core.session is slot.session:
                raise
            return  # nothing was done, and there will be another session
        err = err_of(reply.results[0])
        if err == 0:
            slot.version, slot.known = 0, True
        elif err != NodeExistsError.code:
            self._ledger.refused = slot.session

    async def _look(
        self, slot: Slot, operation: str, path: str | None, session: Session | None
    ) -> r.GetDataResponse | None:
        """What is in the slot, and of which version it is."""
        body = packed(r.GetDataRequest(slot.path, False))
        try:
            found: r.GetDataResponse = await self._ask(
                Op.GET_DATA, body, r.GetDataResponse.read, operation, path, session
            )
        except NoNodeError:
            slot.version = None
            return None
        slot.version = found.stat.version
        return found

    async def _settle(
        self, slot: Slot, mark: bytes, operation: str, path: str | None, lost: ConnectionLossError
    ) -> Stat | None:
        """The slot's stat, as the write left it. None: it was not applied, and never will be."""
        slot.session = session = self._same_session(operation, path, lost)
        assert slot.version is not None
        before, fence = slot.version, mark.replace(b"write", b"fence")
        try:
            while True:
                found = await self._look(slot, operation, path, session)
                if found is not None and found.data == mark:
                    return found.stat
                if found is not None and found.data == fence:
                    return None
                if slot.version != before:
                    lost.add_note(f"the slot {slot.path} was changed by somebody else")
                    raise lost
                try:
                    body = packed(r.SetDataRequest(slot.path, fence, before))
                    done = await self._ask(Op.SET_DATA, body, r.SetDataResponse.read, operation, path, session)
                    slot.version = done.stat.version
                    return None
                except (ConnectionLossError, BadVersionError):
                    pass  # it may have been done, or the write was: look again
        except (NoServerError, CodeError) as error:  # or we may have no slots, or somebody deletes them
            raise lost from error

    def _same_session(self, operation: str, path: str | None, lost: ConnectionLossError) -> Session:
        """The one that this was sent in, if it is still the client's; else `SessionLostError`."""
        session = self.core.session
        if session is not None and session.id == lost.session_id:
            return session
        error = SessionLostError(f"{operation}: the session ended before the answer: it may have been done, or not")
        error.operation, error.path, error.session_id = operation, path, lost.session_id
        error.server, error.attempt = lost.server, lost.attempt
        raise error from lost


def _multi(writes: list[Write], slot: str, version: int, mark: bytes) -> bytes:
    # By the mark's answer the zxid and the time of the whole are known: servers give no stat of a create in a multi.
    return packed(r.MultiRequest((*writes, (Op.SET_DATA, r.SetDataRequest(slot, mark, version)))))


def err_of(result: r.MultiResult) -> int:
    """What a server said of one operation of a multi; 0: nothing bad."""
    return result.body.err if isinstance(result.body, r.ErrorResponse) else 0
