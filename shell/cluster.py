"""The client behind a shell: opened in the background, so that a prompt is there at once, and kept."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import anyio
from anyio.abc import TaskGroup

import zabpy
from zabpy.client import Call, Client

from .problems import ShellError, Status
from .settings import Rules

#: Between two attempts to get a first session.
PAUSE_MS = 500
#: How long servers have to say that the session is over, when we go.
CLOSE_MS_MAX = 3_000
#: How often it is looked whether servers answer, while somebody waits for that.
LOOK_MS = 100
#: After so long somebody at a terminal is told why there is none so far, and it is tried again, for longer.
FIRST_MS = 2_000


@dataclass(eq=False)
class Patience:
    """Of one block."""

    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    error: ShellError | None = None


class Cluster:
    """``servers`` as for `zabpy.connect`, with its chroot; ``settings`` are the client's; ``rules``: what may be done
    there."""

    def __init__(
        self, servers: str, timeout_ms: int, settings: dict[str, Any] | None = None, rules: Rules | None = None
    ) -> None:
        self.servers, self.timeout_ms, self.rules = servers, timeout_ms, rules or Rules()
        #: Those of the client: TLS, credentials and so on.
        self.settings = dict(settings or {})
        self._zk: Client | None = None
        self._changed = anyio.Event()
        #: Why there is no session so far.
        self.problem: Exception | None = None
        self._patience: list[Patience] = []
        self._impatient = anyio.Event()
        self._over = anyio.CancelScope()
        self._ended = anyio.Event()
        #: Called for each new client, before it is used: for credentials, say.
        self.on_open: Callable[[Client], None] = lambda zk: None

    def start(self, tasks: TaskGroup, *, keeps_trying: bool) -> Self:
        """``keeps_trying``: a first session is sought for as long as the shell is there, not once."""
        tasks.start_soon(self._hold, keeps_trying)
        return self

    @property
    def zk(self) -> Client | None:
        """The client, once it has had a session; it may have lost it since, and be getting another."""
        return self._zk

    @property
    def is_secure(self) -> bool:
        """Whether it speaks TLS."""
        return bool(self.settings.get("tls"))

    @property
    def is_over(self) -> bool:
        """Whether it was closed, so that there will be no client any more."""
        return self._ended.is_set()

    async def wait_changed(self) -> None:
        """Until there is a client, or none any more, or another reason for that."""
        await self._changed.wait()

    async def client(self) -> Client:
        """The client, when it has a session.

        Raises:
            NoServerError: there was none in time; it names each server tried, and why it would not do.
        """
        # A little longer than the client itself tries, for it knows the servers' reasons.
        with anyio.move_on_after((self.timeout_ms + PAUSE_MS) / 1000):
            while self._zk is None:
                if self.problem is not None and self._ended.is_set():
                    raise self.problem
                await self._changed.wait()
        if self._zk is not None:
            return self._zk
        raise self.problem or ShellError(f"{self.servers}: no session within {self.timeout_ms} ms", Status.CONNECTION)

    @contextmanager
    def patience(self) -> Iterator[None]:
        """The block is given up when one request has waited for its answer as long as servers are waited for.

        A client waits on, for a server that greets, or sends this and that, may yet answer; people have said how long.

        Raises:
            ShellError: that was so; in the place of the cancellation that the block has seen.
        """
        patience = Patience()
        self._patience.append(patience)
        self._impatient.set()
        try:
            with patience.scope:
                yield
        finally:
            self._patience.remove(patience)
        if patience.error is not None and patience.scope.cancelled_caught:
            raise patience.error

    async def _watch(self, zk: Client) -> None:
        while True:
            self._impatient = anyio.Event()
            if not self._patience:
                await self._impatient.wait()
            oldest, since_s = _oldest(zk), anyio.current_time()
            while self._patience:
                await anyio.sleep(LOOK_MS / 1000)
                call = _oldest(zk)
                if call is None or call is not oldest:
                    oldest, since_s = call, anyio.current_time()
                elif anyio.current_time() - since_s >= self.timeout_ms / 1000:
                    last = self._patience[-1]
                    asked = f"{call.operation} {call.path}" if call.path else call.operation
                    why = f"{asked}: {zk.server} has answered nothing for {self.timeout_ms} ms"
                    if tried := "; ".join(f"{server}: {why}" for server, why in zk.core.no_server(0).tried):
                        why += f" ({tried})"
                    last.error = ShellError(why, Status.CONNECTION)
                    last.scope.cancel()
                    since_s = anyio.current_time()

    async def close(self) -> None:
        """End the session. Who asks for a client later is told that this was so."""
        self.problem = ShellError("the session was closed; connect begins another one", Status.CONNECTION)
        self._over.cancel()
        await self._ended.wait()

    async def _hold(self, keeps_trying: bool) -> None:
        try:
            first = FIRST_MS if keeps_trying else self.timeout_ms
            with self._over:
                while True:
                    timeouts = {
                        "connect_timeout_ms": min(first, self.timeout_ms),
                        "request_timeout_ms": self.timeout_ms,
                        "close_timeout_ms": min(CLOSE_MS_MAX, max(1, self.timeout_ms // 2)),
                    }
                    try:
                        async with Client(self.servers, **{**timeouts, **self.settings}) as zk:
                            self.on_open(zk)
                            self._zk, self.problem = zk, None
                            self._tell()
                            await self._watch(zk)
                    except zabpy.ZabpyError as error:
                        self._zk, self.problem = None, error
                        first = self.timeout_ms
                        if not keeps_trying:
                            return
                        self._tell()
                    await anyio.sleep(PAUSE_MS / 1000)
        finally:
            self._zk = None
            self._ended.set()
            self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


def _oldest(zk: Client) -> Call | None:
    """What a command waits for; who the servers are the client itself asks, in the background."""
    return next((call for call in zk.core.unanswered() if call.operation != "get_config"), None)
