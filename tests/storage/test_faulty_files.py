"""The simulated disk keeps what is promised, and loses what is not."""

from random import Random

import pytest

from zabpy.testing.disk import CutModel, FaultyFiles

ALL = list(CutModel)


def disk() -> FaultyFiles:
    files = FaultyFiles()
    files.make_dir("/d")
    return files


@pytest.mark.parametrize("model", ALL)
def test_what_is_synced_with_its_name_stays(model: CutModel) -> None:
    files = disk()
    file = files.open("/d/a", create=True)
    file.write(b"x" * 10_000, 0)
    file.sync()
    files.sync_dir("/d")
    file.write(b"y", 9_999)
    files.rename("/d/a", "/d/b")

    for seed in range(50):
        twin = files.copy()
        twin.power_cut(Random(seed), model)
        ((path, data),) = twin.contents().items()
        assert path in ("/d/a", "/d/b")
        assert data[:9_999] == b"x" * 9_999


def outcomes(files: FaultyFiles, model: CutModel) -> set[tuple[tuple[str, bytes], ...]]:
    found = set()
    for seed in range(400):
        twin = files.copy()
        twin.power_cut(Random(seed), model)
        found.add(tuple(twin.contents().items()))
    return found


def test_a_name_that_was_not_synced_may_be_lost_though_the_content_was() -> None:
    files = disk()
    file = files.open("/d/a", create=True)
    file.write(b"x", 0)
    file.sync()

    for model in ALL:
        assert outcomes(files, model) == {(), (("/d/a", b"x"),)}


def test_each_model_keeps_what_it_says() -> None:
    files = disk()
    file = files.open("/d/a", create=True)
    file.sync()
    files.sync_dir("/d")
    file.write(b"1" * 512 + b"2" * 512, 0)
    file.write(b"3", 1024)
    contents = {model: {found[0][1] for found in outcomes(files, model)} for model in ALL}

    assert b"1" * 100 in contents[CutModel.PREFIX]  # torn anywhere
    assert not any(b"3" in data and b"1" not in data for data in contents[CutModel.PREFIX])
    for model in (CutModel.PIECES, CutModel.ANY_ORDER):
        assert bytes(512) + b"2" * 512 in contents[model]
        assert bytes(1024) + b"3" in contents[model]
        assert b"1" * 512 + b"2" * 512 + b"3" in contents[model]
        assert all(data[:512] in (b"", b"1" * 512, bytes(512)) for data in contents[model])


def test_only_the_last_model_reorders_names() -> None:
    files = disk()
    for name in "ab":
        files.open(f"/d/{name}", create=True)

    def names(model: CutModel) -> set[str]:
        return {"".join(path[-1] for path, _ in found) for found in outcomes(files, model)}

    assert names(CutModel.PREFIX) == names(CutModel.PIECES) == {"", "a", "ab"}
    assert names(CutModel.ANY_ORDER) == {"", "a", "b", "ab"}


def test_a_kill_loses_nothing_that_was_written() -> None:
    files = disk()
    lock = files.lock("/d")
    files.open("/d/a", create=True).write(b"x", 0)
    with pytest.raises(BlockingIOError):
        files.lock("/d")

    files.kill()

    assert files.contents() == {"/d/a": b"x"}
    files.lock("/d")
    lock.close()  # the dead process's: frees nothing
    with pytest.raises(BlockingIOError):
        files.lock("/d")


def test_a_failed_sync_lies_afterwards() -> None:
    files = disk()
    file = files.open("/d/a", create=True)
    files.sync_dir("/d")
    file.write(b"lost", 0)

    def fail(when: str, kind: str, path: str) -> None:
        raise OSError(5, "I/O error", path)

    files.hook = fail
    with pytest.raises(OSError, match="I/O error"):
        file.sync()
    files.hook = None
    file.sync()

    assert file.read(10, 0) == b"lost"
    files.power_cut(Random(0), CutModel.PREFIX)
    assert files.contents() == {"/d/a": b""}
