"""Which servers there are, and in which order to try them."""

from random import Random
from typing import NamedTuple

from zabpy.model import BadArgumentsError, validate

CLIENT_PORT = 2181


class Host(NamedTuple):
    """Where one server listens. A name is looked up anew at every attempt."""

    name: str
    port: int

    def __str__(self) -> str:
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


class Hosts:
    """The servers of an ensemble, tried in an order drawn anew for each client, round and round."""

    def __init__(self, hosts: tuple[Host, ...], rng: Random) -> None:
        assert hosts
        self._rng = rng
        self.hosts = hosts
        self._round = list(hosts)
        rng.shuffle(self._round)
        self._next = 0

    def next(self) -> Host:
        host = self._round[self._next]
        self._next = (self._next + 1) % len(self._round)
        return host

    @property
    def at_round_start(self) -> bool:
        return self._next == 0


def parse_hosts(text: str) -> tuple[tuple[Host, ...], str]:
    """``host[:port],[v6]:port,.../chroot``: the servers and the chroot, which is empty for none.

    Raises:
        BadArgumentsError: it says what is wrong with which part.
    """
    servers, slash, chroot = text.partition("/")
    if slash:
        chroot = "/" + chroot
        if chroot != "/":
            validate(chroot.rstrip("/"))
        chroot = chroot.rstrip("/")
    hosts = tuple(_host(part.strip(), text) for part in servers.split(",") if part.strip())
    if not hosts:
        raise BadArgumentsError(f"no server in {text!r}: expected host:port,host:port")
    return hosts, chroot


def _host(part: str, text: str) -> Host:
    if part.startswith("["):
        name, bracket, rest = part[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise BadArgumentsError(f"{part!r} in {text!r}: expected [address]:port")
        port = rest[1:]
    elif part.count(":") > 1:
        name, port = part, ""
    else:
        name, _, port = part.partition(":")
    if not name:
        raise BadArgumentsError(f"{part!r} in {text!r} has no host")
    if not port:
        return Host(name, CLIENT_PORT)
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise BadArgumentsError(f"{part!r} in {text!r}: the port is to be a number from 1 to 65535")
    return Host(name, int(port))
