"""The sessions: which there are, the same on every replica, and which have been silent too long, on the leader.

May import: zabpy.model; of the standard library neither clock, random, socket, file, thread nor logging.
Imported by: zabpy.pipeline, zabpy.server, zabpy.testing; by those only through the names below.
"""

from .expiry import Expiry as Expiry
from .table import Row as Row, Session as Session, SessionRowsError as SessionRowsError, SessionTable as SessionTable
