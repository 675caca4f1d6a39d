"""What cannot be is refused before anything is sent, by an error that says what it was and of which operation."""

from collections.abc import Callable
from typing import Any

import anyio
import pytest

import zabpy

from .conftest import Story
from .listeners import listening, silence

NEVER: Any = "never"


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"auth": "digest"}, "auth: expected a list"),
        ({"auth": [("digest",)]}, "auth: expected pairs"),
        ({"auth": [(b"digest", b"a:b")]}, "auth: expected pairs"),
        ({"sasl": "bob"}, "sasl: expected a zabpy.Digest"),
        ({"frame_bytes_max": 0}, "frame_bytes_max"),
        ({"frame_bytes_max": 1e6}, "frame_bytes_max"),
    ],
)
def test_settings_that_cannot_be(settings: Any, named: str) -> None:
    with pytest.raises(zabpy.BadArgumentsError, match=named):
        zabpy.connect("h", **settings)


def test_arguments_that_cannot_be(on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            calls: list[tuple[Callable[..., Any], dict[str, Any]]] = [
                (zk.create, {"data": "text"}),
                (zk.create, {"acl": ["world:anyone"]}),
                (zk.create, {"acl": 31}),
                (zk.create, {"lost_reply": NEVER}),
                (zk.create, {"ttl_ms": 1.5}),
                (zk.create, {"ttl_ms": 5, "ephemeral": True}),
                (zk.create, {"container": True, "ephemeral": True}),
                (zk.set, {"data": 5}),
                (zk.set, {"data": b"", "version": "1"}),
                (zk.set, {"data": b"", "version": 2**31}),
                (zk.set, {"data": b"", "version": None}),
                (zk.set, {"data": b"", "lost_reply": "find"}),
                (zk.delete, {"version": 1.0}),
                (zk.delete, {"lost_reply": NEVER}),
                (zk.set_acl, {"acl": ["x"]}),
                (zk.set_acl, {"acl": None, "version": "0"}),
                (zk.transaction().create, {"data": "text"}),
                (zk.transaction().set, {"data": b"", "version": "1"}),
                (zk.transaction().delete, {"version": "1"}),
                (zk.transaction().check, {"version": "1"}),
            ]
            for call, arguments in calls:
                with pytest.raises(zabpy.BadArgumentsError, match=f"{call.__name__} /x: ") as error:
                    await call("/x", **arguments)
                assert (error.value.operation, error.value.path) == (call.__name__, "/x")
            with pytest.raises(zabpy.BadArgumentsError, match="transaction: lost_reply is to be"):
                zk.transaction(lost_reply=NEVER)
            assert await zk.exists("/x") is None

    on_both(story)


def test_who_gives_up_waiting_hears_of_the_server_that_was_being_tried(on_both: Callable[[Story], None]) -> None:
    async def story() -> None:
        async with listening(silence) as silent:
            with pytest.raises(zabpy.NoServerError, match="connect: .*has not greeted yet") as error:
                async with zabpy.connect(silent, connect_timeout_ms=300):
                    pass
            assert error.value.tried == ((silent, "it took the connection and has not greeted yet"),)

        async def dial(host: str, port: int) -> anyio.abc.ByteStream:
            await anyio.sleep_forever()
            raise AssertionError

        with pytest.raises(zabpy.NoServerError, match="no connection yet"):
            async with zabpy.connect("h", connect_timeout_ms=300, dial=dial):
                pass
        with pytest.raises(zabpy.NoServerError, match="connect: no server will do") as error:
            async with zabpy.connect("no-such-host.invalid"):
                pass
        assert error.value.operation == "connect"

    on_both(story)
