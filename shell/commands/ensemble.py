"""The servers: how they are, who they are, and what they say when they are asked by four letters."""

from typing import Any, NamedTuple

import anyio
import click

from zabpy.client import Changed, EnsembleConfig, Host, parse_hosts
from zabpy.model import Member, parse_members

from ..command import Duration, command
from ..errors import ShellError, Status, UsageError
from ..output import plain
from ..servers import SESSION_WAIT_MS, ensemble_of, missing, word_of_all
from ..shell import Shell
from ..views import rows_of, views_of
from ..words import Asker, parse_conf, parse_mntr

CONFIG_PATH = "/zookeeper/config"
COLUMNS = (
    "id", "server", "role", "epoch", "zxid", "lag", "connections", "outstanding", "latency_avg_ms", "answered_ms",
    "version",
)  # fmt: skip
SPARE = ("answered_ms", "outstanding", "epoch", "version", "latency_avg_ms", "connections", "zxid")
#: Words, and what they ask for. Each is also a command of its own, but for those that are something else here.
WORDS = {
    "conf": "the configuration", "cons": "all there is to know of each connection", "crst": "reset those counters",
    "dirs": "how large the directories are", "dump": "sessions and ephemerals", "envi": "what it runs on",
    "gtmk": "the trace mask", "hash": "digests of the tree", "isro": "rw or ro", "mntr": "numbers for monitoring",
    "ruok": "imok", "srst": "reset the server's counters", "srvr": "version, latency, zxid, role",
    "stat": "the same, and its connections", "wchc": "watches by session", "wchp": "watches by path",
    "wchs": "how many watches there are",
}  # fmt: skip
NOT_COMMANDS = {"stat"}
RESETTING = {"crst", "srst"}


@command("status", group="Ensemble")
@click.option("--timeout", "deadline_ms", type=Duration(), default="3s", help="How long each server may take.")
async def status(shell: Shell, deadline_ms: int) -> int:
    """All servers of the ensemble: role, epoch, zxid, lag (transactions behind the newest), connections, latency.

    Those of the connection string and of the configuration are asked at once. Status 7: not all have answered; 5: none.
    """
    ensemble = await ensemble_of(shell)
    answers = await views_of(shell, ensemble, deadline_ms=deadline_ms)
    latency = {
        "latency_avg_ms": lambda row: plain(None if row["latency_avg_ms"] is None else f"{row['latency_avg_ms']:.1f}")
    }
    async with shell.out.rows(*COLUMNS, cells=latency, spare=SPARE) as rows:
        for row in rows_of(ensemble, answers):
            await rows.add(**row)
    failed, lines = missing(answers, "srvr")
    for line in lines:
        await shell.out.tell(line)
    if failed:
        return Status.PARTIAL if failed == Status.PARTIAL else Status.CONNECTION
    return Status.OK


# Words --------------------------------------------------------------------------------------------------------------


@command("4lw", group="Ensemble")
@click.argument("word")
@click.argument("server", required=False)
@click.option("--all", "of_all", is_flag=True, help="All servers, a heading for each.")
async def four_letters(shell: Shell, word: str, server: str | None, of_all: bool) -> int:
    """Ask a server (HOST:PORT; else the one we are connected to) one of its four-letter words: srvr, mntr, cons, ...

    Most words have to be allowed by the servers: 4lw.commands.whitelist in zoo.cfg.
    """
    if word in RESETTING and shell.rules.read_only:
        raise ShellError("this shell is read-only, so nothing was done", Status.DENIED)
    if len(word.encode()) != 4:
        raise UsageError(f"{word}: no word of four letters, such as {', '.join(sorted(WORDS))}")
    if not of_all:
        await _say(shell, word, await _server(shell, server))
        return Status.OK
    answers = await word_of_all(shell, (await ensemble_of(shell)).servers, word)
    async with shell.out.rows("text", human=lambda row: f"==> {row['server']}\n{row['text']}") as rows:
        for answer in answers:
            if answer.value is not None:
                await rows.add(**_record(str(answer.server), word, answer.value))
    failed, lines = missing(answers, word)
    for line in lines:
        await shell.out.tell(line)
    return failed


