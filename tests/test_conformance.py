"""The gate of tests/conformance: what passes with Apache's server has to pass here."""

import json
from pathlib import Path

import pytest

from tests.conformance.results import BASELINE, Result, compare, from_junit, from_progress

PASSES = "kazoo/tests/test_lock.py::KazooLockTests::test_lock"
RACE = "kazoo/tests/test_sasl.py::TestSASLDigestAuthentication::test_invalid_sasl_auth"
NEEDS_MORE_SERVERS = "kazoo/tests/test_client.py::TestReconfig::test_bad_input"


def test_a_test_that_passes_with_apache_and_not_here_is_worse(capsys: pytest.CaptureFixture[str]) -> None:
    for outcome in ("failed", "skipped"):
        assert compare({PASSES: Result(outcome, 1.0, "why")}, 3) == [PASSES]
        assert "why" in capsys.readouterr().out
    assert compare({PASSES: Result("passed", 1.0)}, 3) == []


def test_a_race_and_what_fails_with_apache_too_are_not() -> None:
    assert compare({RACE: Result("failed", 1.0), NEEDS_MORE_SERVERS: Result("failed", 1.0)}, 1) == []
    assert compare({NEEDS_MORE_SERVERS: Result("failed", 1.0)}, 3) == [NEEDS_MORE_SERVERS]


def test_the_baseline_has_both_sizes() -> None:
    sizes = json.loads(Path(BASELINE).read_text())["sizes"]
    assert {size: len(each["passed"]) for size, each in sizes.items()} == {"1": 484, "3": 490}


def test_a_test_that_fails_and_is_torn_down_well_has_failed(tmp_path: Path) -> None:
    junit = tmp_path / "junit.xml"
    junit.write_text(
        '<testsuites><testsuite><testcase classname="kazoo.tests.test_lock.KazooLockTests" name="test_lock" time="2">'
        '<failure message="no lock&#10;more"/></testcase>'
        '<testcase classname="kazoo.tests.test_lock.KazooLockTests" name="test_lock" time="1"/>'
        '<testcase classname="kazoo.tests.test_paths" name="test_join" time="0"/>'
        '<testcase classname="" name="" time="0"/></testsuite></testsuites>'
    )
    assert from_junit(str(junit)) == {
        PASSES: Result("failed", 2.0, "no lock"),
        "kazoo/tests/test_paths.py::test_join": Result("passed", 0.0),
    }


def test_what_ran_when_pytest_was_killed_has_failed(tmp_path: Path) -> None:
    progress = tmp_path / "progress.jsonl"
    events = [
        {"event": "start", "tests": 2},
        {"event": "test", "id": PASSES},
        {"event": "result", "id": PASSES, "outcome": "passed", "seconds": 1.5},
        {"event": "test", "id": RACE},
    ]
    progress.write_text("".join(json.dumps(event) + "\n" for event in events))
    assert from_progress(str(progress)) == {
        PASSES: Result("passed", 1.5),
        RACE: Result("failed", 0, "was running when pytest was killed"),
    }
