import tracemalloc

import pytest
from hypothesis import given, strategies as st

from zabpy.wire import JuteError, Reader, Writer


def test_each_type_has_the_bytes_of_the_reference() -> None:
    w = Writer()
    w.int(-2)
    w.long(1 << 40)
    w.bool(True)
    w.bool(False)
    w.buffer(b"xy")
    w.buffer(b"")
    w.buffer(None)
    w.ustring("ä")
    w.ustring(None)
    w.vector([1, 2], Writer.int)
    w.vector(None, Writer.int)
    data = w.bytes()
    assert data == bytes.fromhex(
        "fffffffe 0000010000000000 01 00 00000002 7879 00000000 ffffffff 00000002 c3a4 ffffffff"
        "00000002 00000001 00000002 ffffffff"
    )
    r = Reader(memoryview(data))
    assert (r.int(), r.long(), r.bool(), r.bool()) == (-2, 1 << 40, True, False)
    assert (r.buffer(), r.buffer(), r.buffer()) == (b"xy", b"", None)
    assert (r.ustring(), r.ustring()) == ("ä", None)
    assert (r.vector(Reader.int), r.vector(Reader.int)) == ([1, 2], None)
    assert (r.at, r.left, r.rest) == (len(data), 0, b"")


def test_any_byte_but_zero_is_true() -> None:
    assert Reader(b"\x07").bool() is True


def test_what_is_not_utf8_reads_as_replacement_characters() -> None:
    assert Reader(b"\0\0\0\3a\xffb").ustring() == "a\ufffdb"
    assert Reader(b"\0\0\0\3\xed\xa0\x80").text() == "\ufffd"  # a surrogate is one wrong character, as in Java
    assert Reader(b"\0\0\0\6\xed\xa0\xbd\xed\xb8\x80").text() == "\ufffd" * 2
    assert Reader(b"\0\0\0\4\xed\xa0a\xed").text() == "\ufffd\ufffda\ufffd"


def test_a_character_above_ffff_is_written_as_java_writes_it() -> None:
    w = Writer()
    w.ustring("a\U0001f600\ud800é")
    assert w.bytes() == b"\0\0\0\x0ca\xed\xa0\xbd\xed\xb8\x80\xed\xa0\x80\xc3\xa9"


@pytest.mark.parametrize("length", ["fffffffe", "80000000", "00000003", "7fffffff"])
@pytest.mark.parametrize("read", [Reader.buffer, Reader.ustring, Reader.text])
def test_a_length_below_null_or_beyond_the_bytes_is_an_error(length: str, read: object) -> None:
    assert callable(read)
    with pytest.raises(JuteError):
        read(Reader(bytes.fromhex(length) + b"ab"))


def test_a_negative_count_is_no_elements_and_minus_one_null() -> None:
    assert [Reader(bytes.fromhex(count)).vector(Reader.int) for count in ("fffffffe", "80000000")] == [[], []]
    assert Reader(b"\xff\xff\xff\xff").vector(Reader.int) is None


def test_a_huge_count_takes_no_memory() -> None:
    data = (1 << 17).to_bytes(4, "big") + b"\xff" * (1 << 17)  # 131,072 elements, a quarter of them there
    claims_more = b"\x7f\xff\xff\xff" + data
    tracemalloc.start()
    with pytest.raises(JuteError):
        Reader(claims_more).vector(Reader.bool)
    assert tracemalloc.get_traced_memory()[1] < 10_000
    with pytest.raises(JuteError):
        Reader(data).vector(Reader.ustring)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


@given(st.binary(max_size=30), st.lists(st.sampled_from("int long bool buffer ustring text".split()), max_size=8))
def test_any_bytes_give_values_or_a_jute_error_and_never_step_over_the_end(data: bytes, calls: list[str]) -> None:
    r = Reader(data)
    for call in calls:
        before = r.at
        try:
            getattr(r, call)()
        except JuteError:
            assert r.at == before
        assert before <= r.at <= len(data)
