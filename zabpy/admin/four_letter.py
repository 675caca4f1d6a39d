"""Four-letter words: what someone with netcat, and every monitoring tool, asks on the client port.

A word is a row of `WORDS`: its text, what it costs, and what the server does besides. Texts are ZooKeeper's to the
byte, since tools parse them. Source: client-protocol.md §20 and §21.
"""

import os
import sys
from collections.abc import Callable, Collection
from typing import NamedTuple

from .status import READ_ONLY, ConnectionStatus, Status

NOT_SERVING = "This ZooKeeper instance is not currently serving requests\n"


class Answer(NamedTuple):
    """The bytes to send before the connection is closed, and what to reset besides: connections, server or nothing."""

    text: bytes
    reset: str = ""


class Word(NamedTuple):
    """How one word is answered.

    ``serving``: only a serving server knows. ``connections``: `Status.connections` must be filled in; ``sizes``: the
    directories' sizes must be. ``reset``: which counters the server sets back to zero.
    """

    text: Callable[[Status], str]
    help: str
    serving: bool = True
    connections: bool = False
    sizes: bool = False
    reset: str = ""


def answer(word: bytes, allowed: Collection[str], status: Callable[[Word], Status]) -> Answer | None:
    """What to say to the first four bytes of a connection; None when they are no word, but the length of a packet.

    Args:
        allowed: the words of the whitelist.
        status: asked only when a word needs it, and told for which.
    """
    name = word.decode("ascii", "replace")
    if name not in ALL_WORDS:
        return None
    if name not in allowed:
        return Answer(f"{name} is not executed because it is not in the whitelist.\n".encode())
    row = WORDS.get(name)
    if row is None:
        return Answer(f"{name} is not served here.\n".encode())
    if row.text is _ruok:
        return Answer(b"imok")
    seen = status(row)
    if row.serving and not seen.serving:
        return Answer(NOT_SERVING.encode())
    return Answer(row.text(seen).encode("utf-8", "replace"), row.reset)


def _ruok(status: Status) -> str:
    return "imok"


def _isro(status: Status) -> str:
    return "null" if not status.serving else "ro" if status.mode == READ_ONLY else "rw"


def _srvr(status: Status) -> str:
    return _head(status) + _numbers(status)


def _stat(status: Status) -> str:
    clients = "".join(_short(each) for each in status.connections)
    return f"{_head(status)}Clients:\n{clients}\n{_numbers(status)}"


def _head(status: Status) -> str:
    read_only = "READ-ONLY mode; serving only read-only clients\n" if status.mode == READ_ONLY else ""
    return f"Zookeeper version: {status.version_text}\n{read_only}"


def _numbers(status: Status) -> str:
    text = (
        f"Latency min/avg/max: {status.latency_min_ms}/{_decimal(status.latency_avg_ms)}/{status.latency_max_ms}\n"
        f"Received: {status.received}\nSent: {status.sent}\nConnections: {status.connection_count}\n"
        f"Outstanding: {status.outstanding}\nZxid: {status.zxid:#x}\nMode: {status.mode}\n"
        f"Node count: {status.znode_count}\n"
    )
    if status.mode != "leader":
        return text
    sizes = f"{status.proposal_last_bytes}/{status.proposal_min_bytes}/{status.proposal_max_bytes}"
    return f"{text}Proposal sizes last/min/max: {sizes}\n"


def _cons(status: Status) -> str:
    return "".join(_long(each) if each.session_id else _short(each) for each in status.connections) + "\n"


def _short(each: ConnectionStatus) -> str:
    return f" {_place(each)}(queued={each.queued},recved={each.received},sent={each.sent})\n"


def _long(each: ConnectionStatus) -> str:
    last_xid = f"lcxid={each.last_xid:#x}," if each.last_xid >= 0 else ""
    return (
        f" {_place(each)}(queued={each.queued},recved={each.received},sent={each.sent},"
        f"sid={_unsigned(each.session_id)},lop={each.last_operation},est={each.established_wall_ms},"
        f"to={each.timeout_ms},{last_xid}lzxid={_unsigned(each.last_zxid)},lresp={each.last_reply_ms},"
        f"llat={each.latency_last_ms},minlat={each.latency_min_ms},avglat={each.latency_avg_ms},"
        f"maxlat={each.latency_max_ms})\n"
    )


def _place(each: ConnectionStatus) -> str:
    """As Java prints a socket address: a slash before it, IPv6 in full and in brackets."""
    host = each.host
    if ":" in host:
        import ipaddress  # only here: not to be paid for at every start

        address, _, scope = host.partition("%")
        parts = ipaddress.IPv6Address(address).exploded.split(":")
        host = f"[{':'.join(format(int(part, 16), 'x') for part in parts)}{'%' + scope if scope else ''}]"
    return f"/{host}:{each.port}[{each.interest:x}]"


def _conf(status: Status) -> str:
    text = (
        f"clientPort={status.client_port}\nsecureClientPort={status.secure_client_port}\n"
        f"dataDir={status.data_dir}\ndataDirSize={status.snapshot_dir_bytes}\n"
        f"dataLogDir={status.log_dir}\ndataLogSize={status.log_dir_bytes}\n"
        f"tickTime={status.tick_ms}\nmaxClientCnxns={status.address_connections_max}\n"
        f"minSessionTimeout={status.min_session_timeout_ms}\nmaxSessionTimeout={status.max_session_timeout_ms}\n"
        f"clientPortListenBacklog={status.listen_backlog}\nserverId={status.server_id}\n"
    )
    if not status.members_text:
        return text
    return (
        f"{text}initLimit={status.init_limit_ticks}\nsyncLimit={status.sync_limit_ticks}\nelectionAlg=3\n"
        f"electionPort={status.election_port}\nquorumPort={status.peer_port}\npeerType={0 if status.voter else 1}\n"
        f"membership: \n{status.members_text}\n"
    )


