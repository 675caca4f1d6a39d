import inspect
from typing import Any, get_type_hints

import pytest
from hypothesis import given, settings, strategies as st

from zabpy.model import OPEN_ACL, Acl, Acls, MarshallingError, Stat
from zabpy.wire import OPS, JuteError, NullPathError, Op, Reader, Record, packed, records
from zabpy.wire.records import ClientInfo, CreateRequest, MultiReadRequest, MultiRequest, MultiResponse, MultiResult

i32, i64 = st.integers(-(1 << 31), (1 << 31) - 1), st.integers(-(1 << 63), (1 << 63) - 1)
# Above U+FFFF ZooKeeper writes what is not UTF-8 (test_jute.py).
texts = st.text(st.characters(exclude_categories=["Cs"], max_codepoint=0xFFFF), max_size=8)
stats = st.builds(Stat, i64, i64, i64, i64, i32, i32, i32, i64, i32, i32, i64)
VALUES: dict[Any, st.SearchStrategy[Any]] = {
    int: i32,  # longs are read and written by the vectors
    bool: st.booleans(),
    bool | None: st.none() | st.booleans(),
    str: texts,
    str | None: st.none() | texts,
    bytes: st.binary(max_size=20),
    bytes | None: st.none() | st.binary(max_size=20),
    Acls: st.just(OPEN_ACL) | st.lists(st.builds(Acl, i32, texts, texts), max_size=3).map(tuple),
    Stat: stats,
    tuple[str, ...]: st.lists(texts, max_size=3).map(tuple),
    records.Watched: st.none() | st.lists(st.none() | texts, max_size=3).map(tuple),
    tuple[ClientInfo, ...]: st.lists(st.builds(ClientInfo, texts, texts), max_size=3).map(tuple),
}
MULTIS = (MultiRequest, MultiReadRequest, MultiResponse, MultiResult)


def is_plain(cls: object) -> bool:
    return inspect.isclass(cls) and cls.__module__ == records.__name__ and cls not in (*MULTIS, Record)


PLAIN: list[Any] = [cls for _, cls in inspect.getmembers(records, is_plain)]
ALL: list[Any] = [*PLAIN, MultiRequest, MultiReadRequest, MultiResponse]


def values_of(cls: Any) -> st.SearchStrategy[Any]:
    fields = {name: VALUES[hint] for name, hint in get_type_hints(cls).items()}
    return st.builds(cls, **fields)


def pairs(table: Any) -> st.SearchStrategy[Any]:
    one = st.sampled_from(sorted(table)).flatmap(lambda op: st.tuples(st.just(op), values_of(table[op])))
    return st.lists(one, max_size=4).map(tuple)


def result(kind: int) -> st.SearchStrategy[Any]:
    body = records.MULTI_RESULTS[kind]
    return st.builds(MultiResult, st.just(kind), i32, st.none() if body is None else values_of(body))


ANY: st.SearchStrategy[Record] = st.one_of(
    *map(values_of, PLAIN),
    st.builds(MultiRequest, pairs(records.MULTI_WRITES)),
    st.builds(MultiReadRequest, pairs(records.MULTI_READS)),
    st.builds(
        MultiResponse, st.lists(st.sampled_from(sorted(records.MULTI_RESULTS)).flatmap(result), max_size=4).map(tuple)
    ),
)


@pytest.mark.parametrize("cls", PLAIN, ids=lambda cls: cls.__name__)
def test_every_record_comes_back(cls: Any) -> None:
    @settings(max_examples=10, database=None)
    @given(values_of(cls))
    def comes_back(record: Record) -> None:
        reader = Reader(packed(record))
        assert cls.read(reader) == record
        assert reader.left == 0

    comes_back()


@settings(max_examples=80)
@given(ANY, st.binary(max_size=9))
def test_a_record_cut_short_is_an_error_and_a_tail_is_left_alone(record: Record, tail: bytes) -> None:
    whole, cls = packed(record), type(record)
    for size in range(len(whole)):
        try:
            short = cls.read(Reader(whole[:size]))
        except JuteError:
            continue
        assert cls.__name__.startswith("Connect")  # the one optional byte
        assert short == record._replace(read_only=None)  # type: ignore[attr-defined]
    if not cls.__name__.startswith("Connect"):
        reader = Reader(whole + tail)
        assert cls.read(reader) == record
        assert reader.rest == tail


