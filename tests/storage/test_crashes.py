"""The power goes before and after every single operation on the disk."""

from random import Random

import pytest

from tests.storage.stories import (
    Expected,
    History,
    Narrator,
    entries_after,
    image_at,
    open_store,
    tell,
)
from zabpy.model import NO_TIP, Entry, Tip, Zxid
from zabpy.storage import Store
from zabpy.testing.disk import CutModel, FaultyFiles, PowerLost

FAR = Zxid(1 << 63)

Found = tuple[int, Tip, Zxid, tuple[Entry, ...]]


def every_moment() -> list[tuple[FaultyFiles, Expected]]:
    """The disk, and what must be found on it, before and after each operation of the story."""
    files = FaultyFiles()
    moments: list[tuple[FaultyFiles, Expected]] = []
    narrator: Narrator | None = None

    def remember(when: str, kind: str, path: str) -> None:
        expected = Expected() if narrator is None else narrator.expected.copy()
        moments.append((files.copy(), expected))

    files.hook = remember
    narrator = Narrator(files)
    tell(narrator)
    return moments


@pytest.fixture(scope="module")
def moments() -> list[tuple[FaultyFiles, Expected]]:
    return every_moment()


def found_in(store: Store) -> Found:
    recovered = store.recovered
    return recovered.accepted_epoch, recovered.snapshot, recovered.log_base, tuple(recovered.entries)


def check(store: Store, expected: Expected) -> History:
    """What the store recovered is one of what may be; returns which."""
    recovered = store.recovered
    assert recovered.accepted_epoch in expected.epochs
    assert recovered.snapshot in expected.snapshots
    if recovered.snapshot != NO_TIP:
        with store.open_snapshot(recovered.snapshot) as reader:
            assert reader.read(1 << 20) == image_at(recovered.snapshot)
    entries = store.read_entries(store.log_base, FAR, 1 << 30)
    assert recovered.entries == [entry for entry in entries if entry.zxid > recovered.snapshot.zxid]
    for history in expected.histories:
        whole = [entry for entry in history.entries if entry.zxid > store.log_base]
        gone = len(history.entries) - len(whole)
        if store.log_base >= history.base.zxid and whole[: len(entries)] == entries:
            if gone + len(entries) >= history.least and (entries or gone or store.tip == history.base):
                return History(history.base, history.entries[: gone + len(entries)])
    raise AssertionError("neither what was nor what was to be")


def check_life_goes_on(files: FaultyFiles, expected: Expected) -> None:
    store = open_store(files)
    history = check(store, expected)
    found = found_in(store)

    # Opened twice, after another kill: the same.
    files.kill()
    store = open_store(files)
    assert found_in(store) == found
    assert store.recovered.cut is None

    # What is written now is there after a clean stop, and at a later start number.
    more = entries_after(store.tip, [30, 800], epoch=(store.tip.zxid >> 32) + 1, fill=b"m")
    store.save_epoch(max(store.accepted_epoch, more[-1].zxid >> 32))
    store.append_and_sync(more)
    start_number = store.recovered.start_number
    store.close()
    store = open_store(files)
    assert store.recovered.clean
    assert store.recovered.start_number == start_number + 1
    assert list(store.recovered.entries) == [*found[3], *more]
    history.entries += more
    assert store.tip == history.tip()
    store.close()


@pytest.mark.parametrize("model", list(CutModel))
def test_what_was_synced_is_there_after_a_power_cut_anywhere(
    moments: list[tuple[FaultyFiles, Expected]], model: CutModel
) -> None:
    assert len(moments) > 500
    for number, (disk, expected) in enumerate(moments):
        # With nothing unsynced there is one outcome.
        rounds = 2 if disk.unsynced else int(model is CutModel.PREFIX)
        for round_number in range(rounds):
            files = disk.copy()
            files.power_cut(Random(f"{number} {round_number}"), model)
            try:
                check_life_goes_on(files, expected)
            except BaseException as error:
                error.add_note(f"moment {number}, round {round_number}, {model}")
                raise


def test_what_was_written_is_there_after_a_kill_anywhere(moments: list[tuple[FaultyFiles, Expected]]) -> None:
    for number, (disk, expected) in enumerate(moments):
        try:
            check_life_goes_on(disk.copy(), expected)
        except BaseException as error:
            error.add_note(f"moment {number}")
            raise


@pytest.mark.parametrize("model", list(CutModel))
def test_a_power_cut_during_recovery_costs_nothing_either(
    moments: list[tuple[FaultyFiles, Expected]], model: CutModel
) -> None:
    for number, (disk, expected) in enumerate(moments[::3]):
        rng = Random(f"{number} {model}")
        files = disk.copy()
        for _ in range(3):
            files.power_cut(rng, model)
            left = rng.randint(1, 12)

            def lose_power(when: str, kind: str, path: str) -> None:
                nonlocal left
                left -= 1
                if left <= 0:
                    raise PowerLost

            files.hook = lose_power
            try:
                open_store(files)
            except PowerLost:
                pass
            files.hook = None
        files.power_cut(rng, model)
        try:
            check_life_goes_on(files, expected)
        except BaseException as error:
            error.add_note(f"moment {number * 3}, {model}")
            raise
