"""Status of a running server, put together when somebody asks. Plain reading; what is shown of it is `admin`'s.

What there may be hundred thousands of is given as iterators: the list of names is copied when the first is asked for,
and what it is about is looked up name by name, so that whoever shows it may let the server go on in between.
"""

import os
import resource
import shutil
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import zabpy
from zabpy.admin import READ_ONLY, ConnectionStatus, Deadlines, Status, Word
from zabpy.pipeline import State
from zabpy.tree import CONFIG_PATH, Watches, digest_of
from zabpy.wire import Op
from zabpy.zab import Role

from .clients import Clients
from .connection import Connection
from .phases import CONNECTING, NEW, OPEN, OVER, TOLD

if TYPE_CHECKING:
    from .main import Server

_MODES = {Role.LEADING: "leader", Role.FOLLOWING: "follower", Role.OBSERVING: "observer", Role.LOOKING: "looking"}

#: ZooKeeper's four letters for the last operation of a connection.
_LETTERS = {
    Op.CREATE: "CREA",
    Op.CREATE2: "CREA",
    Op.CREATE_CONTAINER: "CREA",
    Op.CREATE_TTL: "CREA",
    Op.DELETE: "DELE",
    Op.SET_DATA: "SETD",
    Op.GET_DATA: "GETD",
    Op.EXISTS: "EXIS",
    Op.GET_CHILDREN: "GETC",
    Op.GET_CHILDREN2: "GETC",
    Op.GET_ALL_CHILDREN_NUMBER: "GETACN",
    Op.GET_ACL: "GETA",
    Op.SET_ACL: "SETA",
    Op.MULTI: "MULT",
    Op.MULTI_READ: "MLTR",
    Op.CHECK: "CHEC",
    Op.SYNC: "SYNC",
    Op.SET_WATCHES: "SETW",
    Op.SET_WATCHES2: "STW2",
    Op.ADD_WATCH: "ADDW",
    Op.CHECK_WATCHES: "CHKW",
    Op.REMOVE_WATCHES: "REMW",
    Op.RECONFIG: "RECO",
    Op.CLOSE_SESSION: "CLOS",
    Op.WHO_AM_I: "HOMI",
    Op.GET_EPHEMERALS: "GETE",
    Op.PING: "PING",
    0: "SESS",
}

#: Rows of a digest in one step: 25 µs, so that who takes a hundred steps between two looks at the clock is not late.
DIGEST_ROWS = 4

#: What a selector would wait for on a connection of each phase, while the client takes all that it is sent.
_INTEREST = {NEW: 1, CONNECTING: 1, OPEN: 1, TOLD: 0, OVER: 0}


