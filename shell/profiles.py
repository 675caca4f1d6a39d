"""``shell.toml``: clusters by name, with all that goes with them.

    default = "dev"

    [profile.dev]
    servers = "127.0.0.1:2181"

    [profile.prod]
    servers = "zk1,zk2,zk3"
    chroot = "/app"
    confirm_name = true
    auth = [{ scheme = "digest", user = "ann", password_command = "pass show zk" }]

The file is ``$ZABPY_SHELL_CONFIG``, or ``$XDG_CONFIG_HOME/zabpy/shell.toml``, or ``~/.config/zabpy/shell.toml``. What
is not known in it is refused, with its line and what comes nearest: a guard rail that is misspelt is none. A file with
a password must be for its owner only.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import click

from .command import Duration
from .credentials import SASL, Identity, Secret, Tls
from .errors import UsageError
from .names import COMMANDS, is_known
from .output import FORMATS

COLOURS = ("auto", "always", "never")


@dataclass
class Profile:
    """What a profile says; None: nothing. The first may stand at the top of the file, too, for the others."""

    name: str
    output: str | None = None
    color: str | None = None
    timeout_ms: int | None = None
    session_timeout_ms: int | None = None
    #: What is shown in which style: prompt_toolkit's names.
    colors: dict[str, str] = field(default_factory=dict)
    servers: str | None = None
    read_only: bool = False
    confirm_name: bool = False
    forbid: frozenset[str] = frozenset()

    @property
    def has_guards(self) -> bool:
        return self.read_only or self.confirm_name or bool(self.forbid)

    auth: list[Identity] = field(default_factory=list)
    sasl: Identity | None = None
    tls: Tls | None = None


@dataclass
class File:
    """All of ``shell.toml``. ``top``: what holds where a profile says nothing, or there is none. ``remarks``: what is
    not wrong, and still not good."""

    top: Profile
    profiles: dict[str, Profile] = field(default_factory=dict)
    default: str | None = None
    remarks: list[str] = field(default_factory=list)
    path: str = ""

    def profile(self, name: str) -> Profile:
        """Raises `UsageError` if there is none; it names the nearest."""
        if name in self.profiles:
            return self.profiles[name]
        if not self.profiles:
            raise UsageError(f"{name}: no such profile: {self.path} has none")
        raise UsageError(f"{name}: no such profile{_nearest(name, self.profiles)}")


def location(environment: Mapping[str, str]) -> Path:
    """Where the file is, if there is one."""
    if environment.get("ZABPY_SHELL_CONFIG"):
        return Path(environment["ZABPY_SHELL_CONFIG"]).expanduser()
    config = environment.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(config).expanduser() / "zabpy" / "shell.toml"


def load(environment: Mapping[str, str]) -> File:
    """The file, an empty one if there is none.

    Raises:
        UsageError: it is wrong; file, line and key are named.
    """
    path = location(environment)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if environment.get("ZABPY_SHELL_CONFIG"):
            raise UsageError(f"{path}: no such file, as ZABPY_SHELL_CONFIG names") from None
        return File(Profile(""), path=str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    return _Reader(path, text).file()


class _Reader:
    def __init__(self, path: Path, text: str) -> None:
        self._path, self._text = path, text
        self._lines = lines_of(text)
        self._secrets = self._commands = ""

    def file(self) -> File:
        import tomllib  # only where there is a file, as a prompt is to be there at once

        try:
            found = tomllib.loads(self._text)
        except tomllib.TOMLDecodeError as error:
            raise UsageError(f"{self._path}: {error}") from None
        self._keys((), found, {*COMMON, "default", "profile"})
        file = File(Profile(""), path=str(self._path))
        self._common((), found, file.top)
        profiles = self._table((), found, "profile")
        for name in profiles:
            file.profiles[name] = self._profile(name, self._table(("profile",), profiles, name), file.top)
        if "default" in found:
            file.default = self._text_of((), found, "default")
            if file.default not in file.profiles:
                near = _nearest(file.default or "", file.profiles)
                self._refuse(("default",), f"there is no [profile.{file.default}]{near}")
        self._permissions(file)
        return file

    def _permissions(self, file: File) -> None:
        mode = os.stat(self._path).st_mode
        if self._secrets:
            if mode & 0o077:
                raise UsageError(
                    f"{self._path}: others may read it, and it holds a password ({self._secrets}): chmod 600 it"
                )
            file.remarks.append(
                f"{self._path}: {self._secrets} holds a password in the clear; "
                "password_command or password_env keep it elsewhere, and without any it is asked for"
            )
        if self._commands and mode & 0o022:
            raise UsageError(f"{self._path}: others may write to it, and it says what to run ({self._commands})")

    def _common(self, at: tuple[str, ...], table: dict[str, Any], to: Profile) -> None:
        for key, (name, check) in COMMON.items():
            if key in table:
                try:
                    setattr(to, name, check(table[key]))
                except ValueError as error:
                    self._refuse((*at, key), str(error))

    def _profile(self, name: str, table: dict[str, Any], top: Profile) -> Profile:
        at = ("profile", name)
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
            self._refuse(at, "a profile's name consists of letters, digits, - _ and .")
        self._keys(at, table, PROFILE)
        profile = Profile(name)
        self._common(at, table, profile)
        profile.colors = {**top.colors, **profile.colors}
        profile.servers = self._servers(at, table)
        profile.read_only = self._flag(at, table, "read_only")
        profile.confirm_name = self._flag(at, table, "confirm_name")
        profile.forbid = frozenset(self._texts(at, table, "forbid"))
        for banned in sorted(profile.forbid):
            if not is_known(banned):
                nearest = near(banned, COMMANDS)
                hint = f"; did you mean {nearest[0]}?" if nearest else "; help lists them"
                self._refuse((*at, "forbid"), f"{banned}: no such command{hint}")
        if self._flag(at, table, "no_rm"):
            profile.forbid |= {"rm"}
        for index, each in enumerate(self._tables(at, table, "auth")):
            profile.auth.append(self._identity((*at, "auth"), each, f"{name}'s auth {index + 1}", "scheme"))
        if "sasl" in table:
            inner = self._table(at, table, "sasl")
            profile.sasl = self._identity((*at, "sasl"), inner, f"{name}'s sasl", "mechanism")
            if profile.sasl.scheme.lower() not in SASL:
                self._refuse((*at, "sasl", "mechanism"), f"expected one of {', '.join(SASL)}")
        if "tls" in table:
            profile.tls = self._tls(at, table)
        return profile

    def _servers(self, at: tuple[str, ...], table: dict[str, Any]) -> str:
        servers = self._text_of(at, table, "servers")
        if not servers:
            self._refuse(at, "servers is missing: whom to connect to")
        chroot = self._text_of(at, table, "chroot") or ""
        if chroot and not chroot.startswith("/"):
            self._refuse((*at, "chroot"), f"{chroot!r} does not begin with /")
        if chroot and "/" in servers:
            self._refuse((*at, "chroot"), "servers has a chroot already")
        return servers + chroot

    def _identity(self, at: tuple[str, ...], table: dict[str, Any], whose: str, kind: str) -> Identity:
        self._keys(at, table, {kind, "user", *SECRET})
        scheme = self._text_of(at, table, kind)
        if not scheme:
            self._refuse(at, f"{kind} is missing")
        user = self._text_of(at, table, "user")
        if user is None and (kind == "mechanism" or scheme == "digest"):
            self._refuse(at, "user is missing")
        return Identity(scheme, user, self._secret(at, table, whose))

    def _tls(self, at: tuple[str, ...], table: dict[str, Any]) -> Tls | None:
        if isinstance(table["tls"], bool):
            return Tls() if table["tls"] else None
        at, table = (*at, "tls"), self._table(at, table, "tls")
        self._keys(at, table, {*TLS, "verify_names", *SECRET})
        settings: dict[str, Any] = {key: self._text_of(at, table, key) for key in TLS if key in table}
        for key in ("ca", "certificate", "key"):
            if key in settings:
                settings[key] = os.path.expanduser(settings[key])
        if "verify_names" in table:
            settings["verify_names"] = self._flag(at, table, "verify_names")
        has_password = any(key in table for key in SECRET)
        return Tls(settings, self._secret(at, table, f"{at[1]}'s tls") if has_password else None)

    def _secret(self, at: tuple[str, ...], table: dict[str, Any], whose: str) -> Secret:
        given = [key for key in SECRET if key in table and table[key] is not False]
        if len(given) > 1:
            self._refuse((*at, given[1]), f"a password comes from one place, and {given[0]} is another")
        if "password" in table:
            self._secrets = self._secrets or whose
        if "password_command" in table:
            self._commands = self._commands or whose
        self._flag(at, table, "password_prompt")
        return Secret(
            self._text_of(at, table, "password_command"),
            self._text_of(at, table, "password_env"),
            self._text_of(at, table, "password"),
            where=f"{self._path}:{line_of(self._lines, (*at, 'password_command'))}: {'.'.join(at)}.password_command",
        )

    # Values of a kind -------------------------------------------------------------------------------------------------

    def _keys(self, at: tuple[str, ...], table: dict[str, Any], known: set[str]) -> None:
        for key in table:
            if key not in known:
                self._refuse((*at, key), f"no such key{_nearest(key, known)}")

    def _table(self, at: tuple[str, ...], table: dict[str, Any], key: str) -> dict[str, Any]:
        found: object = table.get(key, {})
        if not isinstance(found, dict):
            self._refuse((*at, key), "expected a table")
        return found

    def _tables(self, at: tuple[str, ...], table: dict[str, Any], key: str) -> list[dict[str, Any]]:
        found: object = table.get(key, [])
        found = [found] if isinstance(found, dict) else found
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            self._refuse((*at, key), 'expected tables such as { scheme = "digest", user = "ann" }')
        return found

    def _text_of(self, at: tuple[str, ...], table: dict[str, Any], key: str) -> str | None:
        found: object = table.get(key)
        if found is not None and not isinstance(found, str):
            self._refuse((*at, key), f"expected a text, not {_shown(key, found)}")
        return found

    def _texts(self, at: tuple[str, ...], table: dict[str, Any], key: str) -> list[str]:
        found: object = table.get(key, [])
        if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
            self._refuse((*at, key), "expected a list of texts")
        return found

    def _flag(self, at: tuple[str, ...], table: dict[str, Any], key: str) -> bool:
        found: object = table.get(key, False)
        if not isinstance(found, bool):
            self._refuse((*at, key), f"expected true or false, not {_shown(key, found)}")
        return found

    def _refuse(self, at: tuple[str, ...], why: str) -> NoReturn:
        raise UsageError(f"{self._path}:{line_of(self._lines, at)}: {'.'.join(at)}: {why}")


def _shown(key: str, value: object) -> str:
    """A value in a complaint; of a password only what it is."""
    return f"{type(value).__name__}" if key in SECRET else repr(value)


def _one_of(*choices: str) -> Callable[[object], str]:
    def check(value: object) -> str:
        if value not in choices:
            raise ValueError(f"expected one of {', '.join(choices)}, not {value!r}")
        return str(value)

    return check


def _time(value: object) -> int:
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise ValueError(f"expected a time such as '15s', not {value!r}")
    try:
        return Duration().convert(str(value), None, None)
    except click.UsageError as error:
        raise ValueError(error.message) from None


def _styles(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise ValueError('expected styles by name, such as { prompt = "bold ansired" }')
    return value


COMMON: dict[str, tuple[str, Callable[[object], object]]] = {
    "output": ("output", _one_of(*FORMATS)),
    "color": ("color", _one_of(*COLOURS)),
    "timeout": ("timeout_ms", _time),
    "session_timeout": ("session_timeout_ms", _time),
    "colors": ("colors", _styles),
}
SECRET = ("password", "password_command", "password_env", "password_prompt")
TLS = ("ca", "certificate", "key", "server_name")
PROFILE = {*COMMON, "servers", "chroot", "read_only", "confirm_name", "no_rm", "forbid", "auth", "sasl", "tls"}


def near(word: str, known: Iterable[str]) -> list[str]:
    """What it may have been meant to be, if anything."""
    import difflib

    return difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.5)


def _nearest(word: str, known: Iterable[str]) -> str:
    found = near(word, known)
    return f"; did you mean {found[0]}?" if found else f"; there are {', '.join(sorted(known))}"


# Where a key stands, which the parser does not tell -------------------------------------------------------------------


def lines_of(text: str) -> dict[tuple[str, ...], int]:
    """The line of each table and key that stands at the beginning of one."""
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[\[?([^\[\]]+)\]", line)
        key = re.match(r"\s*([A-Za-z0-9_.\"'-]+)\s*=", line)
        if header:
            table = tuple(part.strip().strip("\"'") for part in header[1].split("."))
            found.setdefault(table, number)
        elif key:
            parts = tuple(part.strip("\"'") for part in key[1].split("."))
            found.setdefault((*table, *parts), number)
    return found


def line_of(lines: dict[tuple[str, ...], int], at: tuple[str, ...]) -> int:
    """Of the key, or else of the table that it is in."""
    while at and at not in lines:
        at = at[:-1]
    return lines.get(at, 1)
