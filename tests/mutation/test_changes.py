"""The tool that changes the core a line at a time: what it changes, and that it is noticed or not."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutation.changes import changed, changes_of

ROOT = Path(__file__).parent.parent.parent

SOURCE = '''
"""A docstring, 1."""
LIMIT = 10

class Thing:
    size: int = 3

    def __repr__(self) -> str:
        return f"thing {1 + 1}"

    def more(self, a: int, b: int = 2) -> bool:
        """A docstring: 1 < 2."""
        assert a != b
        if a < b and not self.size:
            self.seen = a
            raise ValueError(f"{a} + 1")
        self.emit(Note("told", 1))
        return a + 1 > b
'''


def test_what_is_changed_and_what_is_left_alone() -> None:
    names = [change.name.removeprefix("m Thing.more: ") for change in changes_of(SOURCE, "m")]
    assert names == [
        "a < b and (not self.size) -> a < b or not self.size",
        "a < b and (not self.size) -> not self.size",
        "a < b and (not self.size) -> a < b",
        "a < b -> a <= b",
        "not self.size -> self.size",
        "self.seen = a -> pass",
        "raise ValueError(f'{a} + 1') -> pass",
        "return a + 1 > b -> return None",
        "a + 1 > b -> a + 1 >= b",
        "a + 1 -> a - 1",
        "1 -> 2",
    ]


def test_each_change_changes_one_thing() -> None:
    before = ast.unparse(ast.parse(SOURCE)).splitlines()
    for change in changes_of(SOURCE, "m"):
        after = ast.unparse(changed(SOURCE, change)).splitlines()
        assert sum(one != other for one, other in zip(before, after, strict=True)) == 1, change.name


def test_names_outlive_edits_elsewhere_and_differ() -> None:
    names = [change.name for change in changes_of(SOURCE, "m")]
    assert [change.name for change in changes_of("import os\n\n" + SOURCE, "m")] == names
    twice = changes_of(SOURCE + "\n    def twice(self, a, b):\n        return (a < b, a < b)\n", "m")
    assert len({change.name for change in twice}) == len(twice)


#: In a process of its own: this one holds the core already, which is not to be changed behind what has imported it.
TRY = """
import sys
from tests.mutation import __main__ as tool
tool.STEPS["zab"] = (("tests", ["tests/zab/test_quorum.py"]),)
for task in tool.tasks():
    if task.change.name in sys.argv[1:]:
        print(repr(tool.run(task, 60)["by"]))
"""


@pytest.mark.parametrize(
    ("name", "by"),
    [
        ("zab.quorum Quorums.is_quorum: 2 * having > counting -> 2 * having >= counting", "tests"),
        ("zab.election tick: return -> pass", ""),  # of no concern to the one step that is taken here
    ],
)
def test_a_change_is_noticed_or_not(name: str, by: str) -> None:
    done = subprocess.run([sys.executable, "-c", TRY, name], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == f"{by!r}\n", done.stderr
