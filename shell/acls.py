"""Access control lists as text: ``world:anyone:cdrwa,digest:bob:HASH:r``, as zkCli.sh reads them; and in words."""

import re
from functools import lru_cache

from zabpy.model import ADMIN, CREATE, DELETE, READ, WRITE, Acl, Acls, perms_of

from .problems import UsageError

#: A digest's id, as far as it is no hash: somebody has typed the password itself.
PASSWORD = re.compile(r"(?P<user>\b(?:digest|super):[^:,\s]*:)(?![A-Za-z0-9+/]{27}=(?:[:,]|$))[^:,]+")
#: In zkCli.sh's order.
LETTERS = {"c": CREATE, "d": DELETE, "r": READ, "w": WRITE, "a": ADMIN}
WORDS = {"c": "create", "d": "delete", "r": "read", "w": "write", "a": "administer"}
_ENTRY = re.compile(r"(?P<scheme>[^:,]+):(?P<id>.*):(?P<perms>[cdrwa]*)", re.DOTALL)


def parse_acl(text: str) -> Acls:
    """The entries of ``SCHEME:ID:PERMISSIONS,...``. A comma within an id, as ``x509`` has them, parts nothing.

    Raises:
        UsageError: it says which entry is none, and why.
    """
    found: list[Acl] = []
    piece = ""
    for part in text.split(","):
        piece = f"{piece},{part}" if piece else part
        if _ENTRY.fullmatch(piece):
            found.append(_entry(piece))
            piece = ""
    if piece or not found:
        raise UsageError(
            f"{hidden(piece) or repr(text)}: expected SCHEME:ID:PERMISSIONS with letters of cdrwa,"
            " such as world:anyone:cdrwa"
        )
    return tuple(found)


def hidden(text: str) -> str:
    """An ACL in a complaint: a password that stands where the hash of one should is not shown."""
    return PASSWORD.sub(r"\g<user>***", text)


def _entry(text: str) -> Acl:
    match = _ENTRY.fullmatch(text)
    assert match is not None
    if not match["perms"]:
        raise UsageError(f"{hidden(text)}: no permission; at least one letter of cdrwa is expected")
    return Acl(perms_of(match["perms"]), match["scheme"], match["id"])


def letters_of(perms: int) -> str:
    """``cdrwa``."""
    return "".join(letter for letter, bit in LETTERS.items() if perms & bit)


def entry_text(acl: Acl) -> str:
    return f"{acl.scheme}:{acl.id}:{letters_of(acl.perms)}"


@lru_cache(1024)
def acl_text(acls: Acls) -> str:
    """What `parse_acl` reads."""
    return ",".join(map(entry_text, acls))


def in_words(acl: Acl) -> str:
    """``anyone may read and write``."""
    match acl.scheme:
        case "world":
            who = "anyone"
        case "auth":
            who = "whoever sets it"
        case "digest":
            who = f"user {acl.id.partition(':')[0]} with their password"
        case "ip":
            who = f"connections from {acl.id}"
        case "sasl":
            who = f"{acl.id}, logged in by SASL"
        case "x509":
            who = f"the certificate of {acl.id}"
        case _:
            who = f"{acl.scheme} {acl.id}"
    verbs = [word for letter, word in WORDS.items() if acl.perms & LETTERS[letter]]
    if len(verbs) == len(WORDS):
        return f"{who} may do all"
    if not verbs:
        return f"{who} may do nothing"
    return f"{who} may {', '.join(verbs[:-1])}{' and ' if verbs[1:] else ''}{verbs[-1]}"
