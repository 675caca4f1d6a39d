"""Four-letter words asked of servers, over the client port: what servers tell of themselves without a session.

Source of the texts: ZooKeeper's administrator's guide, and zabpy/admin/four_letter.py.
"""

import re
from collections.abc import Iterator
from random import Random
from typing import Any, NamedTuple

import anyio

from zabpy.client import Dial, Host, TcpDial, TlsDial, context_of, failure_of

from .problems import ShellError, Status, spelt

#: No answer is read any further.
ANSWER_BYTES_MAX = 64 * 1024 * 1024
#: A server that has not answered in so long is one that does not.
DEADLINE_MS = 3_000
#: Where a server says which words it answers.
WHITELIST = "4lw.commands.whitelist in zoo.cfg (which is srvr where it is not set)"
_FORBIDDEN = "is not executed because it is not in the whitelist."
_NOT_SERVING = "This ZooKeeper instance is not currently serving requests"


class WordError(ShellError):
    """A server did not answer a word: ``server``, ``word``, and ``why`` in short."""

    def __init__(self, server: str, word: str, why: str, status: Status) -> None:
        super().__init__(f"{server}: {word}: {why}", status)
        self.server, self.word, self.why = server, word, why


class UnreachableError(WordError):
    """No answer in time, or no connection."""

    def __init__(self, server: str, word: str, why: str) -> None:
        super().__init__(server, word, why, Status.CONNECTION)


class ForbiddenWordError(WordError):
    """The server's whitelist does not have it."""

    def __init__(self, server: str, word: str) -> None:
        # Not `=WORD`, which would forbid all that is allowed now.
        why = f"not in its whitelist; add it to {WHITELIST}, and restart it"
        super().__init__(server, word, why, Status.DENIED)


class NotServingError(WordError):
    """It is up, but takes no clients: it has no leader, or just comes up."""

    def __init__(self, server: str, word: str) -> None:
        super().__init__(server, word, "it does not serve: it has no quorum, or only just comes up", Status.CONNECTION)


class Asker:
    """Asks words the way that a client with these settings would connect: with TLS if they have it."""

    def __init__(self, settings: dict[str, Any], deadline_ms: int = DEADLINE_MS) -> None:
        self.deadline_ms = deadline_ms
        context, server_name = context_of(settings.get("tls", False))
        self._dial: Dial = settings.get("dial") or TcpDial(Random())
        self.has_tls = context is not None
        if context is not None:
            self._dial = TlsDial(self._dial, context, server_name)

    async def ask(self, host: Host, word: str) -> str:
        """The whole answer.

        Raises:
            WordError: see its kinds.
        """
        pieces: list[bytes] = []
        try:
            with anyio.fail_after(self.deadline_ms / 1000):
                stream = await self._dial(host.name, host.port)
                async with stream:
                    await stream.send(word.encode())
                    size = 0
                    try:
                        while size < ANSWER_BYTES_MAX:
                            pieces.append(await stream.receive())
                            size += len(pieces[-1])
                    except anyio.EndOfStream:
                        pass
        except TimeoutError:
            raise UnreachableError(str(host), word, f"no answer within {self.deadline_ms} ms") from None
        except (OSError, anyio.BrokenResourceError) as error:
            if not pieces:  # who has answered may close without ceremony
                raise UnreachableError(str(host), word, spelt(failure_of(error).why)) from None
        text = b"".join(pieces).decode("utf-8", "replace")
        if text.rstrip().endswith(_FORBIDDEN):
            raise ForbiddenWordError(str(host), word)
        if text.startswith(_NOT_SERVING):
            raise NotServingError(str(host), word)
        return text


# What they say -------------------------------------------------------------------------------------------------------


class Srvr(NamedTuple):
    """``srvr``: latencies in ms."""

    version: str
    mode: str
    zxid: int
    connections: int
    outstanding: int
    received: int
    sent: int
    znodes: int
    latency_min: float
    latency_avg: float
    latency_max: float


def parse_srvr(text: str) -> Srvr:
    """Raises ValueError for what is none."""
    rows = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
    try:
        low, middle, high = map(float, rows["Latency min/avg/max"].split("/"))
        return Srvr(
            short_version(rows["Zookeeper version"]), rows["Mode"], int(rows["Zxid"], 16),
            int(rows["Connections"]), int(rows["Outstanding"]), int(rows["Received"]), int(rows["Sent"]),
            int(rows["Node count"]), low, middle, high,
        )  # fmt: skip
    except (KeyError, ValueError) as error:
        raise ValueError(f"no answer to srvr: {text[:80]!r} ({error})") from None


