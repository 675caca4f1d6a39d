"""The client. Works on zabpy and on Apache ZooKeeper; driven by anyio, so under trio and asyncio alike.

May import: zabpy.model, zabpy.wire; anyio; scramp, for who logs in by SCRAM. No trio or asyncio type stands in a public
signature.
Imported by: users through `zabpy`, zabpy.recipes, zabpy.blocking, zabpy.bench, the shell.
Read session.py and core.py first (sessions without I/O), then login.py, watches.py, connection.py (its driver),
client.py (what users hold), and what it is made of: operations.py, watching.py. How servers are reached: hosts.py,
dialling.py, failures.py, tls.py; who we are to them: sasl.py; which of them: following.py, seeking.py.
"""

from zabpy.wire import CLIENT_FRAME_BYTES_MAX as CLIENT_FRAME_BYTES_MAX, Op as Op, records as records

from .asking import LostReply as LostReply
from .call import Call as Call
from .client import Client as Client
from .dialling import Dial as Dial, TcpDial as TcpDial, TlsDial as TlsDial
from .errors import (
    ClientError as ClientError,
    ClosedClientError as ClosedClientError,
    ConnectionLossError as ConnectionLossError,
    ForkedClientError as ForkedClientError,
    NameLostError as NameLostError,
    NoServerError as NoServerError,
    ProtocolError as ProtocolError,
    ReplyTooLargeError as ReplyTooLargeError,
    RequestTooLargeError as RequestTooLargeError,
    SessionLostError as SessionLostError,
    TransactionFailedError as TransactionFailedError,
    UnknownCodeError as UnknownCodeError,
    WrongLoopError as WrongLoopError,
)
from .events import (
    Changed as Changed,
    ChildrenChanged as ChildrenChanged,
    Created as Created,
    Deleted as Deleted,
    Event as Event,
    Resynced as Resynced,
)
from .failures import failure_of as failure_of
from .hosts import Host as Host, parse_hosts as parse_hosts, parse_servers as parse_servers
from .ledger import SLOT_PREFIX as SLOT_PREFIX
from .operations import EnsembleConfig as EnsembleConfig, NewZnode as NewZnode, Znode as Znode
from .sasl import Digest as Digest, Sasl as Sasl, Scram as Scram
from .session import Session as Session
from .settings import Settings as Settings
from .states import State as State
from .tls import TLS as TLS, context_of as context_of
from .transaction import Transaction as Transaction
from .trees import in_parallel as in_parallel
from .watching import EventStream as EventStream, Fired as Fired
