"""Options, environment and profile become `Settings`.

What is said by an option comes first, then the environment, then the profile, then the file's top, then what stands
here. But a profile that is asked for by an option comes before the environment: who types ``zabsh prod`` means that
cluster, whatever ``ZABPY_SERVERS`` is. And a profile goes with its servers: where others are named by what comes before
it, it is set aside with its credentials, which are not theirs to know. Guard rails add up: nothing takes one away. They
are those of the cluster: whoever names servers of a profile's by address, and some of its tree, goes by them, too.
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import click

from .command import Duration
from .credentials import Identity, Secret, Tls, identity
from .errors import UsageError
from .output import FORMATS
from .profiles import COLOURS, File, Profile, near
from .settings import SERVERS, TIMEOUT_MS, Rules, Settings

OPTION, ENVIRONMENT, FILE = 3, 2, 1


@dataclass
class Options:
    """What stands on the command line; None or empty: nothing."""

    profile: str | None = None
    servers: str | None = None
    format: str | None = None
    colour: str | None = None
    timeout_ms: int | None = None
    session_timeout_ms: int | None = None
    read_only: bool = False
    yes: bool = False
    confirm: str | None = None
    auth: tuple[str, ...] = field(default=(), repr=False)
    sasl: str | None = field(default=None, repr=False)
    tls: bool = False
    #: As `zabpy.TLS`.
    tls_settings: dict[str, Any] = field(default_factory=dict)


def choose(options: Options, environment: Mapping[str, str], file: File) -> Settings:
    """The settings; see the head of this file.

    Raises:
        UsageError: something that was said cannot be; it names what.
    """
    env = _Environment(environment)
    profile, level = _profile(options, env, file)
    servers, servers_level = _first((options.servers, OPTION), (env.text("SERVERS"), ENVIRONMENT))
    if servers and servers_level > level:
        profile = Profile("")
    if profile.servers and servers_level < level:
        servers = profile.servers

    def pick(option: Any, variable: Any, of_profile: Any, default: Any) -> Any:
        said = [option, of_profile, variable] if level == OPTION else [option, variable, of_profile]
        return next((each for each in (*said, default) if each), default)

    top, remarks = file.top, list(file.remarks)
    servers = servers or profile.servers or SERVERS
    rules = _rules(options, env, profile, [] if profile.servers else _guards(servers, file))
    client = {}
    session_timeout_ms = pick(options.session_timeout_ms, None, profile.session_timeout_ms, top.session_timeout_ms)
    if session_timeout_ms:
        client["session_timeout_ms"] = session_timeout_ms
    for option, text in (*(("--auth", each) for each in options.auth), ("--sasl", options.sasl or "")):
        if text.count(":") > 1:
            variable = "ZABPY_" + option.strip("-").upper()
            remarks.append(f"{option}: the password is seen in the list of processes; {variable} or a profile hides it")
    return Settings(
        servers=servers,
        profile=profile.name,
        format=pick(options.format, env.one_of("OUTPUT", FORMATS), profile.output, top.output or "table"),
        colour=pick(options.colour, env.one_of("COLOR", COLOURS), profile.color, top.color or "auto"),
        timeout_ms=pick(options.timeout_ms, env.time("TIMEOUT"), profile.timeout_ms, top.timeout_ms or TIMEOUT_MS),
        rules=rules,
        client=client,
        auth=pick(_identities("--auth", options.auth), env.identities("AUTH"), profile.auth, []),
        sasl=pick(_sasl("--sasl", options.sasl), _sasl("ZABPY_SASL", env.text("SASL")), profile.sasl, None),
        tls=pick(_tls(options, env), env.tls(), profile.tls, None),
        colors=profile.colors or top.colors,
        remarks=remarks,
    )


def of_place(where: str, file: File, now: Settings) -> Settings:
    """Those of another place, named within a shell: a profile, or HOST:PORT,...[/CHROOT], of which no more is known."""
    yes = now.rules.yes and not now.rules.yes_is_by_name
    if where not in file.profiles and (any(char in where for char in ":.,/") or not near(where, file.profiles)):
        return choose(Options(servers=where, yes=yes, timeout_ms=now.timeout_ms), {}, file)
    confirm = where if now.rules.yes and now.profile == where else None
    return choose(Options(profile=where, yes=yes, confirm=confirm), {}, file)


def _guards(servers: str, file: File) -> list[Profile]:
    """The profiles with guard rails that name one of these servers, and some of the same tree."""
    return [
        each for each in file.profiles.values() if each.has_guards and each.servers and _overlap(servers, each.servers)
    ]


def _guarded(rules: Rules, profile: Profile, confirmed: str | None) -> Rules:
    """These, and the guard rails of a profile of the same servers: an address is no way around them."""
    return replace(
        rules,
        read_only=rules.read_only or profile.read_only,
        yes=rules.yes and (confirmed == profile.name or not profile.confirm_name),
        confirm_name=rules.confirm_name or profile.confirm_name,
        name=profile.name if profile.confirm_name or not rules.name else rules.name,
        forbid=rules.forbid | profile.forbid,
    )


def _overlap(first: str, second: str) -> bool:
    """Whether they share a server and some of the tree. A server is known by its name, as it is written, for to ask DNS
    could take long, and says another thing tomorrow; but an address by its number, and this machine by any of its."""
    (hosts, chroot), (others, other_chroot) = _parted(first), _parted(second)
    is_within = f"{chroot}/".startswith(f"{other_chroot}/") or f"{other_chroot}/".startswith(f"{chroot}/")
    return is_within and not hosts.isdisjoint(others)


def _parted(servers: str) -> tuple[frozenset[tuple[str, int]], str]:
    hosts, _, chroot = servers.partition("/")
    named = (each.strip().lower() for each in hosts.split(","))
    return frozenset(map(_server, named)), f"/{chroot.strip('/')}".rstrip("/")


def _server(text: str) -> tuple[str, int]:
    """Host and port, as they are compared."""
    match = re.fullmatch(r"(?P<host>[^:]*|\[.*\]):(?P<port>\d+)", text)
    host, port = (match["host"], int(match["port"])) if match else (text, 2181)
    host = host.strip("[]").rstrip(".")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return ("localhost" if host.endswith(".localhost") else host), port
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return ("localhost" if str(address) in ("127.0.0.1", "::1", "0.0.0.0", "::") else str(address)), port


def _profile(options: Options, env: "_Environment", file: File) -> tuple[Profile, int]:
    name, level = _first((options.profile, OPTION), (env.text("PROFILE"), ENVIRONMENT), (file.default, FILE))
    return (file.profile(name), level) if name else (Profile(""), 0)


def _first(*said: tuple[str | None, int]) -> tuple[str | None, int]:
    return next((each for each in said if each[0]), (None, 0))


def _rules(options: Options, env: "_Environment", profile: Profile, guards: list[Profile]) -> Rules:
    """``guards``: the profiles whose guard rails hold, too."""
    names = [each.name for each in (profile, *guards) if each.name]
    if options.confirm is not None and options.confirm not in names:
        here = f"the profile is {profile.name}" if profile.name else "there is no profile"
        raise UsageError(f"--confirm {options.confirm}: {here}")
    stays = options.read_only or env.flag("READ_ONLY")
    rules = Rules(
        read_only=stays or profile.read_only,
        yes=options.confirm is not None or (options.yes and not profile.confirm_name),
        confirm_name=profile.confirm_name,
        name=profile.name,
        forbid=profile.forbid,
        stays_read_only=stays,
        yes_is_by_name=options.confirm is not None and not options.yes,
    )
    for each in guards:
        rules = _guarded(rules, each, options.confirm)
    return rules


def _identities(what: str, texts: Iterable[str]) -> list[Identity]:
    return [_identity(what, text, sasl=False) for text in texts]


def _sasl(what: str, text: str | None) -> Identity | None:
    return _identity(what, text, sasl=True) if text else None


def _identity(what: str, text: str, *, sasl: bool) -> Identity:
    try:
        return identity(text, sasl=sasl)
    except UsageError as error:
        raise UsageError(f"{what}: {error}") from None


def _tls(options: Options, env: "_Environment") -> Tls | None:
    if not options.tls and not options.tls_settings:
        return None
    return Tls(options.tls_settings, env.key_password())


class _Environment:
    """The variables ``ZABPY_...``. One that is empty is as good as none."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables

    def text(self, name: str) -> str | None:
        return self._variables.get(f"ZABPY_{name}") or None

    def one_of(self, name: str, choices: tuple[str, ...]) -> str | None:
        value = self.text(name)
        if value is not None and value not in choices:
            raise UsageError(f"ZABPY_{name}={value}: expected one of {', '.join(choices)}")
        return value

    def flag(self, name: str) -> bool:
        value = (self.text(name) or "0").lower()
        if value not in ("0", "1", "true", "false", "yes", "no"):
            raise UsageError(f"ZABPY_{name}={value}: expected 1 or 0")
        return value in ("1", "true", "yes")

    def time(self, name: str) -> int | None:
        value = self.text(name)
        try:
            return Duration().convert(value, None, None) if value is not None else None
        except click.UsageError as error:
            raise UsageError(f"ZABPY_{name}: {error.message}") from None

    def identities(self, name: str) -> list[Identity]:
        value = self.text(name)
        return _identities(f"ZABPY_{name}", [value] if value is not None else [])

    def tls(self) -> Tls | None:
        names = {"ca": "TLS_CA", "certificate": "TLS_CERT", "key": "TLS_KEY", "server_name": "TLS_SERVER_NAME"}
        settings = {key: self.text(name) for key, name in names.items() if self.text(name) is not None}
        return Tls(settings, self.key_password()) if settings or self.flag("TLS") else None

    def key_password(self) -> Secret | None:
        return Secret(env="ZABPY_TLS_KEY_PASSWORD") if self.text("TLS_KEY_PASSWORD") is not None else None
