"""Writing exactly once though answers get lost.

A set that named a version and whose answer never came may be done again in vain: if the version has moved on, that may
have been our own set or somebody else's, and the data may be the same in both cases. So each write goes in one
transaction with a set of a znode that is ours alone, the receipt; its version tells afterwards whether it was done.

The receipt is an ephemeral child of what is written, ``receipt-`` and a GUID. It is made at the first write and goes
when none has come for a while, so what is written cannot be ephemeral itself, and cannot be deleted meanwhile.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple
from uuid import uuid4

import anyio

from zabpy.client import Client, ConnectionLossError, Session, Transaction, TransactionFailedError
from zabpy.model import Acls, Stat, join, name_of

from .removal import Removal

#: A receipt that was not needed for so long is deleted.
IDLE_MS = 2_000


class Written(NamedTuple):
    """What was set: its version now, and the zxid it was set at."""

    version: int
    mzxid: int


class Receipt:
    """For writes at or below one znode, one at a time; the caller sees to that."""

    def __init__(self, zk: Client, path: str, *, acl: Acls | None = None) -> None:
        self._zk, self._path, self._acl = zk, path, acl
        self._znode: _Znode | None = None

    async def set(self, data: bytes, version: int) -> Written:
        """Set the data if it has this version.

        Raises:
            BadVersionError, NoNodeError, NoAuthError: it was not done.
            SessionLostError, NoServerError: as `apply`.
        """
        try:
            results, zxid = await self.apply(lambda setting: setting.set(self._path, data, version))
        except TransactionFailedError as failed:
            failed.error.operation, failed.error.path = "set", self._path
            raise failed.error from failed
        stat = results[0] if results else None
        return Written(stat.version if isinstance(stat, Stat) else version + 1, zxid)

    async def apply(self, fill: Callable[[Transaction], object]) -> tuple[Sequence[object], int]:
        """Do a transaction, which ``fill`` puts operations into, exactly once.

        Returns its results, or none if they got lost with the answer; and the zxid it was done at.

        Raises:
            TransactionFailedError: it was not done.
            NoNodeError: there is no place for a receipt.
            SessionLostError: the session was lost meanwhile; it was done, or not.
            NoServerError: it was not done, or nobody could be asked whether it was.
        """
        while True:
            receipt = await self._have()
            receipt.uses += 1
            applying = self._zk.transaction(session=receipt.session)
            fill(applying)
            applying.set(receipt.path, b"", receipt.version)
            try:
                results = await applying.commit()
            except TransactionFailedError as failed:
                if failed.path != receipt.path:
                    raise
                self._forget()  # of a set before that was cancelled; or somebody has deleted the receipt
                continue
            except ConnectionLossError as lost:
                zxid = await self._find(receipt, lost)
                if zxid:
                    return [], zxid
                continue
            stat = results.pop()
            assert isinstance(stat, Stat)
            receipt.version += 1
            return results, stat.mzxid

    async def _have(self) -> "_Znode":
        znode = self._znode
        if znode is not None and znode.session.lost:
            znode = self._znode = None
        if znode is None:
            session, path = self._zk.session, join(self._path, f"receipt-{uuid4().hex}")
            try:
                await self._zk.create(path, acl=self._acl, ephemeral=True, lost_reply="find", session=session)
            except BaseException:
                Removal(self._zk, session, self._path, name=name_of(path))
                raise
            self._znode = znode = _Znode(path, session)
            self._zk.background(self._keep, znode)
        return znode

    async def _find(self, receipt: "_Znode", lost: ConnectionLossError) -> int:
        """The zxid it was done at, or 0. In the same session, behind a sync, what has not been done never will be."""
        await self._zk.sync(self._path, session=receipt.session)
        stat = await self._zk.exists(receipt.path, session=receipt.session)
        if stat is None:
            raise lost  # somebody has deleted it, and with it the knowledge
        if stat.version == receipt.version:
            return 0
        receipt.version = stat.version
        return stat.mzxid

    async def _keep(self, znode: "_Znode") -> None:
        """Delete it once it is not used any more."""
        uses = 0
        while uses != znode.uses:
            uses = znode.uses
            await anyio.sleep(IDLE_MS / 1000)
        if self._znode is znode:
            self._forget()

    def _forget(self) -> None:
        znode, self._znode = self._znode, None
        if znode is not None:
            Removal(self._zk, znode.session, self._path, name=name_of(znode.path))


class _Znode:
    def __init__(self, path: str, session: Session) -> None:
        self.path, self.session = path, session
        self.version = 0
        self.uses = 1
