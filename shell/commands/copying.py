"""Znodes and trees are copied and moved: here, between clusters, to files and from them.

What is in memory of a tree: while it is read, the paths of what is still to be read, or of a folder all its paths; then
what stands at the heads of ../spool.py and ../plan.py; and of what mv has copied the paths, until it has deleted them.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import anyio
import click

import zabpy
from zabpy.client import Client, RequestTooLargeError, TransactionFailedError
from zabpy.model import CodeError, NotEmptyError, parent_of

from ..command import ZLocation, command
from ..files import write_whole
from ..folders import read_folder, write_folder
from ..line import quoted
from ..location import Clients, File, Location, Znode, clients
from ..pipelined import each
from ..plan import at, plan_for
from ..problems import ShellError, Status, UsageError, status_of, told
from ..records import Record
from ..shell import Shell
from ..sources import standard_input
from ..spool import Spool
from ..stats import hexed
from ..telling import counted, tell_problems
from ..trees import TreeReader
from .dumping import write_tree

#: What is larger is not moved in one transaction.
MOVED_AT_ONCE_MAX = 1_000
MOVED_BYTES_MAX = 500_000


@command("cp", group="Move", writes=True)
@click.argument("locations", type=ZLocation(slash=True), nargs=-1, required=True)
@click.option("-r", "-R", "--recursive", "recursive", is_flag=True, help="With all that is below.")
@click.option("-p", "acls", is_flag=True, help="With the ACLs; else new znodes are open to everybody.")
@click.option("-n", "--dry-run", "dry_run", is_flag=True, help="Only show what would be done.")
@click.option("-f", "--force", "force", is_flag=True, help="Write over what is there without asking.")
async def cp(
    shell: Shell, locations: tuple[Location, ...], recursive: bool, acls: bool, dry_run: bool, force: bool
) -> None:
    """Copy znodes: cp SOURCE TARGET, or cp SOURCE... TARGET/ to put them below it.

    A location is a path, zk://HOST:PORT/PATH or zk://PROFILE/PATH in another cluster, file:NAME, or - for the standard
    streams. A folder of files is a tree: a value of a znode with children is in it as %data. Ephemerals are left out.
    """
    sources, target, into = _taken(locations)
    async with clients(shell) as of:
        for index, (source, to) in enumerate(pairs := _pairs(sources, target, into)):
            with _after("copied", pairs[:index]):
                await _copy(shell, of, source, to, recursive=recursive, acls=acls, dry_run=dry_run, force=force)


def _taken(locations: Sequence[Location]) -> tuple[list[Location], Location, bool]:
    """Sources, target, and whether they go below it."""
    if len(locations) < 2:
        raise UsageError("Missing argument: SOURCE and TARGET are expected")
    sources = [_bare(each) for each in locations[:-1]]
    last = locations[-1]
    into = last.path.endswith("/") if isinstance(last, Znode) else not last.is_standard and last.name.endswith("/")
    if len(sources) > 1 and not into:
        raise UsageError(f"{last}: {len(sources)} znodes go below it if it ends with a slash: {last}/")
    return sources, _bare(last), into


def _pairs(sources: Sequence[Location], target: Location, into: bool) -> list[tuple[Location, Location]]:
    """What goes where. Raises `UsageError` where two would be at the same place, before anything is done."""
    pairs = [(source, _below(target, source) if into else target) for source in sources]
    places: dict[Location, Location] = {}
    for source, to in pairs:
        if (first := places.setdefault(to, source)) is not source:
            raise UsageError(f"{first} and {source} would both be {to}; nothing was done")
    return pairs


@contextmanager
def _after(done: str, pairs: Sequence[tuple[Location, Location]]) -> Iterator[None]:
    """Of what goes wrong with one of several it is said what became of those before, so that nobody takes a "nothing
    was done" for all of them."""
    try:
        yield
    except (ShellError, zabpy.ZabpyError) as error:
        if not pairs:
            raise
        before = " ".join(str(source) for source, _ in pairs[:5]) + (" ..." if len(pairs) > 5 else "")
        raise ShellError(f"{told(error)}. Before that {len(pairs):,} were {done}: {before}", Status.PARTIAL) from error


