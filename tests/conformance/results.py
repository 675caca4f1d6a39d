"""What came out of a run: by test, by file, and against what Apache's server was recorded to do."""

import json
import os
import xml.etree.ElementTree as ET
from typing import NamedTuple

#: Apache ZooKeeper 3.8.0 as Debian packages it: which tests pass, fail, are skipped or are flaky, by cluster size.
BASELINE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "baseline.json")
PREFIX = "kazoo/tests/"


class Result(NamedTuple):
    outcome: str  # passed, failed, skipped
    seconds: float
    message: str = ""  # the first line of the failure


def from_junit(path: str) -> dict[str, Result]:
    """``kazoo/tests/test_x.py::Class::test`` → its result. Raises OSError or ParseError without a whole file."""
    results: dict[str, Result] = {}
    for case in ET.parse(path).getroot().iter("testcase"):
        if not case.get("name"):
            continue  # the one that was running when pytest was interrupted
        parts = case.get("classname", "").split(".")
        cut = next(i for i, part in enumerate(parts) if part.startswith("test_")) + 1
        name = "::".join(["/".join(parts[:cut]) + ".py", *parts[cut:], case.get("name", "")])
        outcome, message = "passed", ""
        for tag, word in (("skipped", "skipped"), ("failure", "failed"), ("error", "failed")):
            if (found := case.find(tag)) is not None:
                outcome, message = word, (found.get("message") or "").strip().partition("\n")[0][:200]
        if name not in results or results[name].outcome != "failed":  # it may fail, then again in its teardown
            results[name] = Result(outcome, float(case.get("time") or 0), message)
    return results


def from_progress(path: str) -> dict[str, Result]:
    """The same from what the plugin noted, when pytest was killed before it wrote its report."""
    results: dict[str, Result] = {}
    with open(path) as file:
        for event in map(json.loads, file):
            if event["event"] == "test":
                results[event["id"]] = Result("failed", 0, "was running when pytest was killed")
            elif event["event"] == "result":
                results[event["id"]] = Result(event["outcome"], event["seconds"])
    return results


def print_table(results: dict[str, Result]) -> None:
    rows: dict[str, list[Result]] = {}
    for name, result in sorted(results.items()):
        rows.setdefault(os.path.basename(name.partition("::")[0]), []).append(result)
    rows["total"] = list(results.values())
    print(f"{'file':30} {'passed':>7} {'failed':>7} {'skipped':>8} {'seconds':>9}")
    for name, row in rows.items():
        passed, failed, skipped = (
            sum(each.outcome == word for each in row) for word in ("passed", "failed", "skipped")
        )
        print(f"{name:30} {passed:7} {failed:7} {skipped:8} {sum(each.seconds for each in row):9.1f}")


def compare(results: dict[str, Result], cluster_size: int) -> list[str]:
    """Print where this run and Apache's part; the tests that pass there and do not here, the flaky ones left out."""
    with open(BASELINE) as file:
        recorded = json.load(file)
    baseline = recorded["sizes"].get(str(cluster_size))
    if baseline is None:
        print(f"conformance: nothing is recorded for {cluster_size} servers, so nothing is compared")
        return []
    flaky: set[str] = {*baseline["flaky"], *recorded["races"]}
    passes: set[str] = {*baseline["passed"]} - flaky
    here = {name for name, result in results.items() if result.outcome == "passed"}
    worse = sorted((passes & results.keys()) - here)
    count = len(passes & results.keys())
    print(f"of {count} tests that pass with {recorded['server']}, {count - len(worse)} pass here")
    for title, names in (
        ("pass there, not here", worse),
        ("are flaky there, did not pass here", sorted((flaky & results.keys()) - here)),
        ("pass here, not there", sorted(here - passes - flaky)),
    ):
        if names:
            print(f"  {title}: {len(names)}")
        for name in names:
            print(f"    {results[name].outcome:7} {name.removeprefix(PREFIX)}  {results[name].message}")
    return worse
