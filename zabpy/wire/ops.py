"""Opcodes, and what each one carries."""

import enum
from typing import NamedTuple

from . import records as r


class Op(enum.IntEnum):
    """The opcode of a request, second field of its header. `NOTIFICATION` and `ERROR` are never asked for."""

    NOTIFICATION = 0
    CREATE = 1
    DELETE = 2
    EXISTS = 3
    GET_DATA = 4
    SET_DATA = 5
    GET_ACL = 6
    SET_ACL = 7
    GET_CHILDREN = 8
    SYNC = 9
    PING = 11
    GET_CHILDREN2 = 12
    CHECK = 13
    MULTI = 14
    CREATE2 = 15
    RECONFIG = 16
    CHECK_WATCHES = 17
    REMOVE_WATCHES = 18
    CREATE_CONTAINER = 19
    DELETE_CONTAINER = 20
    CREATE_TTL = 21
    MULTI_READ = 22
    AUTH = 100
    SET_WATCHES = 101
    SASL = 102
    GET_EPHEMERALS = 103
    GET_ALL_CHILDREN_NUMBER = 104
    SET_WATCHES2 = 105
    ADD_WATCH = 106
    WHO_AM_I = 107
    ERROR = -1
    CREATE_SESSION = -10
    CLOSE_SESSION = -11


class Kind(enum.Enum):
    """Where a request goes."""

    READ = "read"  # answered from this server's tree
    WRITE = "write"  # becomes a transaction that may change znodes
    SESSION = "session"  # goes to the leader too, but is about the session or the order itself
    LOCAL = "local"  # about this connection only


READ, WRITE, SESSION, LOCAL = Kind.READ, Kind.WRITE, Kind.SESSION, Kind.LOCAL


class OpRow(NamedTuple):
    """One operation. ``request`` and ``reply`` are the records behind the headers, None for none.

    ``since`` is the ZooKeeper version that had it first. ``from_client`` is False for what a client must not send at
    top level: answered with -6, then the connection is closed.
    """

    name: str
    request: type[r.Record] | None
    reply: type[r.Record] | None
    kind: Kind
    since: str
    from_client: bool = True


OPS: dict[int, OpRow] = {
    Op.CREATE: OpRow("create", r.CreateRequest, r.CreateResponse, WRITE, "3.0"),
    Op.DELETE: OpRow("delete", r.DeleteRequest, None, WRITE, "3.0"),
    Op.EXISTS: OpRow("exists", r.ExistsRequest, r.ExistsResponse, READ, "3.0"),
    Op.GET_DATA: OpRow("getData", r.GetDataRequest, r.GetDataResponse, READ, "3.0"),
    Op.SET_DATA: OpRow("setData", r.SetDataRequest, r.SetDataResponse, WRITE, "3.0"),
    Op.GET_ACL: OpRow("getACL", r.GetACLRequest, r.GetACLResponse, READ, "3.0"),
    Op.SET_ACL: OpRow("setACL", r.SetACLRequest, r.SetACLResponse, WRITE, "3.0"),
    Op.GET_CHILDREN: OpRow("getChildren", r.GetChildrenRequest, r.GetChildrenResponse, READ, "3.0"),
    Op.SYNC: OpRow("sync", r.SyncRequest, r.SyncResponse, SESSION, "3.0"),
    Op.PING: OpRow("ping", None, None, LOCAL, "3.0"),
    Op.GET_CHILDREN2: OpRow("getChildren2", r.GetChildren2Request, r.GetChildren2Response, READ, "3.3"),
    Op.CHECK: OpRow("check", r.CheckVersionRequest, None, WRITE, "3.4", from_client=False),
    Op.MULTI: OpRow("multi", r.MultiRequest, r.MultiResponse, WRITE, "3.4"),
    Op.CREATE2: OpRow("create2", r.CreateRequest, r.Create2Response, WRITE, "3.5"),
    Op.RECONFIG: OpRow("reconfig", r.ReconfigRequest, r.GetDataResponse, WRITE, "3.5"),
    Op.CHECK_WATCHES: OpRow("checkWatches", r.CheckWatchesRequest, None, LOCAL, "3.5"),
    Op.REMOVE_WATCHES: OpRow("removeWatches", r.RemoveWatchesRequest, None, LOCAL, "3.5"),
    Op.CREATE_CONTAINER: OpRow("createContainer", r.CreateRequest, r.Create2Response, WRITE, "3.5"),
    Op.DELETE_CONTAINER: OpRow("deleteContainer", r.DeleteContainerRequest, None, WRITE, "3.5", from_client=False),
    Op.CREATE_TTL: OpRow("createTTL", r.CreateTTLRequest, r.Create2Response, WRITE, "3.5.3"),
    Op.MULTI_READ: OpRow("multiRead", r.MultiReadRequest, r.MultiResponse, READ, "3.6"),
    Op.AUTH: OpRow("auth", r.AuthPacket, None, LOCAL, "3.0"),
    Op.SET_WATCHES: OpRow("setWatches", r.SetWatches, None, LOCAL, "3.0"),
    Op.SASL: OpRow("sasl", r.GetSASLRequest, r.SetSASLResponse, LOCAL, "3.4"),
    Op.GET_EPHEMERALS: OpRow("getEphemerals", r.GetEphemeralsRequest, r.GetEphemeralsResponse, READ, "3.6"),
    Op.GET_ALL_CHILDREN_NUMBER: OpRow(
        "getAllChildrenNumber", r.GetAllChildrenNumberRequest, r.GetAllChildrenNumberResponse, READ, "3.6"
    ),
    Op.SET_WATCHES2: OpRow("setWatches2", r.SetWatches2, None, LOCAL, "3.6"),
    Op.ADD_WATCH: OpRow("addWatch", r.AddWatchRequest, r.ErrorResponse, LOCAL, "3.6"),
    Op.WHO_AM_I: OpRow("whoAmI", None, r.WhoAmIResponse, LOCAL, "3.7"),
    Op.CREATE_SESSION: OpRow("createSession", r.CreateSessionRequest, None, SESSION, "3.0", from_client=False),
    Op.CLOSE_SESSION: OpRow("closeSession", None, None, SESSION, "3.0"),
}
