"""Several writes as one: all are done, or none is."""

from collections.abc import Sequence

import click

import zabpy
from zabpy.client import Client, TransactionFailedError
from zabpy.model import NoAuthError, Stat

from ..command import REGISTRY, ZPath, command
from ..line import LineError, Statement, parse, quoted
from ..pipelined import each
from ..planned import Draft, Planned
from ..problems import ShellError, Status, UsageError, status_of
from ..shell import Shell
from .writing import put_off

#: What may stand in a transaction; each queues itself while one is being put together.
OPERATIONS = ("create", "set", "rm", "delete", "check")
DATA_MAX = 40


@command("txn", group="Change", writes=True, interspersed=False)
@click.option("-n", "--dry-run", "dry_run", is_flag=True, help="Only show what would be done.")
@click.argument("operations", nargs=-1, required=True)
async def txn(shell: Shell, operations: tuple[str, ...], dry_run: bool) -> None:
    """Do several writes as one: txn 'check /a 3; set /a x; create /b y; rm /c'.

    Either all are done, and others see all of it at once, or none is, and it is said which one could not be. They are
    written as the commands create, set and rm, and `check PATH [VERSION]`, which wants the znode to be there and to
    have that version.
    """
    if shell.transaction is not None:
        raise UsageError("a transaction is being put together: commit or abort it first")
    try:
        text = operations[0] if len(operations) == 1 else " ".join(map(quoted, operations))
        statements = parse(text)
    except LineError as error:
        raise UsageError(f"{error} (column {error.at + 1} of the operations)") from None
    draft = shell.transaction = Draft(quiet=True)
    try:
        for number, statement in enumerate(statements, 1):
            await _queue(shell, statement, number)
    finally:
        shell.transaction = None
    await _finish(shell, draft.operations, dry_run)


@command("begin", group="Change", writes=True)
async def begin(shell: Shell) -> None:
    """Begin a transaction: what is created, set, deleted (rm) and checked from now on is done by commit, all at once.

    Everything else is done as ever, and sees what is there now.
    """
    if shell.transaction is not None:
        raise UsageError("a transaction is being put together already: commit or abort it first")
    shell.transaction = Draft()


@command("check", group="Change", writes=True)
@click.argument("path", type=ZPath(glob=False))
@click.argument("version", type=int, default=-1)
@click.option("-v", "option", type=int, help="The same as VERSION.")
async def check(shell: Shell, path: str, version: int, option: int | None) -> None:
    """In a transaction: only if the znode is there, and has this version."""
    planned = Planned("check", path, version=version if option is None else option)
    if not await put_off(shell, planned):
        raise UsageError("check is for transactions: txn 'check ...; ...', or between begin and commit")


@command("commit", group="Change", writes=True)
@click.option("-n", "--dry-run", "dry_run", is_flag=True, help="Only show what would be done; it can be gone on with.")
async def commit(shell: Shell, dry_run: bool) -> None:
    """Do what was put together since begin; all of it, or nothing."""
    draft = _draft(shell)
    if not dry_run:
        shell.transaction = None
    await _finish(shell, draft.operations, dry_run)


@command("abort", group="Change")
async def abort(shell: Shell) -> None:
    """Forget what was put together since begin."""
    draft = _draft(shell)
    shell.transaction = None
    await shell.out.tell(f"{len(draft.operations)} operations forgotten; nothing was done")


def _draft(shell: Shell) -> Draft:
    if shell.transaction is None:
        raise UsageError("there is no transaction: begin one")
    return shell.transaction


async def _queue(shell: Shell, statement: Statement, number: int) -> None:
    name = statement.words[0]
    found = REGISTRY.get(name)
    if name not in OPERATIONS or found is None:
        raise UsageError(f"operation {number}, {name}: expected check, create, set or rm")
    if statement.pipe is not None or statement.target is not None:
        raise UsageError(f"operation {number}, {name}: what it prints cannot be taken elsewhere")
    await shell.do(found, name, statement.words[1:])


async def _finish(shell: Shell, planned: Sequence[Planned], dry_run: bool) -> None:
    if dry_run:
        await preview(shell, planned)
    else:
        await commit_all(shell, planned)


async def preview(shell: Shell, planned: Sequence[Planned]) -> None:
    """What would be done, and how it stands now."""
    zk = await shell.zk()

    async def now(path: str) -> str:
        try:
            stat = await zk.exists(path)
        except NoAuthError:
            return "may not be looked at"
        return "not there" if stat is None else f"version {stat.version}"

    states = await each(now, [one.path for one in planned])
    async with shell.out.rows("number", "operation", "path", "details", "now") as rows:
        for number, (one, state) in enumerate(zip(planned, states, strict=True), 1):
            await rows.add(
                number=number, operation=one.operation, path=one.path, details=_details(one) or None, now=state
            )
    await shell.out.tell("nothing was done")


async def commit_all(shell: Shell, planned: Sequence[Planned]) -> None:
    """Do all of it, exactly once, and show the results.

    Raises:
        ShellError: nothing was done; it says which operation could not be, and why.
    """
    zk = await shell.zk()
    transaction = zk.transaction(lost_reply="once")
    for one in planned:
        one.put_into(transaction)
    try:
        results = await transaction.commit()
    except TransactionFailedError as error:
        one = planned[error.index]
        raise ShellError(
            f"operation {error.index + 1} of {len(planned)}, {one.in_words()}: {await _why(zk, one, error)};"
            " nothing was done",
            status_of(error.error),
        ) from error
    except zabpy.ConnectionLossError as error:
        raise ShellError(f"{error}: all was done or nothing; look before trying again", Status.CONNECTION) from error
    async with shell.out.rows("number", "operation", "path", "result") as rows:
        for number, (one, result) in enumerate(zip(planned, results, strict=True), 1):
            path = result if isinstance(result, str) else one.path
            said = f"version {result.version}" if isinstance(result, Stat) else DONE[one.operation]
            await rows.add(number=number, operation=one.operation, path=path, result=said)


DONE = {"create": "created", "delete": "deleted", "check": "as expected", "set": "set"}


async def _why(zk: Client, one: Planned, error: TransactionFailedError) -> str:
    match error.error:
        case zabpy.BadVersionError():
            try:
                stat = await zk.exists(one.path)
            except zabpy.ZabpyError:
                stat = None
            now = f", it is {stat.version} now" if stat is not None else ""
            return f"has another version{now}"
        case zabpy.NoNodeError():
            return "has no parent" if one.operation == "create" else "no such znode"
        case zabpy.NodeExistsError():
            return "exists already"
        case NoAuthError():
            return "permission denied"
        case other:
            return str(other) or other.name.lower()


def _details(one: Planned) -> str:
    data = one.data.decode("utf-8", "backslashreplace")
    shown = data if len(data) <= DATA_MAX else f"{data[:DATA_MAX]}… ({len(one.data):,} bytes)"
    parts = [one.kind, f"at version {one.version}" if one.version != -1 else "", shown]
    return ", ".join(part for part in parts if part)