@settings(max_examples=80)
@given(st.sampled_from(ALL), st.binary(max_size=80))
def test_any_bytes_are_a_record_or_a_marshalling_error(cls: Any, data: bytes) -> None:
    try:
        cls.read(Reader(data))
    except MarshallingError:
        pass


@settings(max_examples=80)
@given(ANY, st.data())
def test_a_record_with_any_byte_changed_is_a_record_or_a_marshalling_error(record: Record, data: st.DataObject) -> None:
    changed = bytearray(packed(record))
    if changed:
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    try:
        type(record).read(Reader(bytes(changed)))
    except MarshallingError:
        pass


def test_all_records_of_the_table_of_operations_are_tested() -> None:
    assert {cls for row in OPS.values() for cls in (row.request, row.reply) if cls} <= set(ALL)


def test_kazoo_writes_null_for_an_empty_string_and_it_reads_as_one() -> None:
    assert records.GetEphemeralsRequest.read(Reader(b"\xff\xff\xff\xff")).prefix_path == ""
    assert records.ReconfigRequest.read(Reader(b"\xff" * 20)) == (None, None, None, -1)


def test_null_and_empty_data_are_told_apart() -> None:
    for data in (None, b""):
        record = CreateRequest("/a", data, OPEN_ACL, 0)
        assert CreateRequest.read(Reader(packed(record))).data == data


def test_a_null_path_of_a_read_is_refused_and_that_of_a_sync_kept() -> None:
    for cls in (records.ExistsRequest, records.GetACLRequest, records.GetChildren2Request, records.AddWatchRequest):
        with pytest.raises(JuteError, match="null path"):
            cls.read(Reader(b"\xff\xff\xff\xff" + bytes(8)))
    assert records.SyncRequest.read(Reader(b"\xff\xff\xff\xff")).path is None
    assert packed(records.SyncResponse(None)) == b"\xff\xff\xff\xff"


def test_a_null_vector_is_no_acl_and_is_kept_in_a_list_of_watches() -> None:
    create = packed(CreateRequest("/a", b"", (), 0)).replace(b"\0\0\0\0" * 3, b"\0\0\0\0\xff\xff\xff\xff\0\0\0\0")
    assert CreateRequest.read(Reader(create)).acl == ()
    watches = records.SetWatches.read(Reader(bytes(8) + b"\xff\xff\xff\xff" + bytes(8)))
    assert watches == (0, None, (), ())


def test_the_open_acl_is_always_the_same_object() -> None:
    assert CreateRequest.read(Reader(packed(CreateRequest("/a", b"", (Acl(*OPEN_ACL[0]),), 0)))).acl is OPEN_ACL


def test_a_null_path_in_a_multi_has_an_error_of_its_own_if_all_can_be_read() -> None:
    end = packed(records.MultiHeader(-1, True, -1))
    delete = packed(records.MultiHeader(2, False, -1)) + b"\xff\xff\xff\xff" + bytes(4)
    with pytest.raises(NullPathError):
        MultiRequest.read(Reader(delete + end))
    with pytest.raises(JuteError) as caught:
        MultiRequest.read(Reader(delete + end[:-1]))
    assert not isinstance(caught.value, NullPathError)


def test_reads_and_writes_do_not_mix_in_a_multi() -> None:
    get, delete = (4, records.GetDataRequest("/a", False)), (2, records.DeleteRequest("/a", -1))
    for cls, ops in ((MultiRequest, (delete, get)), (MultiReadRequest, (get, delete)), (MultiRequest, ((14, get[1]),))):
        with pytest.raises(JuteError, match="in a multi"):
            cls.read(Reader(packed(cls(ops))))


@settings(max_examples=50)
@given(st.sampled_from([Op.GET_DATA, Op.GET_CHILDREN]), st.lists(st.text(max_size=20), max_size=5))
def test_what_is_packed_quickly_is_the_same(op: Op, paths: list[str]) -> None:
    request = records.GetDataRequest if op == Op.GET_DATA else records.GetChildrenRequest
    assert records.packed_reads(op, paths) == packed(MultiReadRequest(tuple((op, request(p, False)) for p in paths)))
    assert [records.packed_path(p) for p in paths] == [packed(records.GetACLRequest(p)) for p in paths]
