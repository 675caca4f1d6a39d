"""The config store: a namespace of the tree that changes by commits, each read whole or not at all.

May import: zabpy.model, zabpy.client, zabpy.recipes; anyio; cryptography, jinja2, jsonschema and yaml inside what needs
them.
Imported by: users, zabpy.blocking, the shell. ``import zabpy`` loads nothing of it.
"""

from .binding import Binder as Binder
from .cache import CacheError as CacheError
from .errors import (
    BadNameError as BadNameError,
    CanaryError as CanaryError,
    CommitTooLargeError as CommitTooLargeError,
    ConfigError as ConfigError,
    ConflictError as ConflictError,
    DamagedError as DamagedError,
    StaleBaseError as StaleBaseError,
    UnknownRevisionError as UnknownRevisionError,
)
from .files import (
    BadFilesError as BadFilesError,
    files_of as files_of,
    lines_of as lines_of,
    read_folder as read_folder,
    read_lines as read_lines,
    write_folder as write_folder,
)
from .history import Change as Change, Record as Record, Revision as Revision
from .layers import (
    DEFAULT as DEFAULT,
    Explanation as Explanation,
    Layer as Layer,
    Merged as Merged,
    Reveal as Reveal,
    Said as Said,
    Setting as Setting,
    explain as explain,
    merge as merge,
)
from .live import Changes as Changes, Config as Config, NotReadyError as NotReadyError
from .reading import NoConfigStoreError as NoConfigStoreError, read as read
from .render import (
    Given as Given,
    Plan as Plan,
    Renderer as Renderer,
    RenderError as RenderError,
    Template as Template,
    load_plan as load_plan,
)
from .schema import BadSchemaError as BadSchemaError, Schema as Schema
from .secrets import (
    Keyring as Keyring,
    KeySourceError as KeySourceError,
    SecretError as SecretError,
    Secrets as Secrets,
    key_line as key_line,
)
from .store import (
    KEPT as KEPT,
    Kept as Kept,
    Reader as Reader,
    Secret as Secret,
    Store as Store,
    Wanted as Wanted,
)
from .update import ABSENT as ABSENT, Difference as Difference, Update as Update
from .values import (
    ENCRYPTED as ENCRYPTED,
    BadDocumentError as BadDocumentError,
    BadSettingsError as BadSettingsError,
    Problem as Problem,
    as_text as as_text,
    dotted as dotted,
    env_form as env_form,
    is_document as is_document,
    parse as parse,
)
