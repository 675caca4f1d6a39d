"""The server, on trio: moves bytes, entries and time between parts that decide, and decides next to nothing itself.

May import: everything below (model, metrics, wire, zab, storage, tree, sessions, pipeline, admin); trio. Threads only
in disk.py and where trio lends them.
Imported by: zabpy.testing, zabpy.__main__, zabpy.dev; by those only through the names below and those of config.py.
Read main.py first (the parts, and `settle`, the end of every turn), then the way of a write: transport.py,
connection.py, driver.py, disk.py and peers.py, back through driver.py to clients.py and connection.py. How a client
comes by its session is handshake.py.
"""

from .clock import Clock as Clock, SystemClock as SystemClock, TrioClock as TrioClock
from .config import Config as Config, load as load, parse as parse
from .config_text import ConfigError as ConfigError
from .disk import DiskFailedError as DiskFailedError
from .log import Log as Log
from .main import CannotListenError as CannotListenError, Server as Server, serve as serve
from .transport import (
    Channel as Channel,
    EpollNetwork as EpollNetwork,
    Handler as Handler,
    Listener as Listener,
    Network as Network,
    StreamNetwork as StreamNetwork,
)
