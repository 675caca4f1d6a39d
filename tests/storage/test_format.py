"""The bytes, whole."""

from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from zabpy.model import NO_TIP, Entry, Tip, Zxid, entry_after, make_zxid
from zabpy.storage import DamagedSnapshotError, NewerFormatError, OsFiles, OutOfOrderError
from zabpy.storage.files import OsFile
from zabpy.storage.format import (
    RECORD,
    RECORD_MAGIC,
    LogHeader,
    SnapshotHeader,
    frames,
    names_of,
    pack_batch,
    pack_mark,
    read_log_header,
    read_mark,
    read_snapshot_header,
    seal,
    unseal,
)
from zabpy.storage.snapshots import SnapshotReader

HEADER = LogHeader(server_id=3, generation=1, base=Tip(make_zxid(6, 9), 0xDEADBEEF))


def test_a_record_byte_by_byte() -> None:
    entry = entry_after(0, make_zxid(7, 0), b"hi")

    data, tip = pack_batch(b"", [entry], NO_TIP)

    assert data == bytes.fromhex(f"e1 00000002 {entry.chain:08x} 0000000700000000 6869")
    assert tip == Tip(entry.zxid, entry.chain)
    assert list(frames(data + b"tail", 0, 100, NO_TIP, 0)) == [(100, entry.zxid, 17, 19, entry.chain)]


def test_a_header_byte_by_byte() -> None:
    packed = HEADER.packed()

    body = "0000000000000003 0000000000000001 0000000600000009 deadbeef"
    assert packed[:-4] == bytes.fromhex(f"7a616270794c4f47 0001 001c {body}")
    assert read_log_header(packed + b"tail", "log") == HEADER
    assert all(read_log_header(packed[:size], "log") is None for size in range(len(packed)))


def test_a_mark_is_of_one_place_only() -> None:
    mark = pack_mark(HEADER.salt(), 500, 444)

    assert mark[:9] == bytes.fromhex("b5 00000000000001bc")
    assert read_mark(HEADER.salt(), b"?" + mark, 1, 500) == 444
    assert read_mark(HEADER.salt(), mark, 0, 501) is None
    assert read_mark(HEADER._replace(generation=2).salt(), mark, 0, 500) is None
    assert read_mark(HEADER.salt(), mark[:-1], 0, 500) is None
    assert read_mark(HEADER.salt(), pack_mark(HEADER.salt(), 500, 501), 0, 500) is None


def test_a_record_verifies_behind_its_own_past_only() -> None:
    first = entry_after(0, make_zxid(1, 0), b"a")
    second = entry_after(first.chain, make_zxid(1, 1), b"b")
    data, _ = pack_batch(b"", [first, second], NO_TIP)
    at = 18

    assert len(list(frames(data, 0, 0, NO_TIP, 0))) == 2
    assert len(list(frames(data, at, 0, Tip(first.zxid, first.chain), 0))) == 1
    assert list(frames(data, at, 0, Tip(first.zxid, first.chain ^ 1), 0)) == []
    assert list(frames(data, at, 0, Tip(Zxid(first.zxid - 1), first.chain), 0)) == []
    assert list(frames(data, 0, 0, Tip(make_zxid(1, 0), 0), 0)) == []
    assert list(frames(bytes(1000), 0, 0, NO_TIP, 0)) == []


def test_an_epoch_starts_at_counter_0_and_goes_on_without_a_hole() -> None:
    def entry(epoch: int, counter: int) -> Entry:
        return entry_after(5, make_zxid(epoch, counter), b"")

    for before, follower, legal in (
        ((1, 5), (1, 6), True),
        ((1, 5), (2, 0), True),
        ((1, 5), (9, 0), True),
        ((1, 5), (2, 1), False),
        ((1, 5), (1, 7), False),
        ((1, 5), (1, 5), False),
        ((2, 5), (1, 0), False),
        ((1, 0xFFFFFFFF), (2, 0), True),
        ((0, 0), (1, 0), True),
        ((0, 0), (0, 1), True),
        ((0, 0), (0, 0), False),
    ):
        tip = Tip(make_zxid(*before), 5)
        if legal:
            pack_batch(b"", [entry(*follower)], tip)
        else:
            with pytest.raises(OutOfOrderError):
                pack_batch(b"", [entry(*follower)], tip)


@given(st.binary(max_size=300), st.integers(0, 50))
def test_any_bytes_give_frames_or_none(data: bytes, at: int) -> None:
    list(frames(data, at, 0, NO_TIP, 7))
    read_log_header(data, "log")
    read_snapshot_header(data, "snapshot")


