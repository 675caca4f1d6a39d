"""What goes wrong, as one line for a person and as an exit status for a script. One table for all commands."""

import sys

import anyio
import click

from zabpy.client import (
    ClosedClientError,
    ConnectionLossError,
    NoServerError,
    ProtocolError,
    ReplyTooLargeError,
    RequestTooLargeError,
    SessionLostError,
    TransactionFailedError,
)
from zabpy.model import (
    AuthFailedError,
    BadArgumentsError,
    BadVersionError,
    CodeError,
    NoAuthError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    QuotaExceededError,
    ZabpyError,
)

from .errors import ShellError as ShellError, Status as Status, UsageError as UsageError
from .looks import quotable

STATUS_OF: dict[type[Exception], Status] = {
    NoNodeError: Status.NO,
    BadArgumentsError: Status.USAGE,
    RequestTooLargeError: Status.USAGE,
    click.UsageError: Status.USAGE,
    BadVersionError: Status.CONFLICT,
    NodeExistsError: Status.CONFLICT,
    NotEmptyError: Status.CONFLICT,
    NoAuthError: Status.DENIED,
    AuthFailedError: Status.DENIED,
    NoServerError: Status.CONNECTION,
    ConnectionLossError: Status.CONNECTION,
    SessionLostError: Status.CONNECTION,
    ClosedClientError: Status.CONNECTION,
    ProtocolError: Status.CONNECTION,
    TimeoutError: Status.TIMEOUT,
    BrokenPipeError: Status.PIPE,
    anyio.BrokenResourceError: Status.PIPE,
}
#: What an operation needs, and whether on the znode's parent: for "permission denied".
NEEDS = {
    "create": ("CREATE", True),
    "delete": ("DELETE", True),
    "set": ("WRITE", False),
    "get": ("READ", False),
    "children": ("READ", False),
    "exists": ("READ", False),
    "count_descendants": ("READ", False),
    "get_acl": ("READ or ADMIN", False),
    "get_acl_many": ("READ or ADMIN", False),
    "get_many": ("READ", False),
    "children_many": ("READ", False),
    "set_acl": ("ADMIN", False),
}


#: What the client tells a program to do about it, as a person does it here.
SPELT = {
    "give one with TLS(certificate=...)": "give one with --tls-cert, or tls.certificate in the profile",
    "connect with tls=True or a TLS(...)": "say --tls, or tls in the profile",
}


def spelt(text: str) -> str:
    for there, here in SPELT.items():
        text = text.replace(there, here)
    return text


def status_of(error: BaseException) -> int:
    if isinstance(error, ShellError):
        return error.status
    if isinstance(error, TransactionFailedError):
        return status_of(error.error)
    for kind, status in STATUS_OF.items():
        if isinstance(error, kind):
            return status
    # Those of the recipes, which few commands need: where they are not loaded, it is none of them.
    if (recipes := sys.modules.get("zabpy.recipes")) is not None:
        if isinstance(error, recipes.LostError):
            return Status.LOST
        if isinstance(error, recipes.LeasesMaxError):
            return Status.CONFLICT
    return Status.FAILED


def told(error: BaseException) -> str | None:
    """The one line that says what went wrong; None for what is a bug of ours and deserves its traceback."""
    if isinstance(error, click.UsageError):
        return error.format_message().rstrip(".")
    if isinstance(error, NoAuthError) and error.path is not None:
        return f"{quotable(error.path)}: permission denied: {_needed(error)}"
    if isinstance(error, NoNodeError) and error.path is not None:
        return f"{quotable(error.path)}: no such znode"
    if isinstance(error, NodeExistsError) and error.path is not None:
        return f"{quotable(error.path)}: exists already"
    if isinstance(error, NotEmptyError) and error.path is not None:
        return f"{quotable(error.path)}: has children; rm -r deletes them with it"
    if isinstance(error, QuotaExceededError) and error.path is not None:
        return f"{quotable(error.path)}: a quota does not allow it; quota / shows them"
    if isinstance(error, BadVersionError) and error.path is not None:
        return f"{quotable(error.path)}: has another version than the one given; somebody changed it"
    if isinstance(error, ReplyTooLargeError) and error.operation.startswith("children"):
        where = quotable(error.path or "/")
        return (
            f"{where}: the names of its children are {error.size:,} bytes, and {error.limit:,} are the most that is"
            f" taken in an answer; stat and count say how many there are, and what is below by a name that is known can"
            f" be read and deleted"
        )
    if isinstance(error, BrokenPipeError | anyio.BrokenResourceError):
        return ""
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)
    if isinstance(error, CodeError):
        return str(error) or error.name
    if isinstance(error, ShellError | ZabpyError):
        return spelt(str(error))
    return None


def _needed(error: NoAuthError) -> str:
    needed = NEEDS.get(error.operation)
    if needed is None or error.path is None:
        return f"{error.operation} is not allowed to this session"
    permission, of_parent = needed
    where = (error.path.rpartition("/")[0] or "/") if of_parent else error.path
    return f"{error.operation} needs {permission} on {quotable(where)}"
