"""What recipes are given, looked at before anything is sent: what cannot be is a `BadArgumentsError` at once.

One rule for all of them: an argument that cannot be is a `BadArgumentsError`, which is a `ValueError` and says of which
call and path it is; an object that is used out of its turn (entered twice, asked before ``async with``) is a
`RuntimeError`.
"""

from collections.abc import Iterable

from zabpy.model import BadArgumentsError, validate


def bad(what: str, operation: str, path: str | None = None) -> BadArgumentsError:
    """It says of which call it is: ``lock /jobs/daily: a delay of -1 ms``."""
    error = BadArgumentsError(f"{operation}: {what}" if path is None else f"{operation} {path}: {what}")
    error.operation, error.path = operation, path
    return error


def check_path(path: object, operation: str) -> None:
    if not isinstance(path, str):
        raise bad(f"a path is a str, not {path!r}", operation)
    try:
        validate(path)
    except BadArgumentsError as error:
        raise bad(str(error), operation, path) from None


def check_timeout(timeout_ms: object, path: str | None) -> None:
    if timeout_ms is not None and (type(timeout_ms) is not int or timeout_ms < 0):
        raise bad(f"timeout_ms={timeout_ms!r}: whole milliseconds from 0 on, or None, are expected", "acquire", path)


def check_at_least(name: str, value: object, least: int, operation: str, path: str | None) -> None:
    if type(value) is not int or value < least:
        raise bad(f"{name}={value!r}: a whole number from {least} on is expected", operation, path)


def check_one_of(name: str, value: object, allowed: Iterable[str], operation: str, path: str | None) -> None:
    words = list(allowed)
    if value not in words:
        raise bad(f"{name}={value!r}: one of {', '.join(words)} is expected", operation, path)


def check_data(data: object, operation: str, path: str | None) -> None:
    """Not text, above all."""
    if not isinstance(data, bytes | bytearray | memoryview):
        raise bad(f"data is bytes, not {type(data).__name__}; text is to be encoded", operation, path)
