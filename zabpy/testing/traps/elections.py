"""Traps: elections, time, membership: mostly what keeps an ensemble from settling."""

from collections.abc import Iterator
from typing import Any

from zabpy.model import epoch_of
from zabpy.zab import Replica, discovery, election, replica as zab_replica
from zabpy.zab.effects import Role
from zabpy.zab.inputs import EnsembleChanged
from zabpy.zab.messages import Notification
from zabpy.zab.roles import NOBODY, Vote

from ..instead import instead, instead_in
from ..process import Server
from .trap import trap


@trap("D2", "L1")
def _settled_servers_report_old_epochs() -> Iterator[None]:
    """A follower goes on telling the epoch in which it elected its leader: a newcomer finds no quorum of equal
    words."""

    def notification(replica: Replica) -> Notification:
        said = right(replica)
        if said.state in (Role.FOLLOWING, Role.OBSERVING):
            return Notification(said.state, said.round, said.leader, said.zxid, epoch_of(said.zxid))
        return said

    right = election.notification
    with instead(election, "notification", notification):
        yield


@trap("D2-deaf", "L1")
def _running_ensemble_not_joined() -> Iterator[None]:
    """A newcomer does not heed what those say who have settled already."""
    with instead(election, "follow_the_settled", lambda replica, now_ms: False):
        yield


@trap("D8", "L1", "CORE")
def _round_ignored() -> Iterator[None]:
    """Votes of former rounds count, and those of later ones do not bring us there."""

    def consider(replica: Replica, peer: int, said: Notification, now_ms: int) -> None:
        looking = replica.state
        if said.state == Role.LOOKING and peer in replica.ensemble.voters and hasattr(looking, "votes"):
            looking.votes[peer] = Vote(said.zxid, said.leader)
            election.better(replica, looking.votes[peer])

    with instead(election, "consider", consider):
        yield


@trap("D10", "L1")
def _stands_without_a_quorum_in_reach() -> Iterator[None]:
    """A server stands though it reaches no quorum, again and again."""

    def own_vote(replica: Replica, now_ms: int) -> Vote:
        return Vote(replica.history.durable, replica.me) if replica.ensemble.may_lead(replica.me) else NOBODY

    with instead(election, "own_vote", own_vote), instead(discovery, "FAILED_LEADS_MAX", 1 << 30):
        yield


@trap("F1", "L1", "L2", "I25")
def _wall_clock() -> Iterator[None]:
    """Timers run on the wall clock, which is set an hour ahead, and back."""

    def clock_ms(self: Server, now: int) -> int:
        ahead = 3_600_000 if now // 3_000_000 % 2 else 0
        self.__dict__["ahead"] = ahead
        return right(self, now) + ahead

    def time_of(self: Server, clock_ms: int) -> int:
        return right_time(self, clock_ms - self.__dict__.get("ahead", 0))

    right, right_time = Server.clock_ms, Server.time_of
    with instead(Server, "clock_ms", clock_ms), instead(Server, "time_of", time_of):
        with instead(Server, "set_rate", lambda self, rate, now: None):
            yield


@trap("H1", "I27")
def _configuration_from_the_file() -> Iterator[None]:
    """A change of the ensemble is delivered, and the server goes on by its own file."""

    def ensemble_changed(self: Replica, given: Any, now_ms: int) -> None:
        pass

    with instead_in(zab_replica.INPUTS, EnsembleChanged, ensemble_changed):
        yield


@trap("no-hangup", "I24", "I9", "CORE")
def _links_outlive_the_role() -> Iterator[None]:
    """A server that leaves its role keeps the links it had in it: what was said in the old one meets the next."""

    def leave_role(self: Replica, why: str) -> None:
        with instead(Replica, "hang_up", lambda self, peer, why: None):
            right(self, why)

    right = Replica.leave_role
    with instead(Replica, "leave_role", leave_role):
        yield
