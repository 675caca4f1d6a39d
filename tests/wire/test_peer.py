from typing import get_args

import cbor2
import pytest
from hypothesis import given, settings, strategies as st

from zabpy.model import Entry, Identity, Request, Tip, Zxid
from zabpy.wire import Hello, PeerDecodeError, decode, decode_hello, encode, encode_hello
from zabpy.wire.peer import MESSAGES
from zabpy.zab import Role
from zabpy.zab.messages import (
    ENDS_MAX,
    Ack,
    AckEpoch,
    Commit,
    Diff,
    FollowerInfo,
    Forward,
    Image,
    ImageChunk,
    LeaderInfo,
    Message,
    NewLeader,
    Notification,
    Ping,
    Pong,
    Propose,
    Revalidate,
    Revalidated,
    SyncDone,
    Touched,
    Trunc,
)

i32, i64 = st.integers(-(1 << 31), (1 << 31) - 1), st.integers(-(1 << 63), (1 << 63) - 1)
u32, u64 = st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 64) - 1)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
zxids = u64.map(Zxid)


def tuples(items: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(items, max_size=5).map(tuple)


entries = st.builds(Entry, zxids, st.binary(max_size=20), u32)
identities = tuples(st.builds(Identity, texts, texts))
requests = st.builds(Request, u64, i64, i32, i32, st.binary(max_size=20), identities)
tips = st.builds(Tip, zxids, u32)
messages = st.one_of(
    st.builds(Notification, st.sampled_from(Role), u64, st.integers(0, 255), zxids, u32),
    st.builds(FollowerInfo, u32),
    st.builds(LeaderInfo, u32),
    st.builds(AckEpoch, u32, st.booleans(), tuples(zxids)),
    st.builds(Diff, zxids),
    st.builds(Trunc, zxids),
    st.builds(Image, tips),
    st.builds(ImageChunk, st.binary(max_size=50), st.booleans()),
    st.builds(NewLeader, u32),
    st.builds(Propose, tuples(entries)),
    st.builds(Ack, zxids),
    st.builds(Commit, zxids),
    st.builds(Ping, u64, u32),
    st.builds(Pong, u64, u32, zxids),
    st.builds(Forward, tuples(requests)),
    st.builds(SyncDone, u64, zxids),
    st.builds(Touched, tuples(i64)),
    st.builds(Revalidate, u64, i64, i32),
    st.builds(Revalidated, u64, i64, st.booleans()),
)


def test_every_message_has_one_tag() -> None:
    assert [cls for _, cls, _ in MESSAGES] == list(get_args(Message))
    assert len({tag for tag, _, _ in MESSAGES}) == len(MESSAGES)


@settings(max_examples=80)
@given(messages)
def test_any_message_comes_back(message: Message) -> None:
    again = decode(encode(message))
    assert again == message
    assert type(again) is type(message)


def test_a_frame_is_the_tag_and_the_fields_in_order() -> None:
    assert cbor2.loads(encode(Notification(Role.LEADING, 3, 2, Zxid(1 << 32), 1))) == [1, 3, 3, 2, 1 << 32, 1]
    assert cbor2.loads(encode(Image(Tip(Zxid(9), 8)))) == [7, 9, 8]
    assert encode(Commit(Zxid(7 << 32 | 5))) == bytes.fromhex("82 0c 1b0000000700000005")


def test_a_batch_of_entries_is_one_array() -> None:
    batch = Propose((Entry(Zxid(5), b"a", 1), Entry(Zxid(6), b"", 2)))
    assert cbor2.loads(encode(batch)) == [10, 5, b"a", 1, 6, b"", 2]
    assert decode(encode(batch)) == batch
    assert decode(encode(Propose(()))) == Propose(())


def test_requests_of_one_client_name_its_identities_once() -> None:
    who = (Identity("ip", "10.0.0.7"), Identity("digest", "u:h"))
    ask = Request(1 << 56, -2, 3, 5, b"r", who)
    batch = Forward((ask, ask._replace(xid=4), ask._replace(identities=())))
    assert cbor2.loads(encode(batch)) == [
        *(15, 1 << 56, -2, 3, 5, b"r", 2, "ip", "10.0.0.7", "digest", "u:h"),
        *(1 << 56, -2, 4, 5, b"r", None),
        *(1 << 56, -2, 3, 5, b"r", 0),
    ]
    assert decode(encode(batch)) == batch


@pytest.mark.parametrize(
    "items",
    [
        [],
        [0],
        [20],
        [True, 1],
        [11.0, 1],
        ["11", 1],
        [11],
        [11, 1, 2],
        [11, -1],
        [11, True],
        [11, 1.0],
        [11, None],
        [11, []],
        [11, 1 << 64],
        [2, 1 << 32],
        [1, 4, 1, 1, 1, 1],
        [1, 0, 1, 256, 1, 1],
        [4, 1, 1, 1],
        [4, 1, True, *range(ENDS_MAX + 1)],
        [7, 1],
        [7, 1, 1 << 32],
        [8, "text", True],
        [8, b"data", 1],
        [10, 1, b"a"],
        [10, 1, b"a", -1],
        [10, 1, b"a", 1 << 32],
        [10, -1, b"a", 1],
        [10, True, b"a", 1],
        [10, 1, "a", 1],
        [10, 1, b"a", 1.0],
        [15, 1, 1, 1, 1, b"r"],
        [15, 1, 1, 1, 1, b"r", None],
        [15, 1, 1, 1, 1, b"r", 1, "ip"],
        [15, 1, 1, 1, 1, b"r", 1, "ip", b"x"],
        [15, 1, 1, 1, 1, b"r", -1],
        [15, 1, 1, 1 << 31, 1, b"r", 0],
        [15, 1, 1 << 63, 1, 1, b"r", 0],
        [17, 1 << 63],
        [17, None],
    ],
    ids=repr,
)
def test_a_field_of_the_wrong_type_range_or_number_is_refused(items: list[object]) -> None:
    with pytest.raises(PeerDecodeError):
        decode(cbor2.dumps(items))


def test_a_hello_comes_back_also_with_items_of_a_later_version() -> None:
    hello = Hello(version=1, sid=3, ensemble="e")
    assert encode_hello(hello) == bytes.fromhex("84 00 01 03 6165")
    assert decode_hello(encode_hello(hello)) == hello
    assert decode_hello(cbor2.dumps([0, 2, 3, "e", "more", 7])) == Hello(2, 3, "e")
    with pytest.raises(PeerDecodeError):
        decode(encode_hello(hello))


@pytest.mark.parametrize(
    "items", [[], [0], [0, 1, 3], [1, 1, 3, "e"], [0, 0, 3, "e"], [0, 1, 256, "e"], [0, 1, 3, b"e"]]
)
def test_what_is_no_hello_is_refused(items: list[object]) -> None:
    with pytest.raises(PeerDecodeError):
        decode_hello(cbor2.dumps(items))


@given(messages)
def test_no_message_is_another_one_cut_short_or_with_a_tail(message: Message) -> None:
    whole = encode(message)
    for size in range(len(whole)):
        with pytest.raises(PeerDecodeError):
            decode(whole[:size])
    for tail in (b"\0", b"\xf6", b"\xff", whole):
        with pytest.raises(PeerDecodeError):
            decode(whole + tail)


@settings(max_examples=80)
@given(st.binary(max_size=100))
def test_any_bytes_are_a_message_or_a_decode_error(frame: bytes) -> None:
    for read in (decode, decode_hello):
        try:
            read(frame)
        except PeerDecodeError:
            pass


@settings(max_examples=80)
@given(messages, st.data())
def test_a_message_with_any_byte_changed_is_a_message_or_a_decode_error(message: Message, data: st.DataObject) -> None:
    frame = bytearray(encode(message))
    frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    try:
        changed = decode(bytes(frame))
    except PeerDecodeError:
        return
    assert decode(encode(changed)) == changed
