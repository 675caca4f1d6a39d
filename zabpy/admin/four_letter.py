"""Four-letter words: what someone with netcat, and every monitoring tool, asks on the client port.

A word is a row of `WORDS`: its text, what it costs, and what the server does besides. Texts are ZooKeeper's to the
byte, since tools parse them. Source: ZooKeeper's administrator's guide, and what a server of Apache's 3.8.0 answered.

`diag` is our own.

What grows with connections, sessions or watches is an iterator of lines: the server takes so many at a time, and sends
them before it takes more. An empty line text is a step that had nothing to show.
"""

import os
import sys
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

from .status import READ_ONLY, ConnectionStatus, Deadlines, Status

NOT_SERVING = "This ZooKeeper instance is not currently serving requests\n"


#: Bits of the trace mask as ZooKeeper has it before anybody changes it: requests, packets, sessions, warnings.
TRACE_MASK = 0b100110010


class Answer(NamedTuple):
    """What to send before the connection is closed, and what to do besides.

    ``reset``: which counters to set back, connections, server or none. ``lines``: what comes behind ``text``.
    ``trace_mask``: the new one.
    """

    text: bytes
    reset: str = ""
    lines: Iterator[str] | None = None
    trace_mask: int | None = None


class Word(NamedTuple):
    """How one word is answered.

    ``serving``: only a serving server knows. What must be filled in: ``metrics``, the directories' ``sizes``,
    ``sessions``: when they end. ``reset``: which counters the server sets back to zero.
    """

    text: Callable[[Status], str | Iterator[str]]
    help: str
    serving: bool = True
    metrics: bool = False
    sizes: bool = False
    sessions: bool = False
    reset: str = ""


def answer(
    word: bytes, allowed: Collection[str], status: Callable[[Word], Status], argument: bytes = b""
) -> Answer | None:
    """What to say to the first four bytes of a connection; None when they are no word, but the length of a packet.

    Args:
        allowed: the words of the whitelist.
        status: asked only when a word needs it, and told for which.
        argument: what came behind the word; only `stmk` looks at it.
    """
    name = word.decode("ascii", "replace")
    row = WORDS.get(name)
    if row is None:
        return None
    if name not in allowed:
        return Answer(f"{name} is not executed because it is not in the whitelist.\n".encode())
    if row.text is _ruok:
        return Answer(b"imok")
    if row.text is _stmk:
        mask = int.from_bytes(argument[:8], "big", signed=True)
        return Answer(b"%d" % mask, trace_mask=mask)
    seen = status(row)
    if row.serving and not seen.serving:
        return Answer(NOT_SERVING.encode())
    text = row.text(seen)
    if isinstance(text, str):
        return Answer(text.encode("utf-8", "replace"), row.reset)
    return Answer(b"", row.reset, text)


def _ruok(status: Status) -> str:
    return "imok"


def _isro(status: Status) -> str:
    return "null" if not status.serving else "ro" if status.mode == READ_ONLY else "rw"


def _srvr(status: Status) -> str:
    return _head(status) + _numbers(status)


def _stat(status: Status) -> Iterator[str]:
    yield f"{_head(status)}Clients:\n"
    for each in status.connections:
        yield _short(each)
    yield f"\n{_numbers(status)}"


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


def _cons(status: Status) -> Iterator[str]:
    for each in status.connections:
        yield _long(each) if each.session_id else _short(each)
    yield "\n"


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
    """As Java prints a socket address and the keys of its selector."""
    return f"{_address(each)}[{each.interest:x}]"


def _address(each: ConnectionStatus) -> str:
    """A slash before it, IPv6 in full and in brackets."""
    host = each.host
    if ":" in host:
        import ipaddress  # only here: not to be paid for at every start

        address, _, scope = host.partition("%")
        parts = ipaddress.IPv6Address(address).exploded.split(":")
        host = f"[{':'.join(format(int(part, 16), 'x') for part in parts)}{'%' + scope if scope else ''}]"
    return f"/{host}:{each.port}"


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
        f"membership: \n{status.members_text}"
    )


