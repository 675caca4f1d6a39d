"""Permissions: may these identities do this here, and which lists may be stored. Rules: ZooKeeper's."""

import re
from collections.abc import Collection, Sequence
from functools import lru_cache
from ipaddress import IPv6Address

from zabpy.model import OPEN_ACL, Acl, Acls, Identity, InvalidAclError, MarshallingError

#: Schemes whose identities stand for ``auth`` in a list: those that somebody has proved.
_AUTHENTICATED = frozenset(("digest", "x509", "sasl"))
#: What may stand in a list unless more has been switched on.
DEFAULT_SCHEMES = frozenset(("world", "auth", "digest", "ip"))
#: Identity of every client of a server whose configuration switches lists off (``skipACL``). Shown to nobody.
ACLS_ARE_OFF = Identity("super", "skipACL")
#: Scheme of an identity of clients that SASL let in, where the configuration lets all of them do what one ACL id may:
#: its id is that one (``letAnySaslUserDoX``). It is shown to nobody and stands in no list.
ANY_SASL_USER = "letAnySaslUserDoX"
# What `X500Principal` of Java 17 takes: its keywords or an object id, and values that are plain, quoted or in hex.
# Possessive throughout: a client chooses the text, and no text may take longer than its length.
_X500_KEY = (
    r"(?:CN|C|L|ST?|OU?|T|IP|STREET|DC|DNQ(?:UALIFIER)?|SURNAME|GIVENNAME|INITIALS|GENERATION|EMAILADDRESS|UID"
    r"|SERIALNUMBER|(?:OID\.)?[0-2](?:\.[0-9]++)++)"
)
_X500_VALUE = r'(?:#(?:[0-9A-F]{2})++\s*+|"(?:[^"\\]|\\.)*+"\s*+|(?!#)(?:[^,;+"\\]|\\.)*+)'
_X500_PART = rf"\s*+{_X500_KEY}\s*+=\s*+{_X500_VALUE}"
_X500_NAME = re.compile(rf"(?:{_X500_PART}(?:[,;+]{_X500_PART})*+)?", re.DOTALL | re.IGNORECASE | re.ASCII)
#: A principal of Kerberos. A name without ``@`` is any text.
_PRINCIPAL = re.compile(r"[^/@]*(?:/[^/@]*)?@[^/@]*")
#: Beyond it nothing is a network: what has been read is kept, and must not be large.
_NETWORK_CHARS_MAX = 128
_INTEGER = re.compile(r"\+?[0-9]{1,40}")


def allowed(acl: Acls, perms: int, identities: Collection[Identity]) -> bool:
    """Whether any entry that has any of the bits ``perms`` matches any of ``identities``.

    An empty list lets everybody do everything, and so does an identity of the scheme ``super``.
    """
    if acl is OPEN_ACL or not acl:  # nearly always
        return True
    for scheme, _ in identities:
        if scheme == "super":
            return True
    if len(acl) > _SHORT:
        return _INDEXES.of(acl).allows(perms, identities)
    for granted, scheme, id in acl:
        if granted & perms:
            if scheme == "world":
                if id == "anyone":
                    return True
                continue
            for identity in identities:
                if identity[0] == scheme and (identity[1] == id or _matches(scheme, id, identity[1])):
                    return True
            if scheme == "sasl" and (ANY_SASL_USER, id) in identities:
                return True
    return False


class _Index:
    """A long list, so that a question costs the identities and not the entries: a client may send a list of 30,000, and
    be 500 identities."""

    __slots__ = ("_exact", "_networks", "_sasl", "acl")

    def __init__(self, acl: Acls) -> None:
        self.acl = acl
        #: Permissions by scheme and id; of anybody whom SASL let in; by a network's width, bits and number.
        self._exact: dict[tuple[str, str], int] = {}
        self._sasl = 0
        self._networks: dict[tuple[int, int], dict[int, int]] = {}
        exact = self._exact
        for granted, scheme, id in acl:
            key = (scheme, id)
            exact[key] = exact.get(key, 0) | granted
            if scheme == "sasl":
                self._sasl |= granted
            elif scheme == "ip" and len(id) <= _NETWORK_CHARS_MAX and (network := _network(id)) is not None:
                width, bits, number = network
                numbers = self._networks.setdefault((width, bits), {})
                number >>= width - bits
                numbers[number] = numbers.get(number, 0) | granted

    def allows(self, perms: int, identities: Collection[Identity]) -> bool:
        """As `allowed`, but for identities of the scheme ``super``."""
        granted_to = self._exact.get
        if granted_to(("world", "anyone"), 0) & perms:
            return True
        for identity in identities:
            scheme, id = identity
            if scheme != "world" and granted_to(identity, 0) & perms:
                return True
            if scheme == "sasl" and id == "super" and self._sasl & perms:
                return True
            if scheme == ANY_SASL_USER and granted_to(("sasl", id), 0) & perms:
                return True
            if scheme == "ip" and self._networks and self._names_address(perms, id):
                return True
        return False

    def _names_address(self, perms: int, address: str) -> bool:
        mine = _network(address)
        if mine is None:
            return False
        width, _, number = mine
        return any(
            numbers.get(number >> (width - bits), 0) & perms
            for (family, bits), numbers in self._networks.items()
            if family == width
        )