@given(st.lists(st.binary(max_size=50), max_size=10), st.data())
def test_what_is_packed_comes_back_and_a_changed_byte_ends_it(payloads: list[bytes], data: st.DataObject) -> None:
    entries: list[Entry] = []
    chain = 0
    for counter, payload in enumerate(payloads):
        entries.append(entry_after(chain, make_zxid(1, counter), payload))
        chain = entries[-1].chain
    packed, _ = pack_batch(b"", entries, NO_TIP)

    assert [
        (zxid, packed[start:end], chain) for _, zxid, start, end, chain in frames(packed, 0, 0, NO_TIP, 0)
    ] == entries
    if packed:
        at = data.draw(st.integers(0, len(packed) - 1))
        changed = packed[:at] + bytes([packed[at] ^ data.draw(st.integers(1, 255))]) + packed[at + 1 :]
        for offset, _, _, end, _ in frames(changed, 0, 0, NO_TIP, 0):
            assert not offset <= at < end


@pytest.mark.parametrize(
    ("last", "then", "follows"),
    [
        ((1, 5), (1, 6), True),
        ((1, 5), (2, 0), True),
        ((1, 5), (9, 0), True),
        ((1, 0xFFFFFFFF), (2, 0), True),
        ((1, 5), (1, 7), False),
        ((1, 5), (1, 5), False),
        ((1, 5), (1, 4), False),
        ((1, 5), (1, 0), False),
        ((2, 0), (2, 0), False),
        ((1, 5), (2, 1), False),
        ((1, 5), (2, 6), False),
    ],
)
def test_a_record_that_may_not_follow_is_refused_though_its_chain_fits(
    last: tuple[int, int], then: tuple[int, int], *, follows: bool
) -> None:
    before = Tip(make_zxid(*last), 77)
    entry = entry_after(before.chain, make_zxid(*then), b"payload")
    record = RECORD.pack(RECORD_MAGIC, len(entry.payload), entry.chain, entry.zxid) + entry.payload

    assert [zxid for _, zxid, _, _, _ in frames(record, 0, 0, before, 0)] == [entry.zxid] * follows
    if follows:
        assert pack_batch(b"", [entry], before) == (record, Tip(entry.zxid, entry.chain))
    else:
        with pytest.raises(OutOfOrderError):
            pack_batch(b"", [entry], before)


def test_a_later_format_is_told_from_damage() -> None:
    block = bytearray(seal(b"zabpySNP", b"body"))
    assert unseal(b"zabpySNP", bytes(block), "f") == b"body"
    assert unseal(b"zabpyLOG", bytes(block), "f") is None
    block[9] = 2
    assert unseal(b"zabpySNP", bytes(block), "f") is None  # the checksum says no

    with pytest.MonkeyPatch.context() as later:
        later.setattr("zabpy.storage.format.FORMAT", 2)
        newer = seal(b"zabpySNP", b"other body")
    with pytest.raises(NewerFormatError, match="f: format 2, but this version of zabpy knows formats up to 1"):
        unseal(b"zabpySNP", newer, "f")


def test_a_snapshot_that_cannot_be_read_is_not_kept_open(tmp_path: Path) -> None:
    class Watched(OsFiles):
        def open(self, path: str, *, create: bool = False) -> OsFile:
            self.opened = super().open(path, create=create)
            return self.opened

    files, path = Watched(), tmp_path / "snapshot"
    with pytest.MonkeyPatch.context() as later:
        later.setattr("zabpy.storage.format.FORMAT", 2)
        newer = SnapshotHeader(1, NO_TIP).packed()
    for content, error in ((newer + bytes(100), NewerFormatError), (bytes(100), DamagedSnapshotError)):
        path.write_bytes(content)
        with pytest.raises(error):
            SnapshotReader(files, str(path))
        with pytest.raises(OSError, match="Bad file descriptor"):
            files.opened.size()


def test_names_are_sorted_by_what_they_say() -> None:
    names = ["log.100000000.0000000000000001", "log.00000002.000000010000000a", "log.00000002.0000000000000000"]
    others = ["log.2.0", "log.00000002.0000000000000000.damaged", "snapshot.00000002.0000000000000000", "myid"]

    assert [name.name for name in names_of("log", names + others)] == names[::-1]
    assert read_snapshot_header(SnapshotHeader(2, NO_TIP).packed(), "s") == SnapshotHeader(2, NO_TIP)
