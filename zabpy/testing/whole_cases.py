"""A whole simulation as a file: what a failing seed leaves behind, as `cases` has it for the core alone.

# whole: I19 AckedWrites: client1, session 0x1, setData 5 at 1.9 was answered; committed is None
seed 17
voters 3
120 power-cut 2 1 60
"""

from collections.abc import Sequence
from dataclasses import fields

from .cases import CaseError, ddmin
from .run import Line
from .whole import WholeResult, WholeSettings, WholeSimulation
from .whole_faults import WORDS

#: The first line of a case says that it is one of these.
MARK = "# whole: "


def to_text(settings: WholeSettings, script: Sequence[Line], reason: str) -> str:
    lines = [MARK + reason.replace("\n", " "), f"seed {settings.seed}"]
    for setting in fields(WholeSettings):
        value = getattr(settings, setting.name)
        if setting.name != "seed" and value != setting.default:
            lines.append(f"{setting.name} {value}")
    lines += [" ".join(map(str, line)) for line in script]
    return "\n".join(lines) + "\n"


def from_text(text: str) -> tuple[WholeSettings, tuple[Line, ...]]:
    """Raises `CaseError`."""
    names = {setting.name for setting in fields(WholeSettings)}
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
    return WholeSettings(**values), tuple(script)


def run(settings: WholeSettings, script: Sequence[Line]) -> WholeResult:
    return WholeSimulation(settings, script).run()


def shrink(failed: WholeResult, runs_max: int = 60) -> WholeResult:
    """The smallest script we find, in that many runs, that still breaks the same invariant."""
    assert failed.violation is not None
    wanted, best, left = failed.violation.id, failed, runs_max

    def breaks(script: list[Line]) -> bool:
        nonlocal best, left
        left -= 1
        result = run(failed.settings, script)
        if result.violation is None or result.violation.id != wanted:
            return False
        best = result
        return True

    # Nothing after the moment it broke mattered.
    script = [line for line in failed.script if line[0] <= failed.simulated_ms]
    ddmin(script, breaks, lambda: left > 0)
    return best
