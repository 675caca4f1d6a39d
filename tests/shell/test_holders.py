"""Who holds what: znodes of several libraries, sessions and watches of several servers."""

import json
from typing import Any

import anyio
import pytest
from kazoo.client import KazooClient

import zabpy
from zabpy.bench.systems import Servers

from .conftest import Run, runner
from .three_servers import hosts_of


@pytest.fixture
def three(shell_servers: Servers) -> Run:
    return runner(hosts_of(shell_servers))


def rows(run: Run, line: str) -> list[dict[str, Any]]:
    told = run(line, format="json")
    assert told.status == 0, told.err
    found: list[dict[str, Any]] = json.loads(told.out)
    return found


def test_the_queue_of_a_lock(three: Run, shell_servers: Servers) -> None:
    found: list[list[dict[str, Any]]] = []
    session_ids: list[str] = []

    async def story() -> None:
        async with zabpy.connect(hosts_of(shell_servers)) as one, zabpy.connect(hosts_of(shell_servers)) as two:
            session_ids.extend(str(zk.session) for zk in (one, two))
            async with one.lock("/q/lock", data=b"first") as held:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(two.lock("/q/lock", data=b"\xff").acquire)
                    while len(await one.children("/q/lock")) < 2:  # noqa: ASYNC110
                        await anyio.sleep(0.01)
                    found.append(await anyio.to_thread.run_sync(rows, three, "locks /q"))
                    found.append(await anyio.to_thread.run_sync(rows, three, "locks /q --held"))
                    found.append(await anyio.to_thread.run_sync(rows, three, "elections /q/lock"))
                    assert found[0][0]["token"] == held.token
                    tasks.cancel_scope.cancel()

    anyio.run(story, backend="asyncio")
    both, held, election = found
    assert [(row["path"], row["state"], row["position"]) for row in both] == [
        ("/q/lock", "holds", 1),
        ("/q/lock", "waits", 2),
    ]
    assert [row["session"] for row in both] == session_ids
    assert [(row["data"], row["data_base64"]) for row in both] == [("first", None), (None, "/w==")]
    assert all(row["address"].startswith("127.0.0.1:") and row["layout"] == "kazoo" for row in both)
    assert held == both[:1]
    assert [row["state"] for row in election] == ["leads", "stands"]


def test_layouts_and_leases(three: Run, shell_servers: Servers) -> None:
    kazoo = KazooClient(hosts_of(shell_servers))
    kazoo.start()
    try:
        kazoo.Lock("/k/lock", "me").acquire()
        kazoo.Semaphore("/k/sem", "me", 2).acquire()
        kazoo.ensure_path("/k/curator")
        mark = "_c_25ac953a-cbdc-49af-a11e-9d66e6775ae7"
        for name in ("-latch-", "-lock-"):
            kazoo.ensure_path(f"/k/curator{name}")
            kazoo.create(f"/k/curator{name}/{mark}{name}", b"c", ephemeral=True, sequence=True)
        kazoo.create(f"/k/curator/leases/{mark}-lease-", b"c", ephemeral=True, sequence=True, makepath=True)
        kazoo.ensure_path("/k/none/0123456789abcdef0123456789abcdef")  # like a lease, but nobody's
        shown = {row["path"]: (row["layout"], row["state"], row["data"]) for row in rows(three, "locks /k")}
        election = {row["path"] for row in rows(three, "elections /k")}
    finally:
        kazoo.stop()
        kazoo.close()
    assert shown == {
        "/k/lock": ("kazoo", "holds", "me"),
        "/k/sem": ("kazoo-semaphore", "holds", "me"),
        "/k/curator-latch-": ("latch", "holds", "c"),
        "/k/curator-lock-": ("curator", "holds", "c"),
        "/k/curator/leases": ("curator-semaphore", "holds", "c"),
    }
    assert election == {"/k/lock", "/k/curator-latch-", "/k/curator-lock-"}


def test_those_who_share_hold_together(three: Run, shell_servers: Servers) -> None:
    kazoo = KazooClient(hosts_of(shell_servers))
    kazoo.start()
    try:
        for name in ("__rlock__", "__rlock__", "__lock__", "__rlock__"):
            kazoo.create(f"/shared/{'0' * 32}{name}", ephemeral=True, sequence=True, makepath=True)
        shown = [(row["state"], row["shared"]) for row in rows(three, "locks /shared")]
    finally:
        kazoo.stop()
        kazoo.close()
    assert shown == [("holds", True), ("holds", True), ("waits", False), ("waits", True)]


def test_sessions_ephemerals_and_watches(three: Run, shell_servers: Servers) -> None:
    found: dict[str, Any] = {}
    server: list[str] = []

    async def story() -> None:
        async with zabpy.connect(hosts_of(shell_servers), session_timeout_ms=7_000) as zk:
            server.extend((str(zk.session), zk.server))
            await zk.create("/s", b"")
            for name in ("x", "with space"):
                await zk.create(f"/s/{name}", b"", ephemeral=True)
            await zk.create("/soon", b"", ephemeral=True)
            _, _, fired = await zk.get_watched("/s")
            for line in ("sessions", "ephemerals /s", "watches", "watches --by session", "watches --summary"):
                found[line] = await anyio.to_thread.run_sync(rows, three, line)
            found["chroot"] = await anyio.to_thread.run_sync(rows, runner(hosts_of(shell_servers) + "/s"), "ephemerals")
            fired.cancel()
            await zk.delete_tree("/s")

    anyio.run(story, backend="asyncio")
    id, at = server
    (session,) = [row for row in found["sessions"] if row["session"] == id]
    assert (session["server"], session["timeout_ms"], session["ephemerals"], session["watches"]) == (at, 7_000, 3, 2)
    assert session["connected"] and session["expires"] and not session["own"]
    assert [row["own"] for row in found["sessions"]].count(True) == 1
    assert [(row["path"], row["session"]) for row in found["ephemerals /s"]] == [("/s/with space", id), ("/s/x", id)]
    assert [row["path"] for row in found["chroot"]] == ["/with space", "/x"]
    for line in ("watches", "watches --by session"):
        assert {"path": "/s", "session": id, "server": at} in found[line]
    (summary,) = [row for row in found["watches --summary"] if row["server"] == at]
    assert summary["watches"] >= 2


def test_what_may_not_be_listed_is_said(zabsh: Run) -> None:
    told = zabsh(
        "create /open; create /open/shut; create '/open/00000000000000000000000000000000__lock__0000000000'",
        "acl /open/shut world:anyone:c",
        "locks /",
    )
    assert told.status == 7, told.err
    assert "/open/shut: permission denied, so what is below is not shown" in told.err
    assert told.lines[-1].startswith("/open  holds")
    assert zabsh("locks /nope")[::2] == (1, "locks: /nope: no such znode\n")
