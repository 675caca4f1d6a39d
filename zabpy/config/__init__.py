"""The config store: a namespace of the tree that changes by commits, each read whole or not at all.

May import: zabpy.model, zabpy.client, zabpy.recipes; anyio; cryptography, jinja2, jsonschema and yaml inside what needs
them.
Imported by: users, zabpy.blocking, the shell. ``import zabpy`` loads nothing of it.
"""

from .binding import Binder as Binder
from .cache import CacheError as CacheError
from .errors import ConfigError as ConfigError
from .layers import (
    Explanation as Explanation,
    Layer as Layer,
    Merged as Merged,
    Reveal as Reveal,
    Said as Said,
    Setting as Setting,
)
from .live import Changes as Changes, Config as Config, NotReadyError as NotReadyError
from .reading import NoConfigStoreError as NoConfigStoreError
from .update import ABSENT as ABSENT, Difference as Difference, Update as Update
from .values import BadSettingsError as BadSettingsError, Problem as Problem
