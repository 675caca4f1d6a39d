"""One class for every error code of the client protocol, and the root of everything we raise.

Codes and names are ZooKeeper's. A code a client does not know makes it crash, so none is ever invented.
"""


class ZabpyError(Exception):
    """Root of every exception this project raises on purpose.

    What comes out of a client's operation says what it was about:

    Attributes:
        operation: such as ``create``; "" where it is about none.
        path: of the znode, as the client gave it; None where it is about none.
        session_id: of the session it was sent in; 0 before there was one.
        server: ``host:port`` of the server that answered, or was to; "" for none.
        zxid: of the answer, the state it was given on; 0 without one.
        attempt: how often it was tried, the last time included.
    """

    operation: str = ""
    path: str | None = None
    session_id: int = 0
    server: str = ""
    zxid: int = 0
    attempt: int = 0


class CodeError(ZabpyError):
    """An error that a client can be told: an answer, not a failure of the server."""

    code: int = 0
    name: str = "OK"


class RuntimeInconsistencyError(CodeError):
    """An operation of a multi behind the one that failed; it was not evaluated."""

    code, name = -2, "RUNTIMEINCONSISTENCY"


class MarshallingError(CodeError):
    """The request's record could not be decoded."""

    code, name = -5, "MARSHALLINGERROR"


class UnimplementedError(CodeError):
    """No such operation, or it is switched off."""

    code, name = -6, "UNIMPLEMENTED"


class BadArgumentsError(CodeError, ValueError):
    """A path, flag or number that cannot be: said by a server, or by the client before anything was sent."""

    code, name = -8, "BADARGUMENTS"


class UnknownSessionError(CodeError):
    """There is no such session, as far as servers know."""

    code, name = -12, "UNKNOWNSESSION"


class NewConfigNoQuorumError(CodeError):
    """No quorum of the wanted configuration is linked with the leader and in step."""

    code, name = -13, "NEWCONFIGNOQUORUM"


class NoNodeError(CodeError):
    """There is no such znode; of a create: no parent."""

    code, name = -101, "NONODE"


class NoAuthError(CodeError):
    """None of the client's identities may do that to this znode, says its ACL."""

    code, name = -102, "NOAUTH"


class BadVersionError(CodeError):
    """The znode has another version than the one that was asked for: somebody has written meanwhile."""

    code, name = -103, "BADVERSION"


class NoChildrenForEphemeralsError(CodeError):
    """Nothing can be created below an ephemeral znode."""

    code, name = -108, "NOCHILDRENFOREPHEMERALS"


class NodeExistsError(CodeError):
    """There is such a znode already, anybody's."""

    code, name = -110, "NODEEXISTS"


class NotEmptyError(CodeError):
    """A znode with children is not deleted; `Client.delete_tree` deletes those first."""

    code, name = -111, "NOTEMPTY"


class SessionExpiredError(CodeError):
    """The request met a session that is closing."""

    code, name = -112, "SESSIONEXPIRED"


class InvalidAclError(CodeError):
    """An ACL that is empty, or names a scheme or an identity that the server does not take."""

    code, name = -114, "INVALIDACL"


class AuthFailedError(CodeError):
    """Authentication refused; the connection closes behind the reply."""

    code, name = -115, "AUTHFAILED"


class SessionMovedError(CodeError):
    """The session belongs to another server now. Never sent: the connection is closed instead."""

    code, name = -118, "SESSIONMOVED"


class NotReadOnlyError(CodeError):
    """A write, at a server without a quorum that serves reads only."""

    code, name = -119, "NOTREADONLY"


class EphemeralOnLocalSessionError(CodeError):
    """A session that only its own server knows cannot have ephemeral znodes."""

    code, name = -120, "EPHEMERALONLOCALSESSION"


class NoWatcherError(CodeError):
    """There is no such watch to be removed."""

    code, name = -121, "NOWATCHER"


class ReconfigDisabledError(CodeError):
    """The servers' configuration does not allow reconfig (``reconfigEnabled``)."""

    code, name = -123, "RECONFIGDISABLED"


class QuotaExceededError(CodeError):
    """The tree that the znode is in would have more bytes or znodes than its quota allows."""

    code, name = -125, "QUOTAEXCEEDED"


class ThrottledError(CodeError):
    """The server has too much to do, and did not do this. It may be asked again."""

    code, name = -127, "THROTTLEDOP"


#: Every code above, to its class.
ERRORS: dict[int, type[CodeError]] = {cls.code: cls for cls in CodeError.__subclasses__()}
