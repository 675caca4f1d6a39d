"""serve: one server from its configuration, until it is told to stop.

Everything outside is handed in: the network, the files, the clock, chance. With the ones of `zabpy.testing` whole
servers run in one process, on simulated time.
"""

import gc
import resource
import secrets
import select
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import TYPE_CHECKING, TypeVar

import trio

from zabpy.admin import TRACE_MASK
from zabpy.model import NO_TIP, Tip, ZabpyError, zxid_text
from zabpy.pipeline import EnsembleView, Preparer, RequestIds, Rules, State, Upkeep, UpkeepRules
from zabpy.sessions import LocalSessions
from zabpy.storage import Files, OsFiles, Store
from zabpy.tree import Exceeded, Tree
from zabpy.zab import Recovered, Replica, Tick, Timing

from .access import Access
from .clients import Clients
from .clock import Clock, SystemClock
from .config import Config
from .counts import Counts
from .disk import Disk, DiskFailedError, TaskWorker, ThreadWorker, Worker
from .driver import Driver
from .log import Log
from .membership import Membership, quorums_of
from .peer_secrets import SecretsFile
from .peers import UNNAMED_MAX, Peers
from .snapshots import Snapshots, load_state
from .tls_settings import TlsSettings
from .transport import LINGERING_MAX, Channel, EpollNetwork, Listener, Network, StreamNetwork
from .words import Words

if TYPE_CHECKING:
    from .credentials import Credentials
    from .tls_ports import ClientTls, PeerTls

T = TypeVar("T")

#: A server without a list of servers is this one, and the only one.
STANDALONE_ID = 1
#: How long the write that is under way then may take before the log is left as it is.
CLOSE_MS_MAX = 3_000
ASIDE_THREADS_MAX = 8
#: File descriptors that clients cannot have: for the log, snapshots, links and listeners. A server that cannot open its
#: next log would have to end.
DESCRIPTORS_KEPT = 64
#: Local sessions' ids have 23 bits for the number of a start: room for as many more starts.
FIRST_START_MAX = 1 << 22
#: Collections of Python's garbage collector. There is next to no garbage in cycles here, and a collection walks the
#: whole tree of znodes: half a second for a million.
GC_THRESHOLDS = (50_000, 50, 1_000)
#: A server that is late all the time puts off the end of silent sessions by so many ticks, and by how late it is.
GRACE_TICKS_MAX = 5


class CannotListenError(ZabpyError):
    """A port that is in use, or an address that is not this machine's."""


