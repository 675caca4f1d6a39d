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


class BadArgumentsError(CodeError):
    """A path, flag or number that cannot be."""

    code, name = -8, "BADARGUMENTS"


class UnknownSessionError(CodeError):
    code, name = -12, "UNKNOWNSESSION"


class NewConfigNoQuorumError(CodeError):
    """No quorum of the wanted configuration is linked with the leader and in step."""

    code, name = -13, "NEWCONFIGNOQUORUM"


class NoNodeError(CodeError):
    code, name = -101, "NONODE"


class NoAuthError(CodeError):
    code, name = -102, "NOAUTH"


class BadVersionError(CodeError):
    code, name = -103, "BADVERSION"


class NoChildrenForEphemeralsError(CodeError):
    code, name = -108, "NOCHILDRENFOREPHEMERALS"


class NodeExistsError(CodeError):
    code, name = -110, "NODEEXISTS"


class NotEmptyError(CodeError):
    code, name = -111, "NOTEMPTY"


class SessionExpiredError(CodeError):
    """The request met a session that is closing."""

    code, name = -112, "SESSIONEXPIRED"


class InvalidAclError(CodeError):
    code, name = -114, "INVALIDACL"


class AuthFailedError(CodeError):
    """Authentication refused; the connection closes behind the reply."""

    code, name = -115, "AUTHFAILED"


class SessionMovedError(CodeError):
    """The session belongs to another server now. Never sent: the connection is closed instead."""

    code, name = -118, "SESSIONMOVED"


class NotReadOnlyError(CodeError):
    code, name = -119, "NOTREADONLY"


class EphemeralOnLocalSessionError(CodeError):
    code, name = -120, "EPHEMERALONLOCALSESSION"


class NoWatcherError(CodeError):
    code, name = -121, "NOWATCHER"


class ReconfigDisabledError(CodeError):
    code, name = -123, "RECONFIGDISABLED"


class QuotaExceededError(CodeError):
    code, name = -125, "QUOTAEXCEEDED"


class ThrottledError(CodeError):
    code, name = -127, "THROTTLEDOP"


#: Every code above, to its class.
ERRORS: dict[int, type[CodeError]] = {cls.code: cls for cls in CodeError.__subclasses__()}
