"""All that a `Replica` can ask of the world.

Effects for one place (the disk, one peer's link, the state machine) are carried out in the order returned; places need
not wait for each other. What must wait for the world waits for an input. The disk's effects (`Append`, `Truncate`,
`SaveEpoch`, `KeepImage`, `DropImage`, `Install`) form one queue, done strictly in order.
"""

import enum
from dataclasses import dataclass

from zabpy.model import Entry, Tip, Zxid

from .inputs import PeerId
from .messages import Message


class Role(enum.StrEnum):
    LOOKING = "looking"
    FOLLOWING = "following"
    OBSERVING = "observing"
    LEADING = "leading"


class Phase(enum.StrEnum):
    ELECTION = "election"
    DISCOVERY = "discovery"
    SYNCHRONIZATION = "synchronization"
    BROADCAST = "broadcast"


@dataclass(frozen=True, slots=True)
class Send:
    """Put this message at the end of the peer's link. Dropped silently when the link is gone: `Unlinked` tells."""

    peer: PeerId
    message: Message


@dataclass(frozen=True, slots=True)
class SendTail:
    """Send the entries of our own log after ``after`` up to and including ``upto`` as `Propose` messages, read from
    disk in slices, before anything that is sent to this peer later. All of them are durable already."""

    peer: PeerId
    after: Zxid
    upto: Zxid


@dataclass(frozen=True, slots=True)
class SendImage:
    """Send our snapshot at ``tip`` from disk as `ImageChunk` messages, before anything sent to this peer later."""

    peer: PeerId
    tip: Tip


@dataclass(frozen=True, slots=True)
class Hangup:
    """Close the link with this peer; a new one may be dialled at once. Drop what was queued on it."""

    peer: PeerId
    why: str


@dataclass(frozen=True, slots=True)
class Append:
    """Write these at the end of the log and sync; then `Durable` with the last zxid (one for several is fine)."""

    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Truncate:
    """Cut the log after this zxid, durably, before any later append. Nothing is told; the next `Durable` covers it."""

    after: Zxid


@dataclass(frozen=True, slots=True)
class SaveEpoch:
    """Store the accepted epoch durably and atomically; then `EpochSaved`."""

    epoch: int


@dataclass(frozen=True, slots=True)
class KeepImage:
    """Append these bytes of a snapshot that is being received to the staging file."""

    data: bytes


@dataclass(frozen=True, slots=True)
class DropImage:
    """Forget a partly received snapshot: synchronisation was broken off."""


@dataclass(frozen=True, slots=True)
class Install:
    """The staged image is complete: make it the newest snapshot and start the log anew behind it, in one durable,
    atomic step; load the state machine from it; then `Installed`."""

    tip: Tip


@dataclass(frozen=True, slots=True)
class Deliver:
    """These entries are final and on our disk: apply them, in this order, now. Counter-0 entries start an epoch and
    change nothing."""

    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class ReadConfirmed:
    """`ReadAsked` is answered: whoever has applied ``zxid`` may read."""

    number: int
    zxid: Zxid


@dataclass(frozen=True, slots=True)
class RoleChanged:
    """Who we are now. Clients may be served exactly while ``phase`` is BROADCAST.

    On every change, whatever was submitted, asked or forwarded before and has not been delivered is undecided.
    """

    role: Role
    phase: Phase
    epoch: int
    leader: PeerId | None
    why: str


@dataclass(frozen=True, slots=True)
class Note:
    """One line for the log: an event that matters, and its facts."""

    event: str
    facts: tuple[tuple[str, object], ...] = ()


Effect = (
    Send
    | SendTail
    | SendImage
    | Hangup
    | Append
    | Truncate
    | SaveEpoch
    | KeepImage
    | DropImage
    | Install
    | Deliver
    | ReadConfirmed
    | RoleChanged
    | Note
)
