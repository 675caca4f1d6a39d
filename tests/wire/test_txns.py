from typing import get_args

import cbor2
import pytest
from hypothesis import given, settings, strategies as st

from zabpy.model import (
    CONTAINER,
    OPEN_ACL,
    READ_ACL,
    TTL,
    Acl,
    Body,
    CheckTxn,
    CloseSessionTxn,
    CreateSessionTxn,
    CreateTxn,
    DeleteTxn,
    ErrorTxn,
    FailedMultiTxn,
    MultiTxn,
    ReconfigTxn,
    SetAclTxn,
    SetDataTxn,
    Txn,
)
from zabpy.wire import TxnDecodeError, decode_txn, encode_txn

i32, i64 = st.integers(-(1 << 31), (1 << 31) - 1), st.integers(-(1 << 63), (1 << 63) - 1)
u31, u63, u64 = st.integers(0, (1 << 31) - 1), st.integers(0, (1 << 63) - 1), st.integers(0, (1 << 64) - 1)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
datas = st.none() | st.binary(max_size=50)
acls = st.just(OPEN_ACL) | st.lists(st.builds(Acl, i32, texts, texts), max_size=4).map(tuple)
parts = st.one_of(
    st.builds(CreateTxn, texts, datas, acls, st.integers(0, TTL), i64, u63, i32),
    st.builds(DeleteTxn, texts),
    st.builds(SetDataTxn, texts, datas, i32),
    st.builds(SetAclTxn, texts, acls, i32),
    st.builds(CheckTxn, texts),
)
multis = st.lists(st.tuples(i32, parts), max_size=5).map(
    lambda pairs: MultiTxn(tuple(op for op, _ in pairs), tuple(part for _, part in pairs))
)
bodies = st.one_of(
    parts,
    multis,
    st.builds(CreateSessionTxn, u31, st.binary(max_size=16)),
    st.builds(CloseSessionTxn, st.lists(texts, max_size=5).map(tuple)),
    st.builds(ErrorTxn, i32),
    st.builds(FailedMultiTxn, i32, u31, u31),
)
txns = st.builds(Txn, i64, i32, u64, u63, bodies)

SAMPLES: list[Body] = [
    CreateTxn("/a", b"d", OPEN_ACL, CONTAINER, -1, 0, 3),
    CreateTxn("/ttl", None, (*READ_ACL, Acl(31, "digest", "u:h")), TTL, 0, 9, -3),
    DeleteTxn("/ä"),
    ReconfigTxn(b"server.1=a:1:2:participant\nversion=100000007"),
    SetDataTxn("/a", b"xyz", 7),
    SetDataTxn("/a", None, -7),
    SetDataTxn("/ä", b"", 0),
    SetAclTxn("/a", (), 2),
    CheckTxn("/a"),
    CreateSessionTxn(4000, bytes(16)),
    CloseSessionTxn(("/e", "/f")),
    ErrorTxn(-101),
    FailedMultiTxn(-103, 1, 3),
    MultiTxn((5, 13, 2), (SetDataTxn("/a", None, 1), CheckTxn("/b"), DeleteTxn("/c"))),
    MultiTxn((), ()),
]


def sample(body: Body) -> Txn:
    return Txn(-2, -1, (1 << 64) - 1, 1_700_000_000_000, body)


def test_a_payload_is_one_flat_cbor_array_with_the_version_first() -> None:
    header = [1, 2, (1 << 64) - 2, (1 << 32) - 1, (1 << 64) - 1, 1_700_000_000_000]
    assert cbor2.loads(encode_txn(sample(DeleteTxn("/a")))) == [*header, "/a"]
    header[1] = 3
    assert cbor2.loads(encode_txn(sample(SetDataTxn("/a", b"x", -2)))) == [*header, (1 << 32) - 2, "/a", b"x"]
    header[1] = 1
    assert cbor2.loads(encode_txn(sample(CreateTxn("/a", None, OPEN_ACL, 0, 0, 0, 1)))) == [
        *header,
        *("/a", None, 0, 0, 0, 0, 1),
    ]


