"""What can go wrong besides what the server answers; those words are in `zabpy.model.errors`.

Every error that comes out of an operation, the server's too, says what it was about: ``operation``, ``path``,
``session_id``, ``server``, ``zxid`` and ``attempt`` (see `zabpy.model.ZabpyError`).
"""

from collections.abc import Sequence

from zabpy.model import CodeError, ZabpyError


class ClientError(ZabpyError):
    """Root of what the client itself finds wrong."""


class ConnectionLossError(ClientError):
    """The request was sent and the connection broke before the answer: it may have been done, or not."""


class NoServerError(ClientError):
    """No server could be reached in time. What was asked for was never sent, so it was not done.

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
