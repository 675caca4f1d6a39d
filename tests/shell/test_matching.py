"""Regular expressions that never end: everything else goes on, and the command can be stopped."""

import re
import time
from pathlib import Path

import anyio
import pytest

from shell.matching import Matching
from shell.output import Look

from .conftest import Run, runner
from .screen import CTRL_C
from .terminals import make, zabsh as terminal

EVIL, VICTIM = "(a+)+$", "a" * 60 + "b"


def test_what_never_ends_is_cancelled_at_once_and_blocks_nothing() -> None:
    async def story() -> None:
        matching = Matching(re.compile(EVIL))
        late_ms = 0.0
        async with matching:
            with anyio.move_on_after(0.5) as scope:
                async with anyio.create_task_group() as tasks:

                    async def pings() -> None:
                        nonlocal late_ms
                        while True:
                            before = time.monotonic()
                            await anyio.sleep(0.01)
                            late_ms = max(late_ms, (time.monotonic() - before) * 1000 - 10)

                    tasks.start_soon(pings)
                    await matching.spans(["aa", VICTIM])
            assert scope.cancelled_caught and late_ms < 400
            # The next one has another process.
            assert await matching.spans(["aa", "b"]) == [[(0, 2)], None]

    begun = time.monotonic()
    anyio.run(story)
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("pattern", ["a", "^a.", "a+", "(?i)A|b", r"\bé\w*", "x*"])
@pytest.mark.parametrize("every", [False, True])
def test_it_matches_as_re_does_here_and_there(pattern: str, every: bool) -> None:
    texts = ["", "a", "ba éa", "aab\ud800", "b\x00", "x" * 1000]
    compiled = re.compile(pattern)

    async def story() -> None:
        async with Matching(compiled, every=every) as matching:
            for _ in range(2):
                spans = await matching.spans(texts)
                matches = [list(compiled.finditer(text))[: None if every else 1] for text in texts]
                assert spans == [[match.span() for match in each] or None for each in matches]

    anyio.run(story)


def matches(pid: int) -> bool:
    """Whether it has a process that matches."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return any(b"matcher.py" in Path(f"/proc/{child}/cmdline").read_bytes() for child in children)


@pytest.mark.parametrize("line", [f"grep -r '{EVIL}' /", "find / -regex '/(a+)+$'"])
def test_ctrl_c_ends_it_and_the_toolbar_lives_on(hosts: str, tmp_path: Path, line: str) -> None:
    make(hosts, f"/{VICTIM}", data=VICTIM.encode())
    with terminal(hosts, tmp_path) as screen:
        screen.type(line + "\r")
        screen.until(lambda it: matches(it.child.pid))
        begun = time.monotonic()
        screen.type(CTRL_C)
        screen.until(lambda it: it.prompt.endswith(">") and "status 130" in it.text)
        assert time.monotonic() - begun < 5
        screen.run("pwd")


def test_grep_shows_what_matches_in_colour(hosts: str) -> None:
    zabsh: Run = runner(hosts)
    look = Look(is_terminal=True, colour=True)
    made = zabsh("create /a 'one two\t three'")
    assert made.status == 0
    told = zabsh("grep 't[a-z]+' /a", "grep -o 't[a-z]+' /a", "grep -v 'x+' /a", "grep -i TWO /a", look=look)
    red = "\x1b[1;31m{}\x1b[0m".format
    assert told.lines == [
        f"one {red('two')}\\t {red('three')}",
        red("two"),
        red("three"),
        "one two\\t three",
        f"one {red('two')}\\t three",
    ]
