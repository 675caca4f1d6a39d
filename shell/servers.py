"""The servers of an ensemble, from the connection string and from ``/zookeeper/config``; questions to all of them."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from socket import SOCK_STREAM
from typing import Generic, TypeVar

import anyio

from zabpy.client import Host, parse_servers
from zabpy.model import Member, ZabpyError

from .errors import ShellError, Status
from .shell import Shell
from .words import WHITELIST, Asker, ForbiddenWordError, WordError

#: For what needs a session, where words alone do nearly as well.
SESSION_WAIT_MS = 2_000
#: Servers that are asked at one time.
AT_ONCE = 16

T = TypeVar("T")


@dataclass
class Server:
    """``id``: of the list of members, None while it is not known."""

    host: Host
    id: int | None = None
    member: Member | None = None

    def __str__(self) -> str:
        return str(self.host)


@dataclass
class Answer(Generic[T]):
    """``problem``: why there is no ``value``."""

    server: Server
    value: T | None = None
    problem: WordError | None = None
    took_ms: float = 0.0


@dataclass
class Ensemble:
    """``servers``: whose client ports are known, in the order of their numbers, those without one first. ``members``:
    of ``/zookeeper/config``; none of a standalone server, or while there is no session."""

    servers: list[Server]
    members: tuple[Member, ...]
    #: They are asked over TLS, whose ports the members' list does not tell.
    is_secure: bool = False

    def unknown(self) -> list[Member]:
        """Of whom nobody says where clients are to go."""
        known = {server.id for server in self.servers}
        return [member for member in self.members if member.server_id not in known]

    def name(self, id_of: "dict[str, int]") -> None:
        """What servers say of their own numbers, by `Host`."""
        members = {member.server_id: member for member in self.members}
        for server in self.servers:
            id = id_of.get(str(server))
            if server.id is None and id in members:
                server.id, server.member = id, members[id]


async def ensemble_of(shell: Shell) -> Ensemble:
    """All servers there are, each once. Without a session those of the connection string."""
    given, _ = parse_servers(shell.cluster.servers)
    members: tuple[Member, ...] = ()
    with anyio.move_on_after(SESSION_WAIT_MS / 1000):
        try:
            members = (await (await shell.zk()).get_config()).members.servers
        except (ZabpyError, ShellError):
            pass  # whoever asks shows which servers do not answer, and why
    secure = Asker(shell.cluster.settings).has_tls
    found = [Server(host) for host in given]
    addresses = [await _addresses(server.host) for server in found]
    for member in members:
        if member.client_port is None or secure:
            continue  # it is not said there, or it is the port without TLS
        name = member.client_host or ""
        host = Host(member.host if name in ("", "0.0.0.0", "::") else name, member.client_port)
        where = await _addresses(host)
        same = next((i for i, known in enumerate(addresses) if known & where), None)
        if same is None:
            found.append(Server(host, member.server_id, member))
        else:
            found[same].id, found[same].member = member.server_id, member
    return Ensemble(sorted(found, key=lambda server: -1 if server.id is None else server.id), members, secure)


async def _addresses(host: Host) -> set[tuple[str, int]]:
    """What the name stands for, so that two names of one server are found out."""
    try:
        with anyio.fail_after(1):
            infos = await anyio.getaddrinfo(host.name, host.port, type=SOCK_STREAM)
    except (OSError, TimeoutError):
        return {(host.name, host.port)}
    return {(str(address), host.port) for *_, (address, *_) in infos}


async def ask_all(
    shell: Shell, servers: list[Server], ask: Callable[[Asker, Host], Awaitable[T]], deadline_ms: int | None = None
) -> list[Answer[T]]:
    """The same question to all at once; in their order."""
    asker = Asker(shell.cluster.settings, *(() if deadline_ms is None else (deadline_ms,)))
    answers: list[Answer[T]] = [Answer(server) for server in servers]
    limit = anyio.CapacityLimiter(AT_ONCE)

    async def one(answer: Answer[T]) -> None:
        async with limit:
            began = anyio.current_time()
            try:
                answer.value = await ask(asker, answer.server.host)
            except WordError as error:
                answer.problem = error
            answer.took_ms = (anyio.current_time() - began) * 1000

    async with anyio.create_task_group() as tasks:
        for answer in answers:
            tasks.start_soon(one, answer)
    return answers


async def word_of_all(shell: Shell, servers: list[Server], word: str) -> list[Answer[str]]:
    return await ask_all(shell, servers, lambda asker, host: asker.ask(host, word))


def missing(answers: list[Answer[T]], word: str) -> tuple[int, list[str]]:
    """What is to be said of those that did not answer, and the status that it makes."""
    status, lines, forbidden = refusals(answers)
    return status, lines + ([not_allowed([word], forbidden)] if forbidden else [])


def refusals(answers: list[Answer[T]]) -> tuple[int, list[str], list[str]]:
    """The status, what is to be said of those that could not answer, and the servers that were not allowed to."""
    failed = [answer for answer in answers if answer.problem is not None]
    lines = [str(answer.problem) for answer in failed if not isinstance(answer.problem, ForbiddenWordError)]
    forbidden = [str(answer.server) for answer in failed if isinstance(answer.problem, ForbiddenWordError)]
    if not failed:
        return Status.OK, lines, forbidden
    if len(failed) < len(answers):
        return Status.PARTIAL, lines, forbidden
    return (Status.DENIED if len(forbidden) == len(failed) else Status.CONNECTION), lines, forbidden


def not_allowed(words: Sequence[str], servers: Sequence[str]) -> str:
    """What is missing at these servers, and what to do about it."""
    are, them = ("is", "it") if len(words) == 1 else ("are", "them")
    whom = "the server" if len(servers) == 1 else "the servers"
    return f"{', '.join(servers)}: {', '.join(words)} {are} not allowed; add {them} to {WHITELIST}, and restart {whom}"
