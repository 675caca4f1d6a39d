"""What a shell is to be like: the answer of options, environment and profile together."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Rules:
    """What may be done here. ``yes``: nothing is asked. ``name``: of the cluster, to be typed if ``confirm_name``."""

    read_only: bool = False
    yes: bool = False
    confirm_name: bool = False
    name: str = ""


@dataclass
class Settings:
    """``client`` goes to `zabpy.connect` as it is. ``colour``: auto, always or never."""

    servers: str = "127.0.0.1:2181"
    #: The profile's name; empty without one.
    profile: str = ""
    format: str = "table"
    colour: str = "auto"
    timeout_ms: int = 15_000
    rules: Rules = field(default_factory=Rules)
    client: dict[str, Any] = field(default_factory=dict)
