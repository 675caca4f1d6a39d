"""A slice of `make linearize`, and the check that it bites."""

from pathlib import Path

import pytest

from tests.processes import linearize
from tests.processes.linearize import Report, Run
from tests.processes.links import Proxies

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(autouse=True)
def _failed_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linearize, "FAILED", tmp_path / "failed")


async def test_histories_of_real_processes_under_faults_are_linearizable(tmp_path: Path) -> None:
    report = Report()
    run = Run("ci", report, directory=tmp_path, only=("kill", "pause", "isolate", "one way"), gap_ms=300)
    await run.ensemble(Proxies(3), 3, 3, at_once=3)
    print(report.text())
    assert not report.violations
    assert report.outcomes["ok"] == report.histories >= 1
    assert report.acknowledged >= 10
    assert report.faults.total() >= 1


async def test_a_server_that_answers_syncs_by_itself_is_found_out(tmp_path: Path) -> None:
    """Its reads are old ones now and then; nothing but the order of calls and answers shows it."""
    report = Report()
    module = ("tests.processes.trapped", "sync-at-once")
    run = Run("bite", report, directory=tmp_path, module=module, only=("slow disk", "delay"))
    await run.ensemble(Proxies(3), 3, 2, at_once=2)
    assert report.violations
    (first, *_) = sorted((tmp_path / "failed").iterdir())
    assert linearize.main(["--judge", str(first)]) == 1
