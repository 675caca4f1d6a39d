import io
import zlib

import cbor2
import pytest
from hypothesis import given, settings, strategies as st

from zabpy.model import OPEN_ACL, Tip, Zxid
from zabpy.wire import ImageError, ImageReader, ImageWriter, Row
from zabpy.wire.image import CHUNK_BYTES, MAGIC

TIP = Tip(Zxid(7 << 32 | 5), 0xDEADBEEF)
ROWS: list[Row] = [("n", "/a", b"data", None, True, -5, ((31, "world", "anyone"), ())), (), ("s", 1 << 63)]

scalars = st.one_of(
    st.integers(-(1 << 64), (1 << 64) - 1),
    st.binary(max_size=10),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=10),
    st.booleans(),
    st.none(),
)
rows = st.lists(
    scalars | st.lists(scalars | st.lists(scalars, max_size=3).map(tuple), max_size=3).map(tuple), max_size=5
)


def image(content: list[Row], tip: Tip = TIP) -> bytes:
    pieces: list[bytes] = []
    writer = ImageWriter(pieces.append)
    writer.begin(tip)
    writer.add(content)
    assert writer.end() == len(content)
    return b"".join(pieces)


def read(data: bytes) -> tuple[Tip, list[Row]]:
    reader = ImageReader(io.BytesIO(data).read)
    return reader.tip, list(reader)


def chunk(body: bytes, crc: int) -> tuple[bytes, int]:
    length = len(body).to_bytes(4, "big")
    crc = zlib.crc32(body, zlib.crc32(length, crc))
    return length + crc.to_bytes(4, "big") + body, crc


def image_of(*bodies: object) -> bytes:
    """An image with right checksums of whatever chunks."""
    out, crc = MAGIC, 0
    for body in bodies:
        piece, crc = chunk(cbor2.dumps(body), crc)
        out += piece
    return out


def test_an_image_gives_its_tip_and_rows_back() -> None:
    assert read(image(ROWS)) == (TIP, ROWS)
    assert read(image([])) == (TIP, [])


def test_the_layout_is_as_described() -> None:
    assert read(image_of([0, 1, 5, 6], [1, [7], []], [1], [2, 2])) == (Tip(Zxid(5), 6), [(7,), ()])
    head, crc = chunk(bytes.fromhex("84 00 01 05 06"), 0)
    row, crc = chunk(bytes.fromhex("9a 00000002 01 81 07"), crc)
    tail, crc = chunk(bytes.fromhex("82 02 01"), crc)
    assert image([(7,)], Tip(Zxid(5), 6)) == b"zabpyimg" + head + row + tail


def test_named_tuples_are_rows_too() -> None:
    assert read(image([("/", OPEN_ACL)])) == (TIP, [("/", ((31, "world", "anyone"),))])


@given(st.lists(rows.map(tuple), max_size=5))
def test_any_rows_come_back(content: list[Row]) -> None:
    assert read(image(content)) == (TIP, content)


def test_chunks_are_closed_by_size_and_a_long_row_has_its_own() -> None:
    sizes: list[int] = []
    writer = ImageWriter(lambda data: sizes.append(len(data)))
    writer.begin(TIP)
    writer.add((bytes(1000),) for _ in range(1000))
    writer.add([(bytes(3 * CHUNK_BYTES),), (1,)])
    assert writer.end() == 1002
    assert [size // CHUNK_BYTES for size in sizes] == [0, 0, 0, 0, 0, 0, 3, 0, 0]
    assert max(sizes[:6]) <= CHUNK_BYTES + 14


def test_a_reader_that_gives_single_bytes_is_read_as_well() -> None:
    source = io.BytesIO(image(ROWS))
    assert list(ImageReader(lambda size: source.read(1))) == ROWS


def test_an_image_cut_anywhere_or_with_a_tail_is_refused() -> None:
    whole = image(ROWS)
    for size in range(len(whole)):
        with pytest.raises(ImageError, match="cut at byte"):
            read(whole[:size])
    for tail in (b"\0", whole):
        with pytest.raises(ImageError, match="bytes behind the trailer"):
            read(whole + tail)


def test_any_flipped_bit_is_found() -> None:
    whole = image(ROWS)
    for at in range(len(whole)):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[at] ^= 1 << bit
            with pytest.raises(ImageError):
                read(bytes(damaged))


def test_chunks_missing_doubled_or_swapped_are_found() -> None:
    content: list[Row] = [(number, bytes(CHUNK_BYTES // 2)) for number in range(4)]
    whole = image(content)
    chunks, at = [], len(MAGIC)
    while at < len(whole):
        end = at + 8 + int.from_bytes(whole[at : at + 4], "big")
        chunks.append(whole[at:end])
        at = end
    head, one, two, three, four, tail = chunks
    assert MAGIC + b"".join(chunks) == whole
    for order in ([head, one, three, four, tail], [head, one, one, two, three, four, tail], [head, two, one, tail]):
        with pytest.raises(ImageError, match="checksum of the chunk"):
            read(MAGIC + b"".join(order))


@pytest.mark.parametrize(
    ("bodies", "text"),
    [
        ([[1, [1]]], "no header in the first chunk"),
        ([[0]], "no header in the first chunk"),
        ([[True, 1, 5, 6]], "no header in the first chunk"),
        ([[0, 2, 5, 6, 7]], "version 2 of the format, 1 expected"),
        ([[0, 1, 5]], "header"),
        ([[0, 1, -5, 6]], "header"),
        ([[0, 1, 5, "6"]], "header"),
        ([[0, 1, True, 6]], "header"),
        ([[0, 1, 5, 6], []], "chunk of kind None"),
        ([[0, 1, 5, 6], [3]], "chunk of kind 3"),
        ([[0, 1, 5, 6], [True, [1]]], "chunk of kind True"),
        ([[0, 1, 5, 6], [1, 7], [2, 1]], "int among the rows"),
        ([[0, 1, 5, 6], [1, [1.5]], [2, 1]], r"items of \['float'\]"),
        ([[0, 1, 5, 6], [1, [{}]], [2, 1]], r"items of \['frozendict'\]"),
        ([[0, 1, 5, 6], [1, [1 << 70]], [2, 1]], "semantic tag"),
        ([[0, 1, 5, 6], [1, [[[[[[[[1]]]]]]]]], [2, 1]], "nesting depth"),
        ([[0, 1, 5, 6], [1, [1]], [2, 2]], r"trailer \(2,\) behind 1 rows"),
        ([[0, 1, 5, 6], [1, [1]], [2]], r"trailer \(\) behind 1 rows"),
        ([[0, 1, 5, 6], 7], "not an array of definite length"),
    ],
)
def test_wrong_content_under_right_checksums_is_refused(bodies: list[object], text: str) -> None:
    with pytest.raises(ImageError, match=text):
        read(image_of(*bodies))


def test_a_length_beyond_the_limit_is_refused_before_it_is_read() -> None:
    with pytest.raises(ImageError, match="chunk of 4294967295 bytes at byte 8"):
        read(MAGIC + b"\xff" * 8 + bytes(100))


@settings(max_examples=80)
@given(st.binary(max_size=100), st.booleans())
def test_any_bytes_are_an_image_or_an_image_error(data: bytes, started: bool) -> None:
    if started:
        head, crc = chunk(cbor2.dumps([0, 1, 5, 6]), 0)
        data = MAGIC + head + chunk(data, crc)[0]
    try:
        read(data)
    except ImageError:
        pass