def _alone(word: str) -> None:
    async def run(shell: Shell, server: str | None) -> None:
        await _say(shell, word, await _server(shell, server))

    run.__doc__ = f"The four-letter word: {WORDS[word]}."
    argued = click.argument("server", required=False)(run)
    command(word, group="Ensemble", writes=word in RESETTING, hidden=True)(argued)


for _word in sorted(WORDS.keys() - NOT_COMMANDS):
    _alone(_word)


async def _server(shell: Shell, named: str | None) -> Host:
    if named is not None:
        hosts, chroot = parse_hosts(named)
        if len(hosts) != 1 or chroot:
            raise UsageError(f"{named}: expected HOST:PORT")
        return hosts[0]
    with anyio.move_on_after(SESSION_WAIT_MS / 1000):
        try:
            return parse_hosts((await shell.zk()).server)[0][0]
        except Exception as error:
            if shell.cluster.problem is None:
                raise error
    return parse_hosts(shell.cluster.servers.partition("/")[0])[0][0]


async def _say(shell: Shell, word: str, host: Host) -> None:
    text = await Asker(shell.cluster.settings).ask(host, word)
    human = text.rstrip("\n")
    if word == "mntr" and shell.out.look.is_terminal:
        pairs = [line.split("\t", 1) for line in human.splitlines()]
        wide = max((len(name) for name, *_ in pairs), default=0)
        human = "\n".join(f"{name:{wide}}  {' '.join(value)}".rstrip() for name, *value in pairs)
    await shell.out.show(_record(str(host), word, text), human=human, raw=text)


def _record(server: str, word: str, text: str) -> dict[str, Any]:
    """``values``: what is said name by name."""
    values = parse_mntr(text) if word == "mntr" else parse_conf(text) if word == "conf" else None
    return {"server": server, "word": word, "text": text, "values": values}


# The configuration --------------------------------------------------------------------------------------------------


@command("config", group="Ensemble")
@click.option("-c", "clients", is_flag=True, help="Only where clients connect, as a connection string.")
@click.option("-s", "with_stat", is_flag=True, help="And since when it is so.")
@click.option("-w", "wait", is_flag=True, help="Then wait until it changes, and show that.")
async def config(shell: Shell, clients: bool, with_stat: bool, wait: bool) -> None:
    """Who the servers of the ensemble are, as /zookeeper/config says."""
    zk = await shell.zk()
    fired = None
    if wait:
        _, _, fired = await zk.get_watched(CONFIG_PATH) if not zk.chroot else (b"", None, None)
        if fired is None:
            raise UsageError("-w needs a shell without a chroot")
    await _show(shell, await zk.get_config(), clients, with_stat)
    if fired is not None:
        await shell.out.flush()
        with fired:
            if isinstance(await fired.wait(), Changed):
                await _show(shell, await zk.get_config(), clients, with_stat)


