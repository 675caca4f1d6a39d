"""What a certificate says of its owner: the distinguished name as Java writes it, and the hosts it is good for.

Only as much DER as that takes; whether a certificate may be trusted is OpenSSL's business. The name of a client goes
into access control lists as the scheme ``x509``, so it must be the very text that Apache's server makes of it:
`X500Principal.getName()`, which is RFC 2253 with a few choices of its own (see `_text`).
"""

from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import Any

#: The attributes that RFC 2253 has a word for (its section 2.3). All others are written as numbers and bytes.
_KEYWORDS = {
    "2.5.4.3": "CN",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "STREET",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "0.9.2342.19200300.100.1.1": "UID",
    "0.9.2342.19200300.100.1.25": "DC",
}
_SEQUENCE, _SET, _OID, _VERSION = 0x30, 0x31, 0x06, 0xA0
#: String types that Java shows as text: UTF8, Printable, T61, IA5, General and BMP. It takes them all for UTF-8, which
#: makes odd text of a BMP string, and so do we; but where they are none Java writes U+FFFD, so that many names have one
#: text, and whoever has one of them could come as all. We write bytes, as for any other type.
_TEXTS = frozenset((0x0C, 0x13, 0x14, 0x16, 0x1B, 0x1E))
_ESCAPED = frozenset(',=+<>#;"\\')


def elements(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """The DER elements that stand in ``data`` one after the other: tag, content, the whole. Raises ValueError."""
    at = 0
    while at < len(data):
        begin = at
        if len(data) < at + 2 or data[at] & 0x1F == 0x1F:
            raise ValueError("no DER")
        tag, size = data[at], data[at + 1]
        at += 2
        if size & 0x80:
            more = size & 0x7F
            if not 1 <= more <= 4 or len(data) < at + more:
                raise ValueError("no DER")
            size = int.from_bytes(data[at : at + more], "big")
            at += more
        if len(data) < at + size:
            raise ValueError("DER that ends too early")
        yield tag, data[at : at + size], data[begin : at + size]
        at += size


def inside(data: bytes, tag: int = _SEQUENCE) -> list[tuple[int, bytes, bytes]]:
    """The parts of the one element that ``data`` begins with. Raises ValueError."""
    found, content, _ = next(elements(data), (-1, b"", b""))
    if found != tag:
        raise ValueError(f"DER with tag {found:#x}, expected {tag:#x}")
    return list(elements(content))


def subject_of(certificate: bytes) -> str:
    """The subject of a certificate (DER), as `name_text`. Raises ValueError."""
    parts = inside(inside(certificate)[0][2])
    if parts and parts[0][0] == _VERSION:
        del parts[0]
    if len(parts) < 5:
        raise ValueError("a certificate without a subject")
    return name_text(parts[4][2])  # behind serial number, algorithm, issuer and validity


def name_text(name: bytes) -> str:
    """An X.501 name (DER) as Java's `X500Principal.getName()`: the last part first. Raises ValueError."""
    return ",".join("+".join(map(_attribute, inside(rdn, _SET))) for _, _, rdn in reversed(inside(name)))


def _attribute(given: tuple[int, bytes, bytes]) -> str:
    (tag, oid, _), (kind, content, whole) = inside(given[2])
    if tag != _OID:
        raise ValueError("an attribute without a type")
    number = _dotted(oid)
    keyword = _KEYWORDS.get(number)
    if keyword is None or kind not in _TEXTS:
        return f"{keyword or number}=#{whole.hex()}"
    try:
        return f"{keyword}={_text(content.decode())}"
    except UnicodeDecodeError:
        return f"{keyword}=#{whole.hex()}"


def _text(value: str) -> str:
    """Escaped as `sun.security.x509.AVA.toRFC2253String` does it, which also escapes ``=`` and every ``#``."""
    text = "".join("\\00" if char == "\0" else "\\" + char if char in _ESCAPED else char for char in value)
    body = text.lstrip(" \r")
    lead = len(text) - len(body)
    trail = len(body) - len(body.rstrip(" \r"))
    ends = [f"\\{char}" for char in text[:lead]], [f"\\{char}" for char in body[len(body) - trail :]]
    return "".join(ends[0]) + body[: len(body) - trail] + "".join(ends[1])


def _dotted(oid: bytes) -> str:
    numbers: list[int] = []
    value = 0
    for byte in oid:
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(value)
            value = 0
    if not numbers:
        raise ValueError("an empty object identifier")
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:])))


# Hosts ----------------------------------------------------------------------------------------------------------------


#: A certificate as `ssl.SSLObject.getpeercert` shows it.
Shown = Mapping[str, Any]


def hosts_of(certificate: Shown) -> tuple[str, ...]:
    """The names and addresses that a certificate is for: of its alternative names, or of its subject when it has none
    (RFC 6125, 6.4.4)."""
    alternatives = tuple(
        str(value) for kind, value in certificate.get("subjectAltName", ()) if kind in ("DNS", "IP Address")
    )
    if alternatives:
        return alternatives
    return tuple(str(value) for rdn in certificate.get("subject", ()) for kind, value in rdn if kind == "commonName")


def names_host(certificate: Shown, host: str) -> bool:
    """Whether a certificate is for ``host``, a name or an address. A star stands for one whole label, the first."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        wanted = _folded(host)
        _, _, above = wanted.partition(".")
        return any(
            name == wanted or (name.startswith("*.") and "." in above and name[2:] == above)
            for name in map(_folded, hosts_of(certificate))
        )
    for kind, value in certificate.get("subjectAltName", ()):
        if kind == "IP Address":
            try:
                if ip_address(value) == address:
                    return True
            except ValueError:
                continue  # not one that we could have been called from
    return False


def _folded(name: str) -> str:
    return name.rstrip(".").lower()
