"""Trees into files, and back.

What is in memory: of an export what stands at the head of ../exporting.py; of an import its paths while the file is
read, and then what stands at the heads of ../spool.py and ../plan.py. A killed export leaves what was there before, and
a hidden ``.NAME.PID.part`` beside it, as does one to NDJSON that is stopped or loses its connection. ``export
--resume`` goes on with that (../resuming.py), import takes it for what it is: cut off, and the next export to that name
removes it when it is whole. A killed import is gone on with by the same command.
"""

from pathlib import Path

import anyio
import click

import zabpy
from zabpy.client import Client

from ..applying import Applier
from ..archive import Archive, problems_told, read_archive
from ..command import ZPath, command
from ..exporting import Export
from ..line import quoted
from ..plan import Plan, at, carry_out, carry_out_deletes, plan_for
from ..problems import ShellError, Status, UsageError, status_of, told
from ..progress import progress
from ..shell import Shell
from ..sources import input_stream
from ..spool import Spool
from ..stats import hexed
from ..telling import counted, tell_problems

FORMATS = ("ndjson", "ndjson.gz", "tar", "tar.gz")


@command("export", group="Move")
@click.argument("path", type=ZPath())
@click.argument("file", required=False)
@click.option("--format", "format", type=click.Choice(FORMATS), help="Else what the file's name ends with.")
@click.option("--no-acl", "no_acl", is_flag=True, help="Without ACLs, which servers tell one by one: faster.")
@click.option("-f", "--force", "force", is_flag=True, help="Write over a file that is there.")
@click.option(
    "--resume", "resume", is_flag=True, help="Go on with what an export to FILE has left that was broken off."
)
async def export(
    shell: Shell, path: str, file: str | None, format: str | None, no_acl: bool, force: bool, resume: bool
) -> None:
    """Write a znode and all below it into a FILE, or - or none for the standard output, for import to read.

    With values, ACLs, kinds and stats, as NDJSON or tar; gzipped if the name ends with gz. It is no snapshot: each
    group of some 200 znodes is of one moment, and at the end it is said how many have changed since the beginning. On
    an ensemble where nothing is written meanwhile it is exact, and the file says so with two equal zxids.

    An export that is killed, stopped or loses its connection leaves FILE as it was, and beside it what it has written.
    With --resume, of that is taken whatever has not changed since; the file is then as if it were begun anew.
    """
    named = file or "-"
    kind = format or next((each for each in sorted(FORMATS, key=len, reverse=True) if named.endswith(each)), "")
    kind = kind or ("tar.gz" if named.endswith(".tgz") else "ndjson.gz" if named.endswith(".gz") else "ndjson")
    if resume and named == "-":
        raise UsageError("--resume goes on with a file: give its name")
    if resume and kind.startswith("tar"):
        raise UsageError("--resume goes on with NDJSON; a tar is begun anew")
    job = Export(shell, await shell.zk(), path, kind, acls=not no_acl)
    if named == "-":
        await job.to_output()
        return
    target = _local(named)
    if target.is_dir():
        raise UsageError(f"{target}: is a folder; the name of a file is expected")
    if target.is_file() and not force:
        await shell.confirm(f"write over {target}?")
    flags = (("-f", force), ("--no-acl", no_acl), (f"--format {format}", format is not None))
    again = " ".join(["export --resume", *(flag for flag, there in flags if there), quoted(path), quoted(named)])
    await job.to_file(target, resumes=resume, again=again)


def _local(file: str) -> Path:
    return Path(file).expanduser()


@command("import", group="Move", writes=True)
@click.argument("file")
@click.argument("path", type=ZPath(glob=False, new=True), required=False)
@click.option("-n", "--plan", "--dry-run", "dry_run", is_flag=True, help="Only show what would be done.")
@click.option("--delete", "mirror", is_flag=True, help="Delete what is there and not in the file.")
@click.option("--no-acl", "no_acl", is_flag=True, help="Leave ACLs alone; new znodes are open to everybody.")
@click.option(
    "--partial", "partial", is_flag=True, help="Take what is good of a file that is cut off or has bad lines."
)
async def import_(
    shell: Shell, file: str, path: str | None, dry_run: bool, mirror: bool, no_acl: bool, partial: bool
) -> None:
    """Have a tree be as an export says: at PATH, or where it was exported.

    What is missing is created, what differs is set, what is the same is left alone; so an import that was broken off is
    gone on with by the same command. What changes between the look and the write is neither written over nor
    deleted. Ephemerals are left out. Versions, times and zxids are the servers' own and start anew, as do the numbers
    of znodes in sequence.
    """
    if mirror and shell.rules.forbids("rm"):
        raise ShellError(f"--delete: the profile {shell.rules.name} forbids rm, so nothing was done", Status.DENIED)
    archive = await _read(shell, file)
    with archive.records:
        await _import(shell, file, archive, path, dry_run=dry_run, mirror=mirror, acls=not no_acl, partial=partial)


