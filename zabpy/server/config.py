"""Config: all that one server was told, from the text of a ``zoo.cfg``.

Every limit is a field that ends in its unit; the table `KEYS` says which key of the file it comes from. ZooKeeper's
files start here as they are: keys that mean nothing here are accepted and listed in `Config.notices`, those of
features that are not served yet and unknown ones in `Config.warnings`. A value that cannot be is a `ConfigError` of
one line. Syntax: java.util.Properties, as ZooKeeper reads it. Keys and their meaning: the ZooKeeper administrator's
guide; defaults are ZooKeeper's but for the safe ones, which the field's comment names.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from zabpy.model import LOOPBACK, Member, is_loopback, members_text, parse_member, whole

from .config_keys import (
    AUTH_PROVIDERS,
    DAY_MS,
    KEYS,
    MEANINGLESS,
    MIB,
    NOT_SERVED_BY_KEY,
    OFF,
    SERVER_ID_MAX,
    SNAPSHOTS_KEPT_MIN,
    TICK_MS,
    UNUSED_FIELDS,
    flag,
    interval_ms,
    known_name,
    not_served_why,
)
from .config_text import ConfigError, Line, lines_of, read_text, reason, short
from .tls_settings import CLIENT, QUORUM, TlsSettings, old_protocols, settings_of

#: All of ZooKeeper's four-letter words, and ours, ``diag``; ``*`` in the whitelist means these.
WORDS = frozenset(
    "conf cons crst diag dirs dump envi gtmk hash isro mntr ruok srst srvr stat stmk wchc wchp wchs".split()
)


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
    client_port: int | None = 0
    """0: any free port. None: no port without TLS."""
    secure_client_host: str = LOOPBACK
    """Safe default: ZooKeeper listens on all addresses."""
    secure_client_port: int | None = None
    """The port with TLS; None: none."""
    listen_backlog: int = 128
    peer_listen_all: bool = False
    """Listen for peers on all addresses, not only on the one in the server list."""

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
    shutdown_timeout_ms: int = 500
    """What is under way at a stop has this long to become durable. Safe default: ZooKeeper's 10 s are what whoever
    stops a service waits before it kills it."""
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
    large_request_bytes_min: int = -1
    """A request of more than this is large; -1: none is."""
    large_requests_bytes_max: int = 100 * MIB
    """What the large requests on their way may have together; the connection of one more is closed."""
    receive_bytes_max: int = 256 * MIB
    """Large requests that have not come whole yet, of all clients together, before the connections of those that began
    first are closed. Each connection may have 16 KiB besides."""
    send_bytes_max: int = 512 * MIB
    """What all clients together have not taken yet, before the connections of those that lag most are closed."""
    connection_send_bytes_max: int = 64 * MIB
    """Answers and events a client has not taken yet, before its connection is closed."""
    handshake_tokens_max: int = 0
    """Handshakes in a burst, each for one token or its weight; the others are closed. 0: no bound."""
    handshake_fill_ms: int = 1
    handshake_fill_tokens: int = 1
    """In each ``handshake_fill_ms`` so many tokens are put back."""
    handshake_freeze_ms: int = -1
    """While there are no tokens left, the chance to be turned away grows this often; -1: only tokens count."""
    handshake_drop_increase: float = 0.02
    handshake_drop_decrease: float = 0.002
    handshake_decrease_ratio: float = 0.0
    """That chance shrinks when no more than this part of the tokens is used."""
    handshake_weighted: bool = False
    new_session_tokens: int = 3
    local_session_tokens: int = 1
    resumed_session_tokens: int = 2
    leader_serves: bool = True
    """False: no clients on the server that leads."""
    words: frozenset[str] = frozenset({"conf", "isro", "mntr", "ruok", "srvr", "stat"})
    """Four-letter words that are answered. Safe default: the cheap ones (ZooKeeper: ``srvr``)."""

    # Peers
    peer_send_bytes_max: int = 256 * MIB
    """Messages a peer has not taken yet, before its link is closed."""

    peer_secret_path: str | None = None
    """The file with the secret that the servers share; None: there is none."""
    peers_unproven: bool = False
    """Servers that prove nothing are let in: no secret, no TLS."""

    # TLS
    client_tls: TlsSettings | None = None
    """None: no TLS for clients."""
    client_port_unification: bool = False
    """The client port takes TLS too: the first byte tells."""
    peer_tls: TlsSettings | None = None
    """None: no TLS between servers."""
    peer_tls_dialled: bool = False
    """Links that we dial begin with TLS, and those that come must."""
    peer_port_unification: bool = False
    """Links that come may begin with TLS or without."""
    x509_super: str | None = None
    """The subject of the certificate that may do everything, as `X500Principal.getName` writes it; None: nobody's."""

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
    enforce_quota: bool = False
    """What goes beyond a hard quota is refused; otherwise the log tells of it."""
    container_check_ms: int = 60_000
    container_deletes_per_minute_max: int = 10_000
    container_never_used_ms: int = 0
    """A container that never had a child goes after this; 0: it stays (ZooKeeper before 3.10)."""
    super_digest: str | None = None
    """``user:base64(digest(user:password))`` of the one who may do everything; None: nobody may."""
    reconfig: bool = False
    """Observers may join and leave while the ensemble runs, by operation 16."""
    standalone_enabled: bool = True
    """A list of one server makes it run standalone; and no reconfig may leave fewer than two voters."""
    read_only_mode: bool = False
    local_sessions: bool = False
    local_sessions_upgrading: bool = False
    acls_off: bool = False
    """Access control lists are kept and not looked at (``skipACL``)."""
    auth_schemes: frozenset[str] = frozenset({"digest", "ip"})
    """Schemes by which a client may be someone, and which may stand in a list besides ``world`` and ``auth``."""
    required_schemes: frozenset[str] = frozenset()
    """A client that is nobody by one of these may only log in. Empty: anybody may ask."""
    digest_algorithm: str = "sha1"
    """Of the scheme ``digest``, as hashlib calls it. The lists that are stored already stay as they are."""
    ensemble_names: frozenset[str] = frozenset()
    """What a client may take this ensemble for by an auth packet of scheme ``ensemble``; empty: anything."""
    jaas_path: str | None = None
    """The file with the accounts for SASL; None: no SASL."""
    jaas_section: str = "Server"
    sasl_super_users: frozenset[str] = frozenset()
    """SASL accounts that may do everything."""
    sasl_super_password: str | None = field(default=None, repr=False)
    """Instead of that of the account ``super`` in the JAAS file."""
    sasl_any_user: str | None = None
    """Whoever has logged in by SASL may do what this id may in a list (``letAnySaslUserDoX``)."""
    sasl_failed_may_stay: bool = False

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
        return members_text(self.members, 0)


