"""A slice of `make fuzz`, what it has found, and that it finds what is planted."""

from collections.abc import Callable
from pathlib import Path

import pytest

from zabpy.testing import fuzz, fuzz_targets
from zabpy.testing.fuzz_targets import TARGETS, Target

FRAMES = 1_500
#: An unknown key is compared with all known ones: slow, and once in the life of a server.
FEWER = {"config": 150}
#: Inputs that once broke a reader: <target>-<what it was>.bin
FOUND = sorted((Path(__file__).parent / "found").glob("*.bin"))


@pytest.mark.parametrize("name", TARGETS)
def test_changed_bytes_are_read_or_refused(name: str) -> None:
    result = fuzz.run_seed(name, 0, FEWER.get(name, FRAMES))
    assert result.failures == []
    assert result.frames >= FEWER.get(name, FRAMES)
    assert len(result.kinds) > 1, "all ended alike: what is changed does not get far"


@pytest.mark.parametrize("name", TARGETS)
def test_what_it_begins_with_is_good(name: str) -> None:
    """Of each target at least one is taken as it is, so that the changes begin behind the first checks."""
    if name == "greeting":  # a good one would need the secret
        pytest.skip("no bytes of a stranger are good")
    assert "taken" in {fuzz.replay(name, each) for each in TARGETS[name].seeds()}


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.stem)
def test_what_was_found_stays_mended(path: Path) -> None:
    fuzz.replay(path.stem.partition("-")[0], path.read_bytes())


def unexpected(data: bytes) -> None:
    if len(data) > 6 and data[0] == 0x7F:
        raise KeyError("planted")


def believing(data: bytes) -> None:
    if data[:1] == b"\0" and data[1:2] > b"\2":
        bytearray(3 << 20)


@pytest.mark.parametrize(("planted", "what"), [(unexpected, "KeyError"), (believing, "bytes of memory")])
def test_a_planted_bug_is_found(monkeypatch: pytest.MonkeyPatch, planted: Callable[[bytes], object], what: str) -> None:
    target = Target(lambda: planted, lambda: [b"\0\0\0\4abcd" * 4], (ValueError,))
    monkeypatch.setitem(fuzz_targets.TARGETS, "planted", target)
    failures = fuzz.run_seed("planted", 1, 20_000).failures
    assert any(what in why for why, _ in failures)