def status_of(server: "Server", word: Word) -> Status:
    """The server now. Costs a walk over the sessions, or the directories, only where ``word`` shows them."""
    config, clients, replica, state = server.config, server.clients, server.replica, server.driver.state
    tree, watches = state.tree, clients.watches
    leading = replica.role is Role.LEADING
    observers = replica.ensemble.observers
    learners = [peer for peer in server.peers.links if leading]
    own_bytes = (_directory_bytes(config.snapshot_dir), _directory_bytes(config.log_dir)) if word.sizes else (0, 0)
    smallest, largest = clients.negotiable
    wall_from_clock_ms = server.clock.wall_ms() - server.clock.now_ms()
    deadlines = server.driver.deadlines if word.sessions else None
    local_deadlines = clients.local.deadlines if word.sessions else None
    member = None if config.standalone else config.member
    return Status(
        version=zabpy.__version__,
        serving=clients.serving or clients.read_only.on,
        mode=_mode(server),
        phase="" if config.standalone else str(getattr(replica.state, "phase", "election")),
        zxid=state.last_applied,
        uptime_ms=server.clock.now_ms() - clients.began_ms,
        latency_min_ms=_smallest(clients),
        latency_avg_ms=clients.latency_total_ms / clients.replies if clients.replies else 0.0,
        latency_max_ms=clients.latency_max_ms,
        received=clients.received,
        sent=clients.sent,
        outstanding=clients.throttle.outstanding,
        connection_count=len(clients.connections),
        connections=_connections(clients, wall_from_clock_ms),
        reply_last_bytes=clients.reply_bytes_last,
        reply_min_bytes=-1 if clients.reply_bytes_max < 0 else clients.reply_bytes_min,
        reply_max_bytes=clients.reply_bytes_max,
        znode_count=len(tree.nodes) + 1,
        watch_count=watches.total,
        watch_counts=watches.data_counts(),
        watches_by_session=_watches_by_session(clients),
        watches_by_path=_watches_by_path(clients),
        ephemerals_count=len(tree.ephemerals),
        data_bytes=tree.data_bytes,
        session_count=len(state.sessions),
        local_session_count=len(clients.local.sessions),
        deadlines=None if deadlines is None else _on_the_wall(deadlines, wall_from_clock_ms),
        local_deadlines=None if local_deadlines is None else _on_the_wall(local_deadlines, wall_from_clock_ms),
        session_timeouts=_session_timeouts(state),
        ephemeral_owner_count=tree.ephemerals.owner_count,
        ephemerals=_ephemerals(state),
        snapshot_dir_bytes=own_bytes[0],
        log_dir_bytes=own_bytes[1],
        open_files=_open_files(),
        open_files_max=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        proposal_last_bytes=server.driver.proposal_bytes[0],
        proposal_min_bytes=server.driver.proposal_bytes[1],
        proposal_max_bytes=server.driver.proposal_bytes[2],
        quorum_size=len(replica.ensemble.voters),
        learners=len(learners),
        synced_followers=sum(peer not in observers for peer in learners),
        synced_observers=sum(peer in observers for peer in learners),
        pending_syncs=server.driver.pending_syncs,
        leader_uptime_ms=server.driver.reign_ms,
        leader_id=-1 if replica.leader is None else replica.leader,
        trace_mask=server.trace_mask,
        date=_date,
        server_id=0 if config.standalone else config.server_id,
        voter=member is None or member.voter,
        client_host=config.client_host,
        client_port=server.client_port,
        secure_client_port=server.secure_client_port,
        data_dir=config.snapshot_dir,
        log_dir=config.log_dir,
        tick_ms=config.tick_ms,
        address_connections_max=config.address_connections_max,
        min_session_timeout_ms=smallest,
        max_session_timeout_ms=largest,
        listen_backlog=config.listen_backlog,
        init_limit_ticks=config.init_limit_ticks,
        sync_limit_ticks=config.sync_limit_ticks,
        peer_port=0 if member is None else member.peer_port,
        election_port=0 if member is None else member.election_port,
        members_text=(tree.nodes[CONFIG_PATH].data or b"").decode(errors="replace"),
        wall_ms=server.clock.wall_ms(),
        snapshot_disk_free_bytes=_free_bytes(config.snapshot_dir) if word.sizes else -1,
        log_disk_free_bytes=_free_bytes(config.log_dir) if word.sizes else -1,
        frame_bytes_max=config.frame_bytes_max,
        snapshot_entries=config.snapshot_entries,
        digest=_digest(state),
        metrics=tuple(_metrics(server)) if word.metrics else (),
    )


def _metrics(server: "Server") -> Iterator[tuple[str, int | float]]:
    clients, counts = server.clients, server.counts
    counts.bytes_received.value = clients.bytes_received
    counts.watch_bytes.value = clients.bytes_of_events
    counts.response_bytes.value = clients.bytes_sent - clients.bytes_of_events
    yield from counts.rows()
    for name, usage in server.driver.state.tree.quotas.by_namespace().items():
        yield f"{name}_quota_count_limit_per_namespace", usage.znodes_limit
        yield f"{name}_quota_bytes_limit_per_namespace", usage.data_bytes_limit
        yield f"{name}_quota_count_usage_per_namespace", usage.znodes
        yield f"{name}_quota_bytes_usage_per_namespace", usage.data_bytes
    for name, count in server.quota_refusals.items():
        yield f"{name}_quota_exceeded_error_per_namespace", count


