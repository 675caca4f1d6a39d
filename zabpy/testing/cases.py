"""A run as a file: what a failing seed leaves behind, and how it is made small.

Seeds do not survive a change of the generator; scripts do. So a case holds every setting that is not the default, and
the script line by line, and begins with the reason it is kept:

    # I7 CommittedNeverLost: server 3 drops 2.5 'w9', which is chosen
    seed 17
    voters 3
    120 write 1
    131 power-cut 3 60
"""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace

from zabpy.model import ZabpyError

from .faults import WORDS
from .run import Line, Result, Settings
from .simulation import Simulation

Run = Callable[[Settings, Sequence[Line]], Result]


class CaseError(ZabpyError):
    """A line of a case that says nothing we know."""


def run(settings: Settings, script: Sequence[Line]) -> Result:
    return Simulation(settings, script).run()


def to_text(settings: Settings, script: Sequence[Line], reason: str = "") -> str:
    lines = [f"# {reason}"] if reason else []
    lines.append(f"seed {settings.seed}")
    for setting in fields(Settings):
        value = getattr(settings, setting.name)
        if setting.name != "seed" and value != setting.default:
            lines.append(f"{setting.name} {value}")
    lines += [" ".join(map(str, line)) for line in script]
    return "\n".join(lines) + "\n"


def from_text(text: str) -> tuple[Settings, tuple[Line, ...]]:
    names = {setting.name for setting in fields(Settings)}
    values: dict[str, int] = {}
    script: list[Line] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            if words[0] in names:
                values[words[0]] = int(words[1])
            elif words[1] in WORDS:
                script.append((int(words[0]), words[1], *(int(w) if w.lstrip("-").isdigit() else w for w in words[2:])))
            else:
                raise ValueError(words[1])
        except (ValueError, IndexError) as error:
            raise CaseError(f"line {number} of the case: {line!r}: {error}") from error
    return Settings(**values), tuple(script)


def shrink(failed: Result, run: Run = run, runs_max: int = 200) -> Result:
    """The smallest script we find, in that many runs, that still breaks the same invariant (ddmin)."""
    assert failed.violation is not None
    wanted = failed.violation.id
    best = failed
    left = runs_max

    def breaks(settings: Settings, script: Sequence[Line]) -> bool:
        nonlocal best, left
        if left <= 0:
            return False
        left -= 1
        result = run(settings, script)
        if result.violation is None or result.violation.id != wanted:
            return False
        best = result
        return True

    settings, script = failed.settings, list(failed.script)
    if wanted != "L1":
        # Nothing after the moment it broke mattered.
        script = [line for line in script if line[0] <= failed.simulated_ms]
        shorter = replace(settings, script_ms=failed.simulated_ms + 1, core=0)
        if breaks(shorter, script):
            settings = shorter
    ddmin(script, lambda fewer: breaks(settings, fewer), lambda: left > 0)
    return best


def ddmin(script: list[Line], breaks: Callable[[list[Line]], bool], may_go_on: Callable[[], bool]) -> list[Line]:
    """A script of fewer lines that still breaks (Zeller's delta debugging), as far as we may go."""
    parts = 2
    while len(script) > 1 and may_go_on():
        size = max(1, len(script) // parts)
        for start in range(0, len(script), size):
            fewer = script[:start] + script[start + size :]
            if breaks(fewer):
                script, parts = fewer, max(2, parts - 1)
                break
        else:
            if size == 1:
                break
            parts = min(len(script), parts * 2)
    return script
