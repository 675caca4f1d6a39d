"""What may be wrong with an ensemble, and what to do about it: plain functions of what its servers have told.

Each check is a function in `CHECKS`, which looks at a `Case` and yields findings. Bounds stand beside the checks.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from zabpy.model import Acl, Member

from .servers import Answer
from .views import View
from .words import WHITELIST, Dump, ForbiddenWordError, Line, UnreachableError

#: Transactions behind the newest server, in two looks, that are more than being a moment late.
LAG_MAX = 1_000
CLOCKS_APART_MS_MAX = 1_000
DISK_FREE_BYTES_MIN = 2 * 1024**3
OUTSTANDING_MAX = 100
LATENCY_AVG_MS_MAX = 100
FSYNC_AVG_MS_MAX, FSYNC_MAX_MS_MAX = 50, 1_000
FILES_SHARE_MAX = 0.8
#: Connections or watches of one server, as a multiple of the others' mean, from so many on.
IMBALANCE, CONNECTIONS_MIN, WATCHES_MIN = 3, 100, 10_000
ADDRESS_SHARE_MAX = 0.9
#: What is compared between servers, of `conf` and of `diag`.
SAME = (
    "tickTime", "initLimit", "syncLimit", "maxClientCnxns", "minSessionTimeout", "maxSessionTimeout",
)  # fmt: skip
SAME_IN_DIAG = ("jute.maxbuffer", "snapCount")
#: Rows of `mntr` that are equal on servers in the same state.
STATE_ROWS = {"znode_count": "znodes", "ephemerals_count": "ephemeral znodes", "global_sessions": "sessions"}
UP_MS_MIN = 300_000


class Finding(NamedTuple):
    """``level``: error, warning, or note, which is no more than a thing to know. ``server``: "" for all."""

    level: str
    server: str
    what: str
    todo: str


@dataclass
class Look:
    """One server: what it said at the first look and at the second, a moment later."""

    answer: Answer[View]
    later: Answer[View]
    diag: dict[str, str] = field(default_factory=dict)
    #: Apache's digests, by zxid.
    hashes: dict[str, str] = field(default_factory=dict)
    connections: list[Line] = field(default_factory=list)
    #: What its clock is ahead of ours, about.
    ahead_ms: int | None = None

    @property
    def name(self) -> str:
        return str(self.answer.server)

    @property
    def view(self) -> View:
        return self.answer.value or View()


@dataclass
class Case:
    """``configured``: there is an ensemble, not one server alone. ``root_acl``: of /, None if it may not be read."""

    looks: list[Look]
    members: tuple[Member, ...] = ()
    unknown: list[Member] = field(default_factory=list)
    dump: Dump | None = None
    root_acl: tuple[Acl, ...] | None = None
    forbidden: dict[str, list[str]] = field(default_factory=dict)
    #: The servers are asked over TLS.
    is_secure: bool = False

    @property
    def serving(self) -> list[Look]:
        return [look for look in self.looks if look.view.srvr is not None]


def findings_of(case: Case) -> list[Finding]:
    """Errors first, then warnings, then notes."""
    order = ("error", "warning", "note")
    return sorted((each for check in CHECKS for each in check(case)), key=lambda each: order.index(each.level))


def _reachable(case: Case) -> Iterator[Finding]:
    for look in case.looks:
        problem = look.answer.problem
        if isinstance(problem, ForbiddenWordError):
            yield Finding(
                "error",
                look.name,
                "up, but it does not even answer srvr, so nothing is known of it",
                f"add srvr to {WHITELIST}, and restart it",
            )
        elif isinstance(problem, UnreachableError) and ("certificate" in problem.why or "TLS" in problem.why):
            yield Finding(
                "error",
                look.name,
                f"up, but not to be spoken to: {problem.why}",
                "see to its certificate, or to what this shell is told of TLS: --tls-..., or tls in the profile",
            )
        elif isinstance(problem, UnreachableError):
            yield Finding(
                "error",
                look.name,
                f"unreachable: {problem.why}",
                "start it, or see to the network; its log says why it ended",
            )
        elif problem is not None:
            yield Finding("error", look.name, problem.why, "is it a server of ZooKeeper's protocol?")
        elif look.view.srvr is None:
            yield Finding(
                "error",
                look.name,
                "up, but not serving",
                "it follows no leader: see whether the others run and it reaches them, and its log for elections",
            )
    for member in case.unknown:
        yield Finding(
            "note",
            f"server.{member.server_id}",
            "not asked: the configuration tells no client port" + (" with TLS" if case.is_secure else ""),
            "name it in --server" + ("" if case.is_secure else ", or give its server.N line a client port"),
        )


def _quorum(case: Case) -> Iterator[Finding]:
    voters = [member.server_id for member in case.members if member.voter]
    of = [look for look in case.looks if not voters or look.answer.server.id in voters]
    count = len(voters) or len(of)
    if case.serving or count < 2:
        return
    up, needed = sum(look.answer.value is not None for look in of), count // 2 + 1
    if up < needed:
        todo = f"start {needed - up} more; until then there is no service"
        yield Finding("error", "", f"no quorum: {up} of {count} servers are up, {needed} are needed", todo)
    else:
        todo = "see whether they reach each other's election and peer ports, and their logs for elections"
        yield Finding("error", "", f"no quorum, though {up} of {count} servers are up: no server leads", todo)


def _leader(case: Case) -> Iterator[Finding]:
    leaders = [look for look in case.serving if look.view.srvr and look.view.srvr.mode == "leader"]
    alone = [look for look in case.serving if look.view.srvr and look.view.srvr.mode == "standalone"]
    if len(leaders) > 1:
        yield Finding(
            "error",
            "",
            f"{len(leaders)} leaders: {', '.join(look.name for look in leaders)}",
            "look again: one may just have been followed by another; else the servers' lists of members differ",
        )
    if not leaders and len(case.members) > 1 and len(case.serving) > len(case.members) // 2 and not case.unknown:
        yield Finding("error", "", "no server leads", "see the servers' logs for elections that come to nothing")
    if alone and len(case.looks) > 1:
        for look in alone:
            yield Finding(
                "error",
                look.name,
                "runs alone, though others are named beside it",
                "give it the server.N lines of the others, and its myid",
            )
    epochs = {look.view.srvr.zxid >> 32 for look in case.serving if look.view.srvr and look not in alone}
    if len(epochs) > 1:
        yield Finding(
            "warning",
            "",
            f"servers are in the epochs {', '.join(map(str, sorted(epochs)))}",
            "look again when the election is over; if it stays, restart who is in the older one",
        )


def _lag(case: Case) -> Iterator[Finding]:
    def behind(answers: list[Answer[View]], index: int) -> int:
        zxids = [each.value.srvr.zxid if each.value and each.value.srvr else None for each in answers]
        newest, own = max((zxid for zxid in zxids if zxid is not None), default=0), zxids[index]
        return newest - own if own is not None and own >> 32 == newest >> 32 else 0

    for index, look in enumerate(case.looks):
        lag = behind([each.answer for each in case.looks], index), behind([each.later for each in case.looks], index)
        if min(lag) > LAG_MAX:
            yield Finding(
                "warning",
                look.name,
                f"{lag[1]:,} transactions behind the newest server",
                "see its disk (fsync), its CPU and its network to the leader",
            )


def _state(case: Case) -> Iterator[Finding]:
    digests: dict[str, dict[str, list[str]]] = {}
    for look in case.looks:
        told = dict(look.hashes)
        if "digest" in look.diag:
            told["zxid " + look.diag["digest_zxid"]] = look.diag["digest"]
        for at, digest in told.items():
            digests.setdefault(at, {}).setdefault(digest, []).append(look.name)
    for at, by_digest in digests.items():
        if len(by_digest) > 1:
            odd = min(by_digest.values(), key=len)
            yield Finding(
                "error",
                ", ".join(odd),
                f"another state than the other servers have at {at}",
                "stop it, move its data directory away, and start it: it fetches all anew; please report it",
            )
            return
    same = _in_same_state(case)
    for row, what in STATE_ROWS.items():
        values = Counter(look.view.mntr[row] for look in same if row in look.view.mntr)
        if len(values) > 1:
            usual = values.most_common(1)[0][0]
            for look in same:
                if look.view.mntr.get(row, usual) != usual:
                    yield Finding(
                        "error",
                        look.name,
                        f"{look.view.mntr[row]} {what}, others {usual}, at the same zxid",
                        "stop it, move its data directory away, and start it: it fetches all anew",
                    )
    for look in case.looks:
        if (look.view.number("digest_mismatches_count") or 0) > 0:
            yield Finding(
                "error",
                look.name,
                "its own digests did not fit after a transaction",
                "stop it, move its data directory away, and start it: it fetches all anew",
            )


def _in_same_state(case: Case) -> list[Look]:
    """Those that stood at one zxid in both looks, so that what they said in between is about the same."""
    still = [
        look
        for look in case.serving
        if look.view.srvr
        and look.later.value
        and look.later.value.srvr
        and look.later.value.srvr.zxid == look.view.srvr.zxid
    ]
    zxids = Counter(look.view.srvr.zxid for look in still if look.view.srvr)
    if not zxids:
        return []
    usual = zxids.most_common(1)[0][0]
    return [look for look in still if look.view.srvr and look.view.srvr.zxid == usual]


def _clocks(case: Case) -> Iterator[Finding]:
    ahead = {look.name: look.ahead_ms for look in case.looks if look.ahead_ms is not None}
    if len(ahead) > 1 and max(ahead.values()) - min(ahead.values()) > CLOCKS_APART_MS_MAX:
        first, last = (pick(ahead, key=ahead.__getitem__) for pick in (max, min))
        yield Finding(
            "warning",
            first,
            f"its clock is {(ahead[first] - ahead[last]) / 1000:.1f} s ahead of that of {last}",
            "run NTP on all servers; times of znodes jump when another server leads",
        )


def _disk(case: Case) -> Iterator[Finding]:
    for look in case.looks:
        for row, what in (("snapshot_disk_free_bytes", "snapshots"), ("log_disk_free_bytes", "its log")):
            free = int(look.diag.get(row, -1))
            if 0 <= free < DISK_FREE_BYTES_MIN:
                yield Finding(
                    "error",
                    look.name,
                    f"{free / 1024**2:,.0f} MB left where {what} are kept",
                    "free some: it ends when there is none; autopurge.purgeInterval removes old snapshots",
                )
                break


def _settings(case: Case) -> Iterator[Finding]:
    for name in (*SAME, *SAME_IN_DIAG):
        values = {
            look.name: value
            for look in case.looks
            if (value := (look.view.conf if name in SAME else look.diag).get(name)) is not None
        }
        if len(set(values.values())) > 1:
            yield Finding(
                "warning",
                "",
                f"{name} differs: {', '.join(f'{at} {value}' for at, value in values.items())}",
                f"set the same {name} in each zoo.cfg",
            )
    versions = {look.view.srvr.version for look in case.serving if look.view.srvr}
    if len(versions) > 1:
        yield Finding("warning", "", f"different versions: {', '.join(sorted(versions))}", "end the upgrade")
    voters = sum(member.voter for member in case.members)
    if voters and voters % 2 == 0:
        yield Finding(
            "warning",
            "",
            f"{voters} voters, an even number, which stands no more failures than {voters - 1}",
            "add one, or make one an observer",
        )
    if any(look.view.srvr and look.view.srvr.mode == "standalone" for look in case.serving):
        yield Finding("note", "", "one server alone: if it fails there is no service", "run three")


def _load(case: Case) -> Iterator[Finding]:
    for look in case.serving:
        view, srvr = look.view, look.view.srvr
        assert srvr is not None
        if (
            srvr.outstanding > OUTSTANDING_MAX
            and (later := look.later.value)
            and later.srvr
            and later.srvr.outstanding > OUTSTANDING_MAX
        ):
            yield Finding(
                "warning",
                look.name,
                f"{srvr.outstanding:,} requests wait",
                "it is overloaded: see its disk and CPU, and which clients send so much: cons",
            )
        if srvr.latency_avg > LATENCY_AVG_MS_MAX:
            yield Finding(
                "warning",
                look.name,
                f"requests take {srvr.latency_avg:,.0f} ms on average",
                "see its disk (fsync), CPU and pauses; srst sets the counter back",
            )
        average, longest = view.number("avg_fsynctime"), view.number("max_fsynctime")
        if average is not None and average > FSYNC_AVG_MS_MAX:
            yield Finding(
                "warning",
                look.name,
                f"its disk takes {average:,.0f} ms for a sync on average",
                "give the transaction log a disk of its own (dataLogDir), an SSD",
            )
        elif longest is not None and longest > FSYNC_MAX_MS_MAX:
            yield Finding(
                "warning",
                look.name,
                f"its disk once took {longest:,.0f} ms for a sync",
                "see what else writes there; srst sets the counter back",
            )
        files, most = view.number("open_file_descriptor_count"), view.number("max_file_descriptor_count")
        if files is not None and most and files / most > FILES_SHARE_MAX:
            yield Finding(
                "error",
                look.name,
                f"{files:,.0f} of {most:,.0f} file descriptors are open",
                "raise its ulimit -n, and see who has so many connections: cons",
            )
        up_ms = view.number("uptime")
        if up_ms is not None and up_ms < UP_MS_MIN:
            yield Finding(
                "note",
                look.name,
                f"serves for {up_ms / 1000:,.0f} s only",
                "if nobody restarted it, its log says why it came anew",
            )


def _balance(case: Case) -> Iterator[Finding]:
    connections = {look.name: look.view.srvr.connections for look in case.serving if look.view.srvr}
    watches = {look.name: number for look in case.serving if (number := look.view.number("watch_count")) is not None}
    yield from _unbalanced("connections", connections, CONNECTIONS_MIN)
    yield from _unbalanced("watches", watches, WATCHES_MIN)


def _unbalanced(what: str, counts: Mapping[str, float], least: int) -> Iterator[Finding]:
    for name, number in counts.items():
        others = [each for other, each in counts.items() if other != name]
        mean = sum(others) / len(others) if others else number
        if number >= least and number > IMBALANCE * mean:
            yield Finding(
                "warning",
                name,
                f"{number:,.0f} {what}, the others {mean:,.0f} on average",
                "name all servers in the clients' connection strings; clients spread when they reconnect",
            )


def _sessions(case: Case) -> Iterator[Finding]:
    for look in case.looks:
        most = int(look.view.conf.get("maxClientCnxns", 0))
        hosts = Counter(line.address.rpartition(":")[0] for line in look.connections)
        for host, count in hosts.items():
            if most and count > ADDRESS_SHARE_MAX * most:
                yield Finding(
                    "warning",
                    look.name,
                    f"{count} of at most {most} connections from {host}",
                    "more are refused: share one client in each process, or raise maxClientCnxns",
                )
    if case.dump is not None and case.dump.leads:
        orphans = {id: paths for id, paths in case.dump.ephemerals.items() if paths and id not in case.dump.expires}
        for id, paths in sorted(orphans.items()):
            yield Finding(
                "error",
                "",
                f"{len(paths)} ephemeral znodes of session {id:#x}, which is over: {paths[0]}",
                "look again; if they stay, delete them by hand, and please report it",
            )


def _guards(case: Case) -> Iterator[Finding]:
    plain = [look for look in case.looks if look.view.conf.get("secureClientPort") == "-1"]
    if plain and len(plain) == sum(bool(look.view.conf) for look in case.looks):
        yield Finding(
            "note",
            "",
            "no TLS for clients: everybody on the network can read along",
            "set secureClientPort and its certificates",
        )
    if case.root_acl is not None and any(acl.scheme == "world" and acl.perms & 0b10111 for acl in case.root_acl):
        yield Finding("note", "", "everybody may write to /", "acl / sets an ACL; it is not inherited by what is below")
    forbidden: dict[tuple[str, ...], list[str]] = {}
    for word, names in case.forbidden.items():
        forbidden.setdefault(tuple(sorted(set(names))), []).append(word)
    for servers, words in forbidden.items():
        are, them = ("is", "it") if len(words) == 1 else ("are", "them")
        yield Finding(
            "note",
            ", ".join(servers),
            f"{', '.join(words)} {are} not allowed, so not all was looked at",
            f"add {them} to {WHITELIST}, and restart",
        )


Check = Callable[[Case], Iterator[Finding]]
CHECKS: tuple[Check, ...] = (
    _reachable, _quorum, _leader, _lag, _state, _clocks, _disk, _settings, _load, _balance, _sessions, _guards,
)  # fmt: skip
