"""Setting data exactly once though answers get lost.

A set that named a version and whose answer never came may be done again in vain: if the version has moved on, that may
have been our own set or somebody else's, and the data may be the same in both cases. So each set goes in one
transaction with one of a znode that is ours alone, the receipt; its version tells afterwards whether it was done.

The receipt is an ephemeral child of what is set, ``receipt-`` and a GUID. It is made at the first set and goes when
none has come for a while, so what is set cannot be ephemeral itself, and cannot be deleted meanwhile.
"""

from typing import NamedTuple
from uuid import uuid4

import anyio

from zabpy.client import Client, ConnectionLossError, Session, TransactionFailedError
from zabpy.model import Acls, Stat, join, name_of

from .removal import Removal

#: A receipt that was not needed for so long is deleted.
IDLE_MS = 2_000


class Written(NamedTuple):
    """What was set: its version now, and the zxid it was set at."""

    version: int
    mzxid: int


class Receipt:
    """For the sets of one znode; one set at a time, the caller sees to that."""

    def __init__(self, zk: Client, path: str, *, acl: Acls | None = None) -> None:
        self._zk, self._path, self._acl = zk, path, acl
        self._znode: _Znode | None = None

    async def set(self, data: bytes, version: int) -> Written:
        """Set the data if it has this version.

        Raises:
            BadVersionError, NoNodeError, NoAuthError: it was not done.
            SessionLostError: the session was lost meanwhile; it was done, or not.
            NoServerError: it was not done, or nobody could be asked whether it was.
        """
        while True:
            receipt = await self._have()
            receipt.uses += 1
            setting = self._zk.transaction(session=receipt.session)
            setting.set(self._path, data, version).set(receipt.path, b"", receipt.version)
            try:
                stat = (await setting.commit())[0]
            except TransactionFailedError as failed:
                if failed.index == 0:
                    failed.error.operation, failed.error.path = "set", self._path
                    raise failed.error from failed
                self._forget()  # of a set before that was cancelled; or somebody has deleted the receipt
                continue
            except ConnectionLossError as lost:
                written = await self._find(receipt, version, lost)
                if written is not None:
                    return written
                continue
            assert isinstance(stat, Stat)
            receipt.version += 1
            return Written(stat.version, stat.mzxid)

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

    async def _find(self, receipt: "_Znode", version: int, lost: ConnectionLossError) -> Written | None:
        """Whether it was done. In the same session, behind a sync, what has not been done never will be."""
        await self._zk.sync(self._path, session=receipt.session)
        stat = await self._zk.exists(receipt.path, session=receipt.session)
        if stat is None:
            raise lost  # somebody has deleted it, and with it the knowledge
        if stat.version == receipt.version:
            return None
        receipt.version = stat.version
        return Written(version + 1, stat.mzxid)

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
