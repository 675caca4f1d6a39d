"""What can go wrong besides what the server answers; those words are in `zabpy.model.errors`.

Every error that comes out of an operation, the server's too, says what it was about: ``operation``, ``path``,
``session_id``, ``server``, ``zxid`` and ``attempt`` (see `zabpy.model.ZabpyError`). All can be pickled.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

from zabpy.model import ERRORS, CodeError, ZabpyError


class ClientError(ZabpyError):
    """Root of what the client itself finds wrong."""

    def __reduce__(self) -> tuple[Any, ...]:
        # What `Exception` does calls the class with ``args``, which for some here are not what it takes.
        return _unpickled, (type(self), self.args, self.__dict__)


class ConnectionLossError(ClientError):
    """The request was sent and the connection broke before the answer: it may have been done, or not."""


class NoServerError(ClientError):
    """No server could be reached in time. What was asked for was never sent, so it was not done.

    (A read may have been sent before, over a connection that broke.)

    ``tried``: each server of the last round and why it would not do.
    """

    def __init__(self, message: str, tried: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.tried = tuple(tried)


class SessionLostError(ClientError):
    """The session is over: the server said so, or its time ran out here while no server could be reached.

    Its ephemeral znodes are gone or about to go. What was under way when it ended may have been done or not.
    """


class RequestTooLargeError(ClientError):
    """Not sent, because a server would close the connection on it."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"a request of {size} bytes, where servers take {limit}")
        self.size, self.limit = size, limit


class ReplyTooLargeError(ClientError):
    """The answer would be longer than a client takes; the connection was given up for it. A write was done."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"an answer of {size} bytes, where {limit} are the most that is taken")
        self.size, self.limit = size, limit


class NameLostError(ClientError):
    """A znode in sequence was created, its name was lost with the answer, and it was deleted before it was found."""


class TransactionFailedError(ClientError):
    """A server said no to one operation of a transaction, and so nothing of it was done.

    ``error`` is what the server said; ``index`` (from 0), ``operation`` and ``path`` are those of the operation.
    """

    def __init__(self, index: int, of: int, operation: str, path: str, error: CodeError) -> None:
        why = str(error) or error.name
        super().__init__(f"nothing was done, for operation {index} of {of}, {operation} {path}: {why}")
        self.index, self.operation, self.path, self.error = index, operation, path, error


class ClosedClientError(ClientError):
    """The client was closed, or never opened: use it within ``async with``."""


class ForkedClientError(ClientError):
    """This process is a fork of the one that opened the client: open another one here."""


class WrongLoopError(ClientError):
    """Called from another event loop or thread than the one the client was opened in."""


class ProtocolError(ClientError):
    """The server said what no ZooKeeper server says; the connection was closed."""


class UnknownCodeError(ClientError, CodeError):
    """The server answered with an error that this client has no class for: ``code`` is the number."""

    def __init__(self, code: int) -> None:
        self.code, self.name = code, OTHER_CODES.get(code, f"code {code}")
        super().__init__(f"error {code} ({self.name})" if code in OTHER_CODES else f"error {code}, which is unknown")


#: Codes of ZooKeeper's that are no classes of ours: our servers never send them, and other ones hardly.
OTHER_CODES = {
    -1: "SYSTEMERROR",
    -3: "DATAINCONSISTENCY",
    -4: "CONNECTIONLOSS",
    -7: "OPERATIONTIMEOUT",
    -14: "RECONFIGINPROGRESS",
    -100: "APIERROR",
    -113: "INVALIDCALLBACK",
    -122: "REQUESTTIMEOUT",
    -124: "SESSIONCLOSEDREQUIRESASLAUTH",
}


def error_of(code: int) -> CodeError:
    """The exception for a code that a server answered."""
    known = ERRORS.get(code)
    return UnknownCodeError(code) if known is None else known()


E = TypeVar("E", bound=ZabpyError)


def about(
    error: E,
    operation: str,
    path: str | None,
    *,
    session_id: int = 0,
    server: str = "",
    zxid: int = 0,
    attempt: int = 1,
) -> E:
    """The error itself, which from now on says what it is about."""
    says_all = error.operation != ""  # of a copy of what had failed before
    error.operation, error.path, error.attempt = operation, path, attempt
    error.session_id, error.server, error.zxid = session_id, server, zxid
    where = operation if path is None else f"{operation} {path}"
    what = str(error) or getattr(error, "name", "")
    times = f", attempt {attempt}" if attempt > 1 else ""
    more = "" if says_all else f" (server {server or 'none'}, session {session_id & 2**64 - 1:#x}{times})"
    error.args = (f"{where}: {what}{more}",)
    return error


def _unpickled(kind: type[ClientError], args: tuple[Any, ...], fields: dict[str, Any]) -> ClientError:
    error: ClientError = kind.__new__(kind)
    error.args = args
    error.__dict__.update(fields)
    return error
