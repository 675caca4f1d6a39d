"""``python -m tests.mutation``: one line of zabpy/zab or zabpy/storage changed at a time, and whether anything notices.

For each change a process is forked in which the one module is compiled changed (no file is touched), and steps are
taken until one fails: the unit tests, then seeds of the simulation, more of them. What no step notices has survived,
and is a hole in the tests or changes nothing; of the latter kind, looked at one by one, harmless.txt keeps a list with
reasons. Changes come in an order drawn from a seed, so that any number of first ones is a fair sample; what was found
is kept in a file, and the next run goes on from there.

Exit 1 if fewer than 90 % are noticed.
"""

import argparse
import hashlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import io
import json
import os
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from math import sqrt
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any, Final, NamedTuple

from .changes import Change, changed, changes_of

ROOT: Final = Path(__file__).parent.parent.parent
HARMLESS: Final = Path(__file__).parent / "harmless.txt"
FOLDERS: Final = ("zab", "storage")
NOTICED_SHARE_MIN: Final = 0.9
#: Processor time: a change that makes things this much slower is noticed.
SLOWER_MAX: Final = 5
WALL_SECONDS_MAX: Final = 900

QUICK_ZAB: Final = "replica election quorum history own_vote observers hostile_peers"
STEPS: Final[dict[str, Sequence[tuple[str, Sequence[str] | range]]]] = {
    "zab": (
        ("tests", [f"tests/zab/test_{name}.py" for name in QUICK_ZAB.split()]),
        ("seeds", range(1, 16)),
        ("stories", ["tests/zab/test_simulation.py", "-k", "story or once_failed"]),
        ("more seeds", range(100, 180)),
    ),
    "storage": (
        ("tests", ["tests/storage"]),
        ("store seeds", range(1, 31)),
        ("crash points", ["tests/testing/test_crashpoints.py", "tests/testing/test_store_runs.py"]),
        ("damage", ["tests/testing/test_damage_images.py"]),
    ),
}


class Task(NamedTuple):
    folder: str
    file: Path
    module: str
    source: str
    change: Change | None  # None: as it is

    @property
    def of(self) -> str:
        """What it was a change of: results for another text are not believed."""
        return hashlib.sha256(self.source.encode()).hexdigest()[:12]


class Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the one module, changed."""

    def __init__(self, task: Task) -> None:
        self._task = task

    def find_spec(self, name: str, path: object, target: object = None) -> importlib.machinery.ModuleSpec | None:
        if name != self._task.module:
            return None
        return importlib.util.spec_from_file_location(name, self._task.file, loader=self)

    def exec_module(self, module: ModuleType) -> None:
        assert self._task.change is not None
        tree = changed(self._task.source, self._task.change)
        exec(compile(tree, str(self._task.file), "exec"), module.__dict__)


# In the forked process ------------------------------------------------------------------------------------------------


def _noticed(step: Sequence[str] | range, name: str) -> str:
    """By what; "" if by nothing."""
    if isinstance(step, range):
        return _noticed_by_seeds(step, name)
    import pytest

    class First:
        what = ""

        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            if report.failed and not self.what:
                self.what = report.nodeid

        def pytest_collectreport(self, report: pytest.CollectReport) -> None:
            if report.failed and not self.what:
                self.what = f"{report.nodeid} (import)"

    first = First()
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        status = pytest.main(["-x", "-q", "-p", "no:cacheprovider", *step], plugins=[first])
    return first.what or (f"pytest: {status!r}" if status else "")


def _noticed_by_seeds(seeds: range, name: str) -> str:
    if name == "store seeds":
        from zabpy.testing.store_runs import run_store_seed

        for seed in seeds:
            broken = run_store_seed(seed)
            if broken is not None:
                return f"{broken.id}, seed {seed}"
        return ""
    from zabpy.testing.simulate_cli import run_seed

    for seed in seeds:
        violation = run_seed(seed).violation
        if violation is not None:
            return f"{violation.id}, seed {seed}"
    return ""


def _import_changed(task: Task) -> None:
    """At once, since pytest puts an import hook of its own before all others."""
    if task.change is not None and task.module not in sys.modules:
        sys.meta_path.insert(0, Changed(task))
        importlib.import_module(task.module)


def _live(task: Task, pipe: int, cpu_seconds: float) -> None:
    """All steps, or until one notices; then the end of this process."""
    told: dict[str, Any] = {"by": "", "what": "", "steps": {}}
    try:
        os.setpgid(0, 0)
        sys.dont_write_bytecode = True
        os.chdir(ROOT)
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        if cpu_seconds:
            seconds = int(cpu_seconds) + 1
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
        for name, step in STEPS[task.folder]:
            began = time.process_time()
            try:
                _import_changed(task)
                what = _noticed(step, name)
            except BaseException as error:  # whatever the change has led to, even SystemExit: it is noticed
                what = f"{type(error).__name__}: {error}"[:200]
            told["steps"][name] = round(time.process_time() - began, 2)
            if what:
                told["by"], told["what"] = name, what
                break
        os.write(pipe, json.dumps(told).encode())
    finally:
        os._exit(0)


# In the one that forks ------------------------------------------------------------------------------------------------


def run(task: Task, cpu_seconds: float) -> dict[str, Any]:
    """What became of it: ``by`` which step it was noticed ("" by none), ``what``, processor seconds of each step."""
    ours, theirs = os.pipe()
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        os.close(ours)
        _live(task, theirs, cpu_seconds)
    os.close(theirs)
    data = b""
    with open(ours, "rb", buffering=0) as pipe:
        signal.signal(signal.SIGALRM, lambda *_: os.kill(pid, signal.SIGKILL))
        signal.alarm(WALL_SECONDS_MAX)
        try:
            while chunk := pipe.read(65536):
                data += chunk
        finally:
            signal.alarm(0)
            _, status = os.waitpid(pid, 0)
            try:
                os.killpg(pid, signal.SIGKILL)  # what the tests have started
            except ProcessLookupError:
                pass
    try:
        told: dict[str, Any] = json.loads(data)
    except ValueError:
        told = {"by": "time", "what": f"ended by signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "ended"}
        told["steps"] = {}
    told["seconds"] = round(time.monotonic() - began, 1)
    return told


def tasks() -> Iterator[Task]:
    for folder in FOLDERS:
        for file in sorted((ROOT / "zabpy" / folder).glob("*.py")):
            module = f"zabpy.{folder}" if file.stem == "__init__" else f"zabpy.{folder}.{file.stem}"
            source = file.read_text(encoding="utf-8")
            for change in changes_of(source, module.removeprefix("zabpy.")):
                yield Task(folder, file, module, source, change)


def harmless() -> dict[str, str]:
    """By name: why no test can notice it."""
    found = {}
    if HARMLESS.exists():
        for line in HARMLESS.read_text(encoding="utf-8").splitlines():
            name, mark, why = line.partition("  # ")
            if mark:
                found[name] = why
    return found


def report(all_tasks: list[Task], results: dict[str, dict[str, Any]]) -> bool:
    known = harmless()
    rows: dict[str, Counter[str]] = {}
    survived = []
    for task in all_tasks:
        assert task.change is not None
        result = results.get(task.change.name)
        row = rows.setdefault(task.module.removeprefix("zabpy."), Counter())
        row["changes"] += 1
        if result is None or result["of"] != task.of:
            continue
        if not result["by"] and task.change.name in known:
            row["harmless"] += 1
            continue
        row["tried"] += 1
        row[result["by"] or "survived"] += 1
        if not result["by"]:
            survived.append(f"{task.file.relative_to(ROOT)}:{task.change.line}  {task.change.name}")
    steps = [*dict.fromkeys(name for folder in STEPS.values() for name, _ in folder), "time"]
    print(f"{'module':24} {'changes':>7} {'tried':>6} " + " ".join(f"{step:>12}" for step in steps), end="")
    print(f" {'survived':>8} {'harmless':>8} {'noticed':>8}")
    whole: Counter[str] = Counter()
    for module, row in rows.items():
        whole.update(row)
        _print_row(module, row, steps)
    _print_row("all", whole, steps)
    print("\n".join(survived))
    noticed, tried = whole["tried"] - whole["survived"], whole["tried"]
    if not tried:
        return False
    share = noticed / tried
    print(f"{noticed} of {tried} noticed, {100 * share:.1f} % (± {196 * sqrt(share * (1 - share) / tried):.1f})")
    return share >= NOTICED_SHARE_MIN


def _print_row(name: str, row: Counter[str], steps: list[str]) -> None:
    noticed = f"{100 * (1 - row['survived'] / row['tried']):.1f} %" if row["tried"] else ""
    print(f"{name:24} {row['changes']:7} {row['tried']:6} " + " ".join(f"{row[step]:12}" for step in steps), end="")
    print(f" {row['survived']:8} {row['harmless']:8} {noticed:>8}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.mutation", description=__doc__.split("\n\n")[0])
    parser.add_argument("words", nargs="*", help="only changes whose names contain one of these")
    parser.add_argument("--first", type=int, default=0, help="only so many, in the order drawn; 0: all")
    parser.add_argument("--seed", type=int, default=1, help="of that order")
    parser.add_argument("--seconds", type=float, default=0, help="begin no further one after so many")
    parser.add_argument("--again", action="store_true", help="those that survived, too")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "build" / "mutation.jsonl", help="results, kept between runs"
    )
    parser.add_argument("--report", action="store_true", help="run nothing")
    given = parser.parse_args()
    every = list(tasks())
    chosen = [task for task in every if task.change and _named(task.change.name, given.words)]
    Random(given.seed).shuffle(chosen)
    chosen = chosen[: given.first or None]
    results: dict[str, dict[str, Any]] = {}
    if given.out.exists():
        for line in given.out.read_text(encoding="utf-8").splitlines():
            result = json.loads(line)
            results[result["name"]] = result
    if not given.report:
        _run_all(chosen, results, given)
    chosen.sort(key=lambda task: (task.module, task.change.line if task.change else 0))
    return 0 if report(chosen, results) else 1


def _named(name: str, words: Sequence[str]) -> bool:
    return not words or any(word in name for word in words)


def _run_all(chosen: list[Task], results: dict[str, dict[str, Any]], given: argparse.Namespace) -> None:
    _import_what_all_need()
    cpu_seconds = {}
    for folder in sorted({task.folder for task in chosen}):
        told = run(Task(folder, ROOT, "", "", None), 0)
        if told["by"]:
            raise SystemExit(f"without any change {folder} is noticed by {told['by']}: {told['what']}")
        print(f"{folder}: processor seconds of each step without a change: {told['steps']}", flush=True)
        cpu_seconds[folder] = SLOWER_MAX * sum(told["steps"].values()) + 10
    began = time.monotonic()
    given.out.parent.mkdir(exist_ok=True)
    with given.out.open("a", encoding="utf-8") as out:
        for number, task in enumerate(chosen, 1):
            assert task.change is not None
            before = results.get(task.change.name)
            if before and before["of"] == task.of and (before["by"] or not given.again):
                continue
            if given.seconds and time.monotonic() - began > given.seconds:
                break
            result = {"name": task.change.name, "of": task.of, **run(task, cpu_seconds[task.folder])}
            results[task.change.name] = result
            out.write(json.dumps(result) + "\n")
            out.flush()
            if not result["by"]:
                print(f"{number} of {len(chosen)} survived: {task.change.name}", flush=True)


def _import_what_all_need() -> None:
    """But nothing of ours: what is imported before the fork is not changed behind it."""
    import trio.testing  # noqa: F401

    assert not [name for name in sys.modules if name.partition(".")[0] == "zabpy"]


if __name__ == "__main__":
    raise SystemExit(main())
