"""reconfig: from a client's request to the configuration of the ensemble that shall be, or to the reason why not.

The order of the checks and the code of each are ZooKeeper's 3.8.0, asked with raw bytes; what it says of a request that
is wrong in two ways depends on that order, and a client without rights is told of a wrong version first. Here only
observers join, leave and change. A request that passes all of ZooKeeper's checks and touches the voters is refused with
UNIMPLEMENTED: that is what ZooKeeper answers where it cannot reconfigure (standalone), every client knows it, and
nothing that can be asked for again differently has it. Why it was refused is in the leader's log.

Stricter than ZooKeeper, with BADARGUMENTS, where its answer is a server that can never be linked with: numbers that
are not 1 to 255, ports that are 0, a host that is missing.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from zabpy.model import (
    BadArgumentsError,
    BadVersionError,
    CodeError,
    MarshallingError,
    Member,
    Members,
    NewConfigNoQuorumError,
    NoAuthError,
    UnimplementedError,
    Zxid,
    parse_member,
    parse_members,
)
from zabpy.wire import records as r

#: The number of a server is one byte of the session ids it gives out.
SERVER_ID_MAX = 255
#: A DNS name is no longer.
HOST_CHARS_MAX = 253
#: Servers, and other lines, that one request may name; and the characters of each. Anybody may ask, and the leader
#: reads it all before it is known whether he may.
LINES_MAX = 1_000
LINE_CHARS_MAX = 1_000
ANY_HOST = "0.0.0.0"
#: Addresses that ZooKeeper leaves out when it looks for two servers at one place: they are another place on each host.
_EVERYWHERE = frozenset(("0.0.0.0", "127.0.0.1", "localhost", "::", "::1", "0:0:0:0:0:0:0:0", "0:0:0:0:0:0:0:1"))


@dataclass(frozen=True)
class EnsembleView:
    """What a leader knows of the ensemble it leads, beyond the tree.

    Args:
        members: the configuration of what is applied, asked again for each request.
        in_step: whether a quorum of these would-be members is linked with this leader and has its history.
        refused: takes the reason, for the log, why somebody who may reconfigure was refused.
        voters_min: fewer are refused; 1 only with ``standaloneEnabled=false``.
    """

    members: Callable[[], Members]
    in_step: Callable[[Sequence[Member]], bool]
    refused: Callable[[str], None]
    voters_min: int = 2


def judge_reconfig(ensemble: EnsembleView, now: Members, may: bool, asked: r.ReconfigRequest, zxid: Zxid) -> Members:
    """The configuration since ``zxid``, where ``now`` is the last one before it; or a `CodeError`.

    ``may``: whoever asks may write the configuration's znode."""
    try:
        if asked.cur_config_id not in (-1, now.version):
            raise BadVersionError(f"version {asked.cur_config_id & (1 << 64) - 1:x}, it is {now.version:x}")
        _check_size(asked)
        if asked.new_members is None:
            wanted = _changed(now.servers, asked.joining_servers, asked.leaving_servers)
        else:
            wanted = _replaced(asked.new_members)
        _check_whole(wanted, ensemble)
        if not may:
            raise NoAuthError("the configuration")
        if strange := [member.server_id for member in wanted if not 1 <= member.server_id <= SERVER_ID_MAX]:
            raise BadArgumentsError(f"server.{strange[0]}: a number from 1 to {SERVER_ID_MAX}")
        if why := _voters_differ(now.servers, wanted):
            raise UnimplementedError(f"{why}; voters change by a restart with another server list")
    except CodeError as error:
        if may:  # others could fill the log
            ensemble.refused(f"{error.name}: {error}")
        raise
    return Members(wanted, zxid)


def _check_size(asked: r.ReconfigRequest) -> None:
    for text in (asked.new_members, asked.joining_servers, asked.leaving_servers):
        if text is None:
            continue
        if text.count(",") + text.count("\n") >= LINES_MAX:
            raise BadArgumentsError(f"more than {LINES_MAX} servers or lines")
        if len(text) > LINE_CHARS_MAX and max(map(len, re.split("[,\n]", text))) > LINE_CHARS_MAX:
            raise BadArgumentsError(f"more than {LINE_CHARS_MAX} characters for one server")


def _changed(now: Iterable[Member], joining: str | None, leaving: str | None) -> tuple[Member, ...]:
    """Incremental: those of now, without the leaving ones (who need not be there), then with the joining ones, each in
    place of the one that has its number."""
    servers = {member.server_id: member for member in now}
    if any(member.group or member.weight != 1 for member in servers.values()):
        raise BadArgumentsError("joining and leaving go with a majority of the voters; say newMembers, all of them")
    for number in _pieces(leaving):
        servers.pop(_long(number), None)
    taken = {place: member.server_id for member in servers.values() for place in _places(member)}
    for piece in _pieces(joining):
        parts = [part for part in piece.split("=") if part.strip()]
        if len(parts) != 2:
            raise BadArgumentsError(f"{piece[:100]!r} is not server.N=…")
        server_id = _long(parts[0].strip().rpartition(".")[2])
        joiner = _joiner(server_id, parts[1].strip())
        if joiner.client_port is None:
            raise BadArgumentsError(f"server.{server_id} needs its client port too: …;clientPort")
        _check_places(joiner, taken)
        if server_id in servers:
            for place in _places(servers[server_id]):
                if taken.get(place) == server_id:  # a file may have put two at one place
                    del taken[place]
        taken.update(dict.fromkeys(_places(joiner), server_id))
        servers[server_id] = joiner
    return tuple(member for _, member in sorted(servers.items()))