async def _import(
    shell: Shell,
    file: str,
    archive: Archive,
    path: str | None,
    *,
    dry_run: bool,
    mirror: bool,
    acls: bool,
    partial: bool,
) -> None:
    if archive.problems:
        for problem in problems_told(archive):
            await shell.out.tell(f"{file}: {problem}")
        if not partial:
            raise ShellError(
                f"{file}: {counted(archive.problem_count, 'problem')}, so nothing was done; --partial takes the rest",
                Status.USAGE,
            )
        if mirror:
            raise UsageError("--delete would delete what the damaged file has lost; not with --partial")
    if mirror and archive.end.get("denied"):
        raise UsageError("--delete would delete what could not be read when the file was written: see its last line")
    target = path or archive.header.get("path")
    if not isinstance(target, str):
        raise UsageError("the file does not say where it was exported: give a PATH")
    target = shell.path(target)
    flags = (("--delete", mirror), ("--no-acl", not acls), ("--partial", partial))
    again = " ".join(["import", *(flag for flag, there in flags if there), quoted(file), quoted(target)])
    await write_tree(
        shell, await shell.zk(), target, archive.records, acls=acls, mirror=mirror, dry_run=dry_run, again=again
    )


async def _read(shell: Shell, file: str) -> Archive:
    if file == "-":
        return await anyio.to_thread.run_sync(read_archive, input_stream(shell), abandon_on_cancel=True)

    def read() -> Archive:
        with Path(file).expanduser().open("rb") as stream:
            return read_archive(stream)

    return await anyio.to_thread.run_sync(read, abandon_on_cancel=True)


async def write_tree(
    shell: Shell,
    zk: Client,
    target: str,
    records: Spool,
    *,
    acls: bool,
    mirror: bool = False,
    dry_run: bool = False,
    again: str,
    asks_overwrite: bool = False,
    quiet: bool = False,
) -> Plan:
    """Have the tree at ``target`` be as the records; ``again``: the command that goes on with it.

    Raises:
        ShellError: with `Status.PARTIAL`, what was done, what was not, and how to go on.
    """
    if shell.transaction is not None:
        raise UsageError("this is not done in a transaction: commit or abort it first")
    try:
        plan = await plan_for(zk, target, records, acls=acls, mirror=mirror)
    except zabpy.ZabpyError as error:
        raise ShellError(f"{told(error)}; nothing was done", status_of(error)) from error
    if dry_run:
        await _show(shell, plan)
        return plan
    if plan.delete:
        live = f", {plan.ephemerals:,} of them ephemeral" if plan.ephemerals else ""
        await shell.confirm(f"delete {counted(len(plan.delete), 'znode')} under {target}{live}?")
    if asks_overwrite and plan.changes:
        await shell.confirm(f"write over {counted(plan.changed, 'znode')} at {target}?")
    for one in plan.first_skipped[:3]:
        await shell.out.tell(f"{at(target, one.path)}: left out, an ephemeral of session {hexed(one.owner or 0)}")
    if plan.skipped > 3:
        await shell.out.tell(f"… and {plan.skipped - 3:,} more ephemerals were left out")
    total = plan.creates + plan.changes

    def done_so_far() -> str:
        deletes = f" and {deleter.done:,} of {len(plan.delete):,} deletes" if plan.delete else ""
        return f"{applier.done:,} of {total:,} writes{deletes} are known to be done"

    with progress("writing", total + len(plan.delete)) as advance:
        applier, deleter = Applier(zk, advance), Applier(zk, advance)
        try:
            if plan.creates and target != "/":
                await zk.ensure(target.rpartition("/")[0] or "/")
            await carry_out(applier, plan)
            if applier.ended_by is None and not applier.failures:
                await carry_out_deletes(deleter, plan)
                applier.ended_by = deleter.ended_by
        except zabpy.ZabpyError as error:
            applier.ended_by = error
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await shell.out.tell(f"stopped: {done_so_far()}; to go on: {again}")
            raise
    problems = [told(error) or str(error) for error in [*applier.failed, *plan.first_denied]]
    problems += map(_not_deleted, deleter.failed)
    problem_count = applier.failures + plan.denied + deleter.failures
    if applier.ended_by is not None:
        raise ShellError(
            f"{done_so_far()}, then: {told(applier.ended_by)}."
            f" What is done is left as it is by the same command again: {again}",
            Status.PARTIAL,
        )
    made = f"{plan.creates:,} created, {plan.changes:,} changed"
    if problems:
        await tell_problems(shell, problems, problem_count)
        raise ShellError(
            f"{applier.done:,} of {total:,} writes done, {deleter.done:,} deleted; {counted(problem_count, 'problem')}."
            f" The same command again does the rest: {again}",
            Status.PARTIAL,
        )
    if not quiet:
        await shell.out.tell(f"{made}, {deleter.done:,} deleted, {plan.same:,} the same")
    return plan


def _not_deleted(error: zabpy.ZabpyError) -> str:
    match error:
        case zabpy.BadVersionError(path=str(path)):
            return f"{path}: was changed after it was looked at, so it was not deleted"
        case zabpy.NotEmptyError(path=str(path)):
            return f"{path}: something was created below it, so it was not deleted"
    return told(error) or str(error)


async def _show(shell: Shell, plan: Plan) -> None:
    async with shell.out.rows("action", "path", human=lambda row: f"{row['action']:7} {row['path']}") as rows:
        async for write in plan.writes():
            await rows.add(action=write.operation, path=write.path, bytes=len(write.data))
        for write in plan.delete:
            await rows.add(action="delete", path=write.path, bytes=0)
        async for record in plan.skips():
            await rows.add(action="skip", path=at(plan.target, record.path), bytes=len(record.data))
    await shell.out.tell(
        f"{plan.creates:,} to create, {plan.changes:,} to change, {len(plan.delete):,} to delete,"
        f" {plan.same:,} the same, {plan.skipped:,} ephemerals left out; nothing was done"
    )
