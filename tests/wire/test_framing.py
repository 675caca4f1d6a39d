import pytest
from hypothesis import given, strategies as st

from zabpy.wire import CLIENT_FRAME_BYTES_MAX, FrameBuffer, FrameError, frame


def test_a_frame_is_its_length_in_four_bytes_and_its_payload() -> None:
    assert frame(b"ab") == bytes.fromhex("00000002 6162")
    assert frame(b"") == bytes(4)


def test_frames_come_out_whole_however_the_bytes_are_cut() -> None:
    stream = frame(b"one") + frame(b"") + frame(b"three")
    for cut in range(len(stream) + 1):
        buffer = FrameBuffer(5)
        buffer.feed(stream[:cut])
        first = buffer.frames()
        buffer.feed(stream[cut:])
        assert first + buffer.frames() == [b"one", b"", b"three"]
        assert buffer.pending == 0


@given(st.lists(st.binary(max_size=40)), st.data())
def test_any_cutting_of_a_stream_gives_the_same_frames(payloads: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(map(frame, payloads))
    buffer = FrameBuffer(40)
    found: list[bytes] = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        buffer.feed(stream[:size])
        if data.draw(st.booleans()):
            found += buffer.frames()
        stream = stream[size:]
    assert found + buffer.frames() == payloads
    assert buffer.pending == 0


def test_the_limit_itself_is_allowed_and_one_more_is_not() -> None:
    buffer = FrameBuffer(CLIENT_FRAME_BYTES_MAX)
    whole = bytes(CLIENT_FRAME_BYTES_MAX)
    buffer.feed(frame(whole))
    assert buffer.frames() == [whole]
    buffer.feed((CLIENT_FRAME_BYTES_MAX + 1).to_bytes(4, "big"))
    with pytest.raises(FrameError, match="frame of 1048576 bytes announced, 0 to 1048575 expected"):
        buffer.frames()


def test_a_negative_length_is_refused_with_the_frames_before_it_at_hand() -> None:
    buffer = FrameBuffer(10)
    buffer.feed(frame(b"good") + b"\xff\xff\xff\xff")
    with pytest.raises(FrameError) as caught:
        buffer.frames()
    assert (caught.value.length, caught.value.frames) == (-1, [b"good"])


def test_a_long_frame_in_many_pieces_is_joined_once() -> None:
    buffer = FrameBuffer(1 << 20)
    stream = frame(bytes(1 << 20))
    for at in range(0, len(stream) - 1, 1000):
        buffer.feed(stream[at : min(at + 1000, len(stream) - 1)])
        assert buffer.frames() == []
    buffer.feed(stream[-1:])
    assert [len(payload) for payload in buffer.frames()] == [1 << 20]


@given(st.lists(st.binary(max_size=12), max_size=8))
def test_any_bytes_give_frames_or_a_frame_error(pieces: list[bytes]) -> None:
    buffer = FrameBuffer(16)
    for piece in pieces:
        buffer.feed(piece)
        try:
            assert all(len(payload) <= 16 for payload in buffer.frames())
        except FrameError:
            return
        assert buffer.pending < 20
