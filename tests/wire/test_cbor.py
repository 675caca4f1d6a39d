"""Holds cbor2 to what wire/cbor.py trusts it with; a new version of it must pass this first."""

import tracemalloc

import cbor2
import pytest
from hypothesis import given, settings, strategies as st

from zabpy.wire.cbor import ITEMS_MAX, ROWS_DEPTH_MAX, CborError, dump_flat, load_flat, load_rows

MARK = b"\xfe\x01\xffzabpy"

#: Why it is refused, and the bytes in hex.
BAD = [
    ("empty", ""),
    ("no array", "01"),
    ("no array, a string", "6161"),
    ("no array, a map", "a0"),
    ("array without its count", "98"),
    ("array without its count", "9a000000"),
    ("reserved length", "9c"),
    ("reserved length", "811c"),
    ("indefinite array", "9fff"),
    ("indefinite array inside", "819fff"),
    ("indefinite bytes", "815f4161ff"),
    ("indefinite text", "817f6161ff"),
    ("indefinite map", "81bfff"),
    ("break for an item", "81ff"),
    ("tail", "8101 00"),
    ("tail that is a break", "8101 ff"),
    ("tail that is cbor2's own end mark", "8101 48fe01ff7a61627079"),
    ("tail behind a long header", "980101 00"),
    ("bad UTF-8", "8162fffe"),
    ("a surrogate", "8163eda080"),
    ("huge bytes", "815b7fffffffffffffff"),
    ("huge bytes", "815affffffff"),
    ("huge text", "817b7fffffffffffffff"),
    ("huge array", "9bffffffffffffffff"),
    ("huge array", "9b7fffffffffffffff"),
    ("huge array", "9affffffff"),
    ("huge array", "9a00100000"),
    ("huge array inside", "819bffffffffffffffff"),
    ("huge map", "81bbffffffffffffffff"),
    ("map", "81a10102"),
    ("map", "81a1616101"),
    ("tag on the outside", "d9d9f78101"),
    ("tag 0, date", "81c074323031332d30332d32315432303a30343a30305a"),
    ("tag 1, date", "81c101"),
    ("tag 2, bignum", "81c24105"),
    ("tag 3, bignum", "81c34105"),
    ("tag 4, decimal", "81c4820101"),
    ("tag 5, bigfloat of a gigabyte", "81c5821b00000002000000001b0000000000000001"),
    ("tag 25, string reference", "81d81900"),
    ("tag 28, shared", "81d81c01"),
    ("tag 29, reference to shared", "81d81d00"),
    ("tag 35, regular expression", "81d8236161"),
    ("tag 256, string references", "81d901008101"),
    ("tag 258, set", "81d9010280"),
    ("tag 55799, CBOR", "81d9d9f701"),
    ("tag of nobody", "81d9270f01"),
    ("deep", "81" * 5000 + "01"),
    ("deep tags", "81" + "c1" * 5000 + "01"),
]


@pytest.mark.parametrize("data", [pytest.param(bytes.fromhex(hexes), id=f"{why}: {hexes[:20]}") for why, hexes in BAD])
def test_what_is_not_of_the_profile_is_refused_without_taking_memory(data: bytes) -> None:
    tracemalloc.start()
    for load in (load_flat, load_rows):
        with pytest.raises(CborError):
            load(data)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_flat_arrays_hold_no_arrays_and_rows_only_so_deep() -> None:
    with pytest.raises(CborError, match="nesting depth"):
        load_flat(cbor2.dumps([[1]]))
    assert load_rows(b"\x81" * ROWS_DEPTH_MAX + b"\x01") is not None
    with pytest.raises(CborError, match="nesting depth"):
        load_rows(b"\x81" * (ROWS_DEPTH_MAX + 1) + b"\x01")


@pytest.mark.parametrize("hexes", ["81a0", "81f97e00", "81fb0000000000000000", "81f7", "81e0", "81f820"])
def test_other_simple_things_are_refused_in_rows_and_are_of_other_types_in_flat_arrays(hexes: str) -> None:
    with pytest.raises(CborError, match="items of"):
        load_rows(bytes.fromhex(hexes))
    assert type(load_flat(bytes.fromhex(hexes))[0]) not in (int, bytes, str, bool, type(None))


def test_the_end_mark_as_an_honest_item_is_no_tail() -> None:
    assert load_flat(dump_flat([1, MARK])) == [1, MARK]
    assert load_flat(dump_flat([MARK])) == [MARK]


@pytest.mark.parametrize("size", [0, 1, 4095, 16_383, 16_384, 65_535, 65_536, 65_537, 1 << 20])
def test_a_tail_is_found_behind_arrays_of_any_length(size: int) -> None:
    data = dump_flat([bytes(size), size])
    assert load_flat(data) == [bytes(size), size]
    for tail in (b"\0", bytes(5000)):
        with pytest.raises(CborError):
            load_flat(data + tail)
    with pytest.raises(CborError):
        load_flat(data[:-1])


@pytest.mark.parametrize("item", ["e0", "f6", "f97e00", "80"])
def test_memory_stays_in_proportion_to_the_bytes(item: str) -> None:
    data = b"\x9a\x00\x10\x00\x00" + bytes.fromhex(item) * (1 << 20)
    if len(bytes.fromhex(item)) < 3:
        with pytest.raises(CborError, match="array of 1048576 items in"):
            load_flat(data)
    with pytest.raises(CborError, match="array of 2097153 items"):
        load_flat(b"\x9a" + (ITEMS_MAX + 1).to_bytes(4, "big") + bytes(100))


scalars = st.one_of(
    st.integers(-(1 << 64), (1 << 64) - 1),
    st.binary(max_size=30) | st.just(MARK),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=10),
    st.booleans(),
    st.none(),
)


@given(st.lists(scalars, max_size=40))
def test_any_scalars_come_back_in_their_types(items: list[int | bytes | str | None]) -> None:
    again = load_flat(dump_flat(items))
    assert again == items
    assert [type(item) for item in again] == [type(item) for item in items]
    assert load_rows(dump_flat(items)) == tuple(items)


@settings(max_examples=100)
@given(st.sampled_from([b"", b"\x81", b"\x82", b"\x84", b"\x98\x20", b"\x9a\0\0\0\x02"]), st.binary(max_size=60))
def test_any_bytes_are_an_array_or_a_cbor_error(head: bytes, data: bytes) -> None:
    for load in (load_flat, load_rows):
        try:
            load(head + data)
        except CborError:
            pass
