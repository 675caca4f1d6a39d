"""One instance of a service as it stands in its znode: the JSON of Curator's x-discovery, field for field."""

import json
from dataclasses import dataclass, field
from typing import Any, Final

from .arguments import bad

#: Our field to Curator's. Its serializer refuses a field that it does not know, so there is no other.
FIELDS: Final[dict[str, str]] = {
    "name": "name",
    "id": "id",
    "address": "address",
    "port": "port",
    "ssl_port": "sslPort",
    "payload": "payload",
    "registered_ms": "registrationTimeUTC",
    "service_type": "serviceType",
    "uri_spec": "uriSpec",
    "enabled": "enabled",
}
SERVICE_TYPES: Final = ("DYNAMIC", "STATIC", "PERMANENT", "DYNAMIC_SEQUENTIAL")
Kind = type | tuple[type, ...]
KINDS: Final[dict[str, Kind]] = {
    "name": str,
    "id": str,
    "address": (str, type(None)),
    "port": (int, type(None)),
    "ssl_port": (int, type(None)),
    "registered_ms": int,
    "service_type": str,
    "enabled": bool,
}


@dataclass(frozen=True, slots=True)
class ServiceInstance:
    """Where one instance of a service is to be found.

    ``id`` is its own among the instances of ``name``. ``payload`` is any JSON value; Java's readers need an ``@class``
    in an object that shall be one of theirs. ``registered_ms``: since 1970. Not ``enabled``: present, but not to be
    chosen. ``uri_spec`` is kept as it is.
    """

    name: str
    id: str
    address: str | None = None
    port: int | None = None
    ssl_port: int | None = None
    payload: Any = field(default=None, hash=False)
    registered_ms: int = 0
    service_type: str = "DYNAMIC"
    uri_spec: Any = field(default=None, hash=False)
    enabled: bool = True

    def __post_init__(self) -> None:
        """Raises `BadArgumentsError` for what could not be read again."""
        for name, kind in KINDS.items():
            value = getattr(self, name)
            if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
                raise bad(f"{name} of a service instance cannot be {value!r}", "ServiceInstance")
        for name, part in (("name", self.name), ("id", self.id)):
            if not part or "/" in part:
                raise bad(f"{name} of a service instance cannot be {part!r}: it is a part of a path", "ServiceInstance")
        for port in (self.port, self.ssl_port):
            if port is not None and not 0 <= port <= 65535:
                raise bad(f"no port: {port}", "ServiceInstance")
        if self.service_type not in SERVICE_TYPES:
            raise bad(
                f"service_type is one of {', '.join(SERVICE_TYPES)}, not {self.service_type!r}", "ServiceInstance"
            )

    def to_json(self) -> bytes:
        """Raises `TypeError` if the payload is no JSON value."""
        return json.dumps({theirs: getattr(self, ours) for ours, theirs in FIELDS.items()}).encode()

    @classmethod
    def from_json(cls, data: bytes) -> "ServiceInstance":
        """Raises `BadArgumentsError` if that is no instance. Fields that it does not have are left at what they are
        without a word, as Curator's older versions leave some out; fields that we do not know are passed over."""
        try:
            found = json.loads(data)
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise bad(f"no service instance, for it is no JSON: {error}", "ServiceInstance") from None
        if not isinstance(found, dict):
            raise bad(f"no service instance: {data[:80]!r}", "ServiceInstance")
        if missing := [name for name in ("name", "id") if name not in found]:
            raise bad(f"no service instance, for it has no {missing[0]}: {data[:80]!r}", "ServiceInstance")
        return cls(**{ours: found[theirs] for ours, theirs in FIELDS.items() if theirs in found})