def test_the_bytes_of_a_set_data_never_change() -> None:
    txn = Txn(0x0100000A1B2C0000, 3, 1 << 56, 1_700_000_005_000, SetDataTxn("/app", b"yo!", 1))
    assert encode_txn(txn) == bytes.fromhex(
        "89 01 03 1b0100000a1b2c0000 1a00000003 1b0100000000000000 1b0000018bcfe57b88"
        "1a00000001 7a000000042f617070 5a00000003796f21"
    )


def test_every_kind_of_body_has_a_sample() -> None:
    assert {type(body) for body in SAMPLES} == set(get_args(Body))


@pytest.mark.parametrize("body", SAMPLES, ids=lambda body: type(body).__name__)
def test_a_txn_comes_back_as_it_was_and_not_from_fewer_or_more_bytes(body: Body) -> None:
    payload = encode_txn(sample(body))
    again = decode_txn(payload)
    assert again == sample(body)
    assert type(again) is Txn
    assert type(again.body) is type(body)
    for size in range(len(payload)):
        with pytest.raises(TxnDecodeError):
            decode_txn(payload[:size])
    for tail in (b"\0", b"\xf6", b"\xff", payload, b"\x48\xfe\x01\xffzabpy"):
        with pytest.raises(TxnDecodeError):
            decode_txn(payload + tail)


def test_a_txn_of_a_kind_that_came_later_is_called_that() -> None:
    """What the log says of a server that was left behind when the others were upgraded, and stops."""
    items = cbor2.loads(encode_txn(sample(SAMPLES[0])))
    items[1] = 200
    with pytest.raises(TxnDecodeError, match="^a transaction of kind 200, which only newer servers know$"):
        decode_txn(cbor2.dumps(items))


@given(txns)
def test_any_txn_comes_back(txn: Txn) -> None:
    again = decode_txn(encode_txn(txn))
    assert again == txn
    assert encode_txn(again) == encode_txn(txn)


def test_a_set_data_in_other_widths_is_the_same_txn() -> None:
    txn = sample(SetDataTxn("/a", b"x", -2))
    assert decode_txn(cbor2.dumps(cbor2.loads(encode_txn(txn)))) == txn


def test_equal_acls_are_one_object() -> None:
    own = CreateTxn("/a", None, (Acl(1, "ip", "10.0.0.0/8"),), 0, 0, 0, 1)
    payload = encode_txn(sample(own))
    first, second = decode_txn(payload).body, decode_txn(payload).body
    assert isinstance(first, CreateTxn)
    assert isinstance(second, CreateTxn)
    assert first.acl is second.acl
    opened = decode_txn(encode_txn(sample(own._replace(acl=(Acl(*OPEN_ACL[0]),))))).body
    assert isinstance(opened, CreateTxn)
    assert opened.acl is OPEN_ACL


def test_another_version_of_the_format_is_named() -> None:
    items = cbor2.loads(encode_txn(sample(DeleteTxn("/a"))))
    with pytest.raises(TxnDecodeError, match="version 2 of the format, 1 expected"):
        decode_txn(cbor2.dumps([2, *items[1:]]))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_txn_or_a_decode_error(payload: bytes) -> None:
    try:
        decode_txn(payload)
    except TxnDecodeError:
        pass


@settings(max_examples=80)
@given(txns, st.data())
def test_a_txn_with_any_item_changed_is_a_txn_or_a_decode_error(txn: Txn, data: st.DataObject) -> None:
    items = cbor2.loads(encode_txn(txn))
    odd = st.one_of(i64, u64, datas, texts, st.booleans(), st.floats(), st.just([]), st.just({}), st.just([1]))
    items[data.draw(st.integers(0, len(items) - 1))] = data.draw(odd)
    try:
        changed = decode_txn(cbor2.dumps(items))
    except TxnDecodeError:
        return
    assert decode_txn(encode_txn(changed)) == changed


@settings(max_examples=80)
@given(txns, st.data())
def test_a_txn_with_any_byte_changed_is_a_txn_or_a_decode_error(txn: Txn, data: st.DataObject) -> None:
    payload = bytearray(encode_txn(txn))
    payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    try:
        changed = decode_txn(bytes(payload))
    except TxnDecodeError:
        return
    assert decode_txn(encode_txn(changed)) == changed
