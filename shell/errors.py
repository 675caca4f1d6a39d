"""What a command raises to end with a message, and what all of it ends with. Needs nothing, so that a prompt can be up
before the client is loaded; `problems` words all other errors."""

from enum import IntEnum


class Status(IntEnum):
    """What the shell ends with, and ``$?`` of a command within it."""

    OK = 0
    #: There is no such znode; or it was asked whether, and the answer is no: nothing found, a difference.
    NO = 1
    #: What was typed cannot be done: a command, flag, path or value that cannot be.
    USAGE = 2
    #: Another version, exists already, not empty.
    CONFLICT = 3
    #: Not logged in, or the ACL or a guard rail forbids it.
    DENIED = 4
    #: No server could be reached, or the session was lost.
    CONNECTION = 5
    #: It was not done in the time that was given.
    TIMEOUT = 6
    #: Some of it was done; what, was said.
    PARTIAL = 7
    #: Anything else that a server or this machine refused.
    FAILED = 8
    #: A lock or the like was lost, so what ran under it was ended.
    LOST = 9
    INTERRUPTED = 130
    #: What reads our output has had enough.
    PIPE = 141


class ShellError(Exception):
    """A command ends here: ``status``, and what to say."""

    def __init__(self, message: str, status: int = Status.FAILED) -> None:
        super().__init__(message)
        self.status = status


class UsageError(ShellError):
    """What was typed cannot be; the usage line is shown with it."""

    def __init__(self, message: str) -> None:
        super().__init__(message, Status.USAGE)
