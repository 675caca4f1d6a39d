"""A machine of a simulation, which outlives its processes; and one life of a process."""

from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Any

from zabpy.model import Tip, Zxid
from zabpy.zab import Replica
from zabpy.zab.effects import Phase, Role

from .drive import Platter
from .facts import State
from .network import Direction
from .run import Settings

if TYPE_CHECKING:
    from .simulation import Simulation

NEVER = 1 << 62


class Server:
    """A machine: what outlives its processes."""

    def __init__(self, sid: int, settings: Settings, platter: Platter, rate: int, offset_ms: int) -> None:
        self.sid, self.platter = sid, platter
        self.disk_us, self.disk_jitter_us = settings.disk_us, settings.disk_jitter_us
        self.disk_factor = 1
        self.disk_stalled_until = 0
        self.disk_fails = False
        self.disk_full_until = 0
        self.down_ms = 100
        #: The clock: ``rate`` milliseconds a second, since ``base_us`` of true time.
        self.rate, self.base_us, self.base_ms = rate, 0, offset_ms
        self.snapshot_every = settings.snapshot_every * (settings.lazier if sid % 3 == 2 else 1)
        self.links = count(1)

    def clock_ms(self, now: int) -> int:
        return self.base_ms + (now - self.base_us) * self.rate // 1_000_000

    def time_of(self, clock_ms: int) -> int:
        return self.base_us + ((clock_ms - self.base_ms) * 1_000_000 + self.rate - 1) // self.rate

    def set_rate(self, rate: int, now: int) -> None:
        self.base_ms, self.base_us, self.rate = self.clock_ms(now), now, rate


class Process:
    """One life of a server's process."""

    __slots__ = (
        "alive",
        "committed",
        "drive",
        "effects_left",
        "epoch",
        "inbox",
        "incoming",
        "last_snapshot",
        "leader",
        "outgoing",
        "paused",
        "phase",
        "platter",
        "reads",
        "replica",
        "role",
        "server",
        "sid",
        "snapshotting",
        "state",
        "tick_at",
        "visible",
        "waiting",
    )

    def __init__(self, sim: "Simulation", server: Server, replica: Replica) -> None:
        self.sid, self.server, self.platter, self.replica = server.sid, server, server.platter, replica
        self.alive, self.paused = True, False
        self.inbox: list[tuple[Callable[[Any], None], Any]] = []  # what comes while it is paused
        self.incoming: dict[int, Direction] = {}
        self.outgoing: dict[int, Direction] = {}
        self.drive = sim.new_drive(self, server)
        self.role, self.phase, self.epoch = Role.LOOKING, Phase.ELECTION, 0
        self.leader: int | None = None
        self.visible: Tip = server.platter.tip  # the end of the log as the process sees it
        self.state = State()
        self.committed = Zxid(0)  # as a leader: told to somebody
        self.waiting: dict[Zxid, bytes] = {}  # writes of our clients
        self.reads: dict[int, Zxid] = {}
        self.tick_at = NEVER
        self.effects_left = 0  # it crashes after so many more effects; 0: it does not
        self.snapshotting = False
        self.last_snapshot = 0

    def __repr__(self) -> str:
        return f"server {self.sid}"

    def next_link(self) -> int:
        return next(self.server.links)
