"""Who may do what: ACLs are shown and set, and this shell says who it is."""

from collections.abc import Sequence

import click

import zabpy
from zabpy.client import Client
from zabpy.model import Acl, Acls, BadVersionError, NoAuthError, NoNodeError, digest_id

from ..acls import acl_text, entry_text, hidden, in_words, letters_of, parse_acl
from ..command import ZPath, command
from ..credentials import fit
from ..pipelined import each
from ..problems import ShellError, Status, UsageError, told
from ..removal import found_below
from ..shell import Shell
from ..stats import stat_fields
from ..telling import counted, tell_problems
from .writing import TRIES_MAX


@command("acl", group="Access", writes=False)
@click.argument("path", type=ZPath())
@click.argument("acl", required=False)
@click.option("-R", "recursive", is_flag=True, help="Of the znode and all below it.")
@click.option("-v", "version", type=int, default=-1, help="Only if the ACL has this version, which is its aversion.")
@click.option("-s", "shows_stat", is_flag=True, help="Show the stat, too.")
@click.option("--add", "added", multiple=True, metavar="ENTRY", help="Give SCHEME:ID these permissions, too.")
@click.option("--remove", "removed", multiple=True, metavar="ENTRY", help="Take out SCHEME:ID[:PERMISSIONS].")
async def acl(
    shell: Shell,
    path: str,
    acl: str | None,
    recursive: bool,
    version: int,
    shows_stat: bool,
    added: tuple[str, ...],
    removed: tuple[str, ...],
) -> None:
    """Show who may do what to a znode, or set it.

    ACL is SCHEME:ID:PERMISSIONS,... with letters of cdrwa: create, delete (both of children), read, write, administer.
    Such as world:anyone:r,digest:bob:HASH:cdrwa; auth::cdrwa is for whoever this shell is logged in as (auth).
    --add and --remove change single entries of what is there, whoever else changes it meanwhile.
    """
    if acl is None and not added and not removed:
        await show_acl(shell, path, shows_stat=shows_stat, recursive=recursive)
        return
    if shell.rules.read_only:
        raise ShellError("this shell is read-only, so nothing was done", Status.DENIED)
    if acl is not None and (added or removed):
        raise UsageError("either the whole ACL is set, or entries are added and removed")
    if recursive and version != -1:
        raise UsageError("-v is for one znode, not for a subtree")
    whole = parse_acl(acl) if acl is not None else None
    entries = [entry for text in added for entry in parse_acl(text)]
    stat = await set_acls(shell, path, whole, entries, removed, version=version, recursive=recursive)
    if shows_stat and stat is not None:
        await shell.out.show({"path": path, **stat_fields(stat)})


async def show_acl(shell: Shell, path: str, *, shows_stat: bool = False, recursive: bool = False) -> None:
    zk = await shell.zk()
    paths = [path]
    if recursive:
        paths = sorted(each for level in (await found_below(zk, path)).levels for each in level)
    columns = ("path", "entry", "means") if recursive else ("entry", "means")
    problems: list[str] = []
    stat: zabpy.Stat | None = None
    async with shell.out.rows(*columns) as rows:
        for one in paths:
            try:
                acls, stat = await zk.get_acl(one)
            except (NoAuthError, NoNodeError) as error:
                if not recursive:
                    raise
                if isinstance(error, NoAuthError):
                    problems.append(told(error) or "")
                continue
            for entry in acls:
                await rows.add(
                    path=one,
                    scheme=entry.scheme,
                    id=entry.id,
                    permissions=letters_of(entry.perms),
                    entry=entry_text(entry),
                    means=in_words(entry),
                    aversion=stat.aversion,
                )
    if shows_stat and stat is not None and not recursive and shell.out.format == "table":
        await shell.out.show(stat_fields(stat))
    await tell_problems(shell, problems)
    if problems:
        raise ShellError(f"the ACLs of {counted(len(problems), 'znode')} may not be read", Status.PARTIAL)


async def set_acls(
    shell: Shell,
    path: str,
    whole: Acls | None,
    added: Sequence[Acl] = (),
    removed: Sequence[str] = (),
    *,
    version: int = -1,
    recursive: bool = False,
    asks: bool = True,
) -> zabpy.Stat | None:
    """Set ACLs: ``whole``, or what is there with entries ``added`` and ``removed``.

    Raises:
        ShellError: with `Status.PARTIAL`, of a subtree, which ones could not be set.
    """
    zk = await shell.zk()
    if not recursive:
        return await _set_one(zk, path, whole, added, removed, version)
    paths = [path for level in (await found_below(zk, path)).levels for path in level]
    if not paths:
        raise ShellError(f"{path}: no such znode", Status.NO)
    if asks:
        await shell.confirm(f"set the ACLs of {counted(len(paths), 'znode')} under {path}?")
    problems: list[str] = []
    done = 0

    async def one(path: str) -> None:
        nonlocal done
        try:
            await _set_one(zk, path, whole, added, removed, -1)
            done += 1
        except NoNodeError:
            pass  # somebody has deleted it meanwhile
        except NoAuthError as error:
            problems.append(told(error) or "")

    try:
        # The deepest first, because who takes away their own right to look may do it only when all else is done.
        await each(one, paths[::-1], 32)
    except zabpy.ZabpyError as error:
        raise ShellError(
            f"{told(error)}; {done:,} of {counted(len(paths), 'ACL')} were set. The same command again sets the rest",
            Status.PARTIAL if done else Status.FAILED,
        ) from error
    await tell_problems(shell, problems)
    if problems:
        raise ShellError(
            f"{done:,} of {counted(len(paths), 'ACL')} were set", Status.PARTIAL if done else Status.DENIED
        )
    await shell.out.tell(f"{counted(done, 'ACL')} set")
    return None


