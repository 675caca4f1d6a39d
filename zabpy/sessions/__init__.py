"""The sessions: which there are, the same on every replica; which only one server knows; who was silent too long.

May import: zabpy.model; of the standard library neither clock, random, socket, file, thread nor logging.
Imported by: zabpy.pipeline, zabpy.server, zabpy.testing; by those only through the names below.
"""

from .expiry import Expiry as Expiry
from .local import (
    LocalSessions as LocalSessions,
    is_local_id as is_local_id,
    origin_of_session as origin_of_session,
)
from .table import Row as Row, Session as Session, SessionRowsError as SessionRowsError, SessionTable as SessionTable
