"""What can go wrong in recipes besides what a client's operations raise."""

from typing import Any, TypeVar

from zabpy.model import ZabpyError


class RecipeError(ZabpyError):
    """Root of what recipes find wrong themselves. All can be pickled, and say what they are about.

    ``operation`` is what was called (``acquire``, ``take``; ``hold`` of a loss), ``path`` that of the lock, the queue,
    the item ... as it was given, and ``session_id`` the session that it was held in.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        # What `Exception` does calls the class with ``args``, which for some here are not what it takes.
        return _unpickled, (type(self), self.args, self.__dict__)


class LostError(RecipeError):
    """What the body of an ``async with`` relied on was lost, or given up: who goes on may not be alone any more.

    ``reason`` says why: the session was lost, the znode was deleted by somebody, it was released, and so on.
    """

    operation = "hold"

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(f"{what}: {reason}")
        self.what, self.reason = what, reason


class LockLost(LostError):
    """A lock, or what is built like one (read/write lock, semaphore, several at once), is not held any more."""


class LeadershipLost(LostError):
    """A term as the leader is over, and not because we gave it up: somebody else may lead by now."""


class AssignmentLost(LostError):
    """Items of a `Partitioner` are not ours any more, and not because they were to be given up."""


class AcquireTimeoutError(RecipeError, TimeoutError):
    """Not acquired in time. Nothing of the attempt stays behind: its znode is deleted, in the background if need be."""


class NotReentrantError(RecipeError, RuntimeError):
    """The object holds, or waits for, what it is asked to acquire once more; waiting could never end."""


E = TypeVar("E", bound=ZabpyError)


def about(error: E, operation: str, path: str | None, session_id: int = 0) -> E:
    """The error itself, which from now on says what it is about."""
    error.operation, error.path, error.session_id = operation, path, session_id
    return error


def acquire_timeout(what: str, path: str | None, timeout_ms: int | None) -> AcquireTimeoutError:
    return about(AcquireTimeoutError(f"{what}: not to be had within {timeout_ms} ms"), "acquire", path)


def _unpickled(kind: type[RecipeError], args: tuple[Any, ...], fields: dict[str, Any]) -> RecipeError:
    error: RecipeError = kind.__new__(kind)
    error.args = args
    error.__dict__.update(fields)
    return error