def _bare(location: Location) -> Location:
    if isinstance(location, Znode):
        return Znode(location.path.rstrip("/") or "/", location.servers)
    return location if location.is_standard else File(location.name.rstrip("/") or "/")


def _below(target: Location, source: Location) -> Location:
    name = (source.path if isinstance(source, Znode) else source.name).rstrip("/").rpartition("/")[2]
    if not name or (isinstance(source, File) and source.is_standard):
        raise UsageError(f"{source}: has no name; give the whole target")
    return target.below(f"/{name}") if isinstance(target, Znode) else File(f"{target.name.rstrip('/')}/{name}")


async def _copy(
    shell: Shell,
    of: Clients,
    source: Location,
    target: Location,
    *,
    recursive: bool,
    acls: bool,
    dry_run: bool,
    force: bool,
) -> None:
    if isinstance(source, Znode) and isinstance(target, Znode):
        _refuse_overlap(source, target, await of.of(source) is await of.of(target), recursive=recursive)
    with Spool() as records:
        denied = await _read(shell, of, source, records, recursive=recursive, acls=acls and isinstance(target, Znode))
        if isinstance(target, Znode):
            zk = await of.of(target, writes="" if dry_run else "cp")
            await _check_parent(zk, target)
            flags = (flag for flag, there in (("-r", recursive), ("-p", acls), ("-f", True)) if there)
            again = f"cp {' '.join(flags)} {quoted(str(source))} {quoted(str(target))}"
            await write_tree(
                shell,
                zk,
                target.path,
                records,
                acls=acls,
                dry_run=dry_run,
                again=again,
                asks_overwrite=not force or shell.rules.confirm_name,
                quiet=len(records) == 1,
            )
        else:
            await _write_file(shell, target, records, dry_run=dry_run, force=force)
    await _tell_denied(shell, denied)


def _refuse_overlap(source: Znode, target: Znode, same_cluster: bool, *, recursive: bool) -> None:
    if not same_cluster:
        return
    if source.path == target.path:
        raise UsageError(f"{source}: is the same as the target; nothing was done")
    if recursive and (source.path == "/" or target.path.startswith(source.path + "/")):
        raise UsageError(f"{target}: is below {source}, which cannot go below itself; nothing was done")


async def _read(
    shell: Shell, of: Clients, source: Location, records: Spool, *, recursive: bool, acls: bool
) -> list[zabpy.NoAuthError]:
    """Add what is at ``source`` to the records; what of it may not be read."""
    if isinstance(source, Znode):
        zk = await of.of(source)
        try:
            return await _read_znodes(zk, source, records, recursive=recursive, acls=acls)
        except (zabpy.ConnectionLossError, zabpy.NoServerError, zabpy.SessionLostError) as error:
            raise ShellError(
                f"{told(error)}; it was still being read, and nothing was done", status_of(error)
            ) from error
    if source.is_standard:
        records.add(Record("", await standard_input(shell)))
        return []
    local = source.local
    if await anyio.to_thread.run_sync(local.is_dir):
        if not recursive:
            raise UsageError(f"{source}: is a folder; -r copies it")
        await anyio.to_thread.run_sync(lambda: records.extend(read_folder(local)))
        return []
    records.add(Record("", await anyio.to_thread.run_sync(local.read_bytes)))
    return []


async def _read_znodes(
    zk: Client, source: Znode, records: Spool, *, recursive: bool, acls: bool
) -> list[zabpy.NoAuthError]:
    if not recursive:
        data, stat = await zk.get(source.path)
        acl = (await zk.get_acl(source.path))[0] if acls else None
        record = Record.of("", data, stat, acl)
        record.owner = None  # asked for by its name, it is copied: as a znode that stays
        records.add(record)
        return []
    reader = TreeReader(zk, source.path, acls=acls)
    await reader.into(records)
    if not len(records):
        if reader.denied:
            raise reader.denied[0]
        raise ShellError(f"{source}: no such znode", Status.NO)
    return reader.denied


async def _check_parent(zk: Client, target: Znode) -> None:
    if target.path != "/" and await zk.exists(parent_of(target.path)) is None:
        raise ShellError(f"{parent_of(target.path)}: no such znode; nothing was done", Status.NO)