#: What we keep in dataDir and dataLogDir is in a folder of this name.
OWN_DIR = "zabpy"


def load(path: str) -> Config:
    """Read the file, ``myid`` beside the data, and look whether the directories can be used. Writes nothing.

    Raises:
        ConfigError: something of this is not as it must be.
    """
    draft = _Draft(path)
    draft.read(read_text(path))
    return draft.finish(load_myid=True)


def parse(text: str, path: str = "zoo.cfg", server_id: int = 0) -> Config:
    """The same from text alone: no file is looked at, and ``server_id`` stands for ``myid``.

    Raises:
        ConfigError: a value is not as it must be.
    """
    draft = _Draft(path)
    draft.read(text)
    return draft.finish(load_myid=False, server_id=server_id)


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
        self.auth_schemes: set[str] = {"ip"}

    # Reading --------------------------------------------------------------------------------------------------------

    def read(self, text: str) -> None:
        for line in lines_of(text, self.path):
            name = known_name(line.key)
            if (before := self.lines.get(name)) is not None:
                self.warnings.append(
                    f"{line.path}:{line.number}: {line.key} stands here and in line {before.number}: this one counts"
                )
            self.lines[name] = line
        for name, line in list(self.lines.items()):
            self._take(name, line)

    def _take(self, name: str, line: Line) -> None:
        kind, _, number = name.partition(".")
        if kind in NAMED and number:
            NAMED[kind](self, line)
        elif kind in NUMBERED and number:
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
        elif (why := not_served_why(name)) is not None:
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
            member = parse_member(number, line.value)
        except ValueError as error:
            raise line.error(f"host:peerPort:electionPort[:role][;[clientAddress:]clientPort]; {error}") from None
        if "|" in line.value:
            self.warnings.append(
                f"{line.path}:{line.number}: {line.key}: of several addresses the first is used, {member.host}"
            )
        self.servers[number] = line, member

    def _weight(self, line: Line, number: int) -> None:
        try:
            weight = whole(0)(line.value)
        except ValueError:
            raise line.error("a whole number, 0 or more") from None
        self.weights[number] = line, weight

    def _group(self, line: Line, number: int) -> None:
        if number < 1:
            raise line.error("a group number of 1 or more")
        try:
            inside = tuple(whole(1)(part) for part in line.value.split(":"))
        except ValueError:
            raise line.error("server numbers with colons between them, like 1:2:3") from None
        self.groups[number] = line, inside

    def _force_sync(self, line: Line) -> None:
        try:
            wanted = flag(line.value)
        except ValueError:
            raise line.error("yes or no") from None
        if not wanted:
            self.warnings.append(
                f"{line.path}:{line.number}: {line.key}={line.value} is not done: a write counts once it is on disk"
            )

    def _purge_interval(self, line: Line) -> None:
        try:
            every_ms = interval_ms(line.value)
        except ValueError:
            raise line.error("whole hours, or a whole number with ms, s, m, h or d behind it; 0 for no purge") from None
        self.values["purge"] = every_ms > 0
        if every_ms > 0:
            self.values["purge_interval_ms"] = every_ms

    def _snapshots_kept(self, line: Line) -> None:
        try:
            kept = whole(0)(line.value)
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
        # ZooKeeper answers srvr whatever the list says: its own status script needs it; and clients that were told that
        # a server is read-only ask isro until they find another.
        self.values["words"] = WORDS if "*" in words else frozenset(words & WORDS | {"isro", "srvr"})

    def _auth_provider(self, line: Line) -> None:
        scheme = AUTH_PROVIDERS.get(line.value)
        if scheme is None:
            self.warnings.append(
                f"{line.path}:{line.number}: {line.key}={short(line.value)}: plug-ins of Java cannot be loaded, so "
                "this switches no scheme on"
            )
        else:
            self.auth_schemes.add(scheme)

    def _super_user(self, line: Line) -> None:
        if not line.value:
            raise line.error("the name of a SASL account")
        self.values["sasl_super_users"] = self.values.get("sasl_super_users", frozenset()) | {line.value}

    def _auth_scheme(self, line: Line) -> None:
        self.warnings.append(
            f"{line.path}:{line.number}: {line.key} requires nothing, nor does it in ZooKeeper; "
            "sessionRequireClientSASLAuth=true does"
        )

    def _dynamic_file(self, line: Line) -> None:
        path = os.path.join(os.path.dirname(self.path), line.value)
        try:
            with open(path, encoding="utf-8") as file:
                text = file.read()
        except (OSError, UnicodeDecodeError) as error:
            raise line.error(f"a readable file with the server list; {reason(error)}") from None
        if any(key.startswith("server.") for key in self.lines):
            raise line.error("the server list in one place: here are lines server.N too")
        inner = _Draft(path)
        for each in lines_of(text, path):
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
        self._tls(bool(members))
        self._proofs(members)
        self._access()
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
            raise ConfigError(f"{path}: {reason(error)}: expected a file with {expected}") from None
        if not (text.isascii() and text.isdecimal()):
            raise ConfigError(f"{path}: {short(text)!r}: expected {expected}")
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
            if "secure_client_port" not in values:
                raise self._missing("clientPort", "the port for clients (a usual value: 2181)")
            values["client_port"] = None
        for key, port, host in (
            ("clientPortAddress", "client_port", "client_host"),
            ("secureClientPortAddress", "secure_client_port", "secure_client_host"),
        ):
            if values.get(port) is not None and host not in values:
                self.notices.append(
                    f"{self.path}: {key} is not set: clients are served on {LOOPBACK} only; "
                    f"{key}=0.0.0.0 is for all addresses"
                )

    def _tls(self, ensemble: bool) -> None:
        values = self.values
        asked = "secureClientPort" if "secure_client_port" in values else "client.portUnification"
        if asked in self.lines and (values.get("client_port_unification") or "secure_client_port" in values):
            values["client_tls"] = settings_of(values, CLIENT, self.path, asked)
        dialled, both = values.get("peer_tls_dialled"), values.get("peer_port_unification")
        if ensemble and (dialled or both):
            values["peer_tls"] = settings_of(values, QUORUM, self.path, "sslQuorum" if dialled else "portUnification")
            if both:
                self.warnings.append(f"{self.path}: portUnification=true: servers without TLS are let in too")
        for name in (f"{prefix}{kind}" for prefix in (CLIENT, QUORUM) for kind in ("protocol", "enabledProtocols")):
            line = self.lines.get(name)
            if line is not None and (old := old_protocols(line.value)):
                self.warnings.append(f"{line.path}:{line.number}: {line.key}: {', '.join(old)} is not spoken here")
        for prefix, used, what in (
            (CLIENT, "client_tls", "secureClientPort and client.portUnification are not set"),
            (QUORUM, "peer_tls", "there is no ensemble with sslQuorum or portUnification"),
        ):
            idle = [f"{prefix}{kind}.location" for kind in ("keyStore", "trustStore")]
            idle = [name for name in idle if name in values and used not in values]
            if idle:
                self.notices.append(f"{self.path}: without effect, for {what}: {', '.join(idle)}")

    def _proofs(self, members: tuple[Member, ...]) -> None:
        """Servers must prove who they are to each other wherever somebody else might reach their ports."""
        values = self.values
        if "peer_secret_path" in values:
            # Beside the file that names it, and not where the server happens to be started.
            values["peer_secret_path"] = os.path.join(os.path.dirname(self.path), values["peer_secret_path"])
            if not members:
                self.notices.append(f"{self.path}: without effect, for there is no ensemble: zabpy.peerSecretFile")
        if not members:
            return
        # Who lets in servers without TLS as well lets in everybody.
        certified = bool(values.get("peer_tls_dialled")) and not values.get("peer_port_unification")
        proof = "peer_secret_path" in values or certified
        if values.get("peers_unproven"):
            line = self.lines["zabpy.peersUnproven"]
            self.warnings.append(
                f"{line.path}:{line.number}: {line.key}={line.value}: servers need no proof of who they are"
                + (
                    ": whoever reaches a peer port may vote, read and change everything"
                    if not certified
                    else ", but for their certificates"
                )
            )
        elif not proof and (open_to := self._open_to(members)) is not None:
            raise ConfigError(
                f"{self.path}: nothing proves to the servers who they are, and {open_to} is not loopback: expected "
                "zabpy.peerSecretFile=FILE (a secret they share), or sslQuorum=true without portUnification "
                "(certificates), or, where only they can reach their ports, zabpy.peersUnproven=true"
            )

    def _open_to(self, members: tuple[Member, ...]) -> str | None:
        """An address of the peer ports that others than this machine may reach."""
        if self.values.get("peer_listen_all"):
            return "quorumListenOnAllIPs=true"
        for member in members:
            if not is_loopback(member.host):
                return f"server.{member.server_id}={member.host}"
        return None

    def _access(self) -> None:
        values, lines = self.values, self.lines
        schemes = self.auth_schemes
        if values.get("digest_enabled", True):
            schemes.add("digest")
        if values.get("client_tls") is not None:
            schemes.add("x509")
        values["auth_schemes"] = frozenset(schemes)
        if values.get("sasl_required"):
            required, line = frozenset({"sasl"}), lines["sessionRequireClientSASLAuth"]
        elif values.get("enforce_enabled"):
            line = lines.get("enforce.auth.schemes", lines["enforce.auth.enabled"])
            required = values.get("enforce_schemes", frozenset())
            if not required:
                raise line.error("enforce.auth.schemes beside it, like enforce.auth.schemes=sasl")
        else:
            required, line = frozenset(), None
        for scheme in sorted(required - schemes):
            assert line is not None
            hint = next(
                (f"; authProvider.{scheme}={each} does it" for each, on in AUTH_PROVIDERS.items() if on == scheme), ""
            )
            raise line.error(f"schemes that are switched on; {short(scheme)} is not{hint}")
        values["required_schemes"] = required
        if line is not None and "sasl" in required and "jaas_path" not in values:
            self.warnings.append(
                f"{line.path}:{line.number}: {line.key}: nobody can log in by SASL without "
                "java.security.auth.login.config"
            )
        if "jaas_path" in values:
            line = lines["java.security.auth.login.config"]
            # Beside the file that names it, and not where the server happens to be started.
            values["jaas_path"] = os.path.join(os.path.dirname(self.path), values["jaas_path"])
            if "sasl" not in schemes:
                provider = "org.apache.zookeeper.server.auth.SASLAuthenticationProvider"
                self.notices.append(
                    f"{line.path}:{line.number}: without authProvider.sasl={provider} clients log in by SASL, but no "
                    "access control list can name them"
                )
        if values.get("acls_off"):
            line = lines["skipACL"]
            self.warnings.append(
                f"{line.path}:{line.number}: {line.key}={line.value}: everybody may read and change everything"
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
            yield f"{line.path}:{line.number}: unknown key {short(line.key)!r}: {hint}"
        yield from self.warnings
        for why, keys in self.not_served.items():
            yield f"{self.path}: {why} not served yet, so without effect: {', '.join(keys)}"

    def _all_notices(self) -> Iterable[str]:
        if self.meaningless:
            yield f"{self.path}: keys of ZooKeeper that mean nothing here: {', '.join(self.meaningless)}"
        yield from self.notices


#: Keys that come with a number each.
NUMBERED: dict[str, Callable[[_Draft, Line, int], None]] = {
    "server": _Draft._server,
    "weight": _Draft._weight,
    "group": _Draft._group,
}

#: Keys that come with a name each, of whatever kind.
NAMED: dict[str, Callable[[_Draft, Line], None]] = {
    "authProvider": _Draft._auth_provider,
    "superUser": _Draft._super_user,
}

#: Keys that take more than one look.
SPECIAL: dict[str, Callable[[_Draft, Line], None]] = {
    "4lw.commands.whitelist": _Draft._whitelist,
    "autopurge.purgeInterval": _Draft._purge_interval,
    "autopurge.snapRetainCount": _Draft._snapshots_kept,
    "dynamicConfigFile": _Draft._dynamic_file,
    "forceSync": _Draft._force_sync,
    "requireClientAuthScheme": _Draft._auth_scheme,
    "superUser": _Draft._super_user,
}


def known_keys() -> frozenset[str]:
    """All keys that are accepted, those with a number written with ``N``."""
    numbered = {f"{kind}.N" for kind in (*NUMBERED, *NAMED)}
    return frozenset(KEYS) | frozenset(SPECIAL) | MEANINGLESS | frozenset(NOT_SERVED_BY_KEY) | numbered


def _nearest(key: str) -> str | None:
    import difflib  # only an unknown key needs it

    lower = {name.lower(): name for name in known_keys()}
    found = difflib.get_close_matches(known_name(key).lower(), lower, n=1, cutoff=0.6)
    return lower[found[0]] if found else None
