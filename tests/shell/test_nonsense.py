"""Servers that are none, or mad: the shell says what is wrong, soon, and never with a traceback."""

import struct
from collections.abc import Awaitable, Callable

import anyio
import pytest
from anyio.abc import SocketStream

from shell.output import Look, Output
from shell.settings import Settings
from shell.starting import started

TIMEOUT_MS = 1_000
Serve = Callable[[SocketStream], Awaitable[None]]
BODY = struct.pack(">iiqi", 0, 10_000, 0x1234, 16) + bytes(17)
GREETING = struct.pack(">i", len(BODY)) + BODY


def says(data: bytes) -> Serve:
    """To whoever comes, and nothing else."""

    async def serve(stream: SocketStream) -> None:
        await stream.receive()
        await stream.send(data)
        await anyio.sleep_forever()

    return serve


async def closes(stream: SocketStream) -> None:
    pass


async def silent(stream: SocketStream) -> None:
    await anyio.sleep_forever()


async def drips(stream: SocketStream) -> None:
    for at in range(len(GREETING)):
        await stream.send(GREETING[at : at + 1])
        await anyio.sleep(0.2)


def answers(with_what: Callable[[int], bytes]) -> Serve:
    """Greets as a server does; then this to each request, whose xid it is told."""

    async def serve(stream: SocketStream) -> None:
        came = await stream.receive()
        await stream.send(GREETING)
        (length,) = struct.unpack_from(">i", came)
        came = came[4 + length :]
        while True:
            while len(came) < 8 or len(came) < 4 + struct.unpack_from(">i", came)[0]:
                came += await stream.receive()
            length, xid = struct.unpack_from(">ii", came)
            came = came[4 + length :]
            if data := with_what(xid):
                await stream.send(data)

    return serve


def framed(data: bytes) -> bytes:
    return struct.pack(">i", len(data)) + data


def ok(xid: int) -> bytes:
    return struct.pack(">iqi", xid, 1, 0)


CASES: dict[str, tuple[Serve, str]] = {
    "HTTP": (says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "an HTTP server"),
    "closes": (closes, "closed the connection instead of greeting"),
    "garbage": (says(b"\xff\xfe\xfd" * 100), "no greeting of a ZooKeeper server"),
    "silent": (silent, "has not greeted yet"),
    "half a greeting": (says(GREETING[:20]), "has not greeted yet"),
    "drips": (drips, "has not greeted yet"),
    "mute": (answers(lambda xid: b""), "has answered nothing for 1000 ms"),
    "half a frame": (answers(lambda xid: struct.pack(">i", 500) + b"x"), "has answered nothing for 1000 ms"),
    "a frame of -5 bytes": (answers(lambda xid: struct.pack(">i", -5)), "frame of -5 bytes announced"),
    "a frame of 2 GB": (answers(lambda xid: struct.pack(">i", 2**31 - 1) + b"x"), "children are 2,147"),
    "another's answer": (answers(lambda xid: framed(ok(xid + 7))), "talks nonsense"),
    "no header": (answers(lambda xid: framed(b"")), "talks nonsense"),
    "no answer": (answers(lambda xid: framed(ok(xid))), "cannot be read: int cut short"),
    "2 billion names": (answers(lambda xid: framed(ok(xid) + struct.pack(">i", 2**31 - 1))), "cannot be read: vector"),
    "-7 names": (answers(lambda xid: framed(ok(xid) + struct.pack(">ii", -7, 5))), "cannot be read"),
    "an unknown error": (answers(lambda xid: framed(struct.pack(">iqi", xid, 1, -9999))), "error -9999"),
}  # fmt: skip


async def told(serve: Serve, line: str) -> tuple[int, str, float]:
    """Status and what was said of a line, and how long it took."""
    async with anyio.create_task_group() as tasks:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")

        async def handle(stream: SocketStream) -> None:
            try:
                async with stream:
                    await serve(stream)
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                pass

        tasks.start_soon(listener.serve, handle)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        err = bytearray()
        out = Output(lambda data: None, err.extend, "table", Look())
        began = anyio.current_time()
        async with started(Settings(f"127.0.0.1:{port}", timeout_ms=TIMEOUT_MS), out, keeps_trying=False) as shell:
            status = await shell.run(line)
        took_s = anyio.current_time() - began
        tasks.cancel_scope.cancel()
    return status, err.decode(), took_s


def test_each_is_told_of_in_time() -> None:
    """All at once: it is waiting that takes the time."""
    found: dict[str, tuple[int, str, float]] = {}

    async def story() -> None:
        async with anyio.create_task_group() as tasks:
            for name, (serve, _) in CASES.items():

                async def ask(name: str = name, serve: Serve = serve) -> None:
                    found[name] = await told(serve, "ls /")

                tasks.start_soon(ask)

    anyio.run(story)
    for name, (_, expected) in CASES.items():
        status, err, took_s = found[name]
        assert status in (5, 8) and err.startswith("ls: ") and expected in err and len(err.splitlines()) == 1, (
            name,
            err,
        )
        assert took_s < 5 * TIMEOUT_MS / 1000, (name, took_s)


@pytest.mark.parametrize("line", ["rm -r /a", "export /", "cp -r /a /b", "du /", "count /", "get /a"])
def test_whatever_is_asked_of_a_mute_one(line: str) -> None:
    status, err, took_s = anyio.run(told, answers(lambda xid: b""), line)
    assert status == 5 and "has answered nothing for 1000 ms" in err, err
    assert took_s < 5 * TIMEOUT_MS / 1000