async def _write_file(shell: Shell, target: File, records: Spool, *, dry_run: bool, force: bool) -> None:
    parents: set[str] = set()
    first: Record | None = None
    count = 0
    async for piece in records:
        for record in piece:
            if record.owner is None:
                first = first or record
                count += 1
                if record.path:
                    parents.add(record.path.rpartition("/")[0])
    alone = first if count == 1 else None
    if target.is_standard:
        if alone is None:
            raise UsageError("only one value goes to the standard output; export writes a tree there")
        await shell.out.write(alone.data)
        return
    local = target.local
    exists = await anyio.to_thread.run_sync(local.exists)
    is_folder = await anyio.to_thread.run_sync(local.is_dir)
    if is_folder and alone is not None:
        raise UsageError(f"{target}: is a folder; {target}/ puts it in there")
    if dry_run:
        async for piece in records:
            for record in piece:
                if record.owner is None:
                    await shell.out.line(f"would write {target}{record.path}")
        return
    if exists and not force:
        await shell.confirm(f"write {'into' if is_folder else 'over'} {local}?")
    if alone is not None:
        await anyio.to_thread.run_sync(write_whole, local, alone.data)
        return
    files = 0
    async for piece in records:
        files += await anyio.to_thread.run_sync(write_folder, local, piece, parents)
    await shell.out.tell(f"{counted(count, 'znode')} as {counted(files, 'file')}")


async def _tell_denied(shell: Shell, denied: Sequence[zabpy.NoAuthError]) -> None:
    if denied:
        await tell_problems(shell, sorted({told(error) or "" for error in denied}))
        raise ShellError(
            f"{counted(len(denied), 'znode')} may not be read, and were left out with all that is below", Status.PARTIAL
        )


@command("mv", group="Move", writes=True)
@click.argument("locations", type=ZLocation(slash=True), nargs=-1, required=True)
@click.option("-n", "--dry-run", "dry_run", is_flag=True, help="Only show what would be done.")
async def mv(shell: Shell, locations: tuple[Location, ...], dry_run: bool) -> None:
    """Move a znode and all below it, with the ACLs: mv SOURCE TARGET, or mv SOURCE... TARGET/ to put them below it.

    Within a cluster it is one transaction, up to 1,000 znodes and 500 kB: others see it here or there, and never both.
    What is larger, or goes to another cluster, is copied, compared, and then deleted; what others change meanwhile
    stays where it was. The target must not be there yet. Trees with ephemerals do not move.
    """
    sources, target, into = _taken(locations)
    if not all(isinstance(one, Znode) for one in (*sources, target)):
        raise UsageError("mv is for znodes; for files there are cp and rm")
    if shell.transaction is not None:
        raise UsageError("this is not done in a transaction: commit or abort it first")
    async with clients(shell) as of:
        for index, (source, to) in enumerate(pairs := _pairs(sources, target, into)):
            assert isinstance(source, Znode) and isinstance(to, Znode)
            with _after("moved", [] if dry_run else pairs[:index]):
                await _move(shell, of, source, to, dry_run=dry_run)


async def _move(shell: Shell, of: Clients, source: Znode, target: Znode, *, dry_run: bool) -> None:
    writes = "" if dry_run else "mv"
    zk, there = await of.of(source, writes=writes), await of.of(target, writes=writes)
    _refuse_overlap(source, target, zk is there, recursive=True)
    if source.path == "/":
        raise UsageError(f"{source}: the root does not move")
    with Spool() as records:
        if denied := await _read(shell, of, source, records, recursive=True, acls=True):
            raise denied[0]
        await _move_read(shell, zk, there, source, target, records, dry_run=dry_run)