def _envi(status: Status) -> str:
    """Java's rows say what runs us instead, for tools that look them up."""
    system = os.uname()
    page_bytes, mib = os.sysconf("SC_PAGE_SIZE"), 1024 * 1024
    memory = page_bytes * os.sysconf("SC_PHYS_PAGES") // mib
    free = page_bytes * os.sysconf("SC_AVPHYS_PAGES") // mib
    rows = (
        ("zookeeper.version", status.version_text),
        ("host.name", system.nodename),
        ("java.version", "<NA>"),
        ("java.vendor", f"{sys.implementation.name} {sys.version.split()[0]}"),
        ("java.home", sys.prefix),
        ("java.class.path", "<NA>"),
        ("java.library.path", "<NA>"),
        ("java.io.tmpdir", os.environ.get("TMPDIR", "/tmp")),
        ("java.compiler", "<NA>"),
        ("os.name", system.sysname),
        ("os.arch", system.machine),
        ("os.version", system.release),
        ("user.name", os.environ.get("USER", str(os.getuid()))),
        ("user.home", os.path.expanduser("~")),
        ("user.dir", os.getcwd()),
        ("os.memory.free", f"{free}MB"),
        ("os.memory.max", f"{memory}MB"),
        ("os.memory.total", f"{memory}MB"),
    )
    return "Environment:\n" + "".join(f"{key}={value}\n" for key, value in rows)


def _dump(status: Status) -> Iterator[str]:
    yield "SessionTracker dump:\n"
    if status.local_deadlines is not None:
        yield "Local Session "
        yield from _sets(status, status.local_deadlines)
    if status.deadlines is None:
        yield f"Global Sessions({status.session_count}):\n"
        for session_id, timeout_ms in status.session_timeouts:
            yield f"{_unsigned(session_id)}\t{timeout_ms}ms\n"
    else:
        yield "Session " if status.local_deadlines is None else "Global Session "
        yield from _sets(status, status.deadlines)
    yield f"ephemeral nodes dump:\nSessions with Ephemerals ({status.ephemeral_owner_count}):\n"
    for session_id, paths in status.ephemerals:
        yield f"{_unsigned(session_id)}:\n"
        for path in paths:
            yield f"\t{path}\n"
    yield "Connections dump:\n"
    yield from _connection_sets(status)


def _sets(status: Status, deadlines: Deadlines) -> Iterator[str]:
    """Buckets and what is in them: the first number is theirs, the second that of the sessions."""
    yield f"Sets ({len(deadlines)})/({sum(len(ids) for _, ids in deadlines)}):\n"
    for wall_ms, ids in deadlines:
        yield f"{len(ids)} expire at {status.date(wall_ms)}:\n"
        for session_id in ids:
            yield f"\t{_unsigned(session_id)}\n"


