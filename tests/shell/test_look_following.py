"""watch and tail: with somebody else changing things meanwhile."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest

import zabpy
from shell.cluster import Cluster
from shell.commands.following import Telling
from shell.following import Following
from shell.output import Look, Output
from shell.shell import Shell
from tests.client.conftest import reconnect
from zabpy.client import Changed, Client, Deleted

from .conftest import Told

Story = Callable[["Watched"], Awaitable[None]]


class Watched:
    """A shell that runs a line, and somebody else's client. ``own`` is the shell's."""

    def __init__(self, zk: zabpy.Client) -> None:
        self.zk = zk
        self.out, self.err = bytearray(), bytearray()
        self.own: Client | None = None

    async def until(self, text: str, times: int = 1) -> None:
        while (self.out + self.err).decode().count(text) < times:  # noqa: ASYNC110 - it is written by threads
            await anyio.sleep(0.005)


def told_of(hosts: str, line: str, story: Story, format: str = "table", before: Story | None = None) -> Told:
    """What the shell said until the line ended; it is cancelled when the story is over, with status -1."""

    async def run() -> Told:
        status = -1
        with anyio.fail_after(30):
            async with zabpy.connect(hosts) as zk, anyio.create_task_group() as tasks:
                watched = Watched(zk)
                if before is not None:
                    await before(watched)
                cluster = Cluster(hosts, 15_000).start(tasks, keeps_trying=False)
                shell = Shell(cluster, Output(watched.out.extend, watched.err.extend, format, Look()))
                watched.own = await shell.zk()
                with anyio.CancelScope() as scope:
                    async with anyio.create_task_group() as inner:

                        async def tell() -> None:
                            await story(watched)
                            await anyio.sleep(0.2)  # for what must not be told
                            scope.cancel()

                        inner.start_soon(tell)
                        status = await shell.run(line)
                        inner.cancel_scope.cancel()
                await cluster.close()
        return Told(status, watched.out.decode(), watched.err.decode())

    return anyio.run(run, backend="asyncio")


async def made(watched: Watched) -> None:
    await watched.zk.create("/a", b"one")
    await watched.zk.create("/a/b", b"x")


async def nothing(watched: Watched) -> None:
    await anyio.sleep_forever()


def test_values_before_and_after(hosts: str) -> None:
    async def story(watched: Watched) -> None:
        zk = watched.zk
        await watched.until("watching /a: 1 znode\n")
        await zk.set("/a", b"two")
        await watched.until("changed /a", 1)
        await zk.set("/a", b"l1\nl2\n")
        await watched.until("changed /a", 2)
        await zk.set("/a/b", b"not told")
        await zk.delete("/a/b")
        await zk.delete("/a")
        await watched.until("deleted /a")
        await zk.create("/a", b"new")
        await watched.until("created /a")

    told = told_of(hosts, "watch /a", story, before=made)
    assert told.lines == [
        "changed /a  one -> two", "changed /a", "  @@ -1 +1,2 @@", "  -two", "  +l1", "  +l2", "deleted /a",
        "created /a  new"]  # fmt: skip
    assert told.err == "watching /a: 1 znode\n"


def test_all_below_as_json(hosts: str) -> None:
    async def story(watched: Watched) -> None:
        await watched.until("resynced")
        await watched.zk.set("/a/b", b"\xff")
        await watched.until("/w==")
        await watched.zk.delete("/a/b")
        await watched.until('"deleted"')

    rows = [json.loads(line) for line in told_of(hosts, "watch -r /a", story, "ndjson", made).lines]
    fields = ("event", "path", "data_base64", "old_data", "old_data_base64")
    assert [tuple(row[field] for field in fields) for row in rows] == [
        ("resynced", "/a", None, None, None), ("changed", "/a/b", "/w==", "x", None),
        ("deleted", "/a/b", None, None, "/w==")]  # fmt: skip
    assert rows[1]["zxid"].startswith("0x") and rows[1]["version"] == 1 and rows[1]["is_latest"]


def test_a_burst_is_told_whole(hosts: str) -> None:
    async def story(watched: Watched) -> None:
        await watched.until("resynced")
        async with anyio.create_task_group() as tasks:
            for n in range(200):
                tasks.start_soon(watched.zk.set, "/a", f"{n}".encode())

    told = told_of(hosts, "watch /a --until count=200", story, "ndjson", made)
    rows = [json.loads(line) for line in told.lines]
    assert (told.status, len(rows)) == (0, 201)
    assert {row["event"] for row in rows[1:]} == {"changed"}
    assert [row["data"] for row in rows if row["data"] is not None][-1] == "199"


def test_of_several_changes_the_last_has_the_value(hosts: str) -> None:
    async def story(watched: Watched) -> None:
        await made(watched)
        following = Following(watched.zk, "/a", recursive=True)
        changed, deleted, gone = Changed("/a", 7), Deleted("/a/b"), Changed("/nope", 8)
        found = await following._looked_into([changed, gone, changed, deleted])
        assert [(each.path, each.data, each.is_latest) for each in found] == [
            ("/a", None, False), ("/nope", None, False), ("/a", b"one", True), ("/a/b", None, True)]  # fmt: skip
        # What was read already is not told as if it were new.
        (again,) = await following._looked_into([changed])
        assert (again.data, again.is_latest) == (b"one", False)

    told_of(hosts, "pwd", nothing, before=story)


def test_a_gap_is_told_and_what_it_hid_is_found(hosts: str) -> None:
    async def story(watched: Watched) -> None:
        await watched.until("watching")
        assert watched.own is not None
        # Changed while the connection is away: so no event can tell of it.
        watched.own._connection.leave("the test wants a gap")
        await watched.zk.set("/a/b", b"y")
        await watched.zk.create("/a/new", b"n")
        await watched.zk.delete("/a/gone")
        await watched.own.wait_connected()
        await watched.until("deleted /a/gone")

    async def more(watched: Watched) -> None:
        await made(watched)
        await watched.zk.create("/a/gone", b"g")

    told = told_of(hosts, "watch -r /a", story, before=more)
    gap = told.lines.index("resynced /a: there was a gap; what was hidden by it follows")
    # What the old connection still told stands before the gap; nothing is told twice.
    assert sorted(told.lines[:gap] + told.lines[gap + 1 :]) == [
        "changed /a/b  x -> y", "created /a/new  n", "deleted /a/gone"]  # fmt: skip


def test_after_a_gap_events_are_told_again(hosts: str) -> None:
    async def story(watched: Watched) -> None:
        await watched.until("watching")
        assert watched.own is not None
        await reconnect(watched.own)
        await watched.until("resynced")
        await watched.zk.set("/a", b"later")
        await watched.until("later")

    told = told_of(hosts, "watch /a", story, before=made)
    assert told.lines[-1] == "changed /a  one -> later"


@pytest.mark.parametrize(
    ("until", "does", "told"),
    [
        ("created", None, "watching /a: 2 znodes"),
        ("value=one", None, "watching /a: 2 znodes"),
        ("value=two", "set", "changed /a  one -> two"),
        ("changed", "set", "changed /a  one -> two"),
        ("deleted", "delete", "deleted /a"),
        ("count=2", "set", "changed /a  one -> two"),
    ],
)
def test_until(hosts: str, until: str, does: str | None, told: str) -> None:
    async def story(watched: Watched) -> None:
        await watched.until("watching")
        if does == "set":
            await watched.zk.set("/a", b"two")
            await watched.until("-> two")
            if until == "count=2":
                await watched.zk.set("/a/b", b"")
        elif does == "delete":
            await watched.zk.delete_tree("/a")
        await anyio.sleep_forever()

    said = told_of(hosts, f"watch -r /a --until {until}", story, before=made)
    assert said.status == 0
    assert told in said.out + said.err


def test_what_comes_while_watching_begins_is_told_before_it_ends(hosts: str, monkeypatch: pytest.MonkeyPatch) -> None:
    holds_already = Telling._holds_already

    async def set_and_look(self: Telling, zk: zabpy.Client) -> bool:
        await zk.set("/a", b"two")
        return await holds_already(self, zk)

    monkeypatch.setattr(Telling, "_holds_already", set_and_look)
    told = told_of(hosts, "watch /a --until value=two", nothing, before=made)
    assert (told.status, told.out) == (0, "changed /a  one -> two\n")


def test_until_deleted_of_what_is_not_there_and_timeouts(hosts: str) -> None:
    assert told_of(hosts, "watch /nope --until deleted", nothing) == (0, "", "watching /nope: not there yet\n")
    told = told_of(hosts, "watch /nope --until created --timeout 50ms", nothing)
    assert (told.status, told.err.splitlines()[-1]) == (6, "watch: /nope: not created within 50 ms")
    told = told_of(hosts, "watch /nope --timeout 50ms", nothing)
    assert (told.status, told.err.splitlines()[-1]) == (6, "watch: /nope: watched for 50 ms")
    told = told_of(hosts, "watch /nope --until never", nothing)
    assert told.status == 2 and "expected created, deleted, changed, value=TEXT or count=N" in told.err


def test_exec(hosts: str, tmp_path: Path) -> None:
    async def story(watched: Watched) -> None:
        await watched.until("watching")
        await watched.zk.set("/a", b"value\xff")
        await anyio.sleep_forever()

    command = f'(echo "$ZABPY_EVENT $ZABPY_PATH ${{ZABPY_ZXID%%x*}}"; cat) > {tmp_path}/out; exit 3'
    told = told_of(hosts, f"watch /a --until changed --exec '{command}'", story, before=made)
    assert (tmp_path / "out").read_bytes() == b"changed /a 0\nvalue\xff"
    assert told.status == 0 and told.err.splitlines()[-1].endswith("ended with status 3")
    # A command that does not read its standard input is none the worse for it.
    told = told_of(hosts, "watch /a --until changed --exec true", story)
    assert (told.status, told.err) == (0, "watching /a: 1 znode\n")


def test_what_exec_has_started_ends_with_the_watch(hosts: str, tmp_path: Path) -> None:
    """All of it, not only the system's shell."""

    async def story(watched: Watched) -> None:
        await watched.until("watching")
        await watched.zk.set("/a", b"2")
        while not (pids := tmp_path / "pids").exists() or len(pids.read_text().split()) < 2:  # noqa: ASYNC110  # a file
            await anyio.sleep(0.01)
        await anyio.sleep_forever()

    command = f"sleep 60 & echo $! >> {tmp_path}/pids; sh -c \\'echo $$ >> {tmp_path}/pids; sleep 60; true\\'; true"
    line = f'watch /a --timeout 3s --exec "{command}"'.replace("\\'", "'")
    told = told_of(hosts, line, story, before=made)
    assert told.status == 6, told.err
    for pid in (tmp_path / "pids").read_text().split():
        assert not Path(f"/proc/{pid}").exists(), Path(f"/proc/{pid}/cmdline").read_bytes()


def test_tail(hosts: str) -> None:
    async def story(watched: Watched) -> None:
        await watched.until("l12")
        await watched.zk.set("/log", log + b"l13\n")
        await watched.until("l13")
        await watched.zk.set("/log", b"other\n")
        await watched.until("other")
        await watched.zk.delete("/log")
        await watched.until("deleted")

    log = b"".join(b"l%d\n" % n for n in range(13))

    async def before(watched: Watched) -> None:
        await watched.zk.create("/log", log)

    told = told_of(hosts, "tail -f -n 2 /log", story, before=before)
    assert (told.lines, told.err) == (["l11", "l12", "l13", "other"], "/log: deleted\n")
    told = told_of(hosts, "tail /log", nothing, before=before)
    assert told.lines == [f"l{n}" for n in range(3, 13)]