class _Indexes:
    """Of the lists that were asked last, so many entries together."""

    def __init__(self, entries_max: int) -> None:
        self._entries_max, self._entries = entries_max, 0
        #: By the `id` of the list, which its index keeps alive; the one that was used last stands last.
        self._kept: dict[int, _Index] = {}

    def of(self, acl: Acls) -> _Index:
        kept = self._kept
        index = kept.pop(id(acl), None)
        if index is None:
            index = _Index(acl)
            self._entries += len(acl)
            while kept and self._entries > self._entries_max:
                self._entries -= len(kept.pop(next(iter(kept))).acl)
        kept[id(acl)] = index
        return index


#: Lists of so many entries are gone through one by one.
_SHORT = 32
_INDEXES = _Indexes(entries_max=300_000)  # of about 200 bytes each


def normalize(
    acls: Sequence[Acl] | None, identities: Collection[Identity], schemes: Collection[str] = DEFAULT_SCHEMES
) -> Acls:
    """The list to store for the list a client gave: no duplicates, ``auth`` expanded to the client's identities.

    Raises:
        MarshallingError: a null id (None, whatever the type says) of a scheme that looks at it, as in ZooKeeper.
        InvalidAclError: no list, no entry, an unknown scheme, an id its scheme rejects, or ``auth`` by nobody.
    """
    if not acls:
        raise InvalidAclError("no access control list")
    if len(acls) == 1 and acls[0] == OPEN_ACL[0]:
        return OPEN_ACL
    proved = _AUTHENTICATED.intersection(schemes)
    result: list[Acl] = []
    for entry in dict.fromkeys(acls):
        perms, scheme, id = entry
        if scheme not in schemes:
            raise InvalidAclError(f"{scheme!r} is no scheme for access control lists here")
        if scheme == "auth":
            mine = [Acl(perms, *identity) for identity in identities if identity.scheme in proved]
            if not mine:
                raise InvalidAclError("'auth' from a client that has not authenticated")
            result += mine
        elif id is None:
            raise MarshallingError(f"null id of the scheme {scheme!r}")
        elif not _VALID[scheme](id):
            raise InvalidAclError(f"{id!r} is no id of the scheme {scheme!r}")
        else:
            result.append(entry)
    return tuple(result)


def masked(acl: Acls) -> Acls:
    """The list as those see it who may not administer: without the hashes of passwords."""
    return tuple([Acl(perms, scheme, _masked_id(id) if scheme == "digest" else id) for perms, scheme, id in acl])


def _masked_id(id: str) -> str:
    user, colon, _ = id.partition(":")
    return f"{user}:x" if colon else id


def _matches(scheme: str, id: str, identity_id: str) -> bool:
    # Equality was tried before.
    if scheme == "ip" and len(id) <= _NETWORK_CHARS_MAX:
        network, address = _network(id), _network(identity_id)
        if network is None or address is None or network[0] != address[0]:
            return False
        width, bits, number = network
        return number >> (width - bits) == address[2] >> (width - bits)
    return scheme == "sasl" and identity_id == "super"


@lru_cache(maxsize=4096)
def _network(text: str) -> tuple[int, int, int] | None:
    """``address[/bits]`` as (width of its family, bits, address as a number), None if it is not one."""
    name, slash, length = text.partition("/")
    if ":" in name:
        try:
            width, number = 128, int(IPv6Address(name))
        except ValueError:
            return None
    else:
        parts = name.split(".", 4)
        if len(name) <= 15 and name.isascii() and all(map(str.isdecimal, parts)):  # nearly always
            bytes_ = [*map(int, parts)]
        else:
            bytes_ = [_integer(part) for part in parts]
        if len(bytes_) != 4 or not all(0 <= each <= 255 for each in bytes_):
            return None
        width, number = 32, int.from_bytes(bytes_, "big")
    bits = _integer(length) if slash else width
    return (width, bits, number) if 0 <= bits <= width else None


def _integer(text: str) -> int:
    """As Java reads a number: zeros and a ``+`` in front change nothing (``010`` is ten). -1 if it is none."""
    return int(text) if _INTEGER.fullmatch(text) else -1


def _is_digest(id: str) -> bool:
    return id.rstrip(":").count(":") == 1  # Java's split: what is empty at the end does not count


def _is_network(id: str) -> bool:
    return len(id) <= _NETWORK_CHARS_MAX and _network(id) is not None


def _is_x500_name(id: str) -> bool:
    return not id or _X500_NAME.fullmatch(id) is not None  # Java has a name without parts too


def _is_sasl_name(id: str) -> bool:
    return "@" not in id or _PRINCIPAL.fullmatch(id) is not None


#: Scheme to what an id of it looks like.
_VALID = {
    "world": "anyone".__eq__,
    "digest": _is_digest,
    "ip": _is_network,
    "x509": _is_x500_name,
    "sasl": _is_sasl_name,
}
