"""The znodes: deterministic; the same entries in, the same tree out.

May import: zabpy.model; of the standard library neither clock, random, socket, file, thread nor logging.
Imported by: zabpy.pipeline, zabpy.server, zabpy.testing; by those only through the names below.
Read tree.py first, then znode.py and watches.py; rows.py and digest.py are the tree on its way to a snapshot.
"""

from .digest import digest_of as digest_of
from .ephemerals import Ephemerals as Ephemerals
from .lifetimes import Lifetimes as Lifetimes
from .permissions import (
    ACLS_ARE_OFF as ACLS_ARE_OFF,
    ANY_SASL_USER as ANY_SASL_USER,
    DEFAULT_SCHEMES as DEFAULT_SCHEMES,
    allowed as allowed,
    masked as masked,
    normalize as normalize,
)
from .quota import QUOTA_PATH as QUOTA_PATH, Exceeded as Exceeded, Quotas as Quotas, Usage as Usage
from .rows import Row as Row, RowsError as RowsError, row_of as row_of
from .tree import (
    CHILDREN_CHANGED as CHILDREN_CHANGED,
    CONFIG_PATH as CONFIG_PATH,
    CREATED as CREATED,
    DATA_CHANGED as DATA_CHANGED,
    DELETED as DELETED,
    Event as Event,
    Frozen as Frozen,
    Outcome as Outcome,
    Tree as Tree,
)
from .watches import (
    ANY_WATCH as ANY_WATCH,
    CHILD_WATCH as CHILD_WATCH,
    DATA_WATCH as DATA_WATCH,
    PERSISTENT_WATCH as PERSISTENT_WATCH,
    RECURSIVE_WATCH as RECURSIVE_WATCH,
    Watches as Watches,
)
from .znode import Znode as Znode
