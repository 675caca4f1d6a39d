"""The worked bytes of ZooKeeper's client protocol, each read and written whole."""

import pytest

from zabpy.model import OPEN_ACL, Stat
from zabpy.wire import OPS, FrameBuffer, Op, Reader, Record, Writer, frame
from zabpy.wire.records import (
    AuthPacket,
    CheckVersionRequest,
    ConnectRequest,
    ConnectResponse,
    CreateRequest,
    CreateResponse,
    DeleteRequest,
    ErrorResponse,
    ExistsRequest,
    GetDataRequest,
    GetDataResponse,
    MultiRequest,
    MultiResponse,
    MultiResult,
    ReplyHeader,
    RequestHeader,
    SetDataRequest,
    SetDataResponse,
    SetWatches,
    WatcherEvent,
)

PASSWORD = bytes.fromhex("3665714e8bcd93350432be484c2c3d03")
SESSION = 0x0100000A1B2C0000
CREATED = Stat(2, 2, 1_700_000_000_000, 1_700_000_000_000, 0, 0, 0, 0, 2, 0, 2)
CHANGED = Stat(2, 3, 1_700_000_000_000, 1_700_000_005_000, 1, 0, 0, 0, 3, 0, 2)
FAILED = (MultiResult(-1, code, ErrorResponse(code)) for code in (0, -103, -2))

