"""To create znodes and to change what they hold."""

import click

import zabpy
from zabpy.model import BadVersionError, NodeExistsError, UnimplementedError

from ..acls import parse_acl
from ..command import Duration, ZPath, command
from ..planned import Planned
from ..problems import ShellError, UsageError
from ..shell import Shell
from ..sources import value_of, value_options
from ..stats import stat_fields
from ..structured import changed, is_change

#: How often a change that depends on what is there is made anew when others were faster.
TRIES_MAX = 16


class Lifetime(Duration):
    """As `Duration`, but a bare number is ms, as in zkCli.sh's ``create -t``."""

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value)
        return super().convert(f"{text}ms" if text.isdigit() else value, param, ctx)


@command("create", group="Change", writes=True)
@click.argument("path", type=ZPath(glob=False, new=True, slash=True))
@click.argument("data", required=False)
@click.argument("acl", required=False)
@click.option("-e", "ephemeral", is_flag=True, help="It ends with this shell's session.")
@click.option("-s", "sequence", is_flag=True, help="Ten digits, one more than the last, are put behind the name.")
@click.option("-c", "container", is_flag=True, help="The servers delete it some time after its last child was.")
@click.option("-t", "ttl_ms", type=Lifetime(), help="Deleted when childless and unchanged for so long: 500 (ms), 30s.")
@click.option("-p", "parents", is_flag=True, help="Create what is missing above it, too.")
@click.option("--acl", "acl_option", help="Who may do what: world:anyone:cdrwa,...")
@value_options
async def create(
    shell: Shell,
    path: str,
    data: str | None,
    acl: str | None,
    ephemeral: bool,
    sequence: bool,
    container: bool,
    ttl_ms: int | None,
    parents: bool,
    acl_option: str | None,
    file: str | None,
    is_hex: bool,
    is_base64: bool,
) -> None:
    """Create a znode, and print its path.

    DATA is its value, - takes that from the standard input. Without either it is empty.
    """
    if acl is not None and acl_option is not None:
        raise UsageError("the ACL is given twice")
    given = acl if acl is not None else acl_option
    if file is not None and acl is None and data is not None and acl_option is None:
        given, data = data, None  # `create --file F /a ACL`: the value is not among the words
    acls = parse_acl(given) if given is not None else None
    value = await value_of(shell, data, file, is_hex, is_base64) or b""
    if path.endswith("/") and path != "/" and not sequence:
        path = path[:-1]
    planned = Planned(
        "create",
        path,
        value,
        acl=acls,
        ephemeral=ephemeral,
        sequence=sequence,
        container=container,
        ttl_ms=ttl_ms,
    )
    if parents and shell.transaction is not None:
        raise UsageError("-p is not for transactions: create the parents in it, one by one")
    if await put_off(shell, planned):
        return
    try:
        made = await planned.create(await shell.zk(), parents=parents)
    except UnimplementedError as error:
        if ttl_ms is None:
            raise
        raise ShellError(
            f"{path}: these servers give znodes no lifetime; zookeeper.extendedTypesEnabled=true has them do so"
        ) from error
    await shell.out.show({"path": made}, human=made, raw=made + "\n")


@command("set", group="Change", writes=True)
@click.argument("path", type=ZPath())
@click.argument("data", nargs=-1)
@click.option("-v", "version", type=int, default=-1, help="Only if the znode has this version.")
@click.option("-s", "shows_stat", is_flag=True, help="Show its stat.")
@click.option("--text", "is_text", is_flag=True, help="DATA is the value even if it looks like .NAME=VALUE.")
@value_options
async def set(
    shell: Shell,
    path: str,
    data: tuple[str, ...],
    version: int,
    shows_stat: bool,
    is_text: bool,
    file: str | None,
    is_hex: bool,
    is_base64: bool,
) -> None:
    """Set the value of a znode.

    DATA is the value, - takes it from the standard input. `.db.port=5 .db.host=a` changes these within a JSON or YAML
    value and leaves the rest; should others change it meanwhile, it is done on what they wrote.
    """
    if data and file is None and not (is_text or is_hex or is_base64) and all(map(is_change, data)):
        stat = await change_within(shell, path, data, version)
    else:
        words = list(data)
        if len(words) == 2 and version == -1 and words[1].lstrip("-").isdigit():
            version = int(words.pop())  # as zkCli.sh's `set path data version` of old
        if len(words) > 1:
            raise UsageError(f"{len(words)} values, where one is expected: put quotes around one with spaces")
        value = await value_of(shell, words[0] if words else None, file, is_hex, is_base64)
        if value is None:
            raise UsageError("Missing argument 'DATA'; '' is the empty value")
        if await put_off(shell, Planned("set", path, value, version)):
            return
        stat = await (await shell.zk()).set(path, value, version, lost_reply="once")
    if shows_stat and stat is not None:
        await shell.out.show({"path": path, **stat_fields(stat)})


async def change_within(shell: Shell, path: str, changes: tuple[str, ...], version: int) -> zabpy.Stat | None:
    """Make changes within a value, by compare-and-set; on what others wrote, unless a version was asked for."""
    zk = await shell.zk()
    for left in reversed(range(TRIES_MAX)):
        data, stat = await zk.get(path)
        if version not in (-1, stat.version):
            raise BadVersionError(f"set {path}: the version is {stat.version}, not {version}")
        new = changed(data, changes, path)
        if await put_off(shell, Planned("set", path, new, stat.version)):
            return None
        try:
            return await zk.set(path, new, stat.version, lost_reply="once")
        except BadVersionError:
            if version != -1 or not left:
                raise
    raise AssertionError


@command("touch", group="Change", writes=True)
@click.argument("paths", type=ZPath(new=True), nargs=-1, required=True)
@click.option("-c", "no_create", is_flag=True, help="Create none.")
@click.option("-p", "parents", is_flag=True, help="Create what is missing above it, too.")
async def touch(shell: Shell, paths: tuple[str, ...], no_create: bool, parents: bool) -> None:
    """Have znodes be there, and be changed now: their value stays, version and time of change do not.

    Those that are missing are created, empty.
    """
    zk = await shell.zk()
    for path in paths:
        for left in reversed(range(TRIES_MAX)):
            try:
                if await zk.exists(path) is None:
                    if not no_create:
                        await zk.create(path, parents=parents)
                else:
                    data, stat = await zk.get(path)
                    await zk.set(path, data, stat.version, lost_reply="once")
                break
            except (BadVersionError, NodeExistsError, zabpy.NoNodeError) as error:
                if not left or (isinstance(error, zabpy.NoNodeError) and error.operation == "create"):
                    raise


@command("sync", group="Change")
@click.argument("path", type=ZPath(glob=False), default=".")
async def sync(shell: Shell, path: str) -> None:
    """Wait until this shell's server has all that was final before, so that what is read next is as new as that."""
    zk = await shell.zk()
    await zk.sync(path)
    await shell.out.show({"path": path, "zxid": f"{zk.last_zxid:#x}"}, human=f"in step at zxid {zk.last_zxid:#x}")


async def put_off(shell: Shell, planned: Planned) -> bool:
    """Into the transaction, if one is being put together."""
    if shell.transaction is None:
        return False
    draft = shell.transaction
    draft.operations.append(planned)
    if not draft.quiet:
        await shell.out.tell(f"{len(draft.operations)}: {planned.in_words()} (commit does it)")
    return True