class Server:
    """One server's parts, and what binds them: `settle`, called at the end of every turn."""

    def __init__(
        self,
        config: Config,
        network: Network,
        files: Files,
        clock: Clock,
        log: Log,
        rng: Random,
        *,
        threads: bool,
        disk_delay_ms: float = 0,
    ) -> None:
        self.config, self.network, self.files, self.clock, self.log, self.rng = config, network, files, clock, log, rng
        self.me = config.server_id if config.members else config.server_id or STANDALONE_ID
        self.counts = Counts()
        #: What `stmk` set and `gtmk` tells. Nothing is traced here.
        self.trace_mask = TRACE_MASK
        #: Once they are open; -1: there is none.
        self.client_port = self.secure_client_port = -1
        self._threads, self._disk_delay_ms = threads, disk_delay_ms
        # Names of peers are looked up in threads that a dead DNS can hold for long: snapshots do not queue behind them.
        self._aside_limiter = trio.CapacityLimiter(ASIDE_THREADS_MAX)
        self._random_bytes = secrets.token_bytes if threads else rng.randbytes
        self._listeners: list[Listener] = []
        self._credentials: list[Credentials] = []
        self._client_tls: ClientTls | None = None
        self._peer_tls: PeerTls | None = None
        self._secrets_file: SecretsFile | None = None
        self._stopping = trio.Event()
        self._failure: str | None = None
        self._settling = self._ready = False
        self._work = trio.Event()
        self._wake_at_ms = 0
        #: Requests refused for a hard quota while we led, by the first name of its path.
        self.quota_refusals: Counter[str] = Counter()
        self._ticker = trio.CancelScope()
        # Built by `run`.
        self.access: Access
        self.store: Store
        self.membership: Membership
        self.replica: Replica
        self.driver: Driver
        self.disk: Disk
        self.peers: Peers
        self.clients: Clients
        self.snapshots: Snapshots

    def stop(self) -> None:
        """Begin an orderly stop; `run` returns when it is done."""
        self._stopping.set()

    @property
    def serving(self) -> bool:
        return self._ready and self.clients.serving

    # Life -------------------------------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus["Server"] = trio.TASK_STATUS_IGNORED) -> None:
        """From the first bind to the last sync.

        Raises:
            CannotListenError, CredentialsError, JaasError, PeerSecretError, StoreError: before anything was written;
                one line.
            DiskFailedError: the disk failed; nothing was written after that.
        """
        async with trio.open_nursery() as nursery:
            await nursery.start(self.network.run, self.settle, self._trouble)
            self.access = await self._open_access()
            await self._prepare_tls(nursery)
            await self._open_secrets()
            await self._listen()
            self.store = await self._open_store()
            orderly = False
            try:
                await self._build(nursery)
                self.driver.start()
                self.settle()
                nursery.start_soon(self._tick)
                nursery.start_soon(self._keep_up)
                nursery.start_soon(self._work_off)
                nursery.start_soon(self.snapshots.run)
                nursery.start_soon(self.snapshots.keep_purging)
                if self.access.accounts_file is not None:
                    nursery.start_soon(self.access.accounts_file.watch, self._aside)
                if self._secrets_file is not None:
                    nursery.start_soon(self._secrets_file.watch, self._aside)
                await nursery.start(self.peers.run)
                task_status.started(self)
                await self._stopping.wait()
                if self._failure is None:
                    await self._wind_up()
                    orderly = True
            finally:
                # After a failure, of the disk or of a rule of ours, or when we are just cancelled, nothing more is
                # written: the next start then takes it for a crash, which is always right.
                self._ready = False
                for listener in self._listeners:
                    listener.close()
                if hasattr(self, "disk"):
                    self.disk.stop()
                if orderly:
                    with trio.CancelScope(shield=True):
                        await self._aside(self._close_store)
            nursery.cancel_scope.cancel()
        if self._failure is not None:
            raise DiskFailedError(self._failure)

    def _close_store(self) -> None:
        """Once the worker is done with it. A disk that takes too long even for that is left as after a crash."""
        if self.disk.join(CLOSE_MS_MAX / 1000):
            self.store.close()
        else:
            self.log("disk_slow", why="the log is left as it is; the next start reads it as after a crash")

    async def _prepare_tls(self, nursery: trio.Nursery) -> None:
        """Read the certificates, before anything else: without them there is nothing to open a port for."""
        config = self.config
        if config.client_tls is None and config.peer_tls is None:
            return
        from .credentials import Credentials, Watch  # what they need takes a while to load, and few servers have TLS
        from .tls_ports import ClientTls, PeerTls

        async def load(settings: TlsSettings) -> Credentials:
            credentials = Credentials(settings)
            await self._aside(credentials.load)
            self._credentials.append(credentials)
            return credentials

        if config.client_tls is not None:
            self._client_tls = ClientTls(
                self.network,
                await load(config.client_tls),
                nursery,
                self.log,
                super_name=config.x509_super,
                check_hosts=config.client_tls.check_accepted,
                counts=self.counts,
            )
        if config.peer_tls is not None:
            self._peer_tls = PeerTls(
                self.network,
                await load(config.peer_tls),
                dials=config.peer_tls_dialled,
                plain_too=config.peer_port_unification,
                check_hosts=config.peer_tls.check_accepted,
            )
        nursery.start_soon(Watch(self._credentials, clock=self.clock, log=self.log, aside=self._aside).run)

    async def _open_secrets(self) -> None:
        path = self.config.peer_secret_path
        if path is not None and self.config.members:
            self._secrets_file = SecretsFile(path, self.log)
            await self._aside(self._secrets_file.open_blocking)

    async def _listen(self) -> None:
        """All ports, before anything is written: whoever finds one taken has changed nothing."""
        config = self.config
        backlog = config.listen_backlog
        if config.client_port is not None:
            host, port = config.client_host, config.client_port
            client = await self._bind("clientPort", host, port, self._accept_client, backlog=backlog)
            self.client_port = client.port
        if config.secure_client_port is not None:
            host, port = config.secure_client_host, config.secure_client_port
            secure = await self._bind("secureClientPort", host, port, self._accept_secure, backlog=backlog)
            self.secure_client_port = secure.port
        if config.members:
            host = "" if config.peer_listen_all else config.member.host
            await self._bind(f"server.{self.me}", host, config.member.peer_port, self._accept_peer)

    async def _bind(
        self, key: str, host: str, port: int, accept: Callable[[Channel], None], *, backlog: int = 128
    ) -> Listener:
        try:
            listener = await self.network.listen(host, port, accept, backlog=backlog)
        except OSError as error:
            raise CannotListenError(
                f"{key}: cannot listen on {host or '*'}:{port}: {error.strerror or error}"
            ) from error
        self._listeners.append(listener)
        return listener

    def _accept_client(self, channel: Channel) -> None:
        if not self._ready:
            channel.close()
        elif self._client_tls is not None and self.config.client_port_unification:
            self.clients.accept(self._client_tls.unified.accepted(channel))
        else:
            self.clients.accept(channel)

    def _accept_secure(self, channel: Channel) -> None:
        if self._ready and self._client_tls is not None:
            self.clients.accept(self._client_tls.secure.accepted(channel))
        else:
            channel.close()

    def _accept_peer(self, channel: Channel) -> None:
        if self._ready:
            self.peers.accept(channel)
        else:
            channel.close()

    async def _open_access(self) -> Access:
        access = Access(self.config, self.log, self._random_bytes, self.counts)
        if access.accounts_file is not None:
            await self._aside(access.accounts_file.open_blocking)
        return access

    async def _open_store(self) -> Store:
        config = self.config
        first_start = self.rng.randrange(1, FIRST_START_MAX)

        def open_store() -> Store:
            return Store.open(
                self.files,
                config.log_dir,
                config.snapshot_dir,
                self.me,
                segment_bytes=config.log_segment_bytes,
                first_start=first_start,
            )

        return await self._aside(open_store)

    async def _build(self, nursery: trio.Nursery) -> None:
        config, clock, log, store = self.config, self.clock, self.log, self.store
        found = store.recovered
        began_ms = clock.now_ms()
        state = await self._aside(lambda: self._load_blocking(found.snapshot))
        self.counts.load_time.add(clock.now_ms() - began_ms)
        self.counts.entries_loaded.add(len(found.entries))
        if self._threads:  # the process is ours, and not one that servers are tested in
            gc.collect()
            gc.freeze()
            gc.set_threshold(*GC_THRESHOLDS)
        if found.cut is not None:
            log("log_tail_cut", what=found.cut)
        for damage in found.damaged_snapshots:
            log("snapshot_damaged", what=damage)

        timing = Timing(config.tick_ms, config.init_limit_ticks, config.sync_limit_ticks)
        recovered = Recovered(found.accepted_epoch, found.snapshot, found.log_base, found.entries)
        self.membership = Membership(config, self.me, log)
        self.membership.start(state.tree)
        self.replica = Replica(self.me, self.membership.ensemble, timing, recovered, self.rng)
        ids = RequestIds(self.me, found.start_number)
        rules = Rules(
            extended_types=config.ttl_znodes,
            reconfig_enabled=config.reconfig,
            enforce_quota=config.enforce_quota,
            acl_schemes=config.auth_schemes - {"ensemble"} | {"world", "auth"},
        )
        upkeep_rules = UpkeepRules(
            check_interval_ms=config.container_check_ms,
            per_minute_max=config.container_deletes_per_minute_max,
            never_used_ms=config.container_never_used_ms,
        )
        view = EnsembleView(
            members=lambda: self.membership.members,
            in_step=lambda members: quorums_of(members).is_quorum(self.replica.in_step),
            refused=lambda why: log("reconfig_refused", why=why),
            voters_min=2 if config.standalone_enabled else 1,
        )
        self.driver = Driver(
            self.replica,
            state,
            me=self.me,
            start_number=found.start_number,
            tip=found.snapshot,
            clock=clock,
            log=log,
            make_preparer=lambda state, owners: Preparer(
                state,
                self._random_bytes,
                owners=owners,
                rules=rules,
                quota_exceeded=self._quota_exceeded,
                ensemble=None if config.standalone else view,
            ),
            make_upkeep=lambda state, now_ms: Upkeep(state, ids, config.tick_ms, now_ms, upkeep_rules),
            load_state=self._load_blocking,
            membership=self.membership,
            counts=self.counts,
        )
        worker: Worker = ThreadWorker(self.network.waker) if self._threads else TaskWorker(nursery, self._disk_delay_ms)
        self.disk = Disk(
            store,
            worker,
            feed=self.driver.feed_from_disk,
            settle=self.settle,
            failed=self._fail,
            slow=lambda took_ms, entries: log("slow_sync", ms=took_ms, entries=entries),
            slow_sync_ms=config.fsync_warning_ms,
            on_the_spot=self._threads,
            counts=self.counts,
        )
        self.peers = Peers(
            self.me,
            {member.server_id: (member.host, member.peer_port) for member in config.members},
            quorums=self.replica.ensemble.quorums,
            tick_ms=config.tick_ms,
            dial_timeout_ms=config.peer_dial_timeout_ms,
            send_bytes_max=config.peer_send_bytes_max,
            network=self.network,
            clock=clock,
            log=log,
            feed=self.driver.feed,
            carried=self.driver.carried,
            settle=self.settle,
        )
        if config.members:
            self.peers.allow(self.membership.addresses())
        self.peers.read_entries = store.read_entries
        self.peers.open_image = store.open_snapshot
        self.peers.in_turn = self.disk.call
        self.peers.aside = self._aside
        self.peers.tls = self._peer_tls
        if self._secrets_file is not None:
            secrets_file = self._secrets_file
            self.peers.secrets = lambda: secrets_file.now
        self.peers.random_bytes = self._random_bytes
        self.peers.unproven = config.peers_unproven
        negotiable = (
            config.min_session_timeout_ms or 2 * config.tick_ms,
            config.max_session_timeout_ms or 20 * config.tick_ms,
        )
        self.clients = Clients(
            config,
            self.driver,
            ids,
            clock,
            log,
            self.access,
            negotiable=negotiable,
            counts=self.counts,
            chance=self.rng.random,
            local_sessions=LocalSessions(self.me, found.start_number, config.tick_ms, self._random_bytes),
        )
        if self._threads:
            descriptors = _descriptors()
            room = descriptors - DESCRIPTORS_KEPT - 4 * len(config.members)
            if not config.standalone:
                room -= UNNAMED_MAX
            if isinstance(self.network, EpollNetwork):
                self.network.lingering_max = max(1, min(LINGERING_MAX, descriptors // 8))
                room -= self.network.lingering_max
            self.clients.connections_max = max(1, min(self.clients.connections_max, room))
        self.clients.begin_work = lambda: self._work.set()
        self.clients.four_letter = Words(self, nursery).answer
        self.snapshots = Snapshots(
            now=lambda: (self.driver.state, self.driver.tip),
            disk=self.disk,
            store=store,
            aside=self._aside,
            feed=self.driver.feed,
            settle=self.settle,
            log=log,
            rng=self.rng,
            entries_max=config.snapshot_entries,
            log_bytes_max=config.snapshot_log_bytes,
            kept=config.snapshots_kept,
            purge=config.purge,
            purge_interval_ms=config.purge_interval_ms,
            counts=self.counts,
        )
        self.driver.disk, self.driver.peers, self.driver.clients = self.disk, self.peers, self.clients
        self.driver.delivered = self.snapshots.delivered
        self._ready = True
        ports = {
            "client": (config.client_host, self.client_port),
            "secure_client": (config.secure_client_host, self.secure_client_port),
        }
        log(
            "started",
            **{name: f"{host}:{port}" for name, (host, port) in ports.items() if port >= 0},
            zxid=zxid_text(store.tip.zxid),
            snapshot=zxid_text(found.snapshot.zxid),
            entries=len(found.entries),
            clean=found.clean,
        )

    def _load_blocking(self, tip: Tip) -> State:
        standalone, config = self.config.standalone, self.config.members_text().encode()
        if tip == NO_TIP:
            return State(Tree(standalone=standalone, config=config))
        return load_state(self.store, tip, standalone=standalone, config=config)

    async def _wind_up(self) -> None:
        """Take in nothing new; let what is under way become durable and be told; then part from everybody."""
        self.log("stopping")
        for listener in self._listeners:
            listener.close()
        self.clients.accepting = False
        with trio.move_on_after(self.config.shutdown_timeout_ms / 1000):
            while not self.disk.idle or (self.replica.may_submit and self.replica.outstanding):  # noqa: ASYNC110
                await trio.sleep(0.002)
        self.settle()
        self.clients.close_all("this server is stopping")
        self.settle()

    async def _aside(self, call: Callable[[], T]) -> T:
        if self._threads:
            return await trio.to_thread.run_sync(call, limiter=self._aside_limiter)
        await trio.lowlevel.checkpoint()
        return call()

    def _fail(self, why: str) -> None:
        """The disk failed. Write nothing more, tell nobody anything more, end."""
        self._failure = why
        self._ready = False
        self.log("disk_failed", why=why)
        self._stopping.set()

    def _quota_exceeded(self, exceeded: Exceeded) -> None:
        refused = exceeded.hard and self.config.enforce_quota
        if refused:
            self.quota_refusals[exceeded.path.split("/", 2)[1]] += 1
        self.log("quota_exceeded", **exceeded._asdict(), refused=refused)

    def _trouble(self, text: str) -> None:
        self.log("network_trouble", what=text)

    # Turns ------------------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """The end of a turn: hand on what it produced, until nothing is left. Proposals leave before our own disk is
        asked to sync, and what clients can have now, they get before that too."""
        if self._settling or not self._ready:
            return
        self._settling = True
        try:
            driver, peers, disk, clients = self.driver, self.peers, self.disk, self.clients
            while True:
                driver.flush()
                if peers.dirty:
                    peers.flush()
                clients.flush()
                disk.kick()
                if not (driver.busy or peers.dirty or clients.busy) or not self._ready:
                    break
        finally:
            self._settling = False
        wake_at_ms = self.replica.wake_at_ms
        if wake_at_ms < self._wake_at_ms:
            self._ticker.cancel()

    async def _tick(self) -> None:
        """Sleep until the replica wants a `Tick`, and be woken when it wants it earlier."""
        while True:
            self._wake_at_ms = self.replica.wake_at_ms
            delay_ms = min(self._wake_at_ms - self.clock.now_ms(), 60_000)
            if delay_ms > 0:
                with trio.CancelScope() as self._ticker:
                    await trio.sleep(delay_ms / 1000)
            else:
                await trio.lowlevel.checkpoint()
            if self.clock.now_ms() >= self.replica.wake_at_ms:
                self.driver.feed(Tick())
                self.settle()

    async def _sleep(self, delay_ms: int) -> int:
        """How much longer it took, in ms."""
        due_ms = self.clock.now_ms() + delay_ms
        await trio.sleep(delay_ms / 1000)
        return self.clock.now_ms() - due_ms

    async def _keep_up(self) -> None:
        """Every half tick, or when a session is due: silent clients, what was heard, what a leader does by itself."""
        half_tick_ms = max(1, self.config.tick_ms // 2)
        while True:
            waits = (half_tick_ms, self.driver.expiry_ms, self.clients.due_ms())
            delay_ms = max(1, min(wait for wait in waits if wait is not None))
            # Were we stopped, or too busy, what came in meanwhile may not be read yet: nobody's silence counts before
            # we had a tick to read it. But it may not wait for ever that sessions of the dead give up their locks.
            for _ in range(GRACE_TICKS_MAX):
                late_ms = await self._sleep(delay_ms)
                if late_ms <= half_tick_ms:
                    break
                self.log("stalled", ms=late_ms)
                delay_ms = self.config.tick_ms
            self.driver.touch(self.clients.look_after())
            self.driver.keep_up()
            self.network.reap(self.clock.now_ms())
            self.settle()

    async def _work_off(self) -> None:
        """What clients have asked for and is too long for one turn: a slice, then everybody else's turn."""
        while True:
            await self._work.wait()
            self._work = trio.Event()
            while self.clients.has_work:
                self.clients.work()
                self.settle()
                await trio.lowlevel.checkpoint()


async def serve(
    config: Config,
    *,
    network: Network | None = None,
    files: Files | None = None,
    clock: Clock | None = None,
    log: Log | None = None,
    rng: Random | None = None,
    threads: bool = True,
    disk_delay_ms: float = 0,
    signals: bool = True,
    task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run one server until SIGTERM, SIGINT, `Server.stop` or cancellation.

    Args:
        network, files, clock, log, rng: this machine's own, unless handed in.
        threads: False: everything on the event loop, for simulated disks and time, and for servers in somebody else's
            process, whose garbage collector and limits are left alone.
        disk_delay_ms: how long each batch of such a simulated disk takes.
        signals: False: whoever calls looks after them.
    Raises:
        ZabpyError: one line, for people: a port or a directory that cannot be used, a disk that failed, damage.
    """
    clock = SystemClock() if clock is None else clock
    if network is None:
        network = EpollNetwork(clock.now_ms) if hasattr(select, "epoll") else StreamNetwork()
    server = Server(
        config,
        network,
        OsFiles() if files is None else files,
        clock,
        Log(clock, server_id=config.server_id or STANDALONE_ID) if log is None else log,
        Random() if rng is None else rng,
        threads=threads,
        disk_delay_ms=disk_delay_ms,
    )
    with _unwrapped():
        async with trio.open_nursery() as nursery:
            if signals:
                await nursery.start(_wait_signals, server)
            await server.run(task_status=task_status)
            nursery.cancel_scope.cancel()


async def _wait_signals(server: Server, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as received:
        task_status.started()
        async for number in received:
            server.log("signal", name=signal.Signals(number).name)
            server.stop()


def _descriptors() -> int:
    """How many file descriptors we may have, after asking for all that we may ask for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        return soft
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


@contextmanager
def _unwrapped() -> Iterator[None]:
    """Nurseries raise groups; whoever called `serve` wants the one error that began it, if it is one of ours."""
    try:
        yield
    except BaseExceptionGroup as group:
        ours, others = group.split(ZabpyError)
        if ours is None or others is not None:
            raise
        first: BaseException = ours
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from None
