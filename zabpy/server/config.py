"""Config: all that one server was told, from the text of a ``zoo.cfg``.

Every limit is a field that ends in its unit; the table `KEYS` says which key of the file it comes from. ZooKeeper's
files start here as they are: keys that mean nothing here are accepted and listed in `Config.notices`, those of
features that are not served yet and unknown ones in `Config.warnings`. A value that cannot be is a `ConfigError` of
one line. Syntax: java.util.Properties, as ZooKeeper reads it. Keys and their meaning: the ZooKeeper administrator's
guide; defaults are ZooKeeper's but for the safe ones, which the field's comment names.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from zabpy.model import ZabpyError


class ConfigError(ZabpyError):
    """One line: the file, the line, the key and its value, and what was expected instead."""


class Member(NamedTuple):
    """A line ``server.N=host:peerPort:electionPort[:role][;[clientAddress:]clientPort]`` of the server list.

    ``election_port`` is kept for the text of the list only: one link between two servers carries everything, and it
    goes to ``peer_port``. ``client_port`` is None unless the line itself names it. ``group`` is the number of the
    ``group.N`` that holds this server, 0 without groups.
    """

    server_id: int
    host: str
    peer_port: int
    election_port: int
    voter: bool
    client_host: str | None = None
    client_port: int | None = None
    weight: int = 1
    group: int = 0

    def text(self) -> str:
        """The line as ZooKeeper writes it into ``/zookeeper/config`` (client-protocol.md §15)."""
        role = "participant" if self.voter else "observer"
        line = f"server.{self.server_id}={_bracketed(self.host)}:{self.peer_port}:{self.election_port}:{role}"
        if self.client_port is None:
            return line
        return f"{line};{_bracketed(self.client_host or LOOPBACK)}:{self.client_port}"


LOOPBACK = "127.0.0.1"
TICK_MS = 3000
MIB = 1024 * 1024
DAY_MS = 24 * 60 * 60 * 1000

#: All of ZooKeeper's four-letter words; ``*`` in the whitelist means these.
WORDS = frozenset("conf cons crst dirs dump envi gtmk hash isro mntr ruok srst srvr stat stmk wchc wchp wchs".split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What one server was told. ``0`` as a bound means none, where the comment says so."""

    path: str
    """The file this comes from, for messages."""
    server_id: int = 0
    """The number in ``dataDir/myid``; 0 of a standalone server that has no such file."""
    members: tuple[Member, ...] = ()
    """The server list by number, this server included; empty of a standalone server."""
    warnings: tuple[str, ...] = ()
    """Lines for the log: unknown keys, what is not served yet, values that were replaced by safe ones."""
    notices: tuple[str, ...] = ()
    """Lines for the log: keys that mean nothing here."""

    # Where
    data_dir: str
    """Absolute. Need not exist yet unless the server is one of an ensemble (``myid`` is in it)."""
    data_log_dir: str
    """Absolute; ``data_dir`` unless told."""
    client_host: str = LOOPBACK
    """Safe default: ZooKeeper listens on all addresses."""
    client_port: int = 0
    """0: any free port."""
    secure_client_host: str = LOOPBACK
    secure_client_port: int | None = None
    listen_backlog: int = 128
    peer_listen_all: bool = False
    """Listen for peers on all addresses, not only on the one in the server list."""
    client_keepalive: bool = False
    peer_keepalive: bool = False

    # Time
    tick_ms: int = TICK_MS
    init_limit_ticks: int = 10
    sync_limit_ticks: int = 5
    min_session_timeout_ms: int = 0
    """2 ticks unless told."""
    max_session_timeout_ms: int = 0
    """20 ticks unless told."""
    peer_dial_timeout_ms: int = 5000
    handshake_timeout_ms: int = 10_000
    """A client connection without a session is closed after this."""
    shutdown_timeout_ms: int = 10_000
    """What is under way at a shutdown has this long to finish."""
    fsync_warning_ms: int = 1000
    """A sync of the log that takes longer gets a line in the log."""

    # Clients
    address_connections_max: int = 60
    """Connections from one client address; 0: no bound."""
    connections_max: int = 0
    """Connections in total; 0: no bound."""
    frame_bytes_max: int = 1_048_575
    """The largest packet of a client (``jute.maxbuffer``)."""
    outstanding_max: int = 1000
    """Requests of all clients that wait for their order, before no more are read from those that have one waiting."""
    connection_outstanding_max: int = 10_000
    """Requests of one connection that wait for an answer, before no more are read from it."""
    connection_send_bytes_max: int = 64 * MIB
    """Answers and events a client has not taken yet, before its connection is closed."""
    leader_serves: bool = True
    """False: no clients on the server that leads."""
    words: frozenset[str] = frozenset({"conf", "isro", "mntr", "ruok", "srvr", "stat"})
    """Four-letter words that are answered. Safe default: the cheap ones (ZooKeeper: ``srvr``)."""

    # Peers
    peer_send_bytes_max: int = 256 * MIB
    """Messages a peer has not taken yet, before its link is closed."""

    # Disk
    log_segment_bytes: int = 64 * MIB
    """The log is preallocated in files of this size."""
    snapshot_entries: int = 100_000
    """Log entries between two snapshots; each server takes a random share of the upper half of it."""
    snapshot_log_bytes: int = 4096 * MIB
    """Bytes of log between two snapshots, likewise; 0: no bound."""
    snapshots_kept: int = 3
    purge: bool = True
    """After each snapshot, remove older ones and the log before the oldest kept. Safe default: off in ZooKeeper."""
    purge_interval_ms: int = DAY_MS
    """How often at least the purge looks, besides after each snapshot."""
    create_directories: bool = True

    # Znodes and access
    ttl_znodes: bool = False
    container_check_ms: int = 60_000
    container_deletes_per_minute_max: int = 10_000
    container_never_used_ms: int = 0
    """A container that never had a child goes after this; 0: it stays (ZooKeeper before 3.10)."""
    super_digest: str | None = None
    """``user:base64(SHA-1(user:password))`` of the one who may do everything; None: nobody may."""
    reconfig: bool = False
    read_only_mode: bool = False
    local_sessions: bool = False
    local_sessions_upgrading: bool = False
    jaas_path: str | None = None

    @property
    def standalone(self) -> bool:
        return not self.members

    @property
    def member(self) -> Member:
        """This server's own line of the list. Not of a standalone server."""
        return next(member for member in self.members if member.server_id == self.server_id)

    @property
    def snapshot_dir(self) -> str:
        """Beside ``myid``, and apart from what Apache ZooKeeper left in ``dataDir/version-2``."""
        return os.path.join(self.data_dir, OWN_DIR)

    @property
    def log_dir(self) -> str:
        return os.path.join(self.data_log_dir, OWN_DIR)

    def members_text(self) -> str:
        """The server list as in ``/zookeeper/config``; empty without one. Its version is 0: it never changed."""
        if not self.members:
            return ""
        lines = [member.text() for member in self.members]
        groups = sorted({member.group for member in self.members if member.group})
        for group in groups:
            inside = ":".join(str(member.server_id) for member in self.members if member.group == group)
            lines.append(f"group.{group}={inside}")
        if groups or any(member.weight != 1 for member in self.members):
            lines += [f"weight.{member.server_id}={member.weight}" for member in self.members]
        return "\n".join([*lines, "version=0"])


