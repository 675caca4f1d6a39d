"""``python -m zabpy.testing.fuzz``: changed bytes, millions of them, for every reader of bytes from outside.

A reader must return or raise what it declares, take memory in proportion to what it was given, and no long time. Inputs
are good ones with changes; one that reached a line, or an error, that none reached before joins those that are changed
further. Which lines are run is asked of ``sys.monitoring`` (Python 3.12), at next to no cost; before that of a trace
function, which is slow, and so on every `TRACED_EVERY`-th input only. Each seed begins anew from the good inputs, so
any range of seeds can be run anywhere; what failed is kept as bytes, for caches that were warm lead other ways.
"""

import argparse
import gc
import logging
import multiprocessing
import re
import struct
import sys
import time
import traceback
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from types import CodeType, FrameType
from typing import Any, NamedTuple

from .fuzz_targets import TARGETS, Target

FRAMES_A_SEED = 50_000
#: A reader, with all it remembers, is made anew after so many.
FRAMES_A_READER = 5_000
TRACED_EVERY, MEASURED_EVERY = 64, 256
INPUT_BYTES_MAX = 4096
CORPUS_MAX = 4_096
#: Beyond this a reader has believed a length that somebody claimed. What it may take for each byte: wire/cbor.py.
MEMORY_BYTES, MEMORY_PER_BYTE = 1 << 20, 200
SLOW_NS = 10_000_000
_NUMBERS = (0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


class Result(NamedTuple):
    """What one seed of one target came to."""

    target: str
    seed: int
    frames: int
    seconds: float
    new: int
    kinds: dict[str, int]
    worst_ns: int
    memory: int
    failures: list[tuple[str, bytes]]
    #: The traceback of an error of the harness itself, which ended the seed.
    broken: str = ""


def mutated(rng: Random, corpus: list[bytes], words: tuple[bytes, ...]) -> bytes:
    """One of them with one to five changes."""
    data = bytearray(corpus[int(rng.random() * len(corpus))])
    for _ in range(1 + int(rng.random() ** 2 * 5)):
        what = int(rng.random() * 10)
        at = int(rng.random() * (len(data) + 1))
        if what == 0 and data:
            data[at % len(data)] ^= 1 << int(rng.random() * 8)
        elif what == 1 and data:
            data[at % len(data)] = int(rng.random() * 256)
        elif what == 2:
            size = (1, 2, 4, 8)[int(rng.random() * 4)]
            number = _NUMBERS[int(rng.random() * len(_NUMBERS))] + (-len(data) if rng.random() < 0.1 else 0)
            data[at : at + size] = (number % (1 << 8 * size)).to_bytes(size, "big")
        elif what == 3:
            del data[at : at + 1 + int(rng.random() * 8)]
        elif what == 4:
            data[at:at] = data[at : at + 1 + int(rng.random() * 32)]
        elif what == 5:
            data[at:at] = bytes(int(rng.random() * 256) for _ in range(1 + int(rng.random() * 4)))
        elif what == 6:
            other = corpus[int(rng.random() * len(corpus))]
            cut = int(rng.random() * (len(other) + 1))
            data[at:] = other[cut:] if rng.random() < 0.5 else other[: cut + 1]
        elif what == 7 and words:
            word = words[int(rng.random() * len(words))]
            data[at : at + (len(word) if rng.random() < 0.5 else 0)] = word
        elif what == 8 and len(data) >= 4:  # a length that is right again, or nearly
            at %= len(data) - 3
            size = len(data) - at - 4 + int(rng.random() * 3) - 1
            struct.pack_into(">I", data, at, max(0, size))
        elif what == 9:
            del data[at:]
    return bytes(data[:INPUT_BYTES_MAX])


class Lines:
    """Which lines of ours have been run; `watched` calls and says whether there was a new one."""

    def __init__(self) -> None:
        self.seen: set[tuple[CodeType, int]] = set()
        self.each = hasattr(sys, "monitoring")
        self._new = False
        if self.each:
            monitoring: Any = getattr(sys, "monitoring")  # noqa: B009  # mypy checks for 3.11, too
            self._disable = monitoring.DISABLE
            monitoring.use_tool_id(monitoring.COVERAGE_ID, "zabpy fuzz")
            monitoring.register_callback(monitoring.COVERAGE_ID, monitoring.events.LINE, self._line)
            monitoring.restart_events()  # lines that were told of before are told of again
            monitoring.set_events(monitoring.COVERAGE_ID, monitoring.events.LINE)

    def close(self) -> None:
        if self.each:
            monitoring: Any = getattr(sys, "monitoring")  # noqa: B009
            monitoring.set_events(monitoring.COVERAGE_ID, 0)
            monitoring.free_tool_id(monitoring.COVERAGE_ID)

    def watched(self, call: Callable[[bytes], str], data: bytes) -> tuple[str, bool]:
        self._new = False
        if self.each:
            return call(data), self._new
        sys.settrace(self._trace)
        try:
            return call(data), self._new
        finally:
            sys.settrace(None)

    def _line(self, code: CodeType, line: int) -> Any:
        if "/zabpy/" in code.co_filename:
            self._new = True
        return self._disable

    def _trace(self, frame: FrameType, event: str, arg: object) -> Any:
        if "/zabpy/" not in frame.f_code.co_filename:
            return None
        place = frame.f_code, frame.f_lineno
        if place not in self.seen:
            self.seen.add(place)
            self._new = True
        return self._trace


_VARIABLE = re.compile(r"0x[0-9a-f]+|\b[0-9a-f]{8}\b|\d+|'[^']*'|\"[^\"]*\"|b'.*'")


def run_seed(name: str, seed: int, frames: int = FRAMES_A_SEED) -> Result:
    """``frames`` inputs to that target."""
    logging.disable(logging.CRITICAL)  # clients tell their log of every nonsense
    target = TARGETS[name]
    rng = Random(f"{name} {seed}")
    corpus, reads = target.seeds(), target.make()
    kinds: Counter[str] = Counter()
    failures: list[tuple[str, bytes]] = []
    said: set[str] = set()
    worst: list[tuple[int, bytes]] = []
    memory = new = 0

    def once(data: bytes) -> str:
        try:
            reads(data)
        except target.errors as error:
            kinds[type(error).__name__] += 1
            return f"{type(error).__name__}: {_VARIABLE.sub('#', str(error).rpartition('expected')[2])[:40]}"
        except Exception as error:
            failures.append((f"{type(error).__name__}: {error}"[:300], data))
            kinds["! " + type(error).__name__] += 1
            return ""
        kinds["taken"] += 1
        return "taken"

    lines = Lines()
    clock = time.perf_counter_ns
    for each in corpus:
        said.add(lines.watched(once, each)[0])
    began = time.perf_counter()
    try:
        for number in range(frames):
            if number % FRAMES_A_READER == 0:
                reads = target.make()
            data = mutated(rng, corpus, target.words)
            if target.mend is not None and rng.random() < 0.7:
                data = target.mend(data)
            fresh = False
            if number % MEASURED_EVERY == 1:
                what, used = _measured(once, data)
                memory = max(memory, used)
                if used > MEMORY_BYTES + MEMORY_PER_BYTE * len(data):
                    failures.append((f"takes {used} bytes of memory for {len(data)}", data))
            else:
                traced = not lines.each and number % TRACED_EVERY == 0
                started = clock()
                if traced or lines.each:
                    what, fresh = lines.watched(once, data)
                else:
                    what = once(data)
                took = clock() - started
                if not traced and (took > SLOW_NS or not worst or took > worst[-1][0]):
                    worst = [*worst, (took, data)][-3:]
            if fresh or what not in said:
                said.add(what)
                new += 1
                if len(corpus) < CORPUS_MAX:
                    corpus.append(data)
            if len(failures) >= 20:
                break
    finally:
        lines.close()
    seconds = time.perf_counter() - began
    worst_ns = max((_quickest(once, data) for _, data in worst), default=0)
    return Result(name, seed, sum(kinds.values()), seconds, new, dict(kinds), worst_ns, memory, failures)


def _measured(call: Callable[[bytes], str], data: bytes) -> tuple[str, int]:
    tracemalloc.start()
    try:
        what = call(data)
        return what, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _quickest(call: Callable[[bytes], str], data: bytes) -> int:
    """Of five: what else the machine does must not count."""
    took = []
    for _ in range(5):
        started = time.perf_counter_ns()
        call(data)
        took.append(time.perf_counter_ns() - started)
    return min(took)


def _work(given: tuple[str, int, int]) -> Result:
    gc.freeze()
    name, seed, _ = given
    try:
        return run_seed(*given)
    except Exception:
        return Result(name, seed, 0, 0.0, 0, {}, 0, 0, [], traceback.format_exc())


def _results(work: list[tuple[str, int, int]], workers: int) -> Iterator[Result]:
    # Not seeds.in_processes: that loads the simulations, and these workers are forked, and renewed.
    if workers == 1:
        yield from map(_work, work)
        return
    with multiprocessing.get_context("fork").Pool(workers, maxtasksperchild=20) as pool:
        yield from pool.imap_unordered(_work, work)


class _Total:
    def __init__(self) -> None:
        self.frames = self.new = self.worst_ns = self.memory = self.seeds = 0
        self.seconds = 0.0
        self.kinds: Counter[str] = Counter()
        self.failures: dict[str, bytes] = {}

    def add(self, result: Result) -> None:
        self.frames += result.frames
        self.new += result.new
        self.seconds += result.seconds
        self.seeds += 1
        self.worst_ns, self.memory = max(self.worst_ns, result.worst_ns), max(self.memory, result.memory)
        self.kinds.update(result.kinds)
        for why, data in result.failures:
            kind = _VARIABLE.sub("#", why)[:80]
            if len(data) < len(self.failures.get(kind, b"x" * (INPUT_BYTES_MAX + 1))):
                self.failures[kind] = data


def main(arguments: list[str] | None = None) -> int:
    """Run, print a row a target, write what failed into ``--out``. 1 if anything did."""
    parser = argparse.ArgumentParser(prog="zabpy.testing.fuzz", description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("targets", nargs="*", help=f"of {', '.join(TARGETS)}; all")
    parser.add_argument("--frames", type=int, default=1_000_000, help="for each target")
    parser.add_argument("--seed", type=int, default=0, help="the first one; each is good for 50,000 frames")
    parser.add_argument("--workers", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no further seed after these")
    parser.add_argument("--out", default="build/fuzz", help="where inputs that failed are written")
    given = parser.parse_args(arguments)
    names = given.targets or list(TARGETS)
    if unknown := set(names) - set(TARGETS):
        parser.error(f"no target {', '.join(sorted(unknown))}")
    seeds = range(given.seed, given.seed + max(1, -(-given.frames // FRAMES_A_SEED)))
    size = min(given.frames, FRAMES_A_SEED)
    totals = {name: _Total() for name in names}
    began = time.monotonic()
    done, broken = given.seed, False
    batch = max(1, given.workers)
    try:
        for first in range(0, len(seeds), batch):
            if time.monotonic() - began > given.seconds:
                break
            some = seeds[first : first + batch]
            for result in _results([(name, seed, size) for name in names for seed in some], given.workers):
                totals[result.target].add(result)
                if result.broken:
                    broken = True
                    print(f"FAILED {result.target}, seed {result.seed}: the harness itself broke\n{result.broken}")
            done = some[-1] + 1
    except KeyboardInterrupt:
        print("interrupted: of the last seeds not all readers are counted")
    print(f"seeds {given.seed} to {done - 1}; go on with --seed {done}")
    print(f"{'reader':9} {'frames':>10} {'a second':>9} {'new':>6} {'worst ms':>9} {'memory KiB':>10}  how they ended")
    for name, total in totals.items():
        kinds = ", ".join(f"{kind} {count}" for kind, count in total.kinds.most_common())
        print(
            f"{name:9} {total.frames:10} {total.frames / max(total.seconds, 1e-9):9.0f} {total.new:6} "
            f"{total.worst_ns / 1e6:9.2f} {total.memory / 1024:10.0f}  {kinds}"
        )
    failed = broken
    for name, total in totals.items():
        for number, (why, data) in enumerate(total.failures.items()):
            failed = True
            path = Path(given.out) / f"{name}-{number}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            print(f"FAILED {name}: {why}\n    {path}: {data[:200]!r}")
    return int(failed)


def replay(target: str, data: bytes) -> str:
    """What that reader makes of it: ``taken``, or the name of a declared error. Raises any other."""
    row: Target = TARGETS[target]
    try:
        row.make()(data)
    except row.errors as error:
        return type(error).__name__
    return "taken"


if __name__ == "__main__":
    sys.exit(main())
