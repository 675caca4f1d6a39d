"""What operations are built on: one request asked, its path checked and given the chroot."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any, Literal, Protocol

from zabpy.model import BadArgumentsError, ZabpyError, validate
from zabpy.wire import Reader

from .call import Call
from .core import Core
from .errors import ConnectionLossError
from .session import Session
from .watches import Watch

#: What a write does when it was sent and the connection broke before the answer.
LostReply = Literal["raise", "again", "once", "find"]


class Waking(Protocol):
    """What can be waited for: it calls ``wake`` when there is something to look at."""

    wake: Callable[[], None] | None


class Asking(ABC):
    """The part of a client that operations need of it."""

    core: Core
    _rng: Random
    chroot: str
    #: Requests of more bytes are not sent.
    frame_bytes_max: int

    @abstractmethod
    async def _ask(
        self,
        opcode: int,
        body: bytes,
        read: Callable[[Reader], Any] | None,
        operation: str,
        path: str | None,
        session: Session | None,
        watch: Watch | None = None,
        *,
        attempt: int = 1,
    ) -> Any:
        """Send one request and wait for its answer. Reads are sent again when the connection breaks."""

    @abstractmethod
    def _check_home(self, operation: str, path: str | None) -> None:
        """Raise `ForkedClientError` or `WrongLoopError` where the client must not be used."""

    @abstractmethod
    async def _ask_all(self, requests: Sequence[Call], operation: str, path: str | None) -> None:
        """Send all of them in one go, and wait until each is done. Of reads only."""

    @abstractmethod
    async def _woken(self, by: Waking) -> None:
        """Wait until it wakes us."""

    @abstractmethod
    async def _explain(self, error: ZabpyError) -> None:
        """What `_ask` does to the errors it raises: say more of where they come from."""

    @abstractmethod
    def _flush(self) -> None:
        """The core may have got something to send."""

    @abstractmethod
    def background(self, fn: Callable[..., Awaitable[object]], *args: object, cleanup: bool = False) -> None:
        """Run ``await fn(*args)`` for as long as the client is open. The client's end waits for a ``cleanup``."""

    async def _write(
        self,
        opcode: int,
        body: bytes,
        read: Callable[[Reader], Any] | None,
        operation: str,
        path: str | None,
        session: Session | None,
        lost_reply: LostReply,
    ) -> Any:
        if lost_reply == "find":
            raise BadArgumentsError(f"{operation} {path}: lost_reply='find' is for creates")
        attempt = 1
        while True:
            try:
                return await self._ask(opcode, body, read, operation, path, session, attempt=attempt)
            except ConnectionLossError:
                if lost_reply != "again":
                    raise
            attempt += 1

    def _full(self, path: str, operation: str, *, sequence: bool = False) -> str:
        """The path as servers have it. Raises `BadArgumentsError` for what is none."""
        try:
            if not isinstance(path, str):
                raise BadArgumentsError(f"a path is text, not {path!r}")
            validate(path + "0" if sequence else path)
        except BadArgumentsError as error:
            error.operation, error.path = operation, path
            error.args = (f"{operation}: {error}",)
            raise
        return self.chroot + path if path != "/" else self.chroot or "/"

    def _seen(self, full: str) -> str:
        return full[len(self.chroot) :] or "/"
