"""A part of a structured value: ``.db.host``, ``.servers[0].port``, ``.servers[*].name``, ``."a b"``.

A name or an index a step; ``[*]`` is every element of a list, or every value of a mapping, and what follows it is taken
of each that has it. A small part of what jq and JMESPath know, in the spelling that they share.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from .errors import ShellError, Status, UsageError

STEP = re.compile(
    r"""\.?\[(?P<index>-?\d+)\]|\.?\[(?P<all>\*)\]|\.(?P<name>[^.\[\]"'/]+)|\.(?P<quoted>"(?:[^"\\]|\\.)*")"""
)
#: What begins as a selection, and is no path: ``.``, ``..`` and ``./x`` are.
BEGINS = re.compile(r"\.[^./]")
EVERY = object()


@dataclass(frozen=True)
class Selection:
    text: str
    #: Names, indices, and `EVERY`.
    steps: tuple[object, ...]

    def of(self, value: Any) -> Any:
        """The part of a value.

        Raises:
            ShellError: there is no such part; it names the first step that fails.
        """
        return self._of(value, 0)

    def _of(self, value: Any, at: int) -> Any:
        for index in range(at, len(self.steps)):
            step = self.steps[index]
            if step is EVERY:
                if not isinstance(value, list | dict):
                    raise self._missing(index, value)
                return list(self._each(value if isinstance(value, list) else list(value.values()), index + 1))
            try:
                if isinstance(step, int) and not isinstance(value, list):
                    raise KeyError(step)
                if isinstance(step, str) and not isinstance(value, dict):
                    raise KeyError(step)
                value = value[step]
            except (KeyError, IndexError):
                raise self._missing(index, value) from None
        return value

    def _each(self, values: list[Any], at: int) -> list[Any]:
        found = []
        for value in values:
            try:
                found.append(self._of(value, at))
            except ShellError:
                pass  # this one has no such part
        return found

    def _missing(self, index: int, value: Any) -> ShellError:
        what = (
            f"a list of {len(value)}"
            if isinstance(value, list)
            else "an object"
            if isinstance(value, dict)
            else (json.dumps(value, ensure_ascii=False, default=str)[:40])
        )
        step = self.steps[index]
        wanted = "[*]" if step is EVERY else f"[{step}]" if isinstance(step, int) else f".{step}"
        return ShellError(f"{self.text}: there is no {wanted} in {what}", Status.NO)


def is_selection(text: str) -> bool:
    """Not a path, that is: begins with a dot and a name, and has no slash outside quotes."""
    return bool(BEGINS.match(text)) and "/" not in re.sub(r'"(?:[^"\\]|\\.)*"', "", text)


def parse_selection(text: str) -> Selection:
    """
    Raises:
        UsageError: it names where it stops to make sense.
    """
    steps: list[object] = []
    at = 0
    while at < len(text):
        found = STEP.match(text, at)
        if found is None:
            raise UsageError(f'{text}: expected .name, ."a name", [0] or [*] at column {at + 1}')
        if found["index"] is not None:
            steps.append(int(found["index"]))
        elif found["all"] is not None:
            steps.append(EVERY)
        else:
            steps.append(found["name"] if found["name"] is not None else json.loads(found["quoted"]))
        at = found.end()
    return Selection(text, tuple(steps))
