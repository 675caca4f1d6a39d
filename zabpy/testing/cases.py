"""A run as a file: what a failing seed leaves behind, and how it is made small.

`Cases` are those of the core's simulation, `CORE_CASES` below, or of whole servers (whole_cli.py).

Seeds do not survive a change of the generator; scripts do. So a case holds every setting that is not the default, and
the script line by line, and begins with the reason it is kept:

    # I7 CommittedNeverLost: server 3 drops 2.5 'w9', which is chosen
    seed 17
    voters 3
    120 write 1
    131 power-cut 3 60
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Generic, Protocol, TypeVar

from zabpy.model import ZabpyError

from .faults import WORDS
from .run import Line, Result, RunResult, RunSettings, Settings
from .simulation import Simulation

S = TypeVar("S", bound=RunSettings)
S_contra = TypeVar("S_contra", bound=RunSettings, contravariant=True)
R = TypeVar("R", bound=RunResult[Any])
R_co = TypeVar("R_co", bound=RunResult[Any], covariant=True)


class CaseError(ZabpyError):
    """A line of a case that says nothing we know."""


class _Run(Protocol[R_co]):
    def run(self) -> R_co: ...


class _Simulation(Protocol[S_contra, R_co]):
    def __call__(self, settings: S_contra, script: Sequence[Line], *, record: bool = False) -> _Run[R_co]: ...


@dataclass(frozen=True)
class Cases(Generic[S, R]):
    """The cases of one kind of simulation."""

    settings: type[S]
    #: What its scripts can say.
    words: Collection[str]
    simulation: _Simulation[S, R]
    #: What the first line begins with, which tells one kind from another.
    mark: str = "# "
    #: The same settings, for a run that is over after so many milliseconds.
    shorter: Callable[[S, int], S] | None = None

    def run(self, settings: S, script: Sequence[Line], *, record: bool = False) -> R:
        return self.simulation(settings, script, record=record).run()

    def to_text(self, settings: S, script: Sequence[Line], reason: str = "") -> str:
        lines = [self.mark + reason.replace("\n", " ")] if reason else []
        lines.append(f"seed {settings.seed}")
        for setting in fields(self.settings):
            value = getattr(settings, setting.name)
            if setting.name != "seed" and value != setting.default:
                lines.append(f"{setting.name} {value}")
        lines += [" ".join(map(str, line)) for line in script]
        return "\n".join(lines) + "\n"

    def from_text(self, text: str) -> tuple[S, tuple[Line, ...]]:
        """Raises `CaseError`."""
        names = {setting.name for setting in fields(self.settings)}
        values: dict[str, int] = {}
        script: list[Line] = []
        for number, line in enumerate(text.splitlines(), 1):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            try:
                if words[0] in names:
                    values[words[0]] = int(words[1])
                elif words[1] in self.words:
                    arguments = (int(word) if word.lstrip("-").isdigit() else word for word in words[2:])
                    script.append((int(words[0]), words[1], *arguments))
                else:
                    raise ValueError(words[1])
            except (ValueError, IndexError) as error:
                raise CaseError(f"line {number} of the case: {line!r}: {error}") from error
        return self.settings(**values), tuple(script)

    def shrink(self, failed: R, runs_max: int = 200) -> R:
        """The smallest script we find, in that many runs, that still breaks the same invariant (ddmin)."""
        assert failed.violation is not None
        wanted, best, left = failed.violation.id, failed, runs_max

        def breaks(settings: S, script: Sequence[Line]) -> bool:
            nonlocal best, left
            if left <= 0:
                return False
            left -= 1
            result = self.run(settings, script)
            if result.violation is None or result.violation.id != wanted:
                return False
            best = result
            return True

        # Nothing after the moment it broke mattered.
        script = [line for line in failed.script if line[0] <= failed.simulated_ms]
        settings: S = failed.settings
        if wanted != "L1" and self.shorter is not None:
            shorter = self.shorter(settings, failed.simulated_ms + 1)
            if breaks(shorter, script):
                settings = shorter
        ddmin(script, lambda fewer: breaks(settings, fewer), lambda: left > 0)
        return best

    def replay(self, text: str) -> int:
        """Run one case with its timeline; 1 if it breaks anything."""
        result = self.run(*self.from_text(text), record=True)
        for line in result.lines:
            print(line)
        return 0 if result.violation is None else 1


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


def _shorter(settings: Settings, script_ms: int) -> Settings:
    return replace(settings, script_ms=script_ms, core=0)


CORE_CASES: Cases[Settings, Result] = Cases(Settings, WORDS, Simulation, shorter=_shorter)
