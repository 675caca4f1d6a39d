"""What a shell is to be like: the answer of options, environment and profile together."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .credentials import Identity, Tls, client_settings
from .names import command_named

if TYPE_CHECKING:
    from .shell import Asker

SERVERS = "127.0.0.1:2181"
TIMEOUT_MS = 15_000


@dataclass
class Rules:
    """What may be done here. ``yes``: nothing is asked. ``name``: of the cluster, to be typed if ``confirm_name``.
    ``forbid``: commands that are refused, by any of their names. ``stays_read_only``: not the profile has it so but the
    person, who means all clusters that this shell goes to. ``yes_is_by_name``: it was said by the cluster's name, so of
    no other one."""

    read_only: bool = False
    yes: bool = False
    confirm_name: bool = False
    name: str = ""
    forbid: frozenset[str] = frozenset()
    stays_read_only: bool = False
    yes_is_by_name: bool = False

    def forbids(self, name: str) -> bool:
        """Whether the command of this name is refused."""
        return bool(self.forbid) and command_named(name) in map(command_named, self.forbid)


@dataclass
class Settings:
    """``colour``: auto, always or never. ``remarks``: what should be said at the start."""

    servers: str = SERVERS
    #: The profile's name; empty without one.
    profile: str = ""
    format: str = "table"
    colour: str = "auto"
    timeout_ms: int = TIMEOUT_MS
    rules: Rules = field(default_factory=Rules)
    #: For `zabpy.connect`, as it is.
    client: dict[str, Any] = field(default_factory=dict)
    auth: list[Identity] = field(default_factory=list)
    sasl: Identity | None = None
    tls: Tls | None = None
    #: Styles by name, for the prompt.
    colors: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    async def for_client(self, asker: "Asker") -> dict[str, Any]:
        """For `zabpy.connect`, with the passwords, which may have to be asked for. Raises `ShellError`."""
        return {**self.client, **await client_settings(self.auth, self.sasl, self.tls, asker)}