async def _set_one(
    zk: Client, path: str, whole: Acls | None, added: Sequence[Acl], removed: Sequence[str], version: int
) -> zabpy.Stat:
    if whole is not None:
        return await zk.set_acl(path, whole, version, lost_reply="raise" if version != -1 else "again")
    for left in reversed(range(TRIES_MAX)):
        acls, stat = await zk.get_acl(path)
        if version not in (-1, stat.aversion):
            raise BadVersionError(f"set_acl {path}: the ACL's version is {stat.aversion}, not {version}")
        new = merged(acls, added, removed)
        if not new:
            raise UsageError(f"{path}: nobody would be left who may do anything; the servers take no empty ACL")
        try:
            return await zk.set_acl(path, new, stat.aversion)
        except BadVersionError:
            if version != -1 or not left:
                raise
    raise AssertionError


def merged(acls: Acls, added: Sequence[Acl], removed: Sequence[str]) -> Acls:
    """An ACL with entries taken out and put in. One that is added for somebody who has one is put together with it.

    Raises:
        UsageError: what is to be taken out is not there.
    """
    found = list(acls)
    for text in removed:
        at = next((i for i, each in enumerate(found) if text in (f"{each.scheme}:{each.id}", entry_text(each))), None)
        if at is not None:
            del found[at]
            continue
        entry = _entry_of(text)
        same = [i for i, each in enumerate(found) if entry and (each.scheme, each.id) == (entry.scheme, entry.id)]
        if entry is None or not same:
            raise UsageError(f"{hidden(text)}: no entry for it in {acl_text(acls)}")
        left = found[same[0]].perms & ~entry.perms
        found[same[0] : same[0] + 1] = [found[same[0]]._replace(perms=left)] if left else []
    for entry in added:
        same = [i for i, each in enumerate(found) if (each.scheme, each.id) == (entry.scheme, entry.id)]
        if same:
            found[same[0]] = found[same[0]]._replace(perms=found[same[0]].perms | entry.perms)
        else:
            found.append(entry)
    return tuple(found)


def _entry_of(text: str) -> Acl | None:
    try:
        return parse_acl(text)[0]
    except UsageError:
        return None  # only SCHEME:ID


@command("auth", group="Access", aliases=("addauth",), secret=True)
@click.argument("scheme", required=False)
@click.argument("user", required=False)
@click.option("--digest", "shows_digest", is_flag=True, help="Only print what stands for USER and password in ACLs.")
async def auth(shell: Shell, scheme: str | None, user: str | None, shows_digest: bool) -> None:
    """Be one more identity: auth digest bob; the password is asked for. Without arguments: say who one is.

    With --digest nothing is sent, and what stands for `auth --digest USER` in ACLs is printed.
    USER:PASSWORD is taken, too, for scripts; it is then in the history of whatever ran them.
    """
    if shows_digest:
        user = user or scheme
        if not user:
            raise UsageError("Missing argument 'USER'")
        fit(user, user.partition(":")[0])
        entry = digest_id(user if ":" in user else f"{user}:{await shell.asker.secret(f'password of {user}')}")
        record = {"user": user.partition(":")[0], "id": entry, "entry": f"digest:{entry}:cdrwa"}
        await shell.out.show(record, human=record["entry"], raw=entry + "\n")
        return
    if scheme is not None and ":" in scheme:  # before it is shown as a scheme, with the password in it
        raise UsageError("a scheme has no : in it; expected SCHEME USER")
    zk = await shell.zk()
    if scheme is None:
        async with shell.out.rows("scheme", "id") as rows:
            for identity in await zk.whoami():
                await rows.add(scheme=identity.scheme, id=identity.id)
        return
    if scheme == "digest":
        if not user:
            raise UsageError("Missing argument 'USER'")
        credential = user if ":" in user else f"{user}:{await shell.asker.secret(f'password of {user}')}"
    else:
        credential = user if user is not None else await shell.asker.secret(f"credential for {scheme}")
    who = f"{scheme} {credential.partition(':')[0]}" if scheme == "digest" else scheme
    await zk.add_auth(scheme, fit(credential, who))
    await shell.out.tell(f"also {who} from now on")