#: What we keep in dataDir and dataLogDir is in a folder of this name.
OWN_DIR = "zabpy"


def load(path: str) -> Config:
    """Read the file, ``myid`` beside the data, and look whether the directories can be used. Writes nothing.

    Raises:
        ConfigError: something of this is not as it must be.
    """
    draft = _Draft(path)
    draft.read(_text_of(path))
    return draft.finish(load_myid=True)


def parse(text: str, path: str = "zoo.cfg", server_id: int = 0) -> Config:
    """The same from text alone: no file is looked at, and ``server_id`` stands for ``myid``.

    Raises:
        ConfigError: a value is not as it must be.
    """
    draft = _Draft(path)
    draft.read(text)
    return draft.finish(load_myid=False, server_id=server_id)


class Line(NamedTuple):
    """A key and its value, and where they stand."""

    path: str
    number: int
    key: str
    value: str

    def error(self, expected: str) -> ConfigError:
        return ConfigError(f"{self.path}:{self.number}: {self.key}={_short(self.value)}: expected {expected}")


class _Draft:
    """A Config in the making."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.values: dict[str, Any] = {}
        self.lines: dict[str, Line] = {}
        self.servers: dict[int, tuple[Line, Member]] = {}
        self.alone: Member | None = None
        self.weights: dict[int, tuple[Line, int]] = {}
        self.groups: dict[int, tuple[Line, tuple[int, ...]]] = {}
        self.unknown: list[tuple[Line, str | None]] = []
        self.warnings: list[str] = []
        self.notices: list[str] = []
        self.not_served: dict[str, list[str]] = {}
        self.meaningless: list[str] = []

    # Reading --------------------------------------------------------------------------------------------------------

    def read(self, text: str) -> None:
        for line in _lines(text, self.path):
            name = _known_name(line.key)
            if (before := self.lines.get(name)) is not None:
                self.warnings.append(
                    f"{line.path}:{line.number}: {line.key} stands here and in line {before.number}: this one counts"
                )
            self.lines[name] = line
        for name, line in list(self.lines.items()):
            self._take(name, line)

    def _take(self, name: str, line: Line) -> None:
        kind, _, number = name.partition(".")
        if kind in NUMBERED and number:
            if not (number.isascii() and number.isdecimal()):
                raise line.error(f"a whole number behind '{kind}.'")
            NUMBERED[kind](self, line, int(number))
        elif (key := KEYS.get(name)) is not None:
            try:
                value = key.read(line.value)
            except ValueError:
                raise line.error(key.expected) from None
            self.values[key.field] = value
            if key.not_served and line.value.lower() not in OFF:
                self.not_served.setdefault(key.not_served, []).append(line.key)
        elif name in SPECIAL:
            SPECIAL[name](self, line)
        elif (why := _not_served(name)) is not None:
            if line.value.lower() not in OFF:
                self.not_served.setdefault(why, []).append(line.key)
        elif name in MEANINGLESS or name.startswith("metricsProvider."):
            self.meaningless.append(line.key)
        else:
            self.unknown.append((line, _nearest(line.key)))

    def _server(self, line: Line, number: int) -> None:
        if not 1 <= number <= SERVER_ID_MAX:
            raise line.error(f"a server number from 1 to {SERVER_ID_MAX}")
        try:
            member = _member(number, line.value)
        except ValueError as error:
            raise line.error(f"host:peerPort:electionPort[:role][;[clientAddress:]clientPort]; {error}") from None
        if "|" in line.value:
            self.warnings.append(
                f"{line.path}:{line.number}: {line.key}: of several addresses the first is used, {member.host}"
            )
        self.servers[number] = line, member

    def _weight(self, line: Line, number: int) -> None:
        try:
            weight = _whole(0)(line.value)
        except ValueError:
            raise line.error("a whole number, 0 or more") from None
        self.weights[number] = line, weight

    def _group(self, line: Line, number: int) -> None:
        if number < 1:
            raise line.error("a group number of 1 or more")
        try:
            inside = tuple(_whole(1)(part) for part in line.value.split(":"))
        except ValueError:
            raise line.error("server numbers with colons between them, like 1:2:3") from None
        self.groups[number] = line, inside

    def _force_sync(self, line: Line) -> None:
        try:
            wanted = _flag(line.value)
        except ValueError:
            raise line.error("yes or no") from None
        if not wanted:
            self.warnings.append(
                f"{line.path}:{line.number}: {line.key}={line.value} is not done: a write counts once it is on disk"
            )

    def _purge_interval(self, line: Line) -> None:
        try:
            interval_ms = _interval_ms(line.value)
        except ValueError:
            raise line.error("whole hours, or a whole number with ms, s, m, h or d behind it; 0 for no purge") from None
        self.values["purge"] = interval_ms > 0
        if interval_ms > 0:
            self.values["purge_interval_ms"] = interval_ms

    def _snapshots_kept(self, line: Line) -> None:
        try:
            kept = _whole(0)(line.value)
        except ValueError:
            raise line.error("a whole number of snapshots, 3 or more") from None
        if kept < SNAPSHOTS_KEPT_MIN:
            self.warnings.append(
                f"{line.path}:{line.number}: {line.key}={line.value}: fewer than {SNAPSHOTS_KEPT_MIN} are too few, "
                f"{SNAPSHOTS_KEPT_MIN} are kept"
            )
        self.values["snapshots_kept"] = max(kept, SNAPSHOTS_KEPT_MIN)

    def _whitelist(self, line: Line) -> None:
        words = {word.strip() for word in line.value.split(",")} - {""}
        for word in sorted(words - WORDS - {"*"}):
            self.warnings.append(f"{line.path}:{line.number}: {line.key}: there is no four-letter word {word!r}")
        # ZooKeeper answers srvr whatever the list says: its own status script needs it.
        self.values["words"] = WORDS if "*" in words else frozenset(words & WORDS | {"srvr"})

    def _dynamic_file(self, line: Line) -> None:
        path = os.path.join(os.path.dirname(self.path), line.value)
        try:
            with open(path, encoding="utf-8") as file:
                text = file.read()
        except (OSError, UnicodeDecodeError) as error:
            raise line.error(f"a readable file with the server list; {_reason(error)}") from None
        if any(key.startswith("server.") for key in self.lines):
            raise line.error("the server list in one place: here are lines server.N too")
        inner = _Draft(path)
        for each in _lines(text, path):
            kind, _, number = each.key.partition(".")
            if kind in NUMBERED and number:
                inner._take(each.key, each)
            elif each.key != "version":
                raise each.error("only server.N, group.N, weight.N and version in this file")
        self.servers, self.weights, self.groups = inner.servers, inner.weights, inner.groups
        self.warnings += inner.warnings
        self.notices.append(f"{self.path}:{line.number}: the server list of {path} is read once and never rewritten")

    # Holding it together --------------------------------------------------------------------------------------------

    def finish(self, *, load_myid: bool, server_id: int = 0) -> Config:
        values = self.values
        values["data_dir"] = self._directory("dataDir", load_myid)
        values["data_log_dir"] = (
            self._directory("dataLogDir", load_myid) if "dataLogDir" in self.lines else values["data_dir"]
        )
        values["members"] = members = self._members()
        if load_myid:
            server_id = self._myid(values["data_dir"], members)
            self._look_for_zookeeper(values["data_dir"])
        if members and server_id not in self.servers:
            raise ConfigError(f"{self.path}: server.{server_id} is missing: expected this server in its own list")
        self._limits(bool(members))
        self._client_address(next((member for member in members if member.server_id == server_id), None))
        self._role(members, server_id)
        return Config(
            path=self.path,
            server_id=server_id,
            warnings=tuple(self._all_warnings()),
            notices=tuple(self._all_notices()),
            **{name: value for name, value in values.items() if name not in UNUSED_FIELDS},
        )

    def _missing(self, key: str, expected: str) -> ConfigError:
        hint = next((f"; line {line.number} has {line.key!r}" for line, near in self.unknown if near == key), "")
        return ConfigError(f"{self.path}: {key} is missing: expected {expected}{hint}")

    def _directory(self, key: str, look: bool) -> str:
        line = self.lines.get(key)
        if line is None or not line.value:
            raise self._missing(key, "the directory for snapshots and myid")
        path = os.path.abspath(line.value)
        if not look:
            return path
        if os.path.isdir(path):
            if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
                raise line.error("a directory that this user may read and write")
            own = os.path.join(path, OWN_DIR)
            if os.path.lexists(own) and not (os.path.isdir(own) and os.access(own, os.R_OK | os.W_OK | os.X_OK)):
                raise line.error(f"a directory whose {OWN_DIR!r} is a directory that this user may read and write")
            return path
        if os.path.lexists(path):
            raise line.error("a directory; there is something else of that name")
        if not self.values.get("create_directories", True):
            raise line.error("a directory that exists, because datadir.autocreate is off")
        above = os.path.dirname(path)
        while not os.path.lexists(above):
            above = os.path.dirname(above)
        if not os.path.isdir(above) or not os.access(above, os.W_OK | os.X_OK):
            raise line.error(f"a directory that exists or can be made; {above} is not one that this user may write")
        return path

    def _members(self) -> tuple[Member, ...]:
        if not self.servers:
            for line, _ in [*self.weights.values(), *self.groups.values()]:
                raise line.error("lines server.N beside it")
            return ()
        group_of: dict[int, int] = {}
        for group, (line, inside) in self.groups.items():
            for number in inside:
                if number not in self.servers:
                    raise line.error(f"servers of the list; there is no server.{number}")
                if group_of.setdefault(number, group) != group:
                    raise line.error(f"each server in one group; {number} is in group.{group_of[number]} too")
        for number, (line, _) in self.weights.items():
            if number not in self.servers:
                raise line.error(f"a server of the list; there is no server.{number}")
        members: list[Member] = []
        taken: dict[tuple[str, int], int] = {}
        for number, (line, member) in sorted(self.servers.items()):
            if self.groups and member.voter and number not in group_of:
                raise line.error(f"server {number} in one of the groups, as the others are")
            if (other := taken.setdefault((member.host, member.peer_port), number)) != number:
                raise line.error(f"a host and peer port of its own; server.{other} has the same")
            weight = self.weights[number][1] if number in self.weights else 1
            members.append(member._replace(weight=weight, group=group_of.get(number, 0)))
        voters = [member for member in members if member.voter]
        last = list(self.servers.values())[-1][0]
        if not voters:
            raise last.error("at least one participant in the list")
        if not any(member.weight for member in voters):
            raise last.error("at least one participant with a weight above 0")
        if len(members) == 1 and self.values.get("standalone_enabled", True):
            self.notices.append(f"{self.path}: the list has one server: it runs standalone")
            self.alone = members[0]
            return ()
        return tuple(members)

    def _myid(self, data_dir: str, members: tuple[Member, ...]) -> int:
        path = os.path.join(data_dir, "myid")
        known = ", ".join(str(member.server_id) for member in members)
        expected = f"this server's number, one of {known}" if members else f"a number from 1 to {SERVER_ID_MAX}"
        try:
            with open(path, encoding="utf-8") as file:
                text = file.read(100).strip()
        except FileNotFoundError:
            if not members:
                return 0
            raise ConfigError(f"{path} is missing: expected a file with {expected} (server.N in {self.path})") from None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: {_reason(error)}: expected a file with {expected}") from None
        if not (text.isascii() and text.isdecimal()):
            raise ConfigError(f"{path}: {_short(text)!r}: expected {expected}")
        number = int(text)
        if not (number in self.servers if members else number <= SERVER_ID_MAX):
            raise ConfigError(f"{path}: {number}: expected {expected} (server.N in {self.path})")
        return number

    def _look_for_zookeeper(self, data_dir: str) -> None:
        theirs, ours = os.path.join(data_dir, "version-2"), os.path.join(data_dir, OWN_DIR)
        if os.path.isdir(theirs) and not os.path.isdir(ours):
            self.warnings.append(
                f"{theirs} looks like data of Apache ZooKeeper: it is left alone and not read; this server has its own"
            )

    def _limits(self, ensemble: bool) -> None:
        values = self.values
        for key, name, what in (
            ("initLimit", "init_limit_ticks", "ticks for a server to connect and catch up (a usual value: 10)"),
            ("syncLimit", "sync_limit_ticks", "ticks a server may lag behind (a usual value: 5)"),
        ):
            if ensemble and name not in values:
                raise self._missing(key, what)
        tick_ms = values.get("tick_ms", TICK_MS)
        for name, ticks in (("min_session_timeout_ms", 2), ("max_session_timeout_ms", 20)):
            if values.get(name, -1) == -1:
                values[name] = ticks * tick_ms
        low, high = values["min_session_timeout_ms"], values["max_session_timeout_ms"]
        if low > high:
            line = self.lines.get("maxSessionTimeout") or self.lines["minSessionTimeout"]
            raise line.error(f"minSessionTimeout ({low} ms) not above maxSessionTimeout ({high} ms)")
        if values.get("snapshot_log_bytes", 1) < 0:
            values["snapshot_log_bytes"] = 0
        if values.get("listen_backlog", 1) < 1:
            del values["listen_backlog"]

    def _client_address(self, member: Member | None) -> None:
        values = self.values
        listed = member or self.alone
        if listed is not None and listed.client_port is not None:
            line = self.servers[listed.server_id][0]
            if values.get("client_port", listed.client_port) != listed.client_port:
                raise line.error(f"the client port {values['client_port']} of line {self.lines['clientPort'].number}")
            values["client_port"] = listed.client_port
            if listed.client_host is not None:
                values["client_host"] = listed.client_host
        if "client_port" not in values:
            raise self._missing("clientPort", "the port for clients (a usual value: 2181)")
        if "client_host" not in values:
            self.notices.append(
                f"{self.path}: clientPortAddress is not set: clients are served on {LOOPBACK} only; "
                "clientPortAddress=0.0.0.0 is for all addresses"
            )

    def _role(self, members: tuple[Member, ...], server_id: int) -> None:
        wanted = self.values.get("peer_type")
        listed = next(
            ("participant" if each.voter else "observer" for each in members if each.server_id == server_id), None
        )
        if wanted is not None and listed is not None and wanted != listed:
            line = self.lines["peerType"]
            self.warnings.append(
                f"{line.path}:{line.number}: peerType={line.value}: in the list it is {listed}, which counts"
            )

    def _all_warnings(self) -> Iterable[str]:
        for line, near in self.unknown:
            hint = f"the nearest known one is {near}" if near else "there is none like it"
            yield f"{line.path}:{line.number}: unknown key {_short(line.key)!r}: {hint}"
        yield from self.warnings
        for why, keys in self.not_served.items():
            yield f"{self.path}: {why} not served yet, so without effect: {', '.join(keys)}"

    def _all_notices(self) -> Iterable[str]:
        if self.meaningless:
            yield f"{self.path}: keys of ZooKeeper that mean nothing here: {', '.join(self.meaningless)}"
        yield from self.notices


# Values --------------------------------------------------------------------------------------------------------------


def _whole(low: int, high: int = 2**63 - 1, times: int = 1) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isascii() or "_" in text or not low <= (number := int(text)) <= high:
            raise ValueError(text)
        return number * times

    return read


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "yes", "false", "no"):
        raise ValueError(text)
    return text.lower() in ("true", "yes")


def _filled(text: str) -> str:
    if not text:
        raise ValueError(text)
    return text


def _host(text: str) -> str:
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    if not text or any(char.isspace() or char in "[]/;|," for char in text):
        raise ValueError(text)
    return text


def _digest(text: str) -> str:
    user, colon, hashed = text.partition(":")
    if not (user and colon and hashed):
        raise ValueError(text)
    return text


def _choice(*allowed: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text.lower() not in allowed:
            raise ValueError(text)
        return text.lower()

    return read


def _interval_ms(text: str) -> int:
    for unit, milliseconds in (("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", DAY_MS)):
        if text.endswith(unit):
            return _whole(0)(text.removesuffix(unit).strip()) * milliseconds
    return _whole(0)(text) * 3_600_000


def _member(number: int, text: str) -> Member:
    """The value of ``server.N``. Raises ValueError with what is wrong."""
    main, *behind = text.split(";")
    if len(behind) > 2:
        raise ValueError("there are too many ';'")
    first, *others = main.split("|")
    parts = _parts(first)
    role = "participant"
    for each in others:  # several addresses: the role stands behind the last
        more = _parts(each)
        _address(more[:3])
        if len(more) > 3 and each is others[-1]:
            role = more.pop()
        if len(more) != 3:
            raise ValueError(f"{each!r} is not an address")
    if len(parts) == 4 and not others:
        role = parts.pop()
    if len(parts) != 3:
        raise ValueError(f"there are {len(parts)} parts, not 3 or 4")
    if role.lower() not in ("participant", "observer"):
        raise ValueError(f"the role is {role!r}, not participant or observer")
    host, peer_port, election_port = _address(parts)
    client_host, client_port = None, None
    if behind and behind[0]:
        *where, port = _parts(behind[0])
        if len(where) > 1:
            raise ValueError(f"{behind[0]!r} is not a client address and port")
        client_host = _named_host(where[0]) if where else None
        client_port = _port(port, low=0)
    return Member(number, host, peer_port, election_port, role.lower() == "participant", client_host, client_port)


def _address(parts: list[str]) -> tuple[str, int, int]:
    if len(parts) != 3:
        raise ValueError(f"{':'.join(parts)!r} is not an address with two ports")
    return _named_host(parts[0]), _port(parts[1]), _port(parts[2])


def _named_host(text: str) -> str:
    try:
        return _host(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a host") from None


def _port(text: str, low: int = 1) -> int:
    try:
        return _whole(low, 65535)(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a port from {low} to 65535") from None


def _parts(text: str) -> list[str]:
    """Split at colons, but for those within the brackets of an IPv6 address."""
    text = text.strip()
    if not text.startswith("["):
        return [part.strip() for part in text.split(":")]
    host, bracket, rest = text.partition("]")
    if not bracket or (rest and not rest.startswith(":")):
        raise ValueError(f"{text!r} has a bracket that is not closed before a colon")
    return [host + bracket, *(part.strip() for part in rest.split(":")[1:])]


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


# Tables --------------------------------------------------------------------------------------------------------------


class Key(NamedTuple):
    """A key of the file that one field of `Config` comes from."""

    field: str
    read: Callable[[str], Any]
    expected: str
    not_served: str = ""


_MS = "a whole number of milliseconds, 1 or more"
_MS0 = "a whole number of milliseconds, 0 or more"
_FLAG = "true or false"
_PORT = "a port from 0 (any free one) to 65535"
_HOST = "a host name or address"

KEYS: dict[str, Key] = {
    "dataDir": Key("dataDir", _filled, "a directory"),
    "dataLogDir": Key("dataLogDir", _filled, "a directory"),
    "clientPort": Key("client_port", _whole(0, 65535), _PORT),
    "clientPortAddress": Key("client_host", _host, _HOST),
    "secureClientPort": Key("secure_client_port", _whole(0, 65535), _PORT, "TLS is"),
    "secureClientPortAddress": Key("secure_client_host", _host, _HOST, "TLS is"),
    "clientPortListenBacklog": Key("listen_backlog", _whole(-1, 65535), "a whole number from -1 (default) to 65535"),
    "quorumListenOnAllIPs": Key("peer_listen_all", _flag, _FLAG),
    "clientTcpKeepAlive": Key("client_keepalive", _flag, _FLAG),
    "tcpKeepAlive": Key("peer_keepalive", _flag, _FLAG),
    "peerType": Key("peer_type", _choice("participant", "observer"), "participant or observer"),
    "standaloneEnabled": Key("standalone_enabled", _flag, _FLAG),
    "tickTime": Key("tick_ms", _whole(1, 2**31 - 1), _MS),
    "initLimit": Key("init_limit_ticks", _whole(1, 2**31 - 1), "a whole number of ticks, 1 or more"),
    "syncLimit": Key("sync_limit_ticks", _whole(1, 2**31 - 1), "a whole number of ticks, 1 or more"),
    "minSessionTimeout": Key("min_session_timeout_ms", _whole(-1, 2**31 - 1), f"{_MS}, or -1 for 2 ticks"),
    "maxSessionTimeout": Key("max_session_timeout_ms", _whole(-1, 2**31 - 1), f"{_MS}, or -1 for 20 ticks"),
    "cnxTimeout": Key("peer_dial_timeout_ms", _whole(1, 2**31 - 1), _MS),
    "nio.sessionlessCnxnTimeout": Key("handshake_timeout_ms", _whole(1, 2**31 - 1), _MS),
    "request_throttler.shutdownTimeout": Key("shutdown_timeout_ms", _whole(1, 2**31 - 1), _MS),
    "fsync.warningthresholdms": Key("fsync_warning_ms", _whole(0), _MS0),
    "maxClientCnxns": Key("address_connections_max", _whole(0), "a whole number of connections, 0 for no bound"),
    "maxCnxns": Key("connections_max", _whole(0), "a whole number of connections, 0 for no bound"),
    "jute.maxbuffer": Key("frame_bytes_max", _whole(1024, 16 * MIB), "a whole number of bytes from 1024 to 16777216"),
    "globalOutstandingLimit": Key("outstanding_max", _whole(1), "a whole number of requests, 1 or more"),
    "leaderServes": Key("leader_serves", _flag, "yes or no"),
    "preAllocSize": Key("log_segment_bytes", _whole(64, 2**22, 1024), "a whole number of KiB from 64 to 4194304"),
    "snapCount": Key("snapshot_entries", _whole(2), "a whole number of transactions, 2 or more"),
    "snapSizeLimitInKb": Key(
        "snapshot_log_bytes", _whole(-(2**40), 2**40, 1024), "a whole number of KiB, 0 for no bound"
    ),
    "datadir.autocreate": Key("create_directories", _flag, _FLAG),
    "extendedTypesEnabled": Key("ttl_znodes", _flag, _FLAG),
    "znode.container.checkIntervalMs": Key("container_check_ms", _whole(1), _MS),
    "znode.container.maxPerMinute": Key("container_deletes_per_minute_max", _whole(1), "a whole number, 1 or more"),
    "znode.container.maxNeverUsedIntervalMs": Key("container_never_used_ms", _whole(0), _MS0),
    "DigestAuthenticationProvider.superDigest": Key("super_digest", _digest, "user:hash"),
    "reconfigEnabled": Key("reconfig", _flag, _FLAG, "reconfiguration is"),
    "readonlymode.enabled": Key("read_only_mode", _flag, _FLAG, "read-only mode is"),
    "localSessionsEnabled": Key("local_sessions", _flag, _FLAG, "local sessions are"),
    "localSessionsUpgradingEnabled": Key("local_sessions_upgrading", _flag, _FLAG, "local sessions are"),
    "java.security.auth.login.config": Key("jaas_path", _filled, "the path of a JAAS file", "SASL is"),
    # Ours. Bounds that ZooKeeper has no key for.
    "zabpy.connectionOutstandingMax": Key(
        "connection_outstanding_max", _whole(1), "a whole number of requests, 1 or more"
    ),
    "zabpy.connectionSendBytesMax": Key(
        "connection_send_bytes_max", _whole(MIB), "a whole number of bytes, 1048576 or more"
    ),
    "zabpy.peerSendBytesMax": Key("peer_send_bytes_max", _whole(MIB), "a whole number of bytes, 1048576 or more"),
}

#: Read into the draft, but no field of a Config.
UNUSED_FIELDS = frozenset({"dataDir", "dataLogDir", "peer_type", "standalone_enabled"})

#: Keys that come with a number each.
NUMBERED: dict[str, Callable[[_Draft, Line, int], None]] = {
    "server": _Draft._server,
    "weight": _Draft._weight,
    "group": _Draft._group,
}

#: Keys that take more than one look.
SPECIAL: dict[str, Callable[[_Draft, Line], None]] = {
    "4lw.commands.whitelist": _Draft._whitelist,
    "autopurge.purgeInterval": _Draft._purge_interval,
    "autopurge.snapRetainCount": _Draft._snapshots_kept,
    "dynamicConfigFile": _Draft._dynamic_file,
    "forceSync": _Draft._force_sync,
}

#: Features that are not served yet: a warning, when the key switches one on. Why → keys.
NOT_SERVED: dict[str, tuple[str, ...]] = {
    "TLS is": (
        *(
            f"{prefix}{name}"
            for prefix in ("ssl.", "ssl.quorum.")
            for name in (
                "authProvider ciphersuites clientAuth clientHostnameVerification context.supplier.class crl "
                "enabledProtocols handshakeDetectionTimeoutMillis hostnameVerification keyStore.location "
                "keyStore.password keyStore.passwordPath keyStore.type ocsp protocol sslProvider trustStore.location "
                "trustStore.password trustStore.passwordPath trustStore.type"
            ).split()
        ),
        *("client.portUnification", "client.certReload", "sslQuorum", "portUnification", "sslQuorumReloadCertFiles"),
        "X509AuthenticationProvider.superUser",
    ),
    "SASL is": (
        *("authProvider.N", "superUser", "superUser.N", "sessionRequireClientSASLAuth", "allowSaslFailedClients"),
        *("jaasLoginRenew", "requireClientAuthScheme", "quorum.auth.enableSasl", "quorum.auth.serverRequireSasl"),
        *("quorum.auth.learnerRequireSasl", "quorum.auth.kerberos.servicePrincipal", "quorum.cnxn.threads.size"),
        *("quorum.auth.learner.saslLoginContext", "quorum.auth.server.saslLoginContext"),
    ),
    "enforced authentication is": ("enforce.auth.enabled", "enforce.auth.schemes", "ensembleAuthName"),
    "a choice of the digest scheme is": (
        *("DigestAuthenticationProvider.enabled", "DigestAuthenticationProvider.digestAlg"),
    ),
    "the admin server is": (
        *("admin.enableServer", "admin.serverPort", "admin.serverAddress", "admin.commandURL", "admin.idleTimeout"),
        *("admin.portUnification", "admin.forceHttps", "admin.needClientAuth", "admin.snapshot.enabled"),
        *("admin.restore.enabled", "admin.rateLimiterIntervalInMS"),
    ),
    "the metrics exporter is": (
        *("metricsProvider.className", "metricsProvider.httpHost", "metricsProvider.httpPort"),
        *("metricsProvider.httpsPort", "metricsProvider.exportJvmInfo"),
    ),
    "the audit log is": ("audit.enable", "audit.impl.class"),
    "the enforcement of quotas is": ("enforceQuota",),
    "doing without ACLs is": ("skipACL",),
    "throttling is": (
        *("connection_throttle_tokens", "connection_throttle_fill_time", "connection_throttle_fill_count"),
        *("connection_throttle_freeze_time", "connection_throttle_drop_increase", "connection_throttle_drop_decrease"),
        *("connection_throttle_decrease_ratio", "connection_throttle_weight_enabled"),
        *("connection_throttle_global_session_weight", "connection_throttle_local_session_weight"),
        *("connection_throttle_renew_session_weight", "request_throttle_max_requests", "request_throttle_stall_time"),
        *("request_throttle_drop_stale", "request_stale_connection_check", "request_stale_latency_check"),
        *("throttled_op_wait_time", "largeRequestThreshold", "largeRequestMaxBytes"),
    ),
    "following a follower is": ("observerMasterPort",),
    "an oracle is": ("oraclePath",),
    "the guard against an empty start is": ("db.autocreate",),
}

#: Values that switch a feature off.
OFF = frozenset({"", "false", "no", "0", "-1"})

#: Keys of ZooKeeper that mean nothing here: they steer Java, its threads and its caches, or how it does what we do
#: otherwise.
MEANINGLESS = frozenset(
    """
    jute.maxbuffer.extrasize electionAlg quorumCnxnTimeoutMs connectToLearnerMasterLimit electionPortBindRetry
    multiAddress.enabled multiAddress.reachabilityCheckTimeoutMs multiAddress.reachabilityCheckEnabled
    fastleader.minNotificationInterval fastleader.maxNotificationInterval leader.maxTimeToWaitForEpoch
    leader.maxConcurrentSnapSyncs leader.maxConcurrentDiffSyncs maxConcurrentSnapSyncs maxConcurrentDiffSyncs
    observer.reconnectDelayMs observer.election.DelayMs syncEnabled learner.asyncSending learner.closeSocketAsync
    leader.closeSocketAsync txnLogSizeLimitInKb commitLogCount snapshotSizeFactor flushDelay maxBatchSize
    maxWriteQueuePollTime snapshot.compression.method snapshot.trust.empty serializeLastProcessedZxid.enabled
    digest.enabled closeSessionTxn.enabled maxResponseCacheSize maxGetChildrenResponseCacheSize serverCnxnFactory
    nio.numSelectorThreads nio.numWorkerThreads nio.directBufferBytes nio.shutdownTimeout
    commitProcessor.numWorkerThreads commitProcessor.maxReadBatchSize commitProcessor.maxCommitBatchSize
    commitProcessor.shutdownTimeout maxReadBatchSize maxCommitBatchSize watchManagerName watcherCleanThreadsNum
    watcherCleanThreshold watcherCleanIntervalInSeconds bitHashCacheSize maxInProcessingDeadWatchers
    emulate353TTLNodes enableEagerACLCheck netty.advancedFlowControl.enabled netty.server.outstandingHandshake.limit
    outstandingHandshake.limit jvm.pause.monitor jvm.pause.monitor.sleep.time.ms jvm.pause.sleep.time.ms
    jvm.pause.info-threshold.ms jvm.pause.warn-threshold.ms messageTracker.Enabled messageTracker.BufferSize
    IPAuthenticationProvider.usexforwardedfor kerberos.removeHostFromPrincipal kerberos.removeRealmFromPrincipal
    kerberos.canonicalizeHostNames fips-mode clientCnxnSocket
    """.split()
)

SERVER_ID_MAX = 255  # a session id and a request id give it eight bits
SNAPSHOTS_KEPT_MIN = 3  # as in ZooKeeper

_NOT_SERVED_BY_KEY = {key: why for why, keys in NOT_SERVED.items() for key in keys}


def known_keys() -> frozenset[str]:
    """All keys that are accepted, those with a number written with ``N``."""
    numbered = {f"{kind}.N" for kind in NUMBERED}
    return frozenset(KEYS) | frozenset(SPECIAL) | MEANINGLESS | frozenset(_NOT_SERVED_BY_KEY) | numbered


def _not_served(name: str) -> str | None:
    if (why := _NOT_SERVED_BY_KEY.get(name)) is not None:
        return why
    stem, dot, tail = name.partition(".")  # authProvider.1, authProvider.sasl, superUser.2
    return _NOT_SERVED_BY_KEY.get(f"{stem}.N") if dot and tail else None


def _known_name(key: str) -> str:
    """``zookeeper.snapCount``, as the property is called, means the same as ``snapCount``."""
    return key.removeprefix("zookeeper.")


def _nearest(key: str) -> str | None:
    import difflib  # only an unknown key needs it

    lower = {name.lower(): name for name in known_keys()}
    found = difflib.get_close_matches(_known_name(key).lower(), lower, n=1, cutoff=0.6)
    return lower[found[0]] if found else None


# Text ----------------------------------------------------------------------------------------------------------------


def _lines(text: str, path: str) -> Iterable[Line]:
    """Keys and values by the rules of java.util.Properties: comments, continued lines, escapes, three separators."""
    rows = iter(enumerate(text.removeprefix("\ufeff").splitlines(), 1))
    for number, row in rows:
        row = row.lstrip(" \t\f")
        if not row or row[0] in "#!":
            continue
        while (len(row) - len(row.rstrip("\\"))) % 2:  # an odd number of backslashes at the end: it goes on
            row = row[:-1] + next(rows, (0, ""))[1].lstrip(" \t\f")
        at = 0
        while at < len(row) and row[at] not in "=: \t\f":
            at += 2 if row[at] == "\\" else 1
        key, rest = row[:at], row[at:].lstrip(" \t\f")
        if rest and rest[0] in "=:":
            rest = rest[1:]
        line = Line(path, number, key, rest.strip())
        yield line._replace(key=_unescaped(key, line), value=_unescaped(rest.strip(), line))


def _unescaped(text: str, line: Line) -> str:
    if "\\" not in text:
        return text
    out: list[str] = []
    chars = iter(text)
    for char in chars:
        if char == "\\":
            char = next(chars, "")
            if char == "u":
                digits = "".join(next(chars, "") for _ in range(4))
                try:
                    char = chr(int(digits, 16))
                except ValueError:
                    raise line.error("four hexadecimal digits behind \\u") from None
            else:
                char = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}.get(char, char)
        out.append(char)
    return "".join(out)


def _text_of(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {_reason(error)}: expected a readable file of lines key=value") from None


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return f"{error.strerror}" if isinstance(error, OSError) else f"not UTF-8 at byte {error.start}"


def _short(text: str) -> str:
    """For a message of one line: no control characters, not too long."""
    text = "".join(char if char.isprintable() else "?" for char in text)
    return text if len(text) <= 100 else text[:97] + "..."
