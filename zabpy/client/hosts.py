"""Which servers there are, and in which order to try them."""

from collections.abc import Sequence
from ipaddress import IPv6Address
from random import Random
from typing import NamedTuple

from zabpy.model import BadArgumentsError, validate

from .failures import Failure

CLIENT_PORT = 2181


class Host(NamedTuple):
    """Where one server listens. A name is looked up anew at every attempt."""

    name: str
    port: int

    def __str__(self) -> str:
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


class Hosts:
    """The servers to try, in an order drawn anew for each client so that clients spread, round and round."""

    def __init__(self, hosts: tuple[Host, ...], rng: Random) -> None:
        assert hosts
        self._rng = rng
        self.given = hosts
        self._round = list(hosts)
        rng.shuffle(self._round)
        self._next = 0
        #: How the last attempt at each server ended.
        self.failures: dict[Host, Failure] = {}

    def next(self) -> Host:
        host = self._round[self._next]
        self._next = (self._next + 1) % len(self._round)
        return host

    @property
    def at_round_start(self) -> bool:
        return self._next == 0

    @property
    def left_in_round(self) -> int:
        """How many have not been tried in this round."""
        return len(self._round) - self._next

    @property
    def hopeless(self) -> bool:
        """Each has failed for a reason that waiting does not cure."""
        return all(host in self.failures and self.failures[host].for_good for host in self._round)

    def failed(self, host: Host, failure: Failure) -> None:
        self.failures[host] = failure

    def prefer(self, host: Host) -> None:
        """It comes next."""
        if host in self._round:
            self._next = self._round.index(host)

    def follow(self, members: Sequence[Host], current: Host | None, *, known: bool) -> None:
        """The ensemble says that these are its servers. Those that were given stay, as the fallback.

        Args:
            current: the one we are connected to; it will be the last of its kind to be tried.
            known: we reach servers by the addresses that they have there. If not, as when those are of a network that
                is not ours, the given ones stay before them.
        """
        first, second = (list(members), self.given) if known else (list(self.given), members)
        rest = [host for host in second if host not in first]
        for group in (first, rest):
            self._rng.shuffle(group)
            group.sort(key=lambda host: host == current)
        self._round, self._next = [*first, *rest], 0
        self.failures = {host: failure for host, failure in self.failures.items() if host in self._round}

    def others(self, current: Host | None) -> list[Host]:
        """All but this one, in an order of chance."""
        found = [host for host in self._round if host != current]
        self._rng.shuffle(found)
        return found

    @property
    def tried(self) -> tuple[tuple[str, str], ...]:
        """Each server that was tried, and why it would not do the last time."""
        return tuple((str(host), failure.why) for host, failure in self.failures.items())

    def __len__(self) -> int:
        return len(self._round)


def parse_servers(servers: str | Sequence[str]) -> tuple[tuple[Host, ...], str]:
    """What `connect` is given: a string as `parse_hosts` reads it, or several, of which all that have a chroot have the
    same one, but for the last, which may have the only one.

    Raises:
        BadArgumentsError: it says what is wrong with which part.
    """
    if isinstance(servers, str):
        hosts, chroot = parse_hosts(servers)
        if "," in chroot:
            raise BadArgumentsError(f"{servers!r}: the chroot stands once, behind the last server")
        return hosts, chroot
    given: object = servers
    if not isinstance(given, list | tuple) or not all(isinstance(each, str) for each in given):
        raise BadArgumentsError(f"servers: expected a string or a list of strings, not {given!r}")
    if not servers:
        raise BadArgumentsError("no server: the list is empty")
    parsed = [parse_hosts(each) for each in servers]
    chroots = [chroot for _, chroot in parsed]
    if len(set(chroots)) > 1 and any(chroots[:-1]):
        raise BadArgumentsError(f"{list(servers)!r}: the servers have different chroots")
    return tuple(dict.fromkeys(host for hosts, _ in parsed for host in hosts)), chroots[-1]


def parse_hosts(text: str) -> tuple[tuple[Host, ...], str]:
    """``host[:port],[v6]:port,.../chroot``: the servers and the chroot, which is empty for none.

    Raises:
        BadArgumentsError: it says what is wrong with which part.
    """
    servers, slash, chroot = text.strip().partition("/")
    if slash:
        chroot = ("/" + chroot).rstrip("/")
        if chroot:
            try:
                validate(chroot)
            except BadArgumentsError as error:
                raise BadArgumentsError(f"the chroot {chroot!r} in {text!r}: {error}") from None
    hosts = tuple(dict.fromkeys(_host(part.strip(), text) for part in servers.split(",") if part.strip()))
    if not hosts:
        raise BadArgumentsError(f"no server in {text!r}: expected host:port,host:port")
    return hosts, chroot


def _host(part: str, text: str) -> Host:
    if part.startswith("["):
        name, bracket, rest = part[1:].partition("]")
        if not bracket or not _is_ipv6(name) or (rest and not rest.startswith(":")):
            raise BadArgumentsError(f"{part!r} in {text!r}: expected [address]:port")
        port = rest[1:]
        colon = rest[:1]
    elif part.count(":") > 1:
        name, colon, port = part, "", ""
    else:
        name, colon, port = part.partition(":")
    if not name:
        raise BadArgumentsError(f"{part!r} in {text!r} has no host")
    if any(char.isspace() or char in ";[]@\"'\\" for char in name):
        raise BadArgumentsError(f"{part!r} in {text!r}: {name!r} is not a host; servers are separated by commas")
    if ":" in name and not _is_ipv6(name):
        raise BadArgumentsError(f"{part!r} in {text!r}: expected host:port or [address]:port")
    if not colon:
        return Host(name, CLIENT_PORT)
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise BadArgumentsError(f"{part!r} in {text!r}: the port is to be a number from 1 to 65535")
    return Host(name, int(port))


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True
