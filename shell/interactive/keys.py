"""What keys do that differs from prompt_toolkit's own."""

from prompt_toolkit.buffer import ValidationState
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import completion_is_selected, has_focus
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from .validator import ShellValidator


def bindings(validator: ShellValidator) -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter", filter=has_focus(DEFAULT_BUFFER) & completion_is_selected)
    def take(event: KeyPressEvent) -> None:
        """What is chosen in the menu is put into the line, and not run: it may stand behind an `rm`."""
        event.current_buffer.complete_state = None

    @keys.add("enter", filter=has_focus(DEFAULT_BUFFER) & ~completion_is_selected)
    def run(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        buffer.validation_state = ValidationState.UNKNOWN
        validator.entering = True
        try:
            buffer.validate_and_handle()
        finally:
            validator.entering = False

    return keys
