"""Several writes as one: all are done, at one zxid, or none is.

    async with zk.transaction() as t:
        t.check("/leader", version=7)
        t.set("/a", b"1")
        t.create("/q/job-", b"2", sequence=True)
    path = t.results[2]

Others see all of it at once, and so do their watches, which fire once for each operation.
"""

from collections.abc import Iterable
from types import TracebackType
from typing import Any, NamedTuple, Self

from zabpy.model import ERRORS, Acl, CodeError, Stat
from zabpy.wire import Op, packed, records as r

from .arguments import as_data, as_version, check_lost_reply
from .asking import LostReply
from .errors import ProtocolError, RequestTooLargeError, TransactionFailedError
from .ledger import Done
from .operations import Operations, creation
from .session import Session

#: What an operation gives: a create the path, a set the stat, a delete and a check None.
Result = str | Stat | None


class Planned(NamedTuple):
    """One operation as it was asked for. ``path`` is the user's."""

    operation: str
    path: str
    opcode: int
    record: r.Record


class Transaction:
    """Built call by call, each operation seeing what those before it did; sent by `commit`, once.

    As a context it is committed when the body ends without an exception, and not at all if it raised one.
    """

    def __init__(self, client: "Transactions", lost_reply: LostReply, session: Session | None) -> None:
        check_lost_reply(lost_reply, "transaction", None, ("raise", "again", "once"))
        self._client, self._lost_reply, self._session = client, lost_reply, session
        self._planned: list[Planned] = []
        self._sent = False
        #: One an operation, in their order, once it was committed.
        self.results: list[Result] = []

    def create(
        self,
        path: str,
        data: bytes | None = b"",
        *,
        acl: Iterable[Acl] | None = None,
        ephemeral: bool = False,
        sequence: bool = False,
        container: bool = False,
        ttl_ms: int | None = None,
    ) -> Self:
        """As `Operations.create`. Its result is the path, with the sequence number; servers tell no stat here."""
        full = self._client._full(path, "create", sequence=sequence)
        opcode, record = creation(
            path, full, data, acl, ephemeral=ephemeral, sequence=sequence, container=container, ttl_ms=ttl_ms
        )
        return self._plan("create", path, opcode, record)

    def set(self, path: str, data: bytes | None, version: int = -1) -> Self:
        """As `Operations.set`; its result is a `Stat`."""
        full, checked = self._client._full(path, "set"), as_data(data, "set", path)
        record = r.SetDataRequest(full, checked, as_version(version, "set", path))
        return self._plan("set", path, Op.SET_DATA, record)

    def delete(self, path: str, version: int = -1) -> Self:
        """As `Operations.delete`; its result is None."""
        record = r.DeleteRequest(self._client._full(path, "delete"), as_version(version, "delete", path))
        return self._plan("delete", path, Op.DELETE, record)

    def check(self, path: str, version: int = -1) -> Self:
        """Only if the znode has this version; -1: only if it is there. Its result is None."""
        record = r.CheckVersionRequest(self._client._full(path, "check"), as_version(version, "check", path))
        return self._plan("check", path, Op.CHECK, record)

    def __len__(self) -> int:
        return len(self._planned)

    async def commit(self) -> list[Result]:
        """Do it: a result for each operation, in their order.

        Raises:
            TransactionFailedError: one of them could not be done, so none was.
            RequestTooLargeError: not sent; all operations have to fit into one request.
            ConnectionLossError: all was done or nothing was; not with ``lost_reply="once"``.
        """
        if self._sent:
            raise RuntimeError("a transaction is committed once; build another one")
        self._sent = True
        self.results = await self._client._commit(self._planned, self._lost_reply, self._session)
        return self.results

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and not self._sent:
            await self.commit()

    def _plan(self, operation: str, path: str, opcode: int, record: r.Record) -> Self:
        if self._sent:
            raise RuntimeError("the transaction was committed; build another one")
        self._planned.append(Planned(operation, path, opcode, record))
        return self


class Transactions(Operations):
    """The operations that do several writes as one."""

    def transaction(self, *, lost_reply: LostReply = "raise", session: Session | None = None) -> Transaction:
        """A transaction to put operations in; see `Transaction`."""
        return Transaction(self, lost_reply, session)

    async def _commit(self, planned: list[Planned], lost_reply: LostReply, session: Session | None) -> list[Result]:
        writes = [(each.opcode, each.record) for each in planned]
        if lost_reply == "once" and planned:
            done = await self._once(writes, "transaction", None, session)
            if done is not None and done.results is None:
                return await self._results_lost(planned, done, session)
            if done is not None and done.results is not None:
                return self._results(planned, r.MultiResponse(done.results))
            lost_reply = "raise"
        body = packed(r.MultiRequest(tuple(writes)))
        try:
            reply = await self._write(Op.MULTI, body, r.MultiResponse.read, "transaction", None, session, lost_reply)
        except RequestTooLargeError as error:
            largest = max(planned, key=lambda each: len(packed(each.record)))
            error.add_note(
                f"a transaction of {len(planned)} operations has to fit into one request; the largest of them is"
                f" {largest.operation} {largest.path} with {len(packed(largest.record))} bytes"
            )
            raise
        return self._results(planned, reply)

    def _results(self, planned: list[Planned], reply: r.MultiResponse) -> list[Result]:
        if len(reply.results) != len(planned):
            raise ProtocolError(f"{len(reply.results)} results of a transaction with {len(planned)} operations")
        for index, (each, result) in enumerate(zip(planned, reply.results, strict=True)):
            if result.type == Op.ERROR and isinstance(result.body, r.ErrorResponse):
                # Of those before the one that failed it says 0, of those behind it -2.
                if result.body.err != 0:
                    error = ERRORS.get(result.body.err, CodeError)()
                    failed = TransactionFailedError(index, len(planned), each.operation, each.path, error)
                    failed.session_id = self.core.session.id if self.core.session else 0
                    failed.server, failed.zxid = self.core.server, self.core.last_zxid
                    raise failed
        return [self._result(result.body) for result in reply.results]

    async def _results_lost(self, planned: list[Planned], done: Done, session: Session | None) -> list[Result]:
        """What the answer that was lost has said, as far as it can still be told; see `Operations.set`."""
        assert done.stat is not None
        results: list[Result] = []
        names: dict[str, list[str]] = {}
        for index, each in enumerate(planned):
            record = each.record
            if _in_sequence(record):
                full = self._full(each.path, "create", sequence=True)
                if full not in names:
                    names[full] = await self._names_at(done.stat.mzxid, full, session)
                    if len(names[full]) != sum(_in_sequence(o.record) and o.path == each.path for o in planned):
                        raise self._name_lost("transaction", each.path, done.stat.mzxid)
                results.append(self._seen(names[full].pop(0)))
            elif each.operation == "create":
                results.append(each.path)
            elif isinstance(record, r.SetDataRequest):
                later = sum(other.operation == "set" and other.path == each.path for other in planned[index + 1 :])
                results.append(await self._stat_set(done, record.path, record.data, record.version, session, later))
            else:
                results.append(None)
        return results

    def _result(self, body: Any) -> Result:
        # To most creates servers answer as to the old one, without a stat, whichever was asked for.
        if isinstance(body, r.CreateResponse | r.Create2Response):
            return self._seen(body.path)
        if isinstance(body, r.SetDataResponse):
            return body.stat
        return None


def _in_sequence(record: r.Record) -> bool:
    return isinstance(record, r.CreateRequest | r.CreateTTLRequest) and record.flags in (2, 3, 6)