def _replaced(text: str) -> tuple[Member, ...]:
    """Not incremental: the whole configuration, separated by commas or newlines."""
    lines = [line.strip() for line in text.replace(",", "\n").split("\n")]
    for line in lines:
        key, _, value = line.partition("=")
        if key.startswith("server."):
            _joiner(_long(key.removeprefix("server.").strip()), value.strip())  # with the codes of a single one
    try:
        members = [
            member._replace(client_host=_client_host(member)) for member in parse_members("\n".join(lines)).servers
        ]
    except ValueError as error:
        raise BadArgumentsError(str(error)) from None
    taken: dict[tuple[str, int], int] = {}
    for member in members:
        _check_places(member, taken)
        taken.update(dict.fromkeys(_places(member), member.server_id))
    return tuple(members)


def _joiner(server_id: int, text: str) -> Member:
    if any(int(port) > 65535 for port in re.findall(r"[:;](\d{5,9})", re.sub(r"\[[^]]*\]", "", text))):
        raise MarshallingError(f"server.{server_id}={text[:100]} has a port above 65535")
    try:
        if "|" in text or text.count(";") > 1:
            raise ValueError("one address and one client address")
        member = parse_member(server_id, text)
        if len(member.host) > HOST_CHARS_MAX or len(member.client_host or "") > HOST_CHARS_MAX:
            raise ValueError(f"a host has more than {HOST_CHARS_MAX} characters")
    except ValueError as error:
        raise BadArgumentsError(f"server.{server_id}={text[:100]}: {error}") from None
    return member._replace(client_host=_client_host(member))


def _client_host(member: Member) -> str | None:
    """A client port without a host is on all addresses here: where a server really listens, its own file says."""
    return ANY_HOST if member.client_port is not None and member.client_host is None else member.client_host


def _check_places(member: Member, taken: Mapping[tuple[str, int], int]) -> None:
    """No two ports of it, and none of it and of another, are the same. Hosts are compared as they are written.

    ``taken``: which server is where, it itself perhaps among them.
    """
    mine = _places(member)
    if len(set(mine)) < len(mine):
        raise BadArgumentsError(f"server.{member.server_id} has one port for two things")
    for host, port in mine:
        other = taken.get((host, port), member.server_id)
        if other != member.server_id:
            raise BadArgumentsError(f"server.{member.server_id} and server.{other} are both at {host}:{port}")


def _places(member: Member) -> list[tuple[str, int]]:
    places = [(member.host, member.peer_port), (member.host, member.election_port)]
    if member.client_host is not None and member.client_port is not None:
        places.append((member.client_host, member.client_port))
    return [place for place in places if place[0] not in _EVERYWHERE]


def _check_whole(wanted: Sequence[Member], ensemble: EnsembleView) -> None:
    voters = [member for member in wanted if member.voter]
    if len(voters) < ensemble.voters_min:
        raise BadArgumentsError(f"{len(voters)} voters, at least {ensemble.voters_min} are needed")
    if any(member.group for member in wanted) and not all(member.group for member in voters):
        raise BadArgumentsError("some voters are in no group")
    if not any(member.weight for member in voters):
        raise BadArgumentsError("no voter has a weight above 0")
    if not ensemble.in_step(wanted):
        raise NewConfigNoQuorumError("no quorum of the new configuration is linked and in step")


def _voters_differ(now: Iterable[Member], wanted: Iterable[Member]) -> str | None:
    """What would change about who decides, in a few words; None if nothing."""
    before = {member.server_id: member for member in now if member.voter}
    after = {member.server_id: member for member in wanted if member.voter}
    for server_id in sorted(before.keys() ^ after.keys()):
        return f"server {server_id} would {'no longer' if server_id in before else 'begin to'} vote"
    for server_id, member in before.items():
        then = after[server_id]
        if _fixed(member) != _fixed(then):
            return f"voter {server_id} would change its address, weight or group"
        # Its client address may be told where the list was silent: a static file says only each server's own.
        if member.client_port is not None and then.client_port != member.client_port:
            return f"voter {server_id} would change its client port"
    return None


def _fixed(member: Member) -> tuple[str, int, int, int, int]:
    return member.host, member.peer_port, member.election_port, member.weight, member.group


def _pieces(text: str | None) -> list[str]:
    return [] if text is None else [piece for part in text.split(",") if (piece := part.strip())]


def _long(text: str) -> int:
    """As Java reads one. ZooKeeper does not expect that it can fail, and answers as to bytes that are no request."""
    if not re.fullmatch(r"[+-]?[0-9]{1,19}", text) or not -(2**63) <= int(text) < 2**63:
        raise MarshallingError(f"{text[:40]!r} is not the number of a server")
    return int(text)
