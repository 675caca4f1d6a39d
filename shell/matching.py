"""Regular expressions that people type, and that may take for ever: ``(a+)+$`` on forty times a and one b.

Python's own matcher cannot be stopped, and nothing else runs in its process meanwhile, neither a Ctrl-C nor the
session's pings. So whatever could take longer than its text is long is matched in a process of its own, which is killed
with the command that wants it. Only what repeats nothing and has no alternatives is matched here.
"""

import pickle
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import anyio

from .errors import ShellError
from .matcher import found

WORKER = Path(__file__).with_name("matcher.py")
#: What takes more than one look at a text.
COSTLY = frozenset("*+?{|(")
#: Where a text matches: begin and end of each place; None: nowhere.
Spans = list[tuple[int, int]] | None


class Matching:
    """``async with Matching(re.compile(...), whole=False) as matching: await matching.spans(texts)``

    Args:
        whole: the whole text must match, not some of it.
        every: all places where it does are wanted, not only the first.
        is_simple: the text that was typed stands for itself.
    """

    def __init__(
        self, pattern: re.Pattern[str], *, whole: bool = False, every: bool = False, is_simple: bool = False
    ) -> None:
        self._pattern, self._whole, self._every = pattern, whole, every
        self._here = is_simple or COSTLY.isdisjoint(pattern.pattern)
        self._worker: subprocess.Popen[bytes] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    async def spans(self, texts: Sequence[str]) -> list[Spans]:
        """Of each text. Cancelled at once, however long it would take."""
        if self._here or not texts:
            return [found(self._pattern, text, self._whole, self._every) for text in texts]
        worker = self._worker = self._worker or self._started()
        try:
            return await anyio.to_thread.run_sync(_asked, worker, list(texts), abandon_on_cancel=True)
        except BaseException:
            self._end()
            raise

    def _started(self) -> "subprocess.Popen[bytes]":
        # Not in our process group: Ctrl-C at the terminal is for us, and we end it.
        worker = subprocess.Popen(
            [sys.executable, "-I", "-S", str(WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0
        )
        assert worker.stdin is not None
        pickle.dump((self._pattern.pattern, self._pattern.flags, self._whole, self._every), worker.stdin)
        return worker

    def _end(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.kill()  # which also ends the thread that waits for it, and that closes what it used
            worker.wait()


def _asked(worker: "subprocess.Popen[bytes]", texts: list[str]) -> list[Spans]:
    stdin, stdout = _pipes(worker)
    try:
        pickle.dump(texts, stdin)
        stdin.flush()
        answer: list[Spans] = pickle.load(stdout)
    except (EOFError, BrokenPipeError, pickle.UnpicklingError):
        raise ShellError("the process that matches regular expressions has ended") from None
    return answer


def _pipes(worker: "subprocess.Popen[bytes]") -> tuple[IO[bytes], IO[bytes]]:
    assert worker.stdin is not None and worker.stdout is not None
    return worker.stdin, worker.stdout
