"""Status of a running server, put together when somebody asks. Plain reading; what is shown of it is `admin`'s."""

import os
import resource
from typing import TYPE_CHECKING

import zabpy
from zabpy.admin import READ_ONLY, ConnectionStatus, Status, Word, answer
from zabpy.wire import Op
from zabpy.zab import Role

from .connection import OPEN, Connection

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


def four_letter(server: "Server", word: str) -> bytes:
    """The answer to one of ZooKeeper's words on the client port; it may set counters back."""
    told = answer(word.encode(), server.config.words, lambda row: status_of(server, row))
    if told is None:
        return b""
    if told.reset == "connections":
        for connection in server.clients.connections.values():
            connection.reset_counts()
    elif told.reset:
        server.clients.reset_counts()
    return told.text


def status_of(server: "Server", word: Word) -> Status:
    """The server now. Costs a walk over the connections, or the directories, only where ``word`` shows them."""
    config, clients, replica, state = server.config, server.clients, server.replica, server.driver.state
    tree, watches = state.tree, clients.watches
    leading = replica.role is Role.LEADING
    observers = replica.ensemble.observers
    learners = [peer for peer in server.peers.links if leading]
    own_bytes = (_directory_bytes(config.snapshot_dir), _directory_bytes(config.log_dir)) if word.sizes else (0, 0)
    smallest, largest = clients.negotiable
    member = None if config.standalone else config.member
    return Status(
        version=zabpy.__version__,
        serving=clients.serving or clients.read_only.on,
        mode=_mode(server),
        phase="" if config.standalone else str(getattr(replica.state, "phase", "election")),
        zxid=state.last_applied,
        uptime_ms=server.clock.now_ms() - clients.began_ms,
        latency_avg_ms=clients.latency_total_ms / clients.received if clients.received else 0.0,
        latency_max_ms=clients.latency_max_ms,
        received=clients.received,
        sent=clients.sent,
        outstanding=clients.throttle.outstanding,
        connection_count=len(clients.connections),
        connections=(
            tuple(_connection(connection) for connection in clients.connections.values()) if word.connections else ()
        ),
        znode_count=len(tree.nodes) + 1,
        watch_count=watches.total,
        watched_path_count=watches.paths,
        watching_connection_count=watches.watchers,
        ephemerals_count=len(tree.ephemerals),
        data_bytes=tree.data_bytes,
        session_count=len(state.sessions),
        local_session_count=len(clients.local.sessions),
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
        server_id=config.server_id,
        voter=member is None or member.voter,
        client_host=config.client_host,
        client_port=server.client_port,
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
        members_text=config.members_text(),
        metrics=(("fsync_count", server.disk.syncs), ("fsync_max_ms", server.disk.slowest_sync_ms)),
    )


def _mode(server: "Server") -> str:
    if server.config.standalone:
        return "standalone"
    return READ_ONLY if server.clients.read_only.on else _MODES[server.replica.role]


def _connection(connection: Connection) -> ConnectionStatus:
    host, port = connection.channel.remote
    return ConnectionStatus(
        host=host,
        port=port,
        queued=len(connection.row),
        received=connection.received_frames,
        sent=connection.sent_frames,
        interest=0 if connection.phase != OPEN else 5 if connection.channel.backlog else 1,
        session_id=connection.session_id,
        last_operation=_LETTERS.get(connection.last_op, "NA"),
        established_wall_ms=connection.began_wall_ms,
        timeout_ms=connection.timeout_ms,
        last_xid=connection.last_xid,
        last_zxid=connection.last_zxid,
        last_reply_ms=connection.heard_ms,
        latency_last_ms=connection.latency_last_ms,
        latency_max_ms=connection.latency_max_ms,
    )


def _directory_bytes(path: str) -> int:
    try:
        return sum(entry.stat().st_size for entry in os.scandir(path) if entry.is_file())
    except OSError:
        return 0


def _open_files() -> int:
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return -1
