"""The zoo.cfg of each server of `zabpy.testing.Ensemble`."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from zabpy.server import Config, ConfigError, parse

from .host import Host
from .port import LOOPBACK

#: Lines of every file, before the ones a test has. Ticks are short, so that what servers notice by silence they notice
#: soon: a partition after half a second. Session timeouts may be as long as a client likes.
SETTINGS: Mapping[str, object] = MappingProxyType(
    {
        "initLimit": 50,
        "syncLimit": 5,
        "maxSessionTimeout": 3_600_000,
        "maxClientCnxns": 0,
        "4lw.commands.whitelist": "*",
        "preAllocSize": 256,
    }
)
#: What an ensemble sets itself.
OURS = frozenset({"tickTime", "dataDir", "dataLogDir", "clientPort", "clientPortAddress", "dynamicConfigFile"})


class LocalConfig:
    def __init__(self, tick_ms: int, settings: Mapping[str, object]) -> None:
        """Raises ValueError: a setting that nobody knows, that cannot be, or that the ensemble makes itself."""
        ours = [key for key in settings if key.removeprefix("zookeeper.") in OURS or key.startswith("server.")]
        if ours:
            raise ValueError(f"{', '.join(ours)}: the ensemble sets this itself")
        self._tick_ms, self._settings = tick_ms, dict(settings)
        try:
            config = parse(self._text("/data", 1, 2), path="settings")
        except ConfigError as error:
            raise ValueError(str(error)) from error
        wrong = [line for line in config.warnings if "unknown key" in line or "not served yet" in line]
        if wrong:
            raise ValueError("; ".join(wrong))

    def of(self, host: Host, members: str, directory: str) -> Config:
        text = self._text(f"{directory}/server{host.id}", host.client_port.number, host.secure_port.number)
        return parse(text + members, path=f"server{host.id}.cfg", server_id=host.id)

    def _text(self, data: str, client_port: int, secure_port: int) -> str:
        lines = {
            "tickTime": self._tick_ms,
            "dataDir": data,
            "clientPort": client_port,
            "clientPortAddress": LOOPBACK,
            **SETTINGS,
            **self._settings,
        }
        if "secureClientPort" in lines:
            lines["secureClientPort"] = secure_port
        texts = {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in lines.items()}
        return "".join(f"{key}={value}\n".replace("\\", "\\\\") for key, value in texts.items())


def members_of(hosts: Sequence[Host], voters: int) -> str:
    """The lines ``server.N``; none for a lone server, which is standalone."""
    if len(hosts) == 1:
        return ""
    return "".join(
        f"server.{host.id}={LOOPBACK}:{host.peer_port.number}:{host.peer_port.number}"
        f":{'participant' if host.id <= voters else 'observer'};{LOOPBACK}:{host.client_port.number}\n"
        for host in hosts
    )