def short_version(text: str) -> str:
    """``3.8.0-zabpy-0.1.0, built on …`` is ``zabpy 0.1.0``, and of Apache's the numbers are left."""
    name = text.partition(",")[0]
    ours = re.search(r"-zabpy-(\S+)", name)
    if ours:
        return f"zabpy {ours[1]}"
    numbers = re.match(r"[\d.]+", name)
    return numbers[0].rstrip(".") if numbers else name


def parse_mntr(text: str) -> dict[str, str]:
    """By name, without the ``zk_``."""
    return {
        key.removeprefix("zk_"): value
        for key, tab, value in (line.partition("\t") for line in text.splitlines())
        if tab
    }


def parse_conf(text: str) -> dict[str, str]:
    """By name, up to the list of members."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if line.startswith("membership:"):
            break
        if equals:
            found[key.strip()] = value.strip()
    return found


class Line(NamedTuple):
    """A connection of ``cons``: the address of the client, and what stands in the brackets."""

    address: str
    fields: dict[str, str]

    @property
    def session_id(self) -> int:
        return int(self.fields.get("sid", "0x0"), 16)

    def number(self, name: str) -> int | None:
        text = self.fields.get(name, "")
        return int(text) if text.lstrip("-").isdecimal() else None


_LINE = re.compile(r"\s/(\S+)\[[0-9a-f]+\]\((.*)\)\s*$")


def parse_cons(text: str) -> list[Line]:
    found: list[Line] = []
    for line in text.splitlines():
        match = _LINE.match(line)
        if match:
            pairs = (part.partition("=") for part in match[2].split(","))
            found.append(Line(match[1], {key: value for key, _, value in pairs}))
    return found


class Dump(NamedTuple):
    """``dump``: by session its timeout (of a server that does not lead), when it is given up if it stays silent, as the
    server writes dates (of the leader), and its ephemeral znodes. ``leads``: it is the leader's."""

    timeouts_ms: dict[int, int]
    expires: dict[int, str]
    ephemerals: dict[int, list[str]]
    leads: bool


def parse_dump(text: str) -> Dump:
    timeouts: dict[int, int] = {}
    expires: dict[int, str] = {}
    ephemerals: dict[int, list[str]] = {}
    part, date, owner, leads = "", "", 0, False
    for line in text.split("\n"):
        bare = line.strip()
        if re.match(r"(Global |Local )?Session Sets \(", line):
            part, leads = "sets", leads or not line.startswith("Local")
        elif line.startswith("Global Sessions("):
            part = "timeouts"
        elif line.startswith("Sessions with Ephemerals"):
            part = "ephemerals"
        elif line.startswith("Connections dump"):
            break
        elif part == "sets" and " expire at " in line:
            date = bare.partition(" expire at ")[2].rstrip(":")
        elif part == "sets" and bare.startswith("0x"):
            expires[int(bare, 16)] = date
        elif part == "timeouts" and bare.startswith("0x"):
            id, _, ms = bare.partition("\t")
            timeouts[int(id, 16)] = int(ms.removesuffix("ms"))
        elif part == "ephemerals" and line.startswith("0x"):
            owner = int(bare.rstrip(":"), 16)
            ephemerals[owner] = []
        elif part == "ephemerals" and line.startswith("\t"):
            ephemerals.setdefault(owner, []).append(line[1:])
    return Dump(timeouts, expires, ephemerals, leads)


def parse_wchc(text: str) -> dict[int, list[str]]:
    """Paths by session."""
    found: dict[int, list[str]] = {}
    owner = 0
    for line in text.split("\n"):
        if line.startswith("0x"):
            owner = int(line, 16)
            found[owner] = []
        elif line.startswith("\t"):
            found.setdefault(owner, []).append(line[1:])
    return found


def parse_wchp(text: str) -> Iterator[tuple[str, int]]:
    """Path and session, of each watch."""
    path = ""
    for line in text.split("\n"):
        if line.startswith("\t0x"):
            yield path, int(line, 16)
        elif line:
            path = line