def _smallest(counted: Clients | Connection) -> int:
    """Of latencies: 0 as soon as one answer did not have to wait, and while there is none."""
    return counted.latency_min_ms if counted.replies == counted.waited > 0 else 0


def _date(wall_ms: int) -> str:
    return time.strftime("%a %b %d %H:%M:%S %Z %Y", time.localtime(wall_ms // 1000))


def _on_the_wall(deadlines: list[tuple[int, list[int]]], wall_from_clock_ms: int) -> Deadlines:
    return [(now_ms + wall_from_clock_ms, ids) for now_ms, ids in deadlines]


def _connections(clients: Clients, wall_from_clock_ms: int) -> Iterator[ConnectionStatus]:
    for connection in list(clients.connections.values()):
        if connection.phase != OVER:
            patience_ms = connection.timeout_ms if connection.phase == OPEN else clients.config.handshake_timeout_ms
            yield _connection(connection, connection.heard_ms + patience_ms + wall_from_clock_ms)


def _session_timeouts(state: State) -> Iterator[tuple[int, int]]:
    for session_id in sorted(state.sessions.ids()):
        session = state.sessions.get(session_id)
        if session is not None:
            yield session_id, session.timeout_ms


def _ephemerals(state: State) -> Iterator[tuple[int, list[str]]]:
    ephemerals = state.tree.ephemerals
    for session_id in list(ephemerals.sessions()):
        paths = ephemerals.of(session_id)
        if paths:
            yield session_id, paths


def _watches_by_session(clients: Clients) -> Iterator[tuple[int, Iterator[str | None]]]:
    for watcher in list(clients.watches.all_watchers()):
        connection = clients.connections.get(watcher)
        if connection is not None:
            yield connection.session_id, _data_watches_of(clients.watches, watcher)


def _data_watches_of(watches: Watches, watcher: int) -> Iterator[str | None]:
    for path in watches.watched_by(watcher):
        yield path if watches.watches_data(watcher, path) else None


def _watches_by_path(clients: Clients) -> Iterator[tuple[str, list[int]]]:
    watches, connections = clients.watches, clients.connections
    for path in watches.data_paths():
        yield path, [connections[watcher].session_id for watcher in watches.data_watchers(path)]


def _mode(server: "Server") -> str:
    if server.config.standalone:
        return "standalone"
    return READ_ONLY if server.clients.read_only.on else _MODES[server.replica.role]


def _connection(connection: Connection, expires_wall_ms: int) -> ConnectionStatus:
    host, port = connection.channel.remote
    return ConnectionStatus(
        host=host,
        port=port,
        queued=len(connection.row),
        received=connection.received_frames,
        sent=connection.sent_frames,
        interest=_INTEREST[connection.phase] if not connection.channel.backlog else 5,
        session_id=connection.session_id if connection.phase == OPEN else 0,
        last_operation=_LETTERS.get(connection.last_op, "NA"),
        established_wall_ms=connection.began_wall_ms,
        timeout_ms=connection.timeout_ms,
        last_xid=connection.last_xid,
        last_zxid=connection.last_zxid,
        last_reply_ms=connection.heard_ms if connection.replies else 0,
        latency_last_ms=connection.latency_last_ms,
        latency_min_ms=_smallest(connection),
        latency_avg_ms=connection.latency_total_ms // connection.replies if connection.replies else 0,
        latency_max_ms=connection.latency_max_ms,
        expires_wall_ms=expires_wall_ms,
    )


def _directory_bytes(path: str) -> int:
    try:
        return sum(entry.stat().st_size for entry in os.scandir(path) if entry.is_file())
    except OSError:
        return 0


def _free_bytes(path: str) -> int:
    """For us, who are not root."""
    try:
        return shutil.disk_usage(path).free
    except OSError:
        return -1


def _digest(state: State) -> Iterator[tuple[int, int] | None]:
    """Of this moment, when the first step is asked for."""
    frozen = state.freeze()
    try:
        digest = 0
        while rows := frozen.rows(DIGEST_ROWS):
            digest = digest_of(rows, digest)
            yield None
        yield frozen.last_applied, digest
    finally:
        frozen.close()


def _open_files() -> int:
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return -1
