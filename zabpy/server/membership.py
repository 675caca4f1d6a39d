"""Membership: who takes part, as one server knows it. Voters come from its own file, observers from what was delivered.

A server's file lists voters and observers, and both count until a first reconfig is delivered. From then on the
observers are those of ``/zookeeper/config``: part of the tree, so of log and snapshots, and on every server the same at
the same zxid. The voters stay those of the file as long as voters only change by a restart with other files; `Hello`
compares them. Files may lag behind: a line in the log says what counts.

A server that is no voter counts itself an observer always. On its way through the log it sees configurations of before
it joined, and whether it takes part is not for it to say: the voters' servers let it in or do not.
"""

from collections.abc import Sequence

from zabpy.model import Member, Members, parse_members
from zabpy.tree import CONFIG_PATH, Tree
from zabpy.zab import Ensemble, PeerId, Quorums

from .config import Config
from .log import Log


class Membership:
    """``members`` are all, by number, and since which zxid; ``ensemble`` is what the replica needs of them."""

    def __init__(self, config: Config, me: PeerId, log: Log) -> None:
        self._me, self._log, self._listed = me, log, config.members
        self._quorums = quorums_of(config.members) if config.members else Quorums(frozenset({me}))
        self.members = Members(config.members, 0)
        self.ensemble = self._ensemble()

    def start(self, tree: Tree) -> None:
        """Go by what this tree says, and say in the log where the file lags behind it."""
        if not self.take(tree):
            return
        version = f"{self.members.version:x}"
        told, _ = parse_members((tree.nodes[CONFIG_PATH].data or b"").decode())
        if {member.server_id for member in told if member.voter} != self._quorums.voters:
            why = "it has other voters than the file; the file's voters count"
        elif _observers(self._listed) != _observers(self.members.servers):
            why = "it has other observers than the file; the configuration's observers count"
        else:
            return
        self._log("file_and_config_differ", config=version, why=why)

    def take(self, tree: Tree) -> bool:
        """Go by what this tree says; whether that changes anything. To be called after each change of it."""
        before = self.members
        self.members = self._delivered(tree)
        self.ensemble = self._ensemble()
        return self.members != before

    def addresses(self) -> dict[PeerId, tuple[str, int]]:
        return {member.server_id: (member.host, member.peer_port) for member in self.members.servers}

    @property
    def lists_us(self) -> bool:
        return any(member.server_id == self._me for member in self.members.servers)

    def _ensemble(self) -> Ensemble:
        observers = {member.server_id for member in self.members.servers if not member.voter}
        return Ensemble(self._quorums, frozenset(observers | {self._me} - self._quorums.voters))

    def _delivered(self, tree: Tree) -> Members:
        znode = tree.nodes[CONFIG_PATH]
        if not self._listed or znode.mzxid == 0:
            return Members(self._listed, 0)
        try:
            told, version = parse_members((znode.data or b"").decode())
        except ValueError as error:  # written by setData, with a server of before reconfig
            self._log("config_unreadable", path=CONFIG_PATH, why=str(error), counts="the server list of the file")
            return Members(self._listed, 0)
        voters = {member.server_id: member for member in self._listed if member.voter}
        for member in told:
            mine = voters.get(member.server_id)
            if mine is not None and member._replace(client_host=mine.client_host, client_port=mine.client_port) == mine:
                voters[member.server_id] = member  # the same, but for the client address: a file tells only its own
        observers = {member.server_id: member for member in told if member.server_id not in voters and not member.voter}
        return Members(tuple(member for _, member in sorted((voters | observers).items())), version)


def quorums_of(members: Sequence[Member]) -> Quorums:
    """The rule by which the voters among these decide."""
    voters = [member for member in members if member.voter]
    groups = {member.group for member in voters if member.group}
    return Quorums(
        frozenset(member.server_id for member in voters),
        {member.server_id: member.weight for member in voters if member.weight != 1},
        {group: frozenset(member.server_id for member in voters if member.group == group) for group in groups},
    )


def _observers(members: Sequence[Member]) -> set[tuple[int, str, int]]:
    return {(member.server_id, member.host, member.peer_port) for member in members if not member.voter}
