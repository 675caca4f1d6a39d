"""TLS on the ports of a server: who is let in, and as whom.

Clients: whoever shows a certificate is, besides its address, the certificate's subject, an identity of the scheme
``x509``. Where it is asked for (`clientHostnameVerification`), the certificate must also name the address that the
client comes from: itself, or a name that the address has and that leads back to it.

Servers: both sides have a certificate of an authority that both trust. The one that dials checks that the other's
certificate names the host it dialled. The one that is dialled waits for the Hello and then checks the certificate
against the host that its own list of servers has for the number in the Hello. Apache's server asks the reverse DNS of
the address instead, which says who owns the address and not who the server is: it fails where addresses are made up as
machines come (Kubernetes, NAT), and it would let any server with a good name claim to be any other. Until that check
has passed, the one that is dialled says nothing but TLS.
"""

import socket
from collections.abc import Awaitable, Callable

import trio

from zabpy.model import Identity
from zabpy.pipeline import IDENTITIES_CHARS_MAX

from .connection import Connection
from .counts import Counts
from .log import Log, remote_text
from .tls import TLS_FAILED, Contexts, TlsChannel, TlsDoor
from .transport import Channel, Network
from .x509 import hosts_of, names_host, subject_of

#: Addresses whose names are looked up at the same time, and how long one may take.
LOOKUPS_MAX = 8
LOOKUP_SECONDS_MAX = 5

#: The names of an address, those that lead back to it.
NamesOf = Callable[[str], Awaitable[list[str]]]


async def names_of(address: str) -> list[str]:
    """By reverse lookup, confirmed by a lookup of the name: the owner of an address may give it any name."""
    try:
        name, _ = await trio.socket.getnameinfo((address, 0), socket.NI_NAMEREQD)
        found = await trio.socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # no such name, or none that can be one
        return []
    return [name] if address in {where[0] for *_, where in found} else []


class ClientTls:
    """The secure client port, and the plain one when it takes both."""

    def __init__(
        self,
        network: Network,
        contexts: Contexts,
        nursery: trio.Nursery,
        log: Log,
        *,
        super_name: str | None,
        check_hosts: bool,
        names_of: NamesOf = names_of,
        counts: Counts | None = None,
    ) -> None:
        """``super_name``: the subject of the one who may do everything. ``check_hosts``: the certificate must name
        the address that it comes from."""
        self._nursery, self._log, self._super_name, self._check_hosts = nursery, log, super_name, check_hosts
        self._names_of = names_of
        self._counts = Counts() if counts is None else counts
        self._lookups = trio.Semaphore(LOOKUPS_MAX)
        self.secure = TlsDoor(network, contexts, self._refused, self._secured)
        self.unified = TlsDoor(network, contexts, self._refused, self._secured, plain_too=True)

    def _refused(self, channel: TlsChannel, why: str) -> None:
        self._counts.handshakes_failed.value += 1
        self._log("client_refused", remote=remote_text(channel), why=why)

    def _secured(self, channel: TlsChannel) -> bool:
        certificate = channel.certificate()
        if certificate is None:
            return True  # ssl.clientAuth is not `need`, or the handshake would have failed
        connection = channel.handler
        assert isinstance(connection, Connection)
        try:
            subject = subject_of(certificate)
        except ValueError:
            channel.refuse(f"{TLS_FAILED}the subject of the certificate cannot be read")
            return False
        if 2 * len(subject) > IDENTITIES_CHARS_MAX:
            channel.refuse(f"{TLS_FAILED}the subject of the certificate has {len(subject)} characters")
            return False
        super_too = (Identity("super", subject),) if subject == self._super_name else ()
        connection.become((*connection.identities, *super_too, Identity("x509", subject)))
        if self._check_hosts:
            self._nursery.start_soon(self._check, channel)
        return not self._check_hosts

    async def _check(self, channel: TlsChannel) -> None:
        address = channel.remote[0].partition("%")[0].removeprefix("::ffff:")
        shown = channel.shown()
        names = [address]
        if not names_host(shown, address):
            async with self._lookups:
                with trio.move_on_after(LOOKUP_SECONDS_MAX):
                    names += await self._names_of(address)
        if any(names_host(shown, name) for name in names):
            channel.admit()
        else:
            hosts = ", ".join(hosts_of(shown)) or "no host"
            channel.refuse(f"{TLS_FAILED}the certificate is for {hosts[:200]}, not for {' or '.join(names)}")


class PeerTls:
    """The port for the other servers, and the links that we dial."""

    def __init__(
        self, network: Network, contexts: Contexts, *, dials: bool, plain_too: bool, check_hosts: bool
    ) -> None:
        """``dials``: our own links begin with TLS. ``plain_too``: links that come may do without, while an ensemble is
        taken from one to the other. ``check_hosts``: who comes must have a certificate for the host in our list."""
        self._dials, self._check_hosts = dials, check_hosts
        self._door = TlsDoor(network, contexts, lambda channel, why: None, plain_too=plain_too)

    def accepted(self, channel: Channel) -> Channel:
        return self._door.accepted(channel)

    def dialled(self, channel: Channel, host: str) -> Channel:
        return self._door.dialled(channel, host) if self._dials else channel

    def objection(self, channel: Channel, host: str) -> str | None:
        """Why whoever is at the other end of an accepted channel cannot be the server at ``host``."""
        if not (self._check_hosts and isinstance(channel, TlsChannel) and channel.secure):
            return None
        shown = channel.shown()
        if names_host(shown, host):
            return None
        return f"its certificate is for {(', '.join(hosts_of(shown)) or 'no host')[:200]}, not for {host}"