@command("reconfig", group="Ensemble", writes=True)
@click.option("-s", "with_stat", is_flag=True, help="And since when it is so.")
@click.option("-v", "version", help="Only if the configuration has this version (hexadecimal, as config shows it).")
@click.option("-add", "joining", multiple=True, help="ID=HOST:PORT:PORT[:ROLE];PORT, more behind commas.")
@click.option("-remove", "leaving", multiple=True, help="IDs, between commas.")
@click.option("-members", "members", help="All servers of the new configuration, as for -add.")
@click.option("-file", "file", type=click.File("r", encoding="utf-8"), help="The same from a file of server.N= lines.")
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
async def reconfig(
    shell: Shell,
    with_stat: bool,
    version: str | None,
    joining: tuple[str, ...],
    leaving: tuple[str, ...],
    members: str | None,
    file: Any,
    dry_run: bool,
) -> None:
    """Change who the servers of the ensemble are. Shows what changes, and asks.

    It needs reconfigEnabled=true at the servers, and the super user or a right to write /zookeeper/config. What was
    shown is done only if the configuration is still the one that it was shown for.
    """
    if sum((bool(joining or leaving), members is not None, file is not None)) != 1:
        raise UsageError("expected -add and -remove, or -members, or -file")
    zk = await shell.zk()
    now = await zk.get_config()
    given = _version(version, now)
    lines = file.read().split("\n") if file is not None else (members or "").split(",")
    try:
        added = [_member(each) for text in joining for each in text.split(",") if each.strip()]
        whole = [_member(each) for each in lines if each.strip() and not each.strip().startswith(("#", "version="))]
        removed = {int(each) for text in leaving for each in text.split(",") if each.strip()}
    except ValueError as error:
        raise UsageError(str(error)) from None
    present = {member.server_id: member for member in now.members.servers}
    if strangers := sorted(removed - present.keys()):
        raise UsageError(f"-remove {strangers[0]}: there is no such server; there are {', '.join(map(str, present))}")
    kept = {} if whole else {id: _Wanted(m, m.text()) for id, m in present.items() if id not in removed}
    after = kept | {wanted.member.server_id: wanted for wanted in added + whole}
    await _preview(shell, [member.text() for member in present.values()], list(after.values()))
    if dry_run:
        return
    await shell.confirm(f"change the servers of {shell.cluster.servers}?")
    done = await zk.reconfig(
        joining=",".join(wanted.text for wanted in added) or None,
        leaving=",".join(map(str, sorted(removed))) or None,
        members=",".join(wanted.text for wanted in whole) or None,
        version=given,
    )
    if shell.out.format == "table":
        await shell.out.line("Committed new configuration:")
    await _show(shell, done, False, with_stat)


class _Wanted(NamedTuple):
    """A line as it was typed, which servers may read otherwise than we do, as to what it leaves out."""

    member: Member
    text: str


def _version(text: str | None, now: EnsembleConfig) -> int:
    if text is None:
        return now.members.version
    try:
        return int(text, 16)
    except ValueError:
        raise UsageError(f"-v {text}: expected a hexadecimal number, as of: config") from None


def _member(text: str) -> _Wanted:
    """``server.4=host:...`` or ``4=host:...``. Raises ValueError with what is wrong."""
    name, equals, rest = text.strip().partition("=")
    number = name.removeprefix("server.")
    if not equals or not number.isdecimal():
        raise ValueError(f"{text}: expected ID=HOST:PORT:PORT[:ROLE];PORT")
    line = f"server.{number}={rest}"
    try:
        (member,) = parse_members(line).servers
    except ValueError as error:
        raise ValueError(f"{text}: {error}") from None
    return _Wanted(member, line)


async def _preview(shell: Shell, before: list[str], after: list[_Wanted]) -> None:
    """On stderr: the result is the configuration that comes to be."""
    then = [wanted.text for wanted in after]
    for sign, lines in (("-", set(before) - set(then)), ("+", set(then) - set(before))):
        for line in sorted(lines):
            await shell.out.tell(f"{sign} {line}")
    voters = sum(wanted.member.voter for wanted in after)
    note = "" if voters % 2 else "; an even number stands no more failures than one less"
    await shell.out.tell(f"{voters} voters, of which {voters // 2 + 1} must be up{note}")


async def _show(shell: Shell, found: EnsembleConfig, clients: bool, with_stat: bool) -> None:
    members = found.members.servers
    where = ",".join(f"{m.client_host or m.host}:{m.client_port}" for m in members if m.client_port is not None)
    text = where if clients else found.data.decode("utf-8", "replace")
    record: dict[str, Any] = {
        "version": f"{found.members.version:x}",
        "servers": [
            {
                "id": member.server_id,
                "host": member.host,
                "peer_port": member.peer_port,
                "election_port": member.election_port,
                "role": "participant" if member.voter else "observer",
                "client_host": member.client_host,
                "client_port": member.client_port,
                "weight": member.weight,
                "group": member.group,
            }
            for member in members
        ],
        "connection_string": where,
    }
    stat = found.stat
    if with_stat:
        record |= {"czxid": f"{stat.czxid:#x}", "mzxid": f"{stat.mzxid:#x}", "stat_version": stat.version}
    human = text + (f"\nmZxid = {stat.mzxid:#x}\ndataVersion = {stat.version}" if with_stat else "")
    await shell.out.show(record, human=human, raw=text + "\n")
