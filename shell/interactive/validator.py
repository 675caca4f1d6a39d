"""What is wrong with a line is said while it is typed. Only what nobody can have meant keeps Enter from running it."""

from collections.abc import Iterable

from prompt_toolkit.document import Document
from prompt_toolkit.validation import ValidationError, Validator

from ..command import REGISTRY
from ..line import LineError, parse, parse_so_far
from .place import Kind, command_of, options_of, parts


class ShellValidator(Validator):
    def __init__(self) -> None:
        #: Enter was pressed: only what cannot be run is an error now. The rest is told by the command, with its usage.
        self.entering = False

    def validate(self, document: Document) -> None:
        text = document.text
        if self.entering:
            try:
                parse(text)
            except LineError as error:
                # Where the cursor goes: mostly a quote is to be closed, behind all that was typed.
                raise ValidationError(len(text), str(error)) from None
            return
        if not REGISTRY:
            return
        for statement in parse_so_far(text):
            command = command_of(statement.words[0]) if statement.words else None
            for part in parts(text, statement):
                if part.known:
                    continue
                if part.kind is Kind.COMMAND:
                    if part.end < len(text) or not _begins(part.typed, REGISTRY):
                        raise ValidationError(part.start, f"{part.typed}: no such command{_near(part.typed, REGISTRY)}")
                elif command is not None and part.kind is Kind.FLAG:
                    options = options_of(command)
                    if part.typed != "--help" and (part.end < len(text) or not _begins(part.typed, options)):
                        raise ValidationError(
                            part.start, f"{command.name} has no {part.typed}{_near(part.typed, options)}"
                        )


def _begins(typed: str, names: Iterable[str]) -> bool:
    return any(name.lower().startswith(typed.lower()) for name in names)


def _near(typed: str, names: Iterable[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(typed, list(names), n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""
