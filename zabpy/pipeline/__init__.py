"""Request → transaction → reply. Plain functions over `State`; no socket, no clock, no chance of their own.

May import: zabpy.model, zabpy.metrics, zabpy.wire, zabpy.tree, zabpy.sessions.
Imported by: zabpy.server, zabpy.testing, through the names below.
Read state.py first, then the way of a write: routing.py, ordering.py, prepare.py (with pending.py, multi.py),
apply.py, replies.py; then reads.py.
"""

from .apply import apply_entry as apply_entry
from .authentication import (
    DIGEST_ALGORITHMS as DIGEST_ALGORITHMS,
    IDENTITIES_CHARS_MAX as IDENTITIES_CHARS_MAX,
    SUPER as SUPER,
    AuthAnswer as AuthAnswer,
    AuthRules as AuthRules,
    answer_auth as answer_auth,
    authenticate as authenticate,
)
from .connection_throttle import ConnectionRules as ConnectionRules, ConnectionThrottle as ConnectionThrottle
from .ordering import Row as Row
from .pending import Pending as Pending
from .prepare import Preparer as Preparer, Rules as Rules
from .reads import get_data as get_data, read_now as read_now
from .reconfig import EnsembleView as EnsembleView
from .replies import (
    PASSWORD_BYTES as PASSWORD_BYTES,
    connect_response as connect_response,
    event_frame as event_frame,
    event_frames as event_frames,
    outcome_body as outcome_body,
    refusal_frame as refusal_frame,
    reply_frame as reply_frame,
    session_gone as session_gone,
)
from .request import Request as Request, RequestIds as RequestIds
from .routing import ROUTES as ROUTES, Route as Route, route as route
from .slices import Sliced as Sliced
from .state import FrozenState as FrozenState, State as State, StateRowsError as StateRowsError
from .throttle import LargeRequests as LargeRequests, Throttle as Throttle
from .upgrade import makes_ephemeral as makes_ephemeral
from .upkeep import Upkeep as Upkeep, UpkeepRules as UpkeepRules
