"""Where a request goes: a table, opcode → `Route`. Opcodes: `wire.ops`."""

import enum

from zabpy.wire import Op


class Route(enum.Enum):
    """What the client's server does with a request."""

    READ = "read"  #: answer it here, from the applied tree, when all earlier requests of the connection are answered
    WRITE = "write"  #: put it in order: to the leader's `Preparer`; answer when it is applied here
    LOCAL = "local"  #: as READ; it is about the connection (ping, watches), not about znodes
    AUTH = "auth"  #: `answer_auth` at once, since later requests have its identities; the reply in its turn
    SYNC = "sync"  #: ask the leader how far it is; answer when that is applied here
    CLOSE = "close"  #: as WRITE; the connection ends behind the reply
    UNKNOWN = "unknown"  #: `refusal_frame` in its turn; the connection ends behind it


#: What clients may send. All else is UNKNOWN: also `check` outside a multi, and the internal createSession, which
#: ZooKeeper accepts from clients and should not.
ROUTES: dict[int, Route] = {
    Op.CREATE: Route.WRITE,
    Op.CREATE2: Route.WRITE,
    Op.CREATE_CONTAINER: Route.WRITE,
    Op.CREATE_TTL: Route.WRITE,
    Op.DELETE: Route.WRITE,
    Op.SET_DATA: Route.WRITE,
    Op.SET_ACL: Route.WRITE,
    Op.MULTI: Route.WRITE,
    Op.RECONFIG: Route.WRITE,
    Op.DELETE_CONTAINER: Route.WRITE,  # refused there, as in ZooKeeper, and nobody loses the connection
    Op.EXISTS: Route.READ,
    Op.GET_DATA: Route.READ,
    Op.GET_ACL: Route.READ,
    Op.GET_CHILDREN: Route.READ,
    Op.GET_CHILDREN2: Route.READ,
    Op.GET_EPHEMERALS: Route.READ,
    Op.GET_ALL_CHILDREN_NUMBER: Route.READ,
    Op.MULTI_READ: Route.READ,
    Op.PING: Route.LOCAL,
    Op.WHO_AM_I: Route.LOCAL,
    Op.SET_WATCHES: Route.LOCAL,
    Op.SET_WATCHES2: Route.LOCAL,
    Op.ADD_WATCH: Route.LOCAL,
    Op.CHECK_WATCHES: Route.LOCAL,
    Op.REMOVE_WATCHES: Route.LOCAL,
    Op.SASL: Route.LOCAL,
    Op.AUTH: Route.AUTH,
    Op.SYNC: Route.SYNC,
    Op.CLOSE_SESSION: Route.CLOSE,
}


def route(op: int) -> Route:
    return ROUTES.get(op, Route.UNKNOWN)