def _envi(status: Status) -> str:
    """Java's rows say what runs us instead, for tools that look them up."""
    system = os.uname()
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // (1024 * 1024)
    rows = (
        ("zookeeper.version", status.version_text),
        ("host.name", system.nodename),
        ("java.version", "NA"),
        ("java.vendor", f"{sys.implementation.name} {sys.version.split()[0]}"),
        ("java.home", sys.prefix),
        ("java.class.path", "NA"),
        ("java.library.path", "NA"),
        ("java.io.tmpdir", os.environ.get("TMPDIR", "/tmp")),
        ("java.compiler", "NA"),
        ("os.name", system.sysname),
        ("os.arch", system.machine),
        ("os.version", system.release),
        ("user.name", os.environ.get("USER", str(os.getuid()))),
        ("user.home", os.path.expanduser("~")),
        ("user.dir", os.getcwd()),
        ("jvm.memory.free", "NA"),
        ("jvm.memory.max", f"{pages}MB"),
        ("jvm.memory.total", f"{pages}MB"),
    )
    return "Environment:\n" + "".join(f"{key}={value}\n" for key, value in rows)


def _wchs(status: Status) -> str:
    return (
        f"{status.watching_connection_count} connections watching {status.watched_path_count} paths\n"
        f"Total watches:{status.watch_count}\n"
    )


def _dirs(status: Status) -> str:
    return f"datadir_size: {status.snapshot_dir_bytes}\nlogdir_size: {status.log_dir_bytes}\n"


def _crst(status: Status) -> str:
    return "Connection stats reset.\n"


def _srst(status: Status) -> str:
    return "Server stats reset.\n"


#: ZooKeeper's words for what a server of an ensemble does (`zk_peer_state`).
PEER_STATES = {"leader": "leading", "follower": "following", "observer": "observing"}


def _mntr(status: Status) -> str:
    rows: list[tuple[str, object]] = [("version", status.version_text), ("server_state", status.mode)]
    if status.phase:
        rows.append(("peer_state", f"{PEER_STATES.get(status.mode, 'looking')} - {status.phase}"))
    rows += [
        ("uptime", status.uptime_ms),
        ("avg_latency", float(status.latency_avg_ms)),
        ("max_latency", status.latency_max_ms),
        ("min_latency", status.latency_min_ms),
        ("packets_received", status.received),
        ("packets_sent", status.sent),
        ("num_alive_connections", status.connection_count),
        ("outstanding_requests", status.outstanding),
        ("znode_count", status.znode_count),
        ("watch_count", status.watch_count),
        ("ephemerals_count", status.ephemerals_count),
        ("approximate_data_size", status.data_bytes),
        ("global_sessions", status.session_count),
        ("local_sessions", status.local_session_count),
        ("open_file_descriptor_count", status.open_files),
        ("max_file_descriptor_count", status.open_files_max),
    ]
    if status.members_text:
        rows.append(("quorum_size", status.quorum_size))
    if status.mode == "leader":
        rows += [
            ("learners", status.learners),
            ("synced_followers", status.synced_followers),
            ("synced_non_voting_followers", 0),
            ("synced_observers", status.synced_observers),
            ("pending_syncs", status.pending_syncs),
            ("leader_uptime", status.leader_uptime_ms),
            ("last_proposal_size", status.proposal_last_bytes),
            ("max_proposal_size", status.proposal_max_bytes),
            ("min_proposal_size", status.proposal_min_bytes),
        ]
    have = {key for key, _ in rows}
    rows += [(key, value) for key, value in status.metrics if key not in have]
    return "".join(f"zk_{key}\t{_decimal(value) if isinstance(value, float) else value}\n" for key, value in rows)


def _decimal(number: float) -> str:
    """Up to four decimals and always a point: ``0.0``, ``0.3846``."""
    return f"{number:.4f}".rstrip("0").removesuffix(".") + (".0" if float(f"{number:.4f}").is_integer() else "")


def _unsigned(number: int) -> str:
    return f"{number & 0xFFFFFFFFFFFFFFFF:#x}"


WORDS: dict[str, Word] = {
    "ruok": Word(_ruok, "imok, as long as the port is open", serving=False),
    "isro": Word(_isro, "rw, ro, or null while not serving", serving=False),
    "srvr": Word(_srvr, "version, latency, traffic, zxid and mode"),
    "stat": Word(_stat, "the same and a line for each connection", connections=True),
    "mntr": Word(_mntr, "a number a line, for monitoring"),
    "conf": Word(_conf, "the configuration", sizes=True),
    "envi": Word(_envi, "what the server runs on", serving=False),
    "cons": Word(_cons, "all there is to know of each connection", connections=True),
    "wchs": Word(_wchs, "how many watches there are"),
    "dirs": Word(_dirs, "how large the directories are", sizes=True),
    "crst": Word(_crst, "set the connections' counters back", reset="connections"),
    "srst": Word(_srst, "set the server's counters back", reset="server"),
}

#: All words of ZooKeeper: four bytes that are one of these are never the length of a packet.
ALL_WORDS = frozenset(WORDS) | {"dump", "wchc", "wchp", "gtmk", "stmk", "hash"}
