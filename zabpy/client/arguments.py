"""What operations are given, looked at before anything is sent: what cannot be is a `BadArgumentsError` at once."""

from collections.abc import Iterable, Sequence

from zabpy.model import OPEN_ACL, Acl, Acls, BadArgumentsError

VERSION_MIN, VERSION_MAX = -(2**31), 2**31 - 1


def bad(what: str, operation: str, path: str | None) -> BadArgumentsError:
    """It says of which operation it is."""
    error = BadArgumentsError(f"{operation}: {what}" if path is None else f"{operation} {path}: {what}")
    error.operation, error.path = operation, path
    return error


def as_data(data: object, operation: str, path: str) -> bytes | None:
    """Not text, above all."""
    if data is None or isinstance(data, bytes):
        return data
    if isinstance(data, bytearray | memoryview):
        return bytes(data)
    raise bad(f"data is bytes, not {type(data).__name__}; text is to be encoded", operation, path)


def as_acls(acl: object, operation: str, path: str) -> Acls:
    if acl is None or acl is OPEN_ACL:
        return OPEN_ACL
    acls: list[Acl] = []
    for each in acl if isinstance(acl, Iterable) else (acl,):
        if not isinstance(each, Acl):
            raise bad(f"an ACL consists of Acl, not of {each!r}", operation, path)
        acls.append(each)
    return tuple(acls)


def as_version(version: object, operation: str, path: str | None) -> int:
    if type(version) is not int or not VERSION_MIN <= version <= VERSION_MAX:
        raise bad(f"a version is a whole number of 32 bits, not {version!r}", operation, path)
    return version


def as_config_version(version: object) -> int:
    """That of a configuration is the zxid of the change that made it."""
    if type(version) is not int or not -(2**63) <= version < 2**63:
        raise bad(f"the version of a configuration is a whole number of 64 bits, not {version!r}", "reconfig", None)
    return version


def check_lost_reply(lost_reply: object, operation: str, path: str | None, allowed: Sequence[str]) -> None:
    if lost_reply not in allowed:
        words = [repr(each) for each in allowed]
        raise bad(f"lost_reply is to be {', '.join(words[:-1])} or {words[-1]}, not {lost_reply!r}", operation, path)