def _connection_sets(status: Status) -> Iterator[str]:
    """Connections by the tick in which they are closed unless something comes on them."""
    tick_ms = status.tick_ms or 1
    sets: dict[int, list[str]] = {}
    count = 0
    for each in status.connections:
        tick = -(-each.expires_wall_ms // tick_ms) * tick_ms
        text = f"\tip: {_address(each)} sessionId: {_unsigned(each.session_id)}\n"
        sets.setdefault(tick, []).append(text)
        count += 1
        yield ""
    yield f"Connections Sets ({len(sets)})/({count}):\n"
    for wall_ms, texts in sorted(sets.items()):
        yield f"{len(texts)} expire at {status.date(wall_ms)}:\n"
        yield from texts


def _wchs(status: Status) -> Iterator[str]:
    """Connections, paths and watches of the data table. Counted when asked, so that setting a watch costs nothing."""
    connections = paths = watches = 0
    for some_connections, some_paths, some_watches in status.watch_counts:
        connections += some_connections
        paths += some_paths
        watches += some_watches
        yield ""
    yield f"{connections} connections watching {paths} paths\nTotal watches:{watches}\n"


def _wchc(status: Status) -> Iterator[str]:
    for session_id, paths in status.watches_by_session:
        head = f"{_unsigned(session_id)}\n"
        for path in paths:
            if path is None:
                yield ""
            else:
                yield f"{head}\t{path}\n"
                head = ""
    yield "\n"


def _wchp(status: Status) -> Iterator[str]:
    for path, session_ids in status.watches_by_path:
        if session_ids:
            yield f"{path}\n" + "".join(f"\t{_unsigned(session_id)}\n" for session_id in session_ids)
    yield "\n"


def _gtmk(status: Status) -> str:
    return f"{status.trace_mask}"


def _stmk(status: Status) -> str:
    raise AssertionError("answered without a status")


def _hash(status: Status) -> str:
    """ZooKeeper tells the digests it recorded, one every 128 transactions. None is recorded here: the tree's digest
    takes a walk over the whole tree, and nobody would compare it with one that is made otherwise."""
    return ""


def _diag(status: Status) -> Iterator[str]:
    """Not one of ZooKeeper's: what the shell's doctor compares between servers. Rows as in `mntr`, those of the digest
    once the tree was walked through. Servers in the same state at a zxid have the same digest."""
    rows = (
        ("wall_ms", status.wall_ms),
        ("snapshot_disk_free_bytes", status.snapshot_disk_free_bytes),
        ("log_disk_free_bytes", status.log_disk_free_bytes),
        ("jute.maxbuffer", status.frame_bytes_max),
        ("snapCount", status.snapshot_entries),
    )
    yield "".join(f"zk_{key}\t{value}\n" for key, value in rows)
    for step in status.digest:
        if step is None:
            yield ""
        else:
            yield "zk_digest_zxid\t{:#x}\nzk_digest\t{:#x}\n".format(*step)


def _dirs(status: Status) -> str:
    return f"datadir_size: {status.snapshot_dir_bytes}\nlogdir_size: {status.log_dir_bytes}\n"


def _crst(status: Status) -> str:
    return "Connection stats reset.\n"


def _srst(status: Status) -> str:
    return "Server stats reset.\n"


#: ZooKeeper's words for what a server of an ensemble does (`zk_peer_state`).
PEER_STATES = {"leader": "leading", "follower": "following", "observer": "observing"}


def _mntr(status: Status) -> str:
    """ZooKeeper's first rows in its order, then those that depend on the role, then what was counted."""
    rows: list[tuple[str, object]] = [("version", status.version_text), ("server_state", status.mode)]
    if status.phase:
        rows.append(("peer_state", f"{PEER_STATES.get(status.mode, 'looking')} - {status.phase}"))
    if status.mode == "observer":
        rows.append(("observer_master_id", status.leader_id))
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
        ("last_client_response_size", status.reply_last_bytes),
        ("max_client_response_size", status.reply_max_bytes),
        ("min_client_response_size", status.reply_min_bytes),
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
    "stat": Word(_stat, "the same and a line for each connection"),
    "mntr": Word(_mntr, "a number a line, for monitoring", metrics=True),
    "conf": Word(_conf, "the configuration", sizes=True),
    "envi": Word(_envi, "what the server runs on", serving=False),
    "cons": Word(_cons, "all there is to know of each connection"),
    "dump": Word(_dump, "sessions and ephemerals, and when who is given up", sessions=True),
    "wchs": Word(_wchs, "how many watches there are"),
    "wchc": Word(_wchc, "who watches what, by session"),
    "wchp": Word(_wchp, "who watches what, by path"),
    "dirs": Word(_dirs, "how large the directories are", sizes=True),
    "diag": Word(_diag, "clock, disk left, and the digest of all that is kept", sizes=True),
    "crst": Word(_crst, "set the connections' counters back", reset="connections"),
    "srst": Word(_srst, "set the server's counters back", reset="server"),
    "gtmk": Word(_gtmk, "the trace mask", serving=False),
    "stmk": Word(_stmk, "set the trace mask to the eight bytes behind the word; nothing is traced", serving=False),
    "hash": Word(_hash, "digests of the tree; none is recorded"),
}
