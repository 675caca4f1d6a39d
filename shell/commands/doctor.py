"""The doctor: asks all servers what they tell, twice, and says what is wrong and what to do about it."""

import time
from typing import Any

import anyio
import click

from zabpy.client import Client
from zabpy.model import ZabpyError

from ..command import Duration, command
from ..diagnosis import Case, Look, findings_of
from ..errors import ShellError, Status
from ..servers import Answer, Ensemble, Server, ask_all, ensemble_of
from ..shell import Shell
from ..views import views_of
from ..words import Asker, ForbiddenWordError, WordError, parse_cons, parse_dump, parse_mntr

#: Between two looks at what may be so for a moment only.
PAUSE_MS = 1_000
#: Digests can be compared at one zxid only: so often they are asked for until the servers stand at the same.
DIGEST_ROUNDS = 4
#: A walk over all that a server keeps.
DIGEST_WAIT_MS = 30_000
#: What of our own waits for an answer that only makes a picture complete.
SESSION_WAIT_MS = 5_000


@command("doctor", group="Ensemble")
@click.option("--timeout", "deadline_ms", type=Duration(), default="3s", help="How long each server may take.")
@click.option("--strict", is_flag=True, help="Notes count as findings, too: status 1.")
async def doctor(shell: Shell, deadline_ms: int, strict: bool) -> int:
    """What is wrong with the ensemble, and what to do about it.

    Looks at servers that are away, leaders, lag, digests of the replicas, clocks, disk left, settings that differ,
    load, balance, sessions. Status 0: nothing wrong; 1: findings; 5: no server could be reached. Notes are no findings.
    Some of it needs words that the servers have to allow: mntr, conf, cons, dump, and diag (zabpy) or hash (Apache).
    """
    ensemble = await ensemble_of(shell)
    case = await _look(shell, ensemble, deadline_ms)
    findings = findings_of(case)
    human = "{level:7} {where}{what}\n        -> {todo}"
    async with shell.out.rows(
        "what",
        human=lambda row: human.format(where=f"{row['server']}: " if row["server"] else "", **row),
    ) as rows:
        for found in findings:
            await rows.add(**found._asdict())
    if not any(look.answer.value is not None for look in case.looks):
        return Status.CONNECTION
    counting = [found for found in findings if strict or found.level != "note"]
    if not counting:
        await shell.out.tell(f"nothing wrong with {len(case.looks)} servers that were asked")
    return Status.NO if counting else Status.OK


async def _look(shell: Shell, ensemble: Ensemble, deadline_ms: int) -> Case:
    first = await views_of(shell, ensemble, deadline_ms=deadline_ms)
    await anyio.sleep(PAUSE_MS / 1000)
    second = await views_of(shell, ensemble, (), deadline_ms=deadline_ms)
    looks = [Look(answer, later) for answer, later in zip(first, second, strict=True)]
    case = Case(looks, ensemble.members, ensemble.unknown(), is_secure=shell.cluster.is_secure)
    for look in looks:
        for word in look.view.forbidden:
            case.forbidden.setdefault(word, []).append(look.name)
    serving = [look for look in looks if look.view.srvr is not None]
    ours = [look for look in serving if look.view.srvr and look.view.srvr.version.startswith("zabpy")]
    others = [look for look in serving if look not in ours]
    for look, text in await _ask(shell, case, serving, "cons", deadline_ms):
        look.connections = parse_cons(text)
    leaders = [look for look in serving if look.view.srvr and look.view.srvr.mode in ("leader", "standalone")]
    for _, text in await _ask(shell, case, leaders[:1], "dump", deadline_ms):
        case.dump = parse_dump(text)
    await _take_diag(shell, case, ours)
    for look, text in await _ask(shell, case, others, "hash", deadline_ms):
        look.hashes = {f"zxid 0x{at}": digest.strip() for at, colon, digest in _split(text) if colon}
    async with anyio.create_task_group() as tasks:
        for look in others:
            if "cons" not in case.forbidden:
                tasks.start_soon(_compare_clock, shell, look)
    await _take_acl(shell, case)
    return case


def _split(text: str) -> list[tuple[str, str, str]]:
    return [line.partition(":") for line in text.splitlines()]


async def _ask(shell: Shell, case: Case, looks: list[Look], word: str, deadline_ms: int) -> list[tuple[Look, str]]:
    """The answers there are."""
    servers: list[Server] = [look.answer.server for look in looks]
    answers: list[Answer[str]] = await ask_all(shell, servers, lambda asker, host: asker.ask(host, word), deadline_ms)
    told: list[tuple[Look, str]] = []
    for look, answer in zip(looks, answers, strict=True):
        if answer.value is not None:
            told.append((look, answer.value))
        elif isinstance(answer.problem, ForbiddenWordError):
            case.forbidden.setdefault(word, []).append(look.name)
    return told


async def _take_diag(shell: Shell, case: Case, looks: list[Look]) -> None:
    for _ in range(DIGEST_ROUNDS):
        case.forbidden.pop("diag", None)
        asked_ms = time.time() * 1000
        told = await _ask(shell, case, looks, "diag", DIGEST_WAIT_MS)
        for look, text in told:
            look.diag = parse_mntr(text)
            if look.ahead_ms is None:  # the first is right to what a question takes, and the server is asked at once
                look.ahead_ms = round(int(look.diag.get("wall_ms", 0)) - asked_ms)
        if len({look.diag.get("digest_zxid") for look, _ in told}) <= 1:
            return


async def _compare_clock(shell: Shell, look: Look) -> None:
    """By when the server says that a connection of ours was established."""
    host = look.answer.server.host
    settings: dict[str, Any] = {**shell.cluster.settings, "follow_ensemble": False}
    settings |= {"connect_timeout_ms": SESSION_WAIT_MS, "request_timeout_ms": SESSION_WAIT_MS}
    try:
        before_ms = time.time() * 1000
        async with Client(str(host), **settings) as zk:
            after_ms = time.time() * 1000
            lines = parse_cons(await Asker(shell.cluster.settings).ask(host, "cons"))
            established = [line.number("est") for line in lines if line.session_id == zk.session.id & (2**64 - 1)]
            if established and established[0] is not None:
                look.ahead_ms = round(established[0] - (before_ms + after_ms) / 2)
    except (ZabpyError, WordError):
        pass  # it was reachable a moment ago; its clock stays unknown


async def _take_acl(shell: Shell, case: Case) -> None:
    with anyio.move_on_after(SESSION_WAIT_MS / 1000):
        try:
            zk = await shell.zk()
            if not zk.chroot:
                case.root_acl = (await zk.get_acl("/"))[0]
        except (ZabpyError, ShellError):
            pass  # without a session, or a right: then it is not known