async def _move_read(
    shell: Shell, zk: Client, there: Client, source: Znode, target: Znode, records: Spool, *, dry_run: bool
) -> None:
    async for piece in records:
        for record in piece:
            if record.owner is not None:
                raise ShellError(
                    f"{at(source.path, record.path)}: an ephemeral of session {hexed(record.owner)}, which cannot move;"
                    " nothing was done",
                    Status.CONFLICT,
                )
    if await there.exists(target.path) is not None:
        raise ShellError(f"{target}: exists already; nothing was done", Status.CONFLICT)
    await _check_parent(there, target)
    size = records.data_bytes + 2 * records.path_bytes + 200 * len(records)
    fits = zk is there and len(records) <= MOVED_AT_ONCE_MAX and size <= MOVED_BYTES_MAX
    how = "in one transaction" if fits else "by copying, comparing and deleting"
    if dry_run:
        await shell.out.line(f"would move {counted(len(records), 'znode')} from {source} to {target}, {how}")
        return
    if fits:
        try:
            await _move_at_once(zk, source.path, target.path, await records.all())
            return
        except RequestTooLargeError:
            pass
    await shell.confirm(
        f"move {counted(len(records), 'znode')} from {source} to {target}? They do not fit into one transaction, and"
        " are copied, compared, and then deleted."
    )
    places = f"{quoted(str(source))} {quoted(str(target))}"
    again = f"cp -r -p -f {places} && diff -r --acl {places} && rm -r {quoted(str(source))}"
    await write_tree(shell, there, target.path, records, acls=True, again=again, quiet=True)
    if not (await plan_for(there, target.path, records, acls=True)).is_empty:
        raise ShellError(f"{target}: others changed the copy meanwhile; {source} is left as it was", Status.PARTIAL)
    await _delete_moved(shell, zk, source, target, records)


async def _move_at_once(zk: Client, source: str, target: str, records: Sequence[Record]) -> None:
    transaction = zk.transaction(lost_reply="once")
    for record in records:
        transaction.create(at(target, record.path), record.data, acl=record.acl)
    for record in reversed(records):
        assert record.stat is not None
        transaction.delete(at(source, record.path), record.stat.version)
    try:
        await transaction.commit()
    except TransactionFailedError as error:
        changed = isinstance(error.error, NotEmptyError | zabpy.BadVersionError | zabpy.NoNodeError)
        why = "others changed it meanwhile" if changed else told(error.error) or error.error.name.lower()
        if isinstance(error.error, zabpy.NoAuthError):
            why = f"permission denied: needs {error.operation.upper()} on {parent_of(error.path or source)}"
        raise ShellError(f"{error.path}: {why}; nothing was done", Status.CONFLICT) from error
    except CodeError as error:
        raise ShellError(f"{told(error)}; nothing was done", status_of(error)) from error
    except RequestTooLargeError:
        raise
    except zabpy.ZabpyError as error:  # the answer was lost
        raise ShellError(
            f"{told(error)}; all of it is at {source} or all of it at {target}", status_of(error)
        ) from error


async def _delete_moved(shell: Shell, zk: Client, source: Znode, target: Znode, records: Spool) -> None:
    """Delete what was copied, as it was then: the deepest first."""
    stays: list[str] = []
    deleted = 0

    async def delete(znode: tuple[str, int]) -> None:
        nonlocal deleted
        path, version = znode
        try:
            await zk.delete(path, version, lost_reply="again")
            deleted += 1
        except zabpy.NoNodeError:
            pass
        except NotEmptyError:
            stays.append(f"{path}: stays: something is below it")
        except zabpy.BadVersionError:
            stays.append(f"{path}: stays: somebody changed it after it was copied")
        except zabpy.NoAuthError as error:
            stays.append(told(error) or path)

    levels: dict[int, list[tuple[str, int]]] = {}
    async for piece in records:
        for record in piece:
            assert record.stat is not None
            levels.setdefault(record.path.count("/"), []).append((at(source.path, record.path), record.stat.version))
    try:
        for depth in sorted(levels, reverse=True):
            await each(delete, levels[depth])
    except zabpy.ZabpyError as error:
        raise ShellError(
            f"all of it is at {target}; of the old ones {deleted:,} of {len(records):,} are known to be deleted, then:"
            f" {told(error)}. To go on: rm -r {quoted(str(source))}",
            Status.PARTIAL,
        ) from error
    if stays:
        await tell_problems(shell, stays)
        raise ShellError(
            f"all of it was copied to {target}; {counted(len(stays), 'znode')} of {source} could not be deleted",
            Status.PARTIAL,
        )
