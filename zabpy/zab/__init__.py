"""ZAB without I/O: who leads, what the order is, when it is final.

May import: zabpy.model; of the standard library neither clock, random, socket, file, thread nor logging (a `Random` and
the time are handed in).
Imported by: zabpy.wire (message types), zabpy.server, zabpy.testing; by those only through the names below.
Read replica.py first, then a file a phase: election.py, discovery.py, synchronization.py, broadcast.py.
"""

from .effects import (
    Append as Append,
    Deliver as Deliver,
    DropImage as DropImage,
    Effect as Effect,
    Hangup as Hangup,
    Install as Install,
    KeepImage as KeepImage,
    Note as Note,
    Phase as Phase,
    ReadConfirmed as ReadConfirmed,
    Role as Role,
    RoleChanged as RoleChanged,
    SaveEpoch as SaveEpoch,
    Send as Send,
    SendImage as SendImage,
    SendTail as SendTail,
    Truncate as Truncate,
)
from .ensemble import Ensemble as Ensemble, Timing as Timing
from .history import Recovered as Recovered
from .inputs import (
    Durable as Durable,
    EnsembleChanged as EnsembleChanged,
    EpochSaved as EpochSaved,
    Input as Input,
    Installed as Installed,
    Linked as Linked,
    LinkId as LinkId,
    PeerId as PeerId,
    ReadAsked as ReadAsked,
    Received as Received,
    SnapshotSaved as SnapshotSaved,
    Submitted as Submitted,
    Tick as Tick,
    Unlinked as Unlinked,
)
from .quorum import Quorums as Quorums
from .replica import PeerProtocolError as PeerProtocolError, Replica as Replica
from .synchronization import HistoryPartedError as HistoryPartedError
