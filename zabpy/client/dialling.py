"""How connections are opened: names looked up each time, every address tried, a TLS handshake where it is wanted."""

from abc import abstractmethod
from collections.abc import Awaitable, Callable
from random import Random
from socket import SOCK_STREAM
from ssl import SSLContext
from typing import Final

import anyio
from anyio.abc import ByteStream
from anyio.streams.tls import TLSStream

from .failures import DialError, Failure, failure_of
from .home import on_asyncio

#: Opens a connection to a server. Raises OSError, or what `anyio.connect_tcp` raises.
Dial = Callable[[str, int], Awaitable[ByteStream]]


class Pushing(ByteStream):
    """A stream that can hand what comes to a function."""

    @abstractmethod
    async def push(self, received: Callable[[bytes], object]) -> None:
        """Have ``received`` called with all that comes. Raises what `receive` does, once there will be nothing more."""


#: How long one address may take before the next one is tried besides (happy eyeballs, RFC 8305).
NEXT_ADDRESS_MS: Final = 250


class TcpDial:
    """TCP to the first address of the name that answers.

    The addresses are looked up anew at each attempt and tried in an order of chance, so that clients spread over the
    servers behind one name; the one that was connected to last time comes last, for it did not do if we are back.
    """

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._last: dict[str, str] = {}

    async def __call__(self, host: str, port: int) -> ByteStream:
        found = await anyio.getaddrinfo(host, port, type=SOCK_STREAM)
        addresses = list(dict.fromkeys(address for *_, (address, _) in found))
        self._rng.shuffle(addresses)
        addresses.sort(key=lambda address: address == self._last.get(host))
        address, stream = await _first(addresses, port)
        self._last[host] = address
        return stream


async def _first(addresses: list[str], port: int) -> tuple[str, ByteStream]:
    """Raises OSError when none of them answers: the only one's own, or one that names each."""
    if len(addresses) == 1:
        return addresses[0], await _connected(addresses[0], port)
    won: list[tuple[str, ByteStream]] = []
    failures: dict[str, Failure] = {}

    async def attempt(address: str, over: anyio.Event) -> None:
        try:
            stream = await _connected(address, port)
        except OSError as error:
            failures[address] = failure_of(error)
        else:
            if won:
                await anyio.aclose_forcefully(stream)
            else:
                won.append((address, stream))
                tasks.cancel_scope.cancel()
        finally:
            over.set()

    try:
        async with anyio.create_task_group() as tasks:
            for address in addresses:
                over = anyio.Event()
                tasks.start_soon(attempt, address, over)
                with anyio.move_on_after(NEXT_ADDRESS_MS / 1000):
                    await over.wait()
    except BaseException:
        for _, stream in won:
            await anyio.aclose_forcefully(stream)
        raise
    if not won:
        raise DialError(Failure(", ".join(f"{address}: {failure.why}" for address, failure in failures.items())))
    return won[0]


async def _connected(address: str, port: int) -> ByteStream:
    if on_asyncio():
        from . import pushing  # who works with trio is not to load asyncio

        return await pushing.dialled(address, port)
    return await anyio.connect_tcp(address, port)


class TlsDial:
    """TLS over what another dial opened, with the name verified that the list of servers has, or ``server_name``."""

    def __init__(self, dial: Dial, context: SSLContext, server_name: str | None) -> None:
        self._dial, self._context, self._server_name = dial, context, server_name

    async def __call__(self, host: str, port: int) -> ByteStream:
        stream = await self._dial(host, port)
        name = self._server_name or host.partition("%")[0].rstrip(".")
        try:
            # ZooKeeper's frames have lengths, so a connection that is cut is noticed without TLS's closing alert.
            return await TLSStream.wrap(
                stream, server_side=False, hostname=name, ssl_context=self._context, standard_compatible=False
            )
        except anyio.EndOfStream:
            await anyio.aclose_forcefully(stream)
            raise DialError(
                Failure("it closed the connection during the TLS handshake, as a port without TLS does")
            ) from None
        except BaseException as error:
            await anyio.aclose_forcefully(stream)
            if isinstance(error, OSError):
                raise DialError(failure_of(error)) from error
            raise
