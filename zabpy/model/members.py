"""Members: the lines ``server.N=...`` of the server list, as text and as values.

They come from a configuration file and from reconfig requests, and go into ``/zookeeper/config``: one reader and one
writer for all three. Syntax: ZooKeeper's.
"""

import ipaddress
from collections.abc import Callable, Iterable
from typing import NamedTuple

LOOPBACK = "127.0.0.1"


class Member(NamedTuple):
    """A line ``server.N=host:peerPort:electionPort[:role][;[clientAddress:]clientPort]`` of the server list.

    ``election_port`` is kept for the text of the list only: one link between two servers carries everything, and it
    goes to ``peer_port``. ``client_port`` is None unless the line itself names it. ``group`` is the number of the
    ``group.N`` that holds this server, 0 without groups.
    """

    server_id: int
    host: str
    peer_port: int
    election_port: int
    voter: bool
    client_host: str | None = None
    client_port: int | None = None
    weight: int = 1
    group: int = 0

    def text(self) -> str:
        """The line as ZooKeeper writes it into ``/zookeeper/config``."""
        role = "participant" if self.voter else "observer"
        line = f"server.{self.server_id}={bracketed(self.host)}:{self.peer_port}:{self.election_port}:{role}"
        if self.client_port is None:
            return line
        return f"{line};{bracketed(self.client_host or LOOPBACK)}:{self.client_port}"


def host_of(text: str) -> str:
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    if not text or any(char.isspace() or char in "[]/;|," for char in text):
        raise ValueError(text)
    return text


def is_loopback(host: str) -> bool:
    """Whether it is surely this machine's, and reached from this machine only. Of names ``localhost`` alone is."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def whole(low: int, high: int = 2**63 - 1, times: int = 1) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isascii() or "_" in text or not low <= (number := int(text)) <= high:
            raise ValueError(text)
        return number * times

    return read


def parse_member(number: int, text: str) -> Member:
    """The value of ``server.N``. Raises ValueError with what is wrong."""
    main, *behind = text.split(";")
    if len(behind) > 2:
        raise ValueError("there are too many ';'")
    first, *others = main.split("|")
    parts = _parts(first)
    role = "participant"
    for each in others:  # several addresses: the role stands behind the last
        more = _parts(each)
        _address(more[:3])
        if len(more) > 3 and each is others[-1]:
            role = more.pop()
        if len(more) != 3:
            raise ValueError(f"{each!r} is not an address")
    if len(parts) == 4 and not others:
        role = parts.pop()
    if len(parts) != 3:
        raise ValueError(f"there are {len(parts)} parts, not 3 or 4")
    if role.lower() not in ("participant", "observer"):
        raise ValueError(f"the role is {role!r}, not participant or observer")
    host, peer_port, election_port = _address(parts)
    client_host, client_port = None, None
    if behind and behind[0]:
        *where, port = _parts(behind[0])
        if len(where) > 1:
            raise ValueError(f"{behind[0]!r} is not a client address and port")
        client_host = _named_host(where[0]) if where else None
        client_port = _port(port, low=0)
    return Member(number, host, peer_port, election_port, role.lower() == "participant", client_host, client_port)


def _address(parts: list[str]) -> tuple[str, int, int]:
    if len(parts) != 3:
        raise ValueError(f"{':'.join(parts)!r} is not an address with two ports")
    return _named_host(parts[0]), _port(parts[1]), _port(parts[2])


def _named_host(text: str) -> str:
    try:
        return host_of(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a host") from None


def _port(text: str, low: int = 1) -> int:
    try:
        return whole(low, 65535)(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a port from {low} to 65535") from None


def _parts(text: str) -> list[str]:
    """Split at colons, but for those within the brackets of an IPv6 address."""
    text = text.strip()
    if not text.startswith("["):
        return [part.strip() for part in text.split(":")]
    host, bracket, rest = text.partition("]")
    if not bracket or (rest and not rest.startswith(":")):
        raise ValueError(f"{text!r} has a bracket that is not closed before a colon")
    return [host + bracket, *(part.strip() for part in rest.split(":")[1:])]


def bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


class Members(NamedTuple):
    """A whole configuration: the servers in the order of their numbers, and since which zxid; 0: from the start."""

    servers: tuple[Member, ...]
    version: int


def parse_members(text: str) -> Members:
    """What `members_text` wrote: a line each for servers, groups, weights and the version, in any order.

    Of lines with the same key the last counts, as in a properties file. Raises ValueError with what is wrong.
    """
    servers: dict[int, Member] = {}
    group_of: dict[int, int] = {}
    weights: dict[int, int] = {}
    version = 0
    for line in text.split("\n"):
        line = line.strip()
        if not line or line[0] in "#!":
            continue
        key, equals, value = (part.strip() for part in line.partition("="))
        kind, dot, number = key.partition(".")
        if key == "version" and equals:
            version = int(value, 16)
        elif kind == "server" and dot and equals:
            servers[_number(number)] = parse_member(_number(number), value)
        elif kind == "weight" and dot and equals:
            weights[_number(number)] = whole(0)(value)
        elif kind == "group" and dot and equals:
            for inside in value.split(":"):
                if group_of.setdefault(_number(inside), _number(number)) != _number(number):
                    raise ValueError(f"server {inside} is in two groups")
        else:
            raise ValueError(f"{line[:100]!r} is no line server.N, group.N, weight.N or version")
    if strangers := sorted((group_of.keys() | weights.keys()) - servers.keys()):
        raise ValueError(f"there is no server.{strangers[0]}, which has a group or a weight")
    return Members(
        tuple(
            member._replace(weight=weights.get(number, 1), group=group_of.get(number, 0))
            for number, member in sorted(servers.items())
        ),
        version,
    )


def _number(text: str) -> int:
    """The number of a server or of a group: a signed 64-bit number, as Java reads one."""
    number = int(text) if text.isascii() and text.lstrip("+-").isdecimal() else None
    if number is None or not -(2**63) <= number < 2**63:
        raise ValueError(f"{text[:40]!r} is not a number")
    return number


def members_text(members: Iterable[Member], version: int) -> str:
    """What ``/zookeeper/config`` says of these servers at this version; the version is a zxid, 0 at the beginning."""
    members = list(members)
    lines = [member.text() for member in members]
    groups = sorted({member.group for member in members if member.group})
    for group in groups:
        inside = ":".join(str(member.server_id) for member in members if member.group == group)
        lines.append(f"group.{group}={inside}")
    if groups or any(member.weight != 1 for member in members):
        lines += [f"weight.{member.server_id}={member.weight}" for member in members]
    return "\n".join([*lines, f"version={version:x}"])
