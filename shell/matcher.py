"""Matches regular expressions for matching.py, in a process that can be killed. A program of its own:

    python -I -S matcher.py

On stdin a pickle of (pattern, flags, whole, every), then one of each list of texts; on stdout one of each answer.
"""

import pickle
import re
import signal
import sys


def found(pattern: re.Pattern[str], text: str, whole: bool, every: bool) -> list[tuple[int, int]] | None:
    """Where it matches; None: nowhere."""
    if whole or not every:
        match = pattern.fullmatch(text) if whole else pattern.search(text)
        return None if match is None else [match.span()]
    return [match.span() for match in pattern.finditer(text)] or None


def die_with_parent() -> None:
    """It may be within a match that never ends, and hear of nothing."""
    if sys.platform != "linux":
        return
    try:
        import ctypes
    except ImportError:
        return  # a Python without it
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    source, flags, whole, every = pickle.load(stdin)
    pattern = re.compile(source, flags)
    while True:
        try:
            texts = pickle.load(stdin)
        except EOFError:
            return
        pickle.dump([found(pattern, text, whole, every) for text in texts], stdout)
        stdout.flush()


if __name__ == "__main__":
    main()
