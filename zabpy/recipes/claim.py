"""An item of a `Partitioner` that is ours."""

from .lock import HeldLock


class Claim:
    """``held`` is the lock of the item: see there what may be asked of it."""

    def __init__(self, item: str, held: HeldLock) -> None:
        self.item, self.held = item, held

    @property
    def token(self) -> int:
        """The fencing token, see `Lock`."""
        return self.held.token

    def check(self) -> None:
        """Raise `LockLost` unless the item is ours by the clock this very moment."""
        self.held.check()

    def __repr__(self) -> str:
        return f"<Claim {self.item!r} token {self.token}>"