#: Name, the frame in hex, the records in it.
VECTORS: list[tuple[str, str, list[Record]]] = [
    (
        "A.1 connect",
        "0000002d 00000000 0000000000000000 00007530 0000000000000000 00000010 00000000000000000000000000000000 00",
        [ConnectRequest(0, 0, 30_000, 0, bytes(16), False)],
    ),
    (
        "A.1 connect of an old client",
        "0000002c 00000000 0000000000000000 00007530 0000000000000000 00000010 00000000000000000000000000000000",
        [ConnectRequest(0, 0, 30_000, 0, bytes(16), None)],
    ),
    (
        "A.2 connected",
        "00000025 00000000 00007530 0100000a1b2c0000 00000010 3665714e8bcd93350432be484c2c3d03 00",
        [ConnectResponse(0, 30_000, SESSION, PASSWORD, False)],
    ),
    (
        "A.2 connected, to an old client",
        "00000024 00000000 00007530 0100000a1b2c0000 00000010 3665714e8bcd93350432be484c2c3d03",
        [ConnectResponse(0, 30_000, SESSION, PASSWORD, None)],
    ),
    (
        "A.3 expired",
        "00000025 00000000 00000000 0000000000000000 00000010 00000000000000000000000000000000 00",
        [ConnectResponse(0, 0, 0, bytes(16), False)],
    ),
    (
        "A.4 create",
        "00000035 00000001 00000001 00000004 2f617070 00000002 6869 00000001 0000001f"
        "00000005 776f726c64 00000006 616e796f6e65 00000000",
        [RequestHeader(1, 1), CreateRequest("/app", b"hi", OPEN_ACL, 0)],
    ),
    (
        "A.4 created",
        "00000018 00000001 0000000000000002 00000000 00000004 2f617070",
        [ReplyHeader(1, 2, 0), CreateResponse("/app")],
    ),
    (
        "A.5 getData",
        "00000011 00000002 00000004 00000004 2f617070 01",
        [RequestHeader(2, 4), GetDataRequest("/app", True)],
    ),
    (
        "A.5 got",
        "0000005a 00000002 0000000000000002 00000000 00000002 6869"
        "0000000000000002 0000000000000002 0000018bcfe56800 0000018bcfe56800"
        "00000000 00000000 00000000 0000000000000000 00000002 00000000 0000000000000002",
        [ReplyHeader(2, 2, 0), GetDataResponse(b"hi", CREATED)],
    ),
    (
        "A.6 setData",
        "0000001b 00000003 00000005 00000004 2f617070 00000003 796f21 00000000",
        [RequestHeader(3, 5), SetDataRequest("/app", b"yo!", 0)],
    ),
    (
        "A.6 notification",
        "00000020 ffffffff 0000000000000003 00000000 00000003 00000003 00000004 2f617070",
        [ReplyHeader(-1, 3, 0), WatcherEvent(3, 3, "/app")],
    ),
    (
        "A.6 set",
        "00000054 00000003 0000000000000003 00000000"
        "0000000000000002 0000000000000003 0000018bcfe56800 0000018bcfe57b88"
        "00000001 00000000 00000000 0000000000000000 00000003 00000000 0000000000000002",
        [ReplyHeader(3, 3, 0), SetDataResponse(CHANGED)],
    ),
    (
        "A.7 exists",
        "00000012 00000004 00000003 00000005 2f6e6f7065 00",
        [RequestHeader(4, 3), ExistsRequest("/nope", False)],
    ),
    ("A.7 no node", "00000010 00000004 0000000000000003 ffffff9b", [ReplyHeader(4, 3, -101)]),
    (
        "A.8 multi",
        "00000055 00000005 0000000e"
        "00000005 00 ffffffff   00000004 2f617070 00000001 78 ffffffff"
        "0000000d 00 ffffffff   00000004 2f617070 00000009"
        "00000002 00 ffffffff   00000004 2f617070 ffffffff"
        "ffffffff 01 ffffffff",
        [
            RequestHeader(5, 14),
            MultiRequest(
                (
                    (5, SetDataRequest("/app", b"x", -1)),
                    (13, CheckVersionRequest("/app", 9)),
                    (2, DeleteRequest("/app", -1)),
                )
            ),
        ],
    ),
    (
        "A.8 failed",
        "00000040 00000005 0000000000000004 00000000"
        "ffffffff 00 00000000   00000000 ffffffff 00 ffffff99   ffffff99"
        "ffffffff 00 fffffffe   fffffffe ffffffff 01 ffffffff",
        [ReplyHeader(5, 4, 0), MultiResponse(tuple(FAILED))],
    ),
    ("A.9 ping", "00000008 fffffffe 0000000b", [RequestHeader(-2, 11)]),
    ("A.9 pong", "00000010 fffffffe 0000000000000004 00000000", [ReplyHeader(-2, 4, 0)]),
    (
        "A.10 auth",
        "00000025 fffffffc 00000064 00000000 00000006 646967657374 0000000b 75736572313a3132333435",
        [RequestHeader(-4, 100), AuthPacket(0, "digest", b"user1:12345")],
    ),
    (
        "A.11 setWatches",
        "00000024 fffffff8 00000065 0000000000000002 00000001 00000004 2f617070 00000000 00000000",
        [RequestHeader(-8, 101), SetWatches(2, ("/app",), (), ())],
    ),
    ("A.12 close", "00000008 00000006 fffffff5", [RequestHeader(6, -11)]),
]


@pytest.mark.parametrize(("hexes", "records"), [vector[1:] for vector in VECTORS], ids=[v[0] for v in VECTORS])
def test_the_bytes_are_the_records_and_the_records_are_the_bytes(hexes: str, records: list[Record]) -> None:
    stream = bytes.fromhex(hexes)
    buffer = FrameBuffer(1_048_575)
    buffer.feed(stream)
    (payload,) = buffer.frames()

    reader = Reader(payload)
    assert [type(record).read(reader) for record in records] == records
    assert reader.left == 0

    writer = Writer()
    for record in records:
        record.write(writer)
    assert frame(writer.bytes()) == stream


def test_the_requests_of_the_vectors_are_those_of_the_table_of_operations() -> None:
    for name, _, records in VECTORS:
        match records:
            case (RequestHeader(_, op), *rest):
                assert OPS[op].request is (type(rest[0]) if rest else None), name


def test_every_opcode_has_a_row_but_the_two_that_are_never_asked_for() -> None:
    assert set(Op) - set(OPS) == {Op.NOTIFICATION, Op.ERROR}
    refused = {op for op, row in OPS.items() if not row.from_client}
    assert refused == {Op.CHECK, Op.DELETE_CONTAINER, Op.CREATE_SESSION}
