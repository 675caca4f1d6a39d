"""All that can happen to a `Replica`. Each is given to `Replica.step` with the monotonic time in milliseconds."""

from dataclasses import dataclass

from zabpy.model import Tip, Zxid

from .ensemble import Ensemble
from .messages import Message

PeerId = int
#: Names one connection between two servers, unique within this process. A message from a connection that is no longer
#: the peer's current one is dropped unread: "nothing after close".
LinkId = int


@dataclass(frozen=True, slots=True)
class Linked:
    """A connection with this peer stands; it replaces any former one."""

    peer: PeerId
    link: LinkId


@dataclass(frozen=True, slots=True)
class Unlinked:
    """That connection is gone. Given also after our own `Hangup`."""

    peer: PeerId
    link: LinkId


@dataclass(frozen=True, slots=True)
class Received:
    """A message came in on this connection."""

    peer: PeerId
    link: LinkId
    message: Message


@dataclass(frozen=True, slots=True)
class Submitted:
    """The layer above asks for these payloads to be put in order, in this order. Only while `Replica.may_submit`."""

    payloads: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ReadAsked:
    """Confirm that we still lead, then say up to which zxid a linearizable read must wait.

    ``number`` must never have been used before. Only while `Replica.may_submit`; answered by `ReadConfirmed`, or not at
    all when we stop leading.
    """

    number: int


@dataclass(frozen=True, slots=True)
class Durable:
    """All entries given to `Append` up to this zxid are on disk: written and synced, in order."""

    zxid: Zxid


@dataclass(frozen=True, slots=True)
class EpochSaved:
    """The accepted epoch of a `SaveEpoch` is on disk."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Installed:
    """An `Install` is on disk and the state machine now stands at its tip; the log starts anew behind it."""

    tip: Tip


@dataclass(frozen=True, slots=True)
class SnapshotSaved:
    """The layer above has made a snapshot of what was delivered, and it is on disk. ``log_base`` is the zxid after
    which the log on disk can still be read (older segments may have been purged)."""

    tip: Tip
    log_base: Zxid


@dataclass(frozen=True, slots=True)
class EnsembleChanged:
    """The layer above has delivered, or installed, another configuration. The voters are the same, in this version."""

    ensemble: Ensemble


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed: at the latest at `Replica.wake_at_ms`."""


Input = (
    Linked
    | Unlinked
    | Received
    | Submitted
    | ReadAsked
    | Durable
    | EpochSaved
    | Installed
    | SnapshotSaved
    | EnsembleChanged
    | Tick
)
