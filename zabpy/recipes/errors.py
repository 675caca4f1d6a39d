"""What can go wrong in recipes besides what a client's operations raise."""

from zabpy.model import ZabpyError


class RecipeError(ZabpyError):
    """Root of what recipes find wrong themselves."""


class LostError(RecipeError):
    """What the body of an ``async with`` relied on was lost, or given up: who goes on may not be alone any more.

    ``reason`` says why: the session was lost, the znode was deleted by somebody, it was released, and so on.
    """

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


class NotReentrantError(RecipeError):
    """The object holds, or waits for, what it is asked to acquire once more; waiting could never end."""
