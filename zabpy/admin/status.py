"""Status: what may be seen of a server at one moment. The server fills one in when it is asked, and not before."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

#: When those that stay silent are given up, in ms of the wall clock, and who.
Deadlines = Sequence[tuple[int, Sequence[int]]]

#: What clients take for the server's version: they read the leading digits and dots, to know which operations there
#: are (kazoo asks by `envi`). Ours are those of ZooKeeper 3.8.0.
SPOKEN_VERSION = "3.8.0"
#: When this version was made, in the form ZooKeeper gives it.
BUILT = "2026-11-22 08:00 UTC"

#: The mode of a server that serves read-only clients only.
READ_ONLY = "read-only"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionStatus:
    """One client connection. Times are milliseconds; ``latency_…`` are from a request's arrival to its reply."""

    host: str
    port: int
    queued: int = 0
    """Replies and events that the client has not taken yet."""
    received: int = 0
    sent: int = 0
    interest: int = 1
    """1: we wait for its requests, 4: for it to take replies, 5: both, 0: neither (it is being asked and closed)."""
    session_id: int = 0
    """0: no session yet."""
    last_operation: str = "NA"
    """ZooKeeper's four letters: PING, GETD, SETD…"""
    established_wall_ms: int = 0
    timeout_ms: int = 0
    last_xid: int = -1
    last_zxid: int = 0
    last_reply_ms: int = 0
    """On the clock that never goes back."""
    latency_last_ms: int = 0
    latency_min_ms: int = 0
    latency_avg_ms: int = 0
    latency_max_ms: int = 0
    expires_wall_ms: int = 0
    """When it is closed, unless something comes on it."""


def _no_date(wall_ms: int) -> str:
    return f"{wall_ms} ms"


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """One server. Counts are since its start or since the last ``srst``.

    What is an iterable may be read once, while the server goes on: it shows what is there when it is read.
    """

    version: str
    """Of zabpy, like ``0.1.0``."""
    serving: bool
    mode: str
    """standalone, leader, follower, observer, or read-only; anything while not serving."""
    phase: str = ""
    """Of an ensemble's server: election, discovery, synchronization or broadcast."""
    zxid: int = 0
    """The last one applied."""
    uptime_ms: int = 0

    # Traffic
    latency_min_ms: int = 0
    latency_avg_ms: float = 0.0
    latency_max_ms: int = 0
    received: int = 0
    sent: int = 0
    outstanding: int = 0
    connection_count: int = 0
    connections: Iterable[ConnectionStatus] = ()
    reply_last_bytes: int = -1
    reply_min_bytes: int = -1
    reply_max_bytes: int = -1
    """Of replies and events that were looked at: the first of each send."""

    # What it keeps
    znode_count: int = 0
    """As ZooKeeper counts: the root is stored under two names, so a new tree has 5."""
    watch_count: int = 0
    """One for each table, path and connection."""
    watch_counts: Iterable[tuple[int, int, int]] = ()
    """Connections, paths and watches of the data table, to be added up."""
    watches_by_session: Iterable[tuple[int, Iterable[str | None]]] = ()
    """Of the data table too, as are those by path; None is a path in the other table alone."""
    watches_by_path: Iterable[tuple[str, Collection[int]]] = ()
    ephemerals_count: int = 0
    data_bytes: int = 0
    """About: lengths of all paths and data."""
    session_count: int = 0
    local_session_count: int = 0
    deadlines: Deadlines | None = None
    """Of global sessions; None of a server that does not lead, which has ``session_timeouts``: id and ms."""
    session_timeouts: Iterable[tuple[int, int]] = ()
    local_deadlines: Deadlines | None = None
    """None: there are no local sessions on this server."""
    ephemeral_owner_count: int = 0
    ephemerals: Iterable[tuple[int, Iterable[str]]] = ()
    snapshot_dir_bytes: int = 0
    log_dir_bytes: int = 0
    open_files: int = -1
    open_files_max: int = -1

    # A leader
    proposal_last_bytes: int = -1
    proposal_min_bytes: int = -1
    proposal_max_bytes: int = -1
    quorum_size: int = 0
    learners: int = 0
    synced_followers: int = 0
    synced_observers: int = 0
    pending_syncs: int = 0
    leader_uptime_ms: int = 0

    # A learner
    leader_id: int = -1

    # Configuration
    trace_mask: int = 0
    date: Callable[[int], str] = _no_date
    """ms of the wall clock as Java prints a Date."""
    server_id: int = 0
    """As ZooKeeper has it: 0 of a standalone server, whatever its ``myid``."""
    voter: bool = True
    client_host: str = ""
    client_port: int = -1
    secure_client_port: int = -1
    data_dir: str = ""
    """Where snapshots are."""
    log_dir: str = ""
    tick_ms: int = 0
    address_connections_max: int = 0
    min_session_timeout_ms: int = 0
    max_session_timeout_ms: int = 0
    listen_backlog: int = -1
    init_limit_ticks: int = 0
    sync_limit_ticks: int = 0
    peer_port: int = 0
    election_port: int = 0
    members_text: str = ""
    """The server list as in ``/zookeeper/config``; empty of a standalone server."""

    # For `diag`
    wall_ms: int = 0
    snapshot_disk_free_bytes: int = -1
    log_disk_free_bytes: int = -1
    frame_bytes_max: int = 0
    snapshot_entries: int = 0
    digest: Iterable[tuple[int, int] | None] = ()
    """None for each step of the way, then a zxid and the digest of the state there."""

    metrics: tuple[tuple[str, int | float], ...] = field(default=())
    """More for `mntr`, by ZooKeeper's name without the ``zk_`` before it."""

    @property
    def version_text(self) -> str:
        """``3.8.0-zabpy-0.1.0, built on …``: what kazoo, go-zookeeper and monitoring tools can read."""
        return f"{SPOKEN_VERSION}-zabpy-{self.version}, built on {BUILT}"
