"""Counts: what one server has counted since its start or the last ``srst``, under ZooKeeper's names for `mntr`.

Whoever sees a thing happen adds to it: ``counts.connections_rejected.value += 1``. The names and what they mean are
ZooKeeper's; what is not measured here has no row, rather than a number that says nothing.
Requests themselves are counted by `Clients` and `Connection`, a turn at a time.
"""

from collections.abc import Iterator

from zabpy.metrics import Counter, Gauge, Registry, Summary


class Counts:
    def __init__(self) -> None:
        self.registry = Registry()
        counter, summary = self.registry.counter, self.registry.summary

        # Clients
        self.connection_requests = counter("connection_request_count", "handshakes that asked for a session")
        self.connections_rejected = counter("connection_rejected", "connections beyond maxClientCnxns or maxCnxns")
        self.connections_dropped = counter("connection_drop_count", "connections that the other side ended")
        self.connections_expired = counter("sessionless_connections_expired", "connections that were silent too long")
        self.connections_revalidated = counter("connection_revalidate_count", "clients that came back with a session")
        self.closed_not_serving = counter(
            "cnxn_closed_without_zk_server_running", "handshakes while this server did not serve"
        )
        self.auth_failed = counter("auth_failed_count", "logins that failed, and clients that did not log in first")
        self.handshakes_failed = counter("unsuccessful_handshake", "TLS handshakes of clients that came to nothing")
        self.large_rejected = counter("large_requests_rejected", "requests beyond largeRequestMaxBytes")
        self.revalidations = counter("revalidate_count", "sessions that a follower asked its leader about")
        self.bytes_received = counter("bytes_received_count", "bytes that clients sent")
        self.response_bytes = counter("response_bytes", "bytes that clients were sent, but for events")
        self.watch_bytes = counter("watch_bytes", "bytes of events")
        self.update_latency = summary("updatelatency", "ms from a write's arrival here to its reply")
        self.watches_fired = {
            1: summary("node_created_watch_count", "watchers told of one creation"),
            2: summary("node_deleted_watch_count", "watchers told of one deletion"),
            3: summary("node_changed_watch_count", "watchers told of one change of data"),
            4: summary("node_children_watch_count", "watchers told of one change of children"),
        }

        # The order
        self.looking = counter("looking_count", "times this server began to look for a leader")
        self.election_time = summary("election_time", "ms from beginning to look to having a leader, or being it")
        self.unavailable_time = summary("unavailable_time", "ms without serving, from losing a leader to serving again")
        self.proposals = counter("proposal_count", "entries that this server proposed")
        self.commits = counter("commit_count", "entries that became final while this server led")
        self.learner_proposals = counter("learner_proposal_received_count", "entries that a leader sent for the log")
        self.learner_commits = counter("learner_commit_received_count", "entries that became final on a learner")
        self.diffs = counter("diff_count", "learners that were sent the entries they lacked")
        self.snaps = counter("snap_count", "learners that were sent a whole snapshot")
        self.sessions_expired = counter("stale_sessions_expired", "sessions that this leader has ended for silence")

        # The disk
        self.fsync_time = summary("fsynctime", "ms of one write and sync of the log")
        self.batch_size = summary("sync_processor_batch_size", "entries in one of them")
        self.snapshot_time = summary("snapshottime", "ms of one snapshot")
        self.snapshot_errors = counter("snapshot_error_count", "snapshots that could not be written")
        self.load_time = summary("dbinittime", "ms to read the newest snapshot at a start")
        self.entries_loaded = summary("startup_txns_loaded", "entries behind the snapshot at a start")

    def reset(self) -> None:
        self.registry.reset()

    def rows(self) -> Iterator[tuple[str, int | float]]:
        """As `mntr` shows them: a summary is five rows."""
        for metric in self.registry:
            if isinstance(metric, Summary):
                yield f"avg_{metric.name}", metric.mean()
                yield f"min_{metric.name}", metric.smallest
                yield f"max_{metric.name}", metric.largest
                yield f"cnt_{metric.name}", metric.count
                yield f"sum_{metric.name}", metric.total
            elif isinstance(metric, Counter | Gauge):
                yield metric.name, metric.value
